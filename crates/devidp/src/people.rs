//! The people who can sign in at the stand-in.

use serde_json::{Map, Value, json};

/// Somebody with an account at the stand-in. There is no password: whoever opens the page is whom they choose to be.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// `sub`: the stable identifier, 21 digits like Google's.
    pub sub: String,
    /// `email`, and the name by which `user=` and `login_hint` find the person.
    pub email: String,
    /// `email_verified`.
    pub email_verified: bool,
    /// `name`, as shown.
    pub name: String,
    /// `picture`, the address of an image.
    pub picture: Option<String>,
    /// `hd`: the Google Workspace domain, for an account that belongs to one.
    pub hosted_domain: Option<String>,
    /// Whether the first answer to a client by `form_post` has a `user` field with name and address, and no later one, as at Apple.
    pub tells_name_once: bool,
    /// `tid`: the Microsoft tenant that the account belongs to, which also stands in the issuer where that has a place for it.
    pub tenant: Option<String>,
    /// Claims that are laid over all others of the ID token and of UserInfo, whatever their names: of a wrong type, unknown, huge.
    pub claims: Map<String, Value>,
}

impl Person {
    /// The `user` field of Apple: the only place where it tells a name.
    pub(crate) fn user_field(&self) -> String {
        let (first, last) = self.name.split_once(' ').unwrap_or((&self.name, ""));
        json!({ "name": { "firstName": first, "lastName": last }, "email": self.email }).to_string()
    }

    /// The letters in place of a picture: those of the first and the last name.
    pub(crate) fn initials(&self) -> String {
        let mut words = self.name.split_whitespace();
        let first = words.next().and_then(|word| word.chars().next());
        let last = words.next_back().and_then(|word| word.chars().next());
        first
            .into_iter()
            .chain(last)
            .flat_map(char::to_uppercase)
            .collect()
    }
}

/// Four ordinary people, one of them with an unverified address, and one who belongs to a Workspace domain.
pub fn default_people() -> Vec<Person> {
    let person = |sub: &str, email: &str, name: &str| Person {
        sub: sub.to_owned(),
        email: email.to_owned(),
        email_verified: true,
        name: name.to_owned(),
        ..Person::default()
    };
    vec![
        person("108204268033311374519", "alice@example.com", "Alice Adams"),
        person("113577218840914429037", "bob@example.com", "Bob Brown"),
        Person {
            hosted_domain: Some("example.com".to_owned()),
            ..person("101906351148062947713", "carol@example.com", "Carol Clark")
        },
        Person {
            email_verified: false,
            ..person("117340952266180473825", "dave@example.com", "Dave Davis")
        },
    ]
}
