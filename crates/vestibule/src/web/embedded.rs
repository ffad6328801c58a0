//! Browsers inside of apps, which some providers refuse with a page of their own that says little
//! (`disallowed_useragent`). They are recognised before the person goes there, and told how to open a real one.

use http::{HeaderMap, header};

use crate::Vestibule;
use crate::error::{Code, Failure};

/// What the browsers of apps add to their `User-Agent`.
const APPS: &[&str] = &[
    "; wv)",
    "FBAN/",
    "FBAV/",
    "FB_IAB/",
    "Instagram ",
    "Line/",
    "MicroMessenger/",
    "KAKAOTALK",
    "NAVER(inapp",
    "Snapchat/",
    "LinkedInApp",
    "BytedanceWebview",
    "musical_ly",
    "Pinterest/",
    "Twitter for iPhone",
];

/// Refuses a login start in a browser that the provider would refuse.
pub(super) fn refuse(
    vestibule: &Vestibule,
    provider: &str,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let provider = vestibule.provider(provider)?;
    let user_agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !provider.preset.quirks.refuses_embedded_browsers || !is_embedded(user_agent) {
        return Ok(());
    }
    Err(Failure::new(
        Code::EmbeddedBrowser,
        "embedded_browser",
        format!(
            "{} refuses the browser inside of an app; the person was told to open another one",
            provider.name
        ),
    ))
}

/// Whether a browser is one inside of an app: by what apps say, or on iOS by what they do not say. There a web view has
/// the engine of the browser, and neither its name nor that of another one.
fn is_embedded(user_agent: &str) -> bool {
    let is_ios = ["(iPhone;", "(iPad;", "(iPod"]
        .iter()
        .any(|device| user_agent.contains(device));
    APPS.iter().any(|app| user_agent.contains(app))
        || is_ios && user_agent.contains("AppleWebKit/") && !user_agent.contains("Safari/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_of_apps_are_recognised_and_no_other_is() {
        for app in [
            "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 338.0.0 (iPhone14,5)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari/604.1 Line/14.9.0",
        ] {
            assert!(is_embedded(app), "{app}");
        }
        for browser in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
            "curl/8.5.0",
            "",
        ] {
            assert!(!is_embedded(browser), "{browser}");
        }
    }
}
