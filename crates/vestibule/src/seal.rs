//! Sealing: what goes through a browser or rests in the database, unreadable and unforgeable.
//!
//! AES-256-GCM-SIV (RFC 8452) under a key for each purpose, derived from the secret by HKDF-SHA256 (RFC 5869). The
//! purpose stands in the additional data too, so that a text of one purpose never opens as another's (S66, S70). A
//! first byte names the key, so that a secret can be replaced: the previous one still opens and never seals.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// The longest text that is opened, in bytes: what is kept of a provider's tokens, which may be long.
const MAX_SEALED: usize = 64 * 1024;

/// What a sealed text is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// The `state` in a URL.
    State,
    /// An attempt in a cookie.
    Flow,
    /// An identity that waits for the owner of its address.
    Link,
    /// The nonce of a native sign-in.
    Nonce,
    /// Private keys, and the tokens of providers, in the database.
    AtRest,
}

impl Purpose {
    const ALL: [Self; 5] = [
        Self::State,
        Self::Flow,
        Self::Link,
        Self::Nonce,
        Self::AtRest,
    ];

    fn label(self) -> &'static [u8] {
        match self {
            Self::State => b"vestibule state v1",
            Self::Flow => b"vestibule flow v1",
            Self::Link => b"vestibule link v1",
            Self::Nonce => b"vestibule nonce v1",
            Self::AtRest => b"vestibule at rest v1",
        }
    }
}

/// The keys of one secret.
struct Keys {
    /// Names the secret in sealed texts. Two secrets that share it differ in their keys all the same.
    id: u8,
    purposes: [LessSafeKey; 5],
    refresh: hmac::Key,
    check_value: [u8; 32],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    #[expect(
        clippy::expect_used,
        reason = "lengths are constants that the algorithms take"
    )]
    fn derive(secret: &[u8]) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"vestibule").extract(secret);
        let key = |purpose: Purpose| {
            let bytes = Zeroizing::new(expand::<32>(&prk, purpose.label()));
            LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM_SIV, bytes.as_slice()).expect("the key has 32 bytes"),
            )
        };
        Self {
            id: expand::<1>(&prk, b"vestibule key id v1")[0],
            purposes: Purpose::ALL.map(key),
            refresh: hmac::Key::new(
                hmac::HMAC_SHA256,
                Zeroizing::new(expand::<32>(&prk, b"vestibule refresh v1")).as_slice(),
            ),
            check_value: expand(&prk, b"vestibule check value v1"),
        }
    }

    fn key(&self, purpose: Purpose) -> &LessSafeKey {
        &self.purposes[purpose as usize]
    }
}

#[expect(
    clippy::expect_used,
    reason = "at most 255 blocks of 32 bytes may be asked for"
)]
fn expand<const N: usize>(prk: &Prk, label: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    prk.expand(&[label], Length(N))
        .and_then(|okm| okm.fill(&mut bytes))
        .expect("N is at most 32");
    bytes
}

/// Seals and opens.
pub(crate) struct Sealer {
    current: Keys,
    previous: Option<Keys>,
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    pub(crate) fn new(secret: &[u8], previous: Option<&[u8]>) -> Self {
        Self {
            current: Keys::derive(secret),
            previous: previous.map(Keys::derive),
        }
    }

    /// What the database keeps to recognise our secret by.
    pub(crate) fn check_value(&self) -> [u8; 32] {
        self.current.check_value
    }

    /// The same for the previous secret.
    pub(crate) fn previous_check_value(&self) -> Option<[u8; 32]> {
        self.previous.as_ref().map(|keys| keys.check_value)
    }

    /// Seals: the key's id, a nonce, then the ciphertext with its tag.
    pub(crate) fn seal(&self, purpose: Purpose, plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed =
            Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + AES_256_GCM_SIV.tag_len());
        let mut body = plaintext.to_vec();
        sealed.push(self.current.id);
        sealed.extend_from_slice(&nonce);
        let aad = Aad::from([&[self.current.id], purpose.label()].concat());
        match self.current.key(purpose).seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            aad,
            &mut body,
        ) {
            Ok(()) => sealed.extend_from_slice(&body),
            // Only over 64 GiB. An empty body opens nowhere.
            Err(_) => sealed.clear(),
        }
        sealed
    }

    /// Opens what was sealed for this purpose, with the current or the previous secret.
    pub(crate) fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        Self::open_with(
            [Some(&self.current), self.previous.as_ref()],
            purpose,
            sealed,
        )
    }

    /// Whether it opens without the previous secret.
    pub(crate) fn is_current(&self, purpose: Purpose, sealed: &[u8]) -> bool {
        Self::open_with([Some(&self.current), None], purpose, sealed).is_some()
    }

    fn open_with(
        keys: [Option<&Keys>; 2],
        purpose: Purpose,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() > MAX_SEALED {
            return None;
        }
        let (id, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        keys.into_iter()
            .flatten()
            .filter(|keys| keys.id == *id)
            .find_map(|keys| {
                let mut body = Zeroizing::new(body.to_vec());
                let aad = Aad::from([&[*id], purpose.label()].concat());
                let len = keys
                    .key(purpose)
                    .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body)
                    .ok()?
                    .len();
                body.truncate(len);
                Some(body)
            })
    }

    /// The proof in a refresh token: HMAC-SHA256 under a key of its own purpose (S70).
    pub(crate) fn refresh_proof(&self, message: &[u8]) -> [u8; 32] {
        let mut proof = [0; 32];
        proof.copy_from_slice(hmac::sign(&self.current.refresh, message).as_ref());
        proof
    }

    /// Whether the proof was made with the current or the previous secret, in constant time.
    pub(crate) fn is_refresh_proof(&self, message: &[u8], proof: &[u8]) -> bool {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|keys| hmac::verify(&keys.refresh, message, proof).is_ok())
    }

    /// Seals as base64url.
    pub(crate) fn seal_text(&self, purpose: Purpose, plaintext: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, plaintext))
    }

    /// Opens base64url.
    pub(crate) fn open_text(&self, purpose: Purpose, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        if text.len() > MAX_SEALED {
            return None;
        }
        self.open(purpose, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }
}

/// Random bytes of AWS-LC's generator, which the operating system seeds.
///
/// # Panics
/// Where the system has none. Going on would make secrets that can be guessed.
#[expect(
    clippy::expect_used,
    reason = "a machine without randomness cannot sign anybody in"
)]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &[u8] = b"one secret of at least thirty-two bytes";
    const TWO: &[u8] = b"another secret of at least thirty-two bytes";

    // S66, S70
    #[test]
    fn a_text_of_one_purpose_opens_as_no_other() {
        let sealer = Sealer::new(ONE, None);
        for purpose in Purpose::ALL {
            let sealed = sealer.seal(purpose, b"x");
            for other in Purpose::ALL {
                assert_eq!(
                    sealer.open(other, &sealed).is_some(),
                    other == purpose,
                    "{purpose:?} {other:?}"
                );
            }
        }
    }

    // S66
    #[test]
    fn a_changed_text_does_not_open() {
        let sealer = Sealer::new(ONE, None);
        let sealed = sealer.seal(Purpose::Flow, b"plaintext");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(
                    sealer.open(Purpose::Flow, &changed).is_none(),
                    "byte {at}, bit {bit}"
                );
            }
            assert!(sealer.open(Purpose::Flow, &sealed[..at]).is_none());
        }
    }

    // S76
    #[test]
    fn the_previous_secret_opens_and_never_seals() {
        let (old, new) = (Sealer::new(ONE, None), Sealer::new(TWO, Some(ONE)));
        assert_eq!(
            new.open(Purpose::Flow, &old.seal(Purpose::Flow, b"x"))
                .unwrap()
                .as_slice(),
            b"x"
        );
        assert!(
            old.open(Purpose::Flow, &new.seal(Purpose::Flow, b"x"))
                .is_none()
        );
        assert_ne!(old.check_value(), new.check_value());
        assert_eq!(new.previous_check_value(), Some(old.check_value()));
    }

    // S82
    #[test]
    fn nothing_of_the_plaintext_shows_and_two_seals_differ() {
        let sealer = Sealer::new(ONE, None);
        let (one, two) = (
            sealer.seal(Purpose::State, b"canary canary"),
            sealer.seal(Purpose::State, b"canary canary"),
        );
        assert_ne!(one, two);
        assert!(!one.windows(6).any(|window| window == b"canary"));
        assert_eq!(format!("{sealer:?}"), "Sealer(..)");
    }

    // S96
    #[test]
    fn a_text_of_sixteen_kibibytes_opens_and_a_longer_one_does_not() {
        let sealer = Sealer::new(ONE, None);
        let of = |len: usize| {
            let sealed = sealer.seal(Purpose::Flow, &vec![7; len]);
            (sealed.len(), sealer.open(Purpose::Flow, &sealed).is_some())
        };
        let longest = MAX_SEALED - 1 - NONCE_LEN - AES_256_GCM_SIV.tag_len();
        assert_eq!(of(longest), (MAX_SEALED, true));
        assert_eq!(of(longest + 1), (MAX_SEALED + 1, false));
    }

    proptest! {
        // S96
        #[test]
        fn opening_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in ".{0,60}") {
            let sealer = Sealer::new(ONE, Some(TWO));
            prop_assert!(sealer.open(Purpose::Flow, &bytes).is_none());
            prop_assert!(sealer.open_text(Purpose::State, &text).is_none());
        }
    }
}
