//! Node.js: `openid-client` against our metadata.

use reqwest::StatusCode;

use crate::example::{Example, Packages};
use crate::visitor::Visitor;

const APP: u16 = 3000;

/// What the application says each time.
const REFRESHED: &str = "refreshed the access token";

pub(crate) async fn sign_in_and_refresh() {
    let mut example = Example::copy("node", &[APP]);
    // Less than a minute is left of each token from the first moment on.
    example.change("vestibule.toml", |text| {
        format!("access_token_lifetime = \"30s\"\n{text}")
    });
    example.run(Packages::Installed);
    let app = example.origin(APP);

    let mut alice = Visitor::new("alice@example.com");
    let start = alice.open(&app).await;
    let door = alice.open(start.link("Continue with Google")).await;
    let me = alice.open(door.link("Continue with Google")).await;
    assert_eq!(
        me.url.as_str(),
        format!("{app}/me"),
        "{}\n{}",
        me.body,
        example.said()
    );
    assert_eq!(me.json()["email"], "alice@example.com");
    assert_eq!(me.json()["name"], "Alice Adams");
    // Each refresh token is the successor of the last.
    for times in 1..4 {
        example.hear(REFRESHED, times).await;
        let me = alice.open(format!("{app}/me")).await;
        assert_eq!(me.status, StatusCode::OK, "{}\n{}", me.body, example.said());
        assert_eq!(me.json()["email"], "alice@example.com");
    }

    // Nobody else, and no answer to what nobody began.
    let mut bob = Visitor::new("bob@example.com");
    assert_eq!(bob.open(format!("{app}/me")).await.url.path(), "/");
    let vestibule = example.vestibule();
    let forged = format!("{app}/callback?code=x&state=y&iss={vestibule}");
    assert_eq!(bob.open(forged).await.status, StatusCode::BAD_REQUEST);
}

pub(crate) async fn cancel() {
    let mut example = Example::copy("node", &[APP]);
    example.run(Packages::Installed);
    let app = example.origin(APP);
    let mut carol = Visitor::undecided();
    let start = carol.open(&app).await;
    let door = carol.open(start.link("Continue with Google")).await;
    let choose = carol.open(door.link("Continue with Google")).await;
    let answer = carol.open(choose.link("Cancel")).await;
    assert_eq!(answer.url.path(), "/callback", "{}", answer.body);
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("Sign in again"), "{}", answer.body);
    example.hear("access_denied", 1).await;
}
