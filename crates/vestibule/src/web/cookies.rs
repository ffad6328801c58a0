//! Our cookies: names, attributes, and how they are read. Two cookies of one name, or one that is too long, is no cookie.

use http::{HeaderMap, HeaderValue, header};

use vestibule_accounts::SessionToken;

use crate::attempt;
use crate::linking;

/// The longest value that we read: a sealed attempt fits (1.6 KiB).
const MAX_VALUE: usize = 1_638;
/// How many attempts one browser keeps.
const MAX_FLOWS: usize = 4;
/// How long a browser keeps an attempt's cookie, in seconds: longer than the attempt lives, so that "expired" can be said.
const FLOW_MAX_AGE: i64 = 3_600;

const SESSION: &str = "vestibule_session";
const FLOW: &str = "vestibule_flow_";
const LINK: &str = "vestibule_link";
const NONCE: &str = "vestibule_nonce";
/// The longest identity that waits: its target may have 1,024 bytes, its names some hundred.
const MAX_LINK: usize = 3_800;

/// Whether names carry the prefix that binds them to host and https. Off on http loopback alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Prefix {
    /// `__Host-`, and `Secure`.
    Host,
    /// A browser takes no `__Host-` cookie over http.
    None,
}

impl Prefix {
    fn text(self) -> &'static str {
        match self {
            Self::Host => "__Host-",
            Self::None => "",
        }
    }

    fn name(self, rest: &str) -> String {
        format!("{}{rest}", self.text())
    }

    fn set(self, name: &str, value: &str, max_age: i64) -> HeaderValue {
        self.set_with(name, value, max_age, false)
    }

    fn set_with(
        self,
        name: &str,
        value: &str,
        max_age: i64,
        from_other_sites: bool,
    ) -> HeaderValue {
        let attributes = match (self, from_other_sites) {
            (Self::Host, false) => "; Secure; SameSite=Lax",
            (Self::None, false) => "; SameSite=Lax",
            // Browsers take it with `Secure` alone, and that on loopback too.
            (_, true) => "; Secure; SameSite=None",
        };
        let text = format!(
            "{}={value}; Path=/; HttpOnly{attributes}; Max-Age={max_age}",
            self.name(name)
        );
        let mut value =
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// A session begins.
    pub(crate) fn set_session(self, token: &SessionToken, max_age: i64) -> HeaderValue {
        self.set(SESSION, &token.expose(), max_age)
    }

    /// A session is over.
    pub(crate) fn clear_session(self) -> HeaderValue {
        self.set(SESSION, "", 0)
    }

    /// An attempt begins. It comes back with a link; or, where the provider makes the browser post a form, also from its
    /// site (S18, S64).
    pub(crate) fn set_flow(self, suffix: &str, sealed: &str, form_post: bool) -> HeaderValue {
        self.set_with(&format!("{FLOW}{suffix}"), sealed, FLOW_MAX_AGE, form_post)
    }

    /// An attempt is over.
    pub(crate) fn clear_flow(self, suffix: &str) -> HeaderValue {
        self.set(&format!("{FLOW}{suffix}"), "", 0)
    }

    /// An identity waits for the owner of its address.
    pub(crate) fn set_link(self, sealed: &str) -> HeaderValue {
        self.set(LINK, sealed, linking::WAITS_SECONDS)
    }

    /// It waits no longer.
    pub(crate) fn clear_link(self) -> HeaderValue {
        self.set(LINK, "", 0)
    }

    /// The identity that waits in this browser, sealed.
    pub(crate) fn link(self, headers: &HeaderMap) -> Option<&str> {
        self.only(LINK, headers)
            .filter(|value| value.len() <= MAX_LINK)
    }

    /// Binds the nonce of a native sign-in to this browser.
    pub(crate) fn set_nonce(self, binding: &str, max_age: i64) -> HeaderValue {
        self.set(NONCE, binding, max_age)
    }

    /// The nonce was used.
    pub(crate) fn clear_nonce(self) -> HeaderValue {
        self.set(NONCE, "", 0)
    }

    /// What binds this browser's nonce.
    pub(crate) fn nonce(self, headers: &HeaderMap) -> Option<&str> {
        self.only(NONCE, headers)
            .filter(|value| value.len() <= MAX_VALUE)
    }

    /// The session of a request.
    pub(crate) fn session(self, headers: &HeaderMap) -> Option<SessionToken> {
        self.only(SESSION, headers).and_then(SessionToken::parse)
    }

    /// The value of a cookie. Several of the name are none (S66).
    fn only<'a>(self, rest: &str, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(rest);
        let mut found = pairs(headers).filter(|(candidate, _)| *candidate == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether a request carries a session cookie in whatever state.
    pub(crate) fn has_session(self, headers: &HeaderMap) -> bool {
        let name = self.name(SESSION);
        pairs(headers).any(|(candidate, _)| candidate == name)
    }

    /// The attempts of a request: what follows the prefix in the name, and the value. A name that comes twice is left
    /// out.
    pub(crate) fn flows(self, headers: &HeaderMap) -> Vec<(String, String)> {
        let name = self.name(FLOW);
        let mut flows: Vec<(String, Option<String>)> = Vec::new();
        for (candidate, value) in pairs(headers) {
            let Some(suffix) = candidate.strip_prefix(&name) else {
                continue;
            };
            if suffix.len() != 8
                || !suffix
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                || value.len() > MAX_VALUE
            {
                continue;
            }
            if let Some((_, value)) = flows.iter_mut().find(|(known, _)| known == suffix) {
                *value = None;
            } else if flows.len() < 64 {
                flows.push((suffix.to_owned(), Some(value.to_owned())));
            }
        }
        flows
            .into_iter()
            .filter_map(|(suffix, value)| Some((suffix, value?)))
            .collect()
    }

    /// The attempts that must go so that one more fits. Browsers send the oldest cookie first (RFC 6265 section 5.4).
    pub(crate) fn flows_to_drop(self, headers: &HeaderMap) -> Vec<String> {
        let flows = self.flows(headers);
        let too_many = (flows.len() + 1).saturating_sub(MAX_FLOWS);
        flows
            .into_iter()
            .take(too_many)
            .map(|(suffix, _)| suffix)
            .collect()
    }
}

/// All cookies of a request, in its order. The application's own cookies stand beside ours and may hold any bytes; a
/// value of ours that is no text counts as empty, so that it is still the second of its name.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let text = |bytes| Some(core::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t']));
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((
                text(&pair[..at])?,
                text(&pair[at + 1..]).unwrap_or_default(),
            ))
        })
}

/// The cookie's name for one attempt, without the prefix.
pub(crate) fn suffix(state: &vestibule_accounts::StateHash) -> String {
    attempt::cookie_suffix(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    // S64
    #[test]
    fn cookies_have_exactly_their_attributes() {
        let token = SessionToken::new([0; 32]);
        let value = "A".repeat(43);
        assert_eq!(
            Prefix::Host.set_session(&token, 60).to_str().unwrap(),
            format!(
                "__Host-vestibule_session={value}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60"
            )
        );
        assert_eq!(
            Prefix::None
                .set_flow("00ff00ff", "x", false)
                .to_str()
                .unwrap(),
            "vestibule_flow_00ff00ff=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"
        );
        // S18: for a provider that posts its answer, and for no other.
        assert_eq!(
            Prefix::Host
                .set_flow("00ff00ff", "x", true)
                .to_str()
                .unwrap(),
            "__Host-vestibule_flow_00ff00ff=x; Path=/; HttpOnly; Secure; SameSite=None; Max-Age=3600"
        );
        assert!(Prefix::Host.set_session(&token, 60).is_sensitive());
    }

    // S66
    #[test]
    fn two_session_cookies_are_none_in_either_order_and_in_two_headers() {
        let good = SessionToken::new([1; 32]);
        let cookie = format!("vestibule_session={}", good.expose().as_str());
        assert!(Prefix::None.session(&request(&[&cookie])).is_some());
        for cookies in [
            vec![format!("{cookie}; vestibule_session=x")],
            vec![format!("vestibule_session=x; {cookie}")],
            vec![cookie.clone(), cookie.clone()],
        ] {
            let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
            assert!(
                Prefix::None.session(&request(&cookies)).is_none(),
                "{cookies:?}"
            );
            assert!(Prefix::None.has_session(&request(&cookies)));
        }
    }

    // S66
    #[test]
    fn a_cookie_of_the_application_in_any_bytes_hides_none_of_ours() {
        let good = format!(
            "vestibule_session={}",
            SessionToken::new([1; 32]).expose().as_str()
        );
        let of = |before: &[u8]| {
            let value =
                HeaderValue::from_bytes(&[before, b"; ", good.as_bytes()].concat()).unwrap();
            let headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
            (
                Prefix::None.session(&headers).is_some(),
                Prefix::None.has_session(&headers),
            )
        };
        for theirs in ["name=J\u{f6}rg".as_bytes(), b"x=\xff", b"\xff=x", b"\xff"] {
            assert_eq!(of(theirs), (true, true), "{theirs:?}");
        }
        // A second one of the name is no less a second one for being no text.
        assert_eq!(of(b"vestibule_session=\xff"), (false, true));
    }

    // S66
    #[test]
    fn a_cookie_of_one_prefix_is_not_read_under_the_other() {
        let cookie = format!(
            "vestibule_session={}",
            SessionToken::new([1; 32]).expose().as_str()
        );
        assert!(Prefix::Host.session(&request(&[&cookie])).is_none());
    }

    // S66
    #[test]
    fn flow_cookies_that_are_doubled_long_or_misnamed_are_left_out() {
        let long = format!("vestibule_flow_00000003={}", "a".repeat(MAX_VALUE + 1));
        let headers = request(&[
            "vestibule_flow_00000001=a; vestibule_flow_00000002=b; vestibule_flow_00000002=c",
            &long,
            "vestibule_flow_0000000G=d; vestibule_flow_1=e",
        ]);
        assert_eq!(
            Prefix::None.flows(&headers),
            [("00000001".to_owned(), "a".to_owned())]
        );
    }

    // S9
    #[test]
    fn the_oldest_attempts_make_room_so_that_four_stay() {
        let three = request(&[
            "vestibule_flow_00000001=a; vestibule_flow_00000002=b; vestibule_flow_00000003=c",
        ]);
        assert!(Prefix::None.flows_to_drop(&three).is_empty());
        let five = request(&[
            "vestibule_flow_00000001=a; vestibule_flow_00000002=b; vestibule_flow_00000003=c; vestibule_flow_00000004=d; vestibule_flow_00000005=e",
        ]);
        assert_eq!(Prefix::None.flows_to_drop(&five), ["00000001", "00000002"]);
    }
}
