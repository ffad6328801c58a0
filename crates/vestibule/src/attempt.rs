//! A login attempt as its `state` carries it: random, time and provider, sealed, so that a flood of login starts
//! writes nothing and each cause of a lost attempt can be told.

use core::fmt;

use vestibule_accounts::{SessionHash, StateHash, UserId};
use vestibule_oidc::{ProviderId, Timestamp};

/// How long a person may take at the provider.
pub(crate) const LIFETIME_SECONDS: i64 = 600;

/// What is sealed in a `state`.
pub(crate) struct Attempt {
    pub(crate) random: [u8; 16],
    pub(crate) started_at: Timestamp,
    pub(crate) provider: ProviderId,
}

/// What a person is doing at the provider, noted in the attempt's cookie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Errand {
    /// Signing in.
    SignIn {
        /// The browser's session, which ends with it (S65).
        previous: Option<SessionHash>,
        /// Who is asked for afterwards, to connect an identity that came before: the owner of its address.
        connects: Option<UserId>,
    },
    /// Adding a way in, signed in as this user with this session (S63).
    AddWayIn { user: UserId, session: SessionHash },
}

/// The name of one sign-in for the operator: ten letters, the same on every log line, event and page of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reference(String);

impl Attempt {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.provider.as_str().len());
        bytes.extend_from_slice(&self.random);
        bytes.extend_from_slice(&self.started_at.micros().to_be_bytes());
        bytes.extend_from_slice(self.provider.as_str().as_bytes());
        bytes
    }

    /// Total: what we did not write is `None`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (random, rest) = bytes.split_first_chunk::<16>()?;
        let (micros, provider) = rest.split_first_chunk::<8>()?;
        Some(Self {
            random: *random,
            started_at: Timestamp::from_micros(i64::from_be_bytes(*micros)),
            provider: ProviderId::parse(core::str::from_utf8(provider).ok()?).ok()?,
        })
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::of_random(&self.random)
    }
}

impl Errand {
    /// The browser's session, as far as the errand knows it.
    pub(crate) fn session(&self) -> Option<SessionHash> {
        match self {
            Self::SignIn { previous, .. } => *previous,
            Self::AddWayIn { session, .. } => Some(*session),
        }
    }

    /// The session without which nothing may be written.
    pub(crate) fn required_session(&self) -> Option<SessionHash> {
        match self {
            Self::SignIn { .. } => None,
            Self::AddWayIn { session, .. } => Some(*session),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (tag, session, user) = match self {
            Self::SignIn { previous, connects } => (0, previous.as_ref(), connects.as_ref()),
            Self::AddWayIn { user, session } => (1, Some(session), Some(user)),
        };
        if tag == 0 && session.is_none() && user.is_none() {
            return Vec::new();
        }
        let mut bytes = vec![tag, u8::from(session.is_some())];
        bytes.extend(session.iter().flat_map(|session| session.as_bytes()));
        bytes.extend(user.iter().flat_map(|user| user.as_bytes()));
        bytes
    }

    /// Total: what we did not write is `None`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::SignIn {
                previous: None,
                connects: None,
            });
        }
        let ([tag, has_session], rest) = bytes.split_first_chunk::<2>()?;
        let (session, rest) = match has_session {
            0 => (None, rest),
            _ => {
                let (session, rest) = rest.split_first_chunk::<32>()?;
                (Some(SessionHash::from_bytes(*session)), rest)
            }
        };
        let user = match rest {
            [] => None,
            user => Some(UserId::from_bytes(user.try_into().ok()?)),
        };
        match tag {
            0 => Some(Self::SignIn {
                previous: session,
                connects: user,
            }),
            1 => Some(Self::AddWayIn {
                user: user?,
                session: session?,
            }),
            _ => None,
        }
    }
}

impl Reference {
    /// The name of a request outside of sign-ins.
    pub(crate) fn of_request(random: [u8; 10]) -> Self {
        Self::of(&random)
    }

    /// The name of what was begun with these bytes.
    pub(crate) fn of_random(random: &[u8; 16]) -> Self {
        Self::of(&random[..10])
    }

    fn of(random: &[u8]) -> Self {
        let letter = |byte: &u8| char::from(b'a' + byte % 26);
        Self(random.iter().map(letter).collect())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 10 && text.bytes().all(|b| b.is_ascii_lowercase()))
            .then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tells the flow cookies of several tabs apart.
pub(crate) fn cookie_suffix(state: &StateHash) -> String {
    state.as_bytes()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attempt_survives_its_state() {
        let attempt = Attempt {
            random: [3; 16],
            started_at: Timestamp::from_micros(1_700_000_000_000_001),
            provider: ProviderId::parse("google").unwrap(),
        };
        let read = Attempt::from_bytes(&attempt.to_bytes()).unwrap();
        assert_eq!(
            (read.random, read.started_at, read.provider),
            (attempt.random, attempt.started_at, attempt.provider.clone())
        );
        assert_eq!(
            Reference::parse(&attempt.reference().to_string()),
            Some(attempt.reference())
        );
    }

    #[test]
    fn an_errand_survives_its_cookie() {
        let (session, user) = (
            SessionHash::from_bytes([7; 32]),
            UserId::from_bytes([9; 16]),
        );
        for errand in [
            Errand::SignIn {
                previous: None,
                connects: None,
            },
            Errand::SignIn {
                previous: Some(session),
                connects: None,
            },
            Errand::SignIn {
                previous: None,
                connects: Some(user),
            },
            Errand::SignIn {
                previous: Some(session),
                connects: Some(user),
            },
            Errand::AddWayIn { user, session },
        ] {
            assert_eq!(Errand::from_bytes(&errand.to_bytes()), Some(errand));
        }
        assert_eq!(Errand::from_bytes(&[1, 0]), None);
    }

    proptest! {
        // S96
        #[test]
        fn reading_an_attempt_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Attempt::from_bytes(&bytes);
            let _ = Errand::from_bytes(&bytes);
        }
    }
}
