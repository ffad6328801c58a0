//! Names of users and sessions, and the secrets that stand for a session or an attempt.
//!
//! Public ids are UUIDs of version 7, made by the caller, so that after an unknown COMMIT the verb can look for
//! them. Secrets are 32 random bytes; the database holds only their SHA-256.

use core::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use vestibule_oidc::Timestamp;

macro_rules! public_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: the time in milliseconds and 10 random bytes (RFC 9562 section 5.7).
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The id with these 16 bytes, as a store keeps it.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes that a store keeps.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id written as a UUID; `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

public_id!(
    /// A user: the `sub` of our own tokens.
    UserId
);
public_id!(
    /// A session's public name (`sid`); it opens nothing.
    SessionId
);
public_id!(
    /// What a front end was given at one hand-over (`gid` in our tokens); it opens nothing.
    GrantId
);

macro_rules! secret_of_32_bytes {
    ($(#[$meta:meta])* $name:ident, $hash:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            /// 32 bytes from a cryptographic random source.
            #[must_use]
            pub fn new(random: [u8; 32]) -> Self {
                Self(Zeroizing::new(random))
            }

            /// Reads the text of one: 43 characters of base64url, nothing else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 43 {
                    return None;
                }
                let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
                Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
            }

            /// The text. The only door out.
            #[must_use]
            pub fn expose(&self) -> Zeroizing<String> {
                Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
            }

            /// What the database holds in its place.
            #[must_use]
            pub fn hash(&self) -> $hash {
                $hash(sha256(self.0.as_slice()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret_of_32_bytes!(
    /// The secret in a session cookie. Whoever holds it is signed in.
    SessionToken,
    SessionHash
);
secret_of_32_bytes!(
    /// The `code` that a front end redeems once (RFC 6749 section 4.1.2).
    OneTimeCode,
    CodeHash
);

/// 32 random bytes of one grant. Together with a key derived from the secret they make its refresh tokens; neither
/// does alone, so that a copy of the database holds none.
#[derive(Clone)]
pub struct GrantKey(Zeroizing<[u8; 32]>);

impl GrantKey {
    /// 32 bytes from a cryptographic random source, or as a store keeps them.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. The only door out.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantKey(..)")
    }
}

macro_rules! hash_of_a_secret {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Eq, Hash, PartialEq)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash with these bytes, as a store keeps it.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes that a store keeps.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

hash_of_a_secret!(
    /// SHA-256 of a [`SessionToken`].
    SessionHash
);
hash_of_a_secret!(
    /// SHA-256 of a [`OneTimeCode`].
    CodeHash
);
hash_of_a_secret!(
    /// SHA-256 of a `state`: what makes a login attempt single-use.
    StateHash
);

impl StateHash {
    /// The hash of a `state` as it stands in the URL.
    #[must_use]
    pub fn of(state: &[u8]) -> Self {
        Self(sha256(state))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_token_survives_its_cookie_and_never_prints() {
        let token = SessionToken::new([7; 32]);
        let read = SessionToken::parse(&token.expose()).unwrap();
        assert_eq!(read.hash(), token.hash());
        assert_eq!(
            format!("{token:?} {:?}", token.hash()),
            "SessionToken(..) SessionHash(..)"
        );
    }

    // S66
    #[test]
    fn a_session_cookie_that_is_cut_padded_or_not_canonical_is_no_token() {
        let good = SessionToken::new([255; 32]).expose().to_string();
        let mut last_bit = good.clone();
        last_bit.replace_range(42.., "9");
        for bad in [
            "",
            "a",
            &good[..42],
            &format!("{good}="),
            &format!(" {good}"),
            &last_bit,
        ] {
            assert!(SessionToken::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn ids_made_later_sort_later() {
        let early = UserId::new(Timestamp::from_seconds(1_000), [255; 10]);
        let late = UserId::new(Timestamp::from_seconds(1_001), [0; 10]);
        assert!(early < late);
        assert_eq!(UserId::parse(&early.to_string()), Some(early));
    }
}
