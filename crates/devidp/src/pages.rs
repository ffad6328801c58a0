//! The pages that a person sees here. Links carry the request on, so that they work without JavaScript and without cookies.

use askama::Template;

use crate::{fault::Fault, people::Person};

/// What every page has around it.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) nonce: String,
    pub(crate) name: &'a str,
    pub(crate) fault: Fault,
    pub(crate) faults_href: String,
}

impl Frame<'_> {
    fn has_fault(&self) -> bool {
        self.fault != Fault::None
    }
}

/// Somebody to be.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) person: &'a Person,
    pub(crate) href: String,
}

/// Who do you want to be?
#[derive(Debug, Template)]
#[template(path = "choose.html")]
pub(crate) struct Choose<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) client: &'a str,
    pub(crate) choices: Vec<Choice<'a>>,
    pub(crate) cancel_href: String,
}

/// May the client know?
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) client: &'a str,
    pub(crate) back_to: String,
    pub(crate) person: &'a Person,
    pub(crate) asks: Vec<&'static str>,
    pub(crate) allow_href: String,
    pub(crate) cancel_href: String,
    pub(crate) other_href: String,
}

/// The answer on its way to the client, in a form that sends itself.
#[derive(Debug, Template)]
#[template(path = "form_post.html")]
pub(crate) struct FormPost<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) action: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
}

/// A request that must not lead back to the client.
#[derive(Debug, Template)]
#[template(path = "refused.html")]
pub(crate) struct Refused<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) title: &'a str,
    pub(crate) detail: &'a str,
    /// Whether a client waits for an answer that it does not get.
    pub(crate) is_authorization: bool,
}

/// The faults of one heading.
#[derive(Debug)]
pub(crate) struct Group {
    title: &'static str,
    faults: Vec<Fault>,
}

impl Group {
    /// All faults under their headings, in the order of the table.
    pub(crate) fn all() -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for fault in Fault::ALL
            .iter()
            .copied()
            .filter(|fault| *fault != Fault::None)
        {
            match groups.last_mut() {
                Some(group) if group.title == fault.group() => group.faults.push(fault),
                _ => groups.push(Self {
                    title: fault.group(),
                    faults: vec![fault],
                }),
            }
        }
        groups
    }
}

/// What goes wrong from now on?
#[derive(Debug, Template)]
#[template(path = "faults.html")]
pub(crate) struct Faults<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) groups: Vec<Group>,
}

/// What this is.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) issuer: &'a str,
    pub(crate) people: &'a [Person],
    pub(crate) metadata_href: String,
    pub(crate) jwks_href: String,
}

/// What the client asks for, in words.
pub(crate) fn asked_in_words(scope: &str, is_offline: bool) -> Vec<&'static str> {
    let mut asks: Vec<_> = scope
        .split(' ')
        .filter_map(|scope| match scope {
            "openid" => Some("the number of your account here"),
            "email" => Some("your e-mail address, and whether it is verified"),
            "profile" => Some("your name and picture"),
            _ => None,
        })
        .collect();
    if is_offline {
        asks.push("to go on while you are away");
    }
    asks
}
