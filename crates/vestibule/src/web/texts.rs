//! The catalogue: every word that a page shows. Templates hold none.

use vestibule_accounts::Timestamp;

use crate::error::Code;
use crate::oauth::reply::OAuthError;

/// The words of one language.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) lang: &'static str,
    pub(super) dir: &'static str,
    pub(super) sign_in: &'static str,
    pub(super) sign_in_to: &'static str,
    pub(super) sign_in_lead: &'static str,
    pub(super) sign_in_lead_closed: &'static str,
    pub(super) connect_lead: &'static str,
    pub(super) connect_lead_end: &'static str,
    pub(super) connect_question: &'static str,
    pub(super) connect_question_end: &'static str,
    pub(super) connect_explained: &'static str,
    pub(super) connect_button: &'static str,
    pub(super) not_now: &'static str,
    pub(super) again_lead: &'static str,
    pub(super) going_to: &'static str,
    pub(super) going_lead: &'static str,
    pub(super) more_ways: &'static str,
    pub(super) add: &'static str,
    pub(super) remove: &'static str,
    pub(super) no_providers: &'static str,
    pub(super) continue_with: &'static str,
    pub(super) provider_away: &'static str,
    pub(super) sign_out: &'static str,
    pub(super) sign_out_question: &'static str,
    pub(super) sign_out_lead: &'static str,
    pub(super) account: &'static str,
    pub(super) no_email: &'static str,
    pub(super) ways_in: &'static str,
    pub(super) unverified: &'static str,
    pub(super) member_since: &'static str,
    pub(super) try_again: &'static str,
    pub(super) reference_lead: &'static str,
    pub(super) continue_to: &'static str,
    pub(super) continue_lead: &'static str,
    pub(super) signed_in_as: &'static str,
    pub(super) continue_button: &'static str,
    months: [&'static str; 12],
}

static ENGLISH: Texts = Texts {
    lang: "en",
    dir: "ltr",
    sign_in: "Sign in",
    sign_in_to: "Sign in to",
    sign_in_lead: "New here? Continue, and your account is made.",
    sign_in_lead_closed: "Welcome back.",
    connect_lead: "You already have an account here. Sign in the way you did before, and we connect",
    connect_lead_end: "to it.",
    connect_question: "Connect",
    connect_question_end: "to your account?",
    connect_explained: "From then on you can sign in either way, and land in the same account.",
    connect_button: "Connect",
    not_now: "Not now",
    again_lead: "To change how you sign in, please sign in once more.",
    going_to: "Going to",
    going_lead: "You come back here afterwards.",
    more_ways: "Add a way to sign in",
    add: "Add",
    remove: "Remove",
    no_providers: "No way to sign in is set up yet.",
    continue_with: "Continue with",
    provider_away: "Does not answer at the moment.",
    sign_out: "Sign out",
    sign_out_question: "Sign out?",
    sign_out_lead: "You will be signed out in this browser. Your account stays as it is.",
    account: "Your account",
    no_email: "No e-mail address",
    ways_in: "Ways to sign in",
    unverified: "not verified",
    member_since: "Here since",
    try_again: "Back to sign-in",
    reference_lead: "If you ask for help, give this reference:",
    continue_to: "Continue to",
    continue_lead: "You are signed in. The application gets to know who you are, at",
    signed_in_as: "Signed in as",
    continue_button: "Continue",
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
};

impl Texts {
    pub(super) fn english() -> &'static Self {
        &ENGLISH
    }

    /// A day in UTC as a person reads it.
    pub(super) fn day(&self, time: Timestamp) -> String {
        let Ok(time) = jiff::Timestamp::from_microsecond(time.micros()) else {
            return String::new();
        };
        let date = jiff::tz::Offset::UTC.to_datetime(time).date();
        let month = usize::from(date.month().unsigned_abs()) - 1;
        format!("{} {} {}", date.day(), self.months[month], date.year())
    }
}

/// The fixed words for one code: what happened, and what the person can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ErrorText {
    pub(super) title: &'static str,
    pub(super) message: &'static str,
    pub(super) advice: &'static str,
}

/// The words for a code. Nothing of a provider's text and nothing about other people's accounts is in them.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn error_text(code: Code) -> ErrorText {
    const AGAIN: &str = "Please sign in again.";
    const LATER: &str = "Please try again in a few minutes.";
    const OPERATOR: &str = "Please tell the people who run this site, and give them the reference.";
    let (title, message, advice) = match code {
        Code::ProviderUnknown => (
            "There is no such way to sign in",
            "This site does not offer that provider.",
            "Go back and choose one of the ways that are offered.",
        ),
        Code::ProviderDisabled => (
            "This way to sign in was switched off",
            "The provider was taken out while you were signing in.",
            "Go back and choose another way.",
        ),
        Code::ProviderUnavailable => (
            "The provider does not answer",
            "The service that you sign in with cannot be reached at the moment.",
            LATER,
        ),
        Code::ProviderMisconfigured => (
            "This way to sign in is not set up correctly",
            "The provider and this site do not fit together.",
            OPERATOR,
        ),
        Code::ProviderError => (
            "The provider reported a problem",
            "The service that you sign in with answered with an error.",
            LATER,
        ),
        Code::AccessDenied => (
            "Sign-in cancelled",
            "You did not continue at the provider, and nothing was changed here.",
            "You can try again whenever you like.",
        ),
        Code::CookieMissing => (
            "Your browser sent no cookie",
            "Signing in needs cookies, and none came back with you.",
            "Allow cookies for this site, then sign in again.",
        ),
        Code::StateMissing => (
            "The sign-in is incomplete",
            "The address that you came back with lacks a part.",
            AGAIN,
        ),
        Code::StateInvalid => (
            "This sign-in is not one of ours",
            "The address that you came back with does not belong to a sign-in that began here.",
            AGAIN,
        ),
        Code::StateExpired => (
            "The sign-in took too long",
            "More than ten minutes passed since you began.",
            AGAIN,
        ),
        Code::StateUsed => (
            "This sign-in was used before",
            "The page was loaded a second time, as the back button or a reload does.",
            "If you are not signed in, please sign in again.",
        ),
        Code::StateOtherBrowser => (
            "The sign-in began elsewhere",
            "It began in another browser or another window mode.",
            "Finish it in the browser where it began, or sign in again here.",
        ),
        Code::ProviderMismatch => (
            "The answer belongs to another sign-in",
            "It came for another provider than the one that you chose.",
            AGAIN,
        ),
        Code::IssuerMismatch => (
            "The answer came from somewhere else",
            "It does not come from the provider that you chose.",
            "Please sign in again. If it happens once more, tell the people who run this site.",
        ),
        Code::BadRequest => (
            "That request made no sense",
            "A part of the address is missing or comes twice.",
            "Go back and begin again.",
        ),
        Code::ClientRejected => (
            "The provider does not accept this site",
            "The credentials of this site were refused.",
            OPERATOR,
        ),
        Code::CodeRejected => (
            "The provider did not accept the sign-in",
            "It had expired, or was used before.",
            AGAIN,
        ),
        Code::TokenResponseInvalid => (
            "The provider's answer was not usable",
            "A part of it is missing or malformed.",
            OPERATOR,
        ),
        Code::IdTokenInvalid => (
            "The provider's answer could not be verified",
            "We did not sign you in, to keep your account safe.",
            "Please sign in again. If it happens once more, tell the people who run this site.",
        ),
        Code::NonceMismatch => (
            "The answer belongs to another sign-in",
            "It was made for a sign-in that is not this one.",
            AGAIN,
        ),
        Code::ClockSkew => (
            "Two clocks do not agree",
            "The provider's clock and that of this site differ too much.",
            OPERATOR,
        ),
        Code::SubMismatch => (
            "The provider's answers contradict each other",
            "They speak of two different people.",
            OPERATOR,
        ),
        Code::EmailMissing => (
            "An e-mail address is needed",
            "The provider did not tell us your address.",
            "Sign in again and allow the address to be shared, or use another way.",
        ),
        Code::EmailUnverified => (
            "Your e-mail address is not verified",
            "The provider has not verified your address yet.",
            "Verify it at the provider, then sign in again.",
        ),
        Code::AccountExists => (
            "You already have an account",
            "An account with your address exists here, and it signs in another way.",
            "Sign in the way you did before.",
        ),
        Code::IdentityInUse => (
            "That account is connected already",
            "It is a way to sign in to another account here.",
            "Sign out first if you meant that one.",
        ),
        Code::LastMethod => (
            "It is your last way in",
            "Without it you could not sign in any more.",
            "Connect another way first.",
        ),
        Code::DomainNotAllowed => (
            "This site is for members",
            "Your address does not belong to an organisation that may sign in here.",
            "Use the address of your organisation.",
        ),
        Code::SignupClosed => (
            "There is no account for you here",
            "Nobody new can join this site by themselves.",
            "Ask the people who run it. If they invited you, sign in with the address that they invited.",
        ),
        Code::AccountDisabled => (
            "This account is switched off",
            "The people who run this site have disabled it.",
            "Ask them if you think that this is a mistake.",
        ),
        Code::LinkRequired => (
            "Connect this way to your account",
            "An account with your address exists here.",
            "Sign in the way you did before, then connect the new way.",
        ),
        Code::ReauthRequired => (
            "Please confirm that it is you",
            "This change asks for a fresh sign-in.",
            AGAIN,
        ),
        Code::RedirectNotAllowed => (
            "That target is not registered",
            "The application asked to send you to an address that this site does not know.",
            OPERATOR,
        ),
        Code::HandoffCodeInvalid => (
            "The sign-in could not be handed over",
            "The one-time code had expired, or was used before.",
            AGAIN,
        ),
        Code::CsrfFailed => (
            "The request came from another site",
            "For your safety it was not carried out.",
            "Open this site directly and try again.",
        ),
        Code::RateLimited => (
            "Too many attempts",
            "There were many attempts within a short time.",
            "Please wait a minute, then try again.",
        ),
        Code::SessionExpired => ("You were signed out", "Your session is over.", AGAIN),
        Code::EmbeddedBrowser => (
            "Please open a real browser",
            "The provider refuses browsers inside of other apps.",
            "Open this page in your browser, then sign in.",
        ),
        Code::Unauthorized => (
            "You are not signed in",
            "This page is for people who are signed in.",
            "Please sign in.",
        ),
        Code::Forbidden => (
            "You may not do this",
            "Your account does not have the right to.",
            "Ask the people who run this site.",
        ),
        Code::NotFound => (
            "Nothing is here",
            "The address does not lead anywhere.",
            "Check it, or begin at the sign-in page.",
        ),
        Code::MethodNotAllowed => (
            "That does not work here",
            "The address exists, and cannot be used in this way.",
            "Go back and begin again.",
        ),
        Code::PayloadTooLarge => (
            "That was too much",
            "The request is larger than this site accepts.",
            "Send less.",
        ),
        Code::ServiceUnavailable => (
            "We cannot sign you in at the moment",
            "A part of this site does not answer.",
            LATER,
        ),
        Code::InternalError => (
            "Something went wrong on our side",
            "It was written down, and nothing was changed.",
            LATER,
        ),
    };
    ErrorText {
        title,
        message,
        advice,
    }
}

/// The fixed words for a client's developer: what to look at. The reason of the one request is in the log alone.
pub(super) fn oauth_error(error: OAuthError) -> &'static str {
    match error {
        OAuthError::AccessDenied => "The person may not sign in, or did not want to.",
        OAuthError::InteractionRequired => "The person has to press a button first.",
        OAuthError::InvalidClient => {
            "The client did not prove who it is. Check client_id and client_secret."
        }
        OAuthError::InvalidGrant => {
            "The code or token does not hold: expired, used, revoked, or not of this client, redirect_uri or code_verifier. Let the person sign in again."
        }
        OAuthError::InvalidRequest => {
            "The request lacks a parameter, has one twice, or one that does not do. The server's log names it."
        }
        OAuthError::LoginRequired => "Nobody is signed in.",
        OAuthError::ServerError => "Something went wrong on our side.",
        OAuthError::TemporarilyUnavailable => "Please try again in a few seconds.",
        OAuthError::UnauthorizedClient => "This client does not get its tokens here.",
        OAuthError::UnsupportedGrantType => "grant_type is authorization_code or refresh_token.",
        OAuthError::UnsupportedResponseType => "response_type is code.",
        OAuthError::UnsupportedTokenType => "A token of this kind ends at its exp alone.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_people_write_it() {
        let day = |seconds: i64| Texts::english().day(Timestamp::from_micros(seconds * 1_000_000));
        assert_eq!(day(0), "1 January 1970");
        assert_eq!(day(1_795_564_799), "24 November 2026");
        assert_eq!(day(i64::MAX / 1_000_000), "");
    }

    // S81
    #[test]
    fn every_code_has_words_that_say_what_to_do() {
        for code in Code::ALL {
            let words = error_text(*code);
            assert!(
                !words.title.is_empty()
                    && words.message.ends_with('.')
                    && words.advice.ends_with('.'),
                "{code}"
            );
            assert!(!words.message.contains('_'), "{code}: {}", words.message);
        }
    }
}
