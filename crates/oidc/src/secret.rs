//! Secrets of a login, each a type of its own: its `Debug` says only its name, and `expose` is the one door out.

use core::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

macro_rules! secret_text {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// Takes a text into its type.
            #[must_use]
            pub fn new(text: String) -> Self {
                Self(Zeroizing::new(text))
            }

            /// The text. The only door out.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// Whether both are the same, in constant time.
            #[must_use]
            pub fn is(&self, other: &Self) -> bool {
                self.is_text(other.expose())
            }

            /// Whether it is this text, in constant time.
            #[must_use]
            pub fn is_text(&self, other: &str) -> bool {
                self.0.as_bytes().ct_eq(other.as_bytes()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

secret_text! {
    /// The `client_secret` that a provider gave us.
    ClientSecret;
    /// The `state` of one attempt (RFC 6749 section 10.12).
    State;
    /// The `nonce` of one attempt (OpenID Connect Core section 15.5.2).
    Nonce;
    /// The `code_verifier` of one attempt (RFC 7636 section 4.1).
    CodeVerifier;
    /// A `code` (RFC 6749 section 4.1.2).
    AuthorizationCode;
    /// An `access_token` of the provider.
    AccessToken;
    /// A `refresh_token` of the provider.
    RefreshToken;
    /// A header or a body that holds a secret.
    SecretText;
}

/// 32 random bytes from which the `code_verifier` and the `nonce` of one attempt are derived.
#[derive(Clone)]
pub struct FlowSecret(Zeroizing<[u8; 32]>);

impl FlowSecret {
    /// 32 bytes from a cryptographic random source, new for each attempt.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FlowSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S82
    #[test]
    fn a_secret_prints_its_name_alone() {
        let debug = format!(
            "{:?} {:?}",
            ClientSecret::new("canary".into()),
            FlowSecret::new([7; 32])
        );
        assert_eq!(debug, "ClientSecret(..) FlowSecret(..)");
    }
}
