//! Who the people of the benchmark are. Everything about a person follows from a number, so that the database, the
//! provider and the driver agree on a million of them without a list.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::{Builder, Uuid};

const GIVEN: [&str; 16] = [
    "Ada", "Bela", "Chen", "Dana", "Emil", "Femi", "Gita", "Hugo", "Ines", "Joao", "Kofi", "Lena",
    "Mina", "Noor", "Olga", "Pavel",
];
const FAMILY: [&str; 16] = [
    "Abel", "Berg", "Costa", "Diallo", "Evans", "Fischer", "Garcia", "Haddad", "Ito", "Jansen",
    "Kim", "Lopez", "Moreau", "Nguyen", "Okafor", "Patel",
];
const DAY: u64 = 86_400;
const MICROS: u64 = 1_000_000;
/// How long the seeded sessions have been there at most, in seconds: less than the time without use that ends one.
const SESSIONS_OF: u64 = 6 * DAY;
/// The lifetime of a session where the configuration names no other, in seconds.
pub const SESSION_LIFETIME: u64 = 30 * DAY;
/// How long a session may lie unused where the configuration names no other, in seconds.
pub const SESSION_IDLE: u64 = 7 * DAY;

/// Somebody with an account at the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Person(pub u64);

/// The seeded people: numbers 0 to `count`. Whoever comes after them signs in for the first time.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    pub count: u64,
    /// The time of the seeding, in microseconds since 1970.
    pub now: u64,
}

impl Person {
    /// `sub`: 21 digits, as Google's, in no order.
    pub fn subject(self) -> String {
        format!("1{:020}", self.mixed(0))
    }

    /// The address, whose order is not that of the numbers either.
    pub fn email(self) -> String {
        let (given, family) = self.names();
        format!("{given}.{family}.{}@example.com", self.0).to_lowercase()
    }

    pub fn names(self) -> (&'static str, &'static str) {
        let mixed = self.mixed(1) as usize;
        (GIVEN[mixed % 16], FAMILY[mixed / 16 % 16])
    }

    pub fn name(self) -> String {
        let (given, family) = self.names();
        format!("{given} {family}")
    }

    /// An address about as long as those of Google's pictures.
    pub fn picture(self) -> String {
        let [a, b, c] = [2, 3, 4].map(|salt| self.mixed(salt));
        format!("https://pictures.example/a/{a:016x}{b:016x}{c:016x}=s96-c")
    }

    /// The value of the session cookie, where the person is seeded.
    pub fn session_token(self) -> String {
        URL_SAFE_NO_PAD.encode(self.session_secret())
    }

    /// What the database holds in its place.
    pub fn session_hash(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.session_secret()).as_ref());
        hash
    }

    fn session_secret(self) -> [u8; 32] {
        let mut secret = [0; 32];
        for (chunk, salt) in secret.chunks_exact_mut(8).zip(5..) {
            chunk.copy_from_slice(&self.mixed(salt).to_be_bytes());
        }
        secret
    }

    /// A number that looks random and is nobody else's (the finalizer of SplitMix64, which is a bijection).
    fn mixed(self, salt: u64) -> u64 {
        let mut x = self
            .0
            .wrapping_add(salt << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A UUID of version 7 (RFC 9562 section 5.7).
    fn uuid(self, at_micros: u64, salt: u64) -> Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.mixed(salt).to_be_bytes());
        Builder::from_unix_timestamp_millis(at_micros / 1_000, &random).into_uuid()
    }
}

impl Seeded {
    /// Any of them.
    pub fn any(self) -> Person {
        Person(fastrand::u64(..self.count))
    }

    pub fn all(self) -> impl Iterator<Item = Person> {
        (0..self.count).map(Person)
    }

    /// When a person came, in microseconds since 1970: one after the other, over the last year.
    pub fn created_at(self, person: Person) -> u64 {
        let year = u128::from(365 * DAY * MICROS);
        let since = year * u128::from(person.0) / u128::from(self.count);
        self.now - 365 * DAY * MICROS + since as u64
    }

    pub fn user_id(self, person: Person) -> Uuid {
        person.uuid(self.created_at(person), 9)
    }

    /// When the person's session began.
    pub fn session_created_at(self, person: Person) -> u64 {
        self.now - person.mixed(10) % (SESSIONS_OF * MICROS)
    }

    pub fn session_id(self, person: Person) -> Uuid {
        person.uuid(self.session_created_at(person), 11)
    }
}
