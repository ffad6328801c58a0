//! What an operator does to users and whom an operator invites, by the command line today.

use vestibule_accounts::{
    EmailAddress, EmailKey, Identity, Invitation, InviteError, Signup, User, UserId, UserPage,
    UserQuery,
};

use crate::Vestibule;
use crate::error::{Code, Failure};

impl Vestibule {
    /// A page of users, the oldest first.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn users(&self, query: UserQuery) -> Result<UserPage, Failure> {
        Ok(self.inner.store.users(query).await?)
    }

    /// One user.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Failure> {
        Ok(self.inner.store.user(id).await?)
    }

    /// A user's ways in, the oldest first.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn identities(&self, user: UserId) -> Result<Vec<Identity>, Failure> {
        Ok(self.inner.store.identities(user).await?)
    }

    /// Keeps a user out (`false`) or lets one in again. Keeping out ends every session, at once; a server in
    /// another process notices within a second. `None`: no such user.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn set_active(&self, user: UserId, active: bool) -> Result<Option<User>, Failure> {
        let set = self.inner.store.set_active(user, active, self.now()).await;
        self.inner.sessions.forget_all();
        Ok(set?)
    }

    /// Makes a user an administrator, or takes that away. A change ends every session: the person signs in again.
    /// `None`: no such user.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn set_superuser(
        &self,
        user: UserId,
        superuser: bool,
    ) -> Result<Option<User>, Failure> {
        let set = self
            .inner
            .store
            .set_superuser(user, superuser, self.now())
            .await;
        self.inner.sessions.forget_all();
        Ok(set?)
    }

    /// Who may become a user.
    #[must_use]
    pub fn signup(&self) -> &Signup {
        &self.inner.policy.signup
    }

    /// Lets whoever comes with this address, verified, become a user, for so many seconds. It matters where
    /// [`signup`](Self::signup) says [`Signup::Invite`]. An earlier invitation for the address ends. `None`: a user owns
    /// the address already.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn invite(
        &self,
        email: EmailAddress,
        seconds: i64,
    ) -> Result<Option<Invitation>, Failure> {
        let now = self.now();
        let invitation = Invitation {
            email,
            created_at: now,
            expires_at: now.plus_seconds(seconds),
        };
        match self.inner.store.invite(invitation.clone()).await {
            Ok(()) => Ok(Some(invitation)),
            Err(InviteError::Exists) => Ok(None),
            Err(InviteError::Store(error)) => Err(error.into()),
            Err(error) => Err(Failure::new(
                Code::InternalError,
                "invite",
                error.to_string(),
            )),
        }
    }

    /// So many invitations at most, the oldest first; only those that come after `after`. Those that are over stand
    /// among them until they are removed.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn invitations(
        &self,
        after: Option<Invitation>,
        limit: u32,
    ) -> Result<Vec<Invitation>, Failure> {
        Ok(self.inner.store.invitations(after, limit).await?)
    }

    /// Takes back the invitation for an address. Whether there was one.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn withdraw_invitation(&self, email: EmailKey) -> Result<bool, Failure> {
        Ok(self.inner.store.withdraw_invitation(email).await?)
    }

    /// Whether the database answers and takes writes.
    ///
    /// # Errors
    /// `service_unavailable` while it does not.
    pub async fn ready(&self) -> Result<(), Failure> {
        Ok(self.inner.store.ready().await?)
    }

    /// Removes what is over: sessions, invitations and claims past their end. How many rows went.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn prune(&self) -> Result<u64, Failure> {
        Ok(self.inner.store.prune(self.now()).await?)
    }

    /// Finishes what is queued and closes the database.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }
}
