//! The two Streamlit pages, in Chromium.

use crate::chromium::Chromium;
use crate::example::{Example, Packages};

const PAGE: u16 = 8501;

fn copy() -> Example {
    Example::copy("streamlit", &[PAGE])
}

async fn begin(example: &Example) -> Chromium {
    let chromium = Chromium::start(true).await;
    chromium.open(&example.origin(PAGE)).await;
    chromium.click("Continue with Google").await;
    chromium
}

async fn arrived(chromium: &Chromium, example: &Example) {
    chromium.heading("Hello Alice Adams").await;
    chromium.says("alice@example.com").await;
    assert_eq!(
        chromium.url().await.as_str(),
        format!("{}/", example.origin(PAGE))
    );
}

pub(crate) async fn token() {
    let mut example = copy();
    for command in &mut example.commands {
        *command = command.replace("page_code.py", "page_token.py");
    }
    example.run(Packages::Installed);
    let chromium = begin(&example).await;
    chromium.consent("Alice Adams").await;
    arrived(&chromium, &example).await;
    chromium.close().await;
}

pub(crate) async fn code() {
    let mut example = copy();
    // By way of the sign-in page, whose address shows the page's state.
    example.change("page_code.py", |text| {
        text.replace("\"provider\": \"google\",", "")
    });
    example.run(Packages::Installed);
    let chromium = begin(&example).await;
    chromium.heading("Sign in").await;
    chromium.click("Continue with Google").await;
    chromium.consent("Alice Adams").await;
    arrived(&chromium, &example).await;

    // A state is one browser's own: whoever is led to the end of another's sign-in is not signed in by it.
    let attacker = Chromium::start(true).await;
    attacker.open(&example.origin(PAGE)).await;
    attacker.click("Continue with Google").await;
    attacker.heading("Sign in").await;
    let address = attacker.url().await;
    let (_, return_to) = address.query_pairs().next().unwrap();
    let request = address.join(&return_to).unwrap();
    let (_, state) = request
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap_or_else(|| panic!("{address}"));
    let (page, vestibule) = (example.origin(PAGE), example.vestibule());
    let forged = format!("{page}/?code=mine&state={state}&iss={vestibule}");
    chromium.open(&forged).await;
    chromium.says("This sign-in did not begin here").await;
    attacker.close().await;
    chromium.close().await;
    assert!(!example.said().contains("Traceback"), "{}", example.said());
}

/// `GET /auth/google/login` without parameters, with the page for codes as the one that receives it.
pub(crate) async fn from_vestibule() {
    let mut example = copy();
    example.change("vestibule.toml", |text| {
        text.replace("default = true\n", "")
            .replace("handoff = \"code\"", "handoff = \"code\"\ndefault = true")
    });
    example.run(Packages::Installed);
    let chromium = Chromium::start(true).await;
    chromium
        .open(&format!("{}/auth/google/login", example.vestibule()))
        .await;
    chromium.consent("Alice Adams").await;
    arrived(&chromium, &example).await;
    chromium.close().await;
}
