//! What an operator does to users, by the command line today.

use vestibule_accounts::{Identity, User, UserId, UserPage, UserQuery};

use crate::Vestibule;
use crate::error::Failure;

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

    /// Whether the database answers and takes writes.
    ///
    /// # Errors
    /// `service_unavailable` while it does not.
    pub async fn ready(&self) -> Result<(), Failure> {
        Ok(self.inner.store.ready().await?)
    }

    /// Removes what is over: sessions and claims past their end. How many rows went.
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
