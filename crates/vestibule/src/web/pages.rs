//! What the pages show. Templates are checked when they are compiled, and escape every text that they are given (S80).

use askama::Template;

use super::texts::{self, ErrorText, Texts};

/// What every page has around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) nonce: &'a str,
    /// The application's name; empty where it has none.
    pub(super) product: &'a str,
    pub(super) texts: &'static Texts,
}

impl Frame<'_> {
    fn initial(&self) -> String {
        initial(self.product)
    }
}

/// A provider on the sign-in page.
#[derive(Debug)]
pub(super) struct ProviderLink<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    /// The provider's mark as SVG, of a preset.
    pub(super) mark: Option<&'static str>,
    pub(super) href: &'a str,
    pub(super) available: bool,
}

impl ProviderLink<'_> {
    fn initial(&self) -> String {
        initial(self.name)
    }
}

/// The ways in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignIn<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) providers: &'a [ProviderLink<'a>],
    pub(super) lead: Lead<'a>,
}

/// Why a person is on the sign-in page.
#[derive(Debug)]
pub(super) enum Lead<'a> {
    /// To come in; whoever is new gets an account.
    Open,
    /// To come in; an account that is not made is not promised.
    Members,
    /// To be asked whether this provider's identity is theirs too. Where the answer no goes.
    Connect { provider: &'a str, action: &'a str },
    /// To change how they sign in.
    Again,
}

/// Whether an identity is connected to the account that has its address.
#[derive(Debug, Template)]
#[template(path = "connect.html")]
pub(super) struct Connect<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) provider: &'a str,
    /// The provider's mark as SVG, of a preset.
    pub(super) mark: Option<&'static str>,
    pub(super) email: Option<&'a str>,
    /// Whose account.
    pub(super) person: Option<&'a str>,
    pub(super) action: &'a str,
}

impl Connect<'_> {
    fn initial(&self) -> String {
        initial(self.provider)
    }
}

/// On the way to a provider.
#[derive(Debug, Template)]
#[template(path = "leaving.html")]
pub(super) struct Leaving<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) provider: &'a str,
    pub(super) url: &'a str,
}

/// One button that ends the session.
#[derive(Debug, Template)]
#[template(path = "sign_out.html")]
pub(super) struct SignOut<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) action: &'a str,
    /// Where the person goes then, where a front end asked for it.
    pub(super) return_to: Option<&'a str>,
}

/// One button before a token goes out: who, and where to.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) front_end: &'a str,
    pub(super) person: Option<&'a str>,
    pub(super) origin: &'a str,
    pub(super) action: &'a str,
}

/// A way in on the account page.
#[derive(Debug)]
pub(super) struct IdentityRow<'a> {
    pub(super) provider: &'a str,
    /// The provider's mark as SVG, of a preset.
    pub(super) mark: Option<&'static str>,
    pub(super) email: Option<&'a str>,
    pub(super) email_verified: bool,
    pub(super) subject: &'a str,
    /// Where it is taken away; not of the last one.
    pub(super) unlink_action: Option<String>,
}

/// A provider that the person does not sign in with yet.
#[derive(Debug)]
pub(super) struct MoreWays<'a> {
    pub(super) provider: &'a str,
    /// The provider's mark as SVG, of a preset.
    pub(super) mark: Option<&'static str>,
    pub(super) link_action: String,
}

impl MoreWays<'_> {
    fn initial(&self) -> String {
        initial(self.provider)
    }
}

impl IdentityRow<'_> {
    fn initial(&self) -> String {
        initial(self.provider)
    }
}

/// Who am I, and the way out.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub(super) struct Account<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) name: Option<&'a str>,
    pub(super) email: Option<&'a str>,
    pub(super) identities: &'a [IdentityRow<'a>],
    pub(super) more_ways: &'a [MoreWays<'a>],
    pub(super) sign_out_action: &'a str,
    /// The day as a machine reads it.
    pub(super) created: &'a str,
    /// The day as a person reads it.
    pub(super) created_words: &'a str,
}

impl Account<'_> {
    fn initial(&self) -> String {
        initial(self.name.or(self.email).unwrap_or("?"))
    }
}

/// What went wrong, in fixed words.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub(super) struct ErrorPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) words: ErrorText,
    pub(super) reference: Option<&'a str>,
    pub(super) sign_in_href: &'a str,
}

/// A page as text. Rendering into memory does not fail; if it did, the person reads why nothing is there.
pub(super) fn render(page: &impl Template) -> String {
    page.render().unwrap_or_else(|_| {
        texts::error_text(crate::error::Code::InternalError)
            .message
            .to_owned()
    })
}

fn initial(text: &str) -> String {
    text.chars()
        .find(|c| c.is_alphanumeric())
        .map_or_else(|| "?".to_owned(), |c| c.to_uppercase().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert('\"1&\")</script>";

    // S80
    #[test]
    fn every_text_from_outside_is_escaped() {
        let identities = [IdentityRow {
            provider: HOSTILE,
            mark: None,
            email: Some(HOSTILE),
            email_verified: false,
            subject: HOSTILE,
            unlink_action: Some(HOSTILE.to_owned()),
        }];
        let more_ways = [MoreWays {
            provider: HOSTILE,
            mark: None,
            link_action: HOSTILE.to_owned(),
        }];
        let providers = [ProviderLink {
            id: HOSTILE,
            name: HOSTILE,
            mark: None,
            href: HOSTILE,
            available: false,
        }];
        let frame = Frame {
            nonce: "n",
            product: HOSTILE,
            texts: Texts::english(),
        };
        for html in [
            render(&Account {
                frame,
                name: Some(HOSTILE),
                email: Some(HOSTILE),
                identities: &identities,
                more_ways: &more_ways,
                sign_out_action: HOSTILE,
                created: HOSTILE,
                created_words: HOSTILE,
            }),
            render(&SignIn {
                frame,
                providers: &providers,
                lead: Lead::Connect {
                    provider: HOSTILE,
                    action: HOSTILE,
                },
            }),
            render(&Connect {
                frame,
                provider: HOSTILE,
                mark: None,
                email: Some(HOSTILE),
                person: Some(HOSTILE),
                action: HOSTILE,
            }),
            render(&Leaving {
                frame,
                provider: HOSTILE,
                url: HOSTILE,
            }),
            render(&SignOut {
                frame,
                action: HOSTILE,
                return_to: Some(HOSTILE),
            }),
            render(&Confirm {
                frame,
                front_end: HOSTILE,
                person: Some(HOSTILE),
                origin: HOSTILE,
                action: HOSTILE,
            }),
            render(&ErrorPage {
                frame,
                words: texts::error_text(crate::error::Code::BadRequest),
                reference: Some(HOSTILE),
                sign_in_href: HOSTILE,
            }),
        ] {
            assert!(
                !html.contains("<script") && !html.contains("alert('\""),
                "{html}"
            );
            assert!(
                html.contains("&#60;script") || html.contains("&lt;script"),
                "{html}"
            );
        }
    }

    #[test]
    fn a_page_is_small_and_asks_no_other_site_for_anything() {
        let frame = Frame {
            nonce: "n",
            product: "",
            texts: Texts::english(),
        };
        let providers: Vec<ProviderLink<'_>> = ["google", "acme", "other"]
            .into_iter()
            .map(|id| ProviderLink {
                id,
                name: id,
                mark: None,
                href: "/auth/x/login",
                available: true,
            })
            .collect();
        let html = render(&SignIn {
            frame,
            providers: &providers,
            lead: Lead::Open,
        });
        assert!(html.len() < 15_000, "{} bytes", html.len());
        assert!(
            !html.contains("http://")
                && !html.contains("https://")
                && !html.contains("<script")
                && !html.contains("style=\"")
        );
        assert!(html.contains("Continue with google"));
    }
}
