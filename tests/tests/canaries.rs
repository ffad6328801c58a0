//! No secret of a sign-in in any log at `trace`, in a URL after it, in an error page, or readable in the database
//! (S81, S82). In a file of its own: the log of the whole process is searched.

use axum::body::Body;
use http::{Request, header};
use url::Url;
use vestibule_devidp::Fault;
use vestibule_tests::{App, log_text};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_reaches_a_log_a_page_or_a_plain_column() {
    let app = App::start().await;
    let mut secrets = vec!["canary-client-secret".to_owned()];
    let mut pages = String::new();
    for fault in [
        Fault::None,
        Fault::WrongSignature,
        Fault::TokenHtml,
        Fault::TokenInvalidGrant,
        Fault::NoEmail,
        Fault::WrongNonce,
        Fault::CallbackWrongIss,
    ] {
        app.idp.set_fault(fault);
        let mut browser = app.browser();
        let url = browser.begin().await;
        for (name, value) in url.query_pairs() {
            if matches!(&*name, "state" | "nonce" | "code_challenge") {
                secrets.push(value.into_owned());
            }
        }
        secrets.extend(browser.cookies.values().cloned());
        let callback = browser.at_provider(&url, "alice@example.com").await;
        let query = Url::parse(&callback).unwrap();
        secrets.extend(
            query
                .query_pairs()
                .filter(|(name, _)| name == "code")
                .map(|(_, value)| value.into_owned()),
        );
        let answer = browser.get(&callback).await;
        pages.push_str(answer.location());
        pages.push_str(&browser.get(answer.location()).await.body);
        secrets.extend(browser.session().map(str::to_owned));
        if let Some(seen) = app.idp.last_token_request() {
            secrets.extend(seen.authorization.clone());
            secrets.extend(
                url::form_urlencoded::parse(seen.form.as_bytes())
                    .filter(|(name, _)| {
                        matches!(&**name, "code" | "code_verifier" | "client_secret")
                    })
                    .map(|(_, value)| value.into_owned()),
            );
        }
    }
    // A forged request whose parts are canaries too.
    let request = Request::get(
        "/auth/google/callback?code=canary-code&state=canary-state&id_token=canary-token",
    )
    .header(
        header::COOKIE,
        "vestibule_session=canary-cookie; vestibule_flow_00000000=canary-flow",
    )
    .header(header::AUTHORIZATION, "Bearer canary-bearer");
    let answer = app
        .browser()
        .send(request.body(Body::empty()).unwrap())
        .await;
    pages.push_str(answer.location());
    secrets.extend(
        [
            "canary-code",
            "canary-state",
            "canary-token",
            "canary-cookie",
            "canary-flow",
            "canary-bearer",
        ]
        .map(str::to_owned),
    );

    secrets.retain(|secret| !secret.is_empty());
    assert!(secrets.len() > 30, "{} canaries", secrets.len());
    app.vestibule.close().await;
    let log = log_text();
    assert!(
        log.contains("login.succeeded") && log.contains("login.failed"),
        "the log is there to be searched"
    );
    let mut database = Vec::new();
    for file in std::fs::read_dir(app.folder.path()).unwrap() {
        let path = file.unwrap().path();
        // The configuration of this test holds the client's secret; our own secret's file holds our own.
        if path.to_string_lossy().contains("vestibule.db") {
            database.extend(std::fs::read(path).unwrap());
        }
    }
    for secret in &secrets {
        let start: String = secret.chars().take(12).collect();
        assert!(!log.contains(secret.as_str()), "in the log: {start}...");
        assert!(
            !pages.contains(secret.as_str()),
            "in a page or URL: {start}..."
        );
        assert!(
            !database
                .windows(secret.len())
                .any(|window| window == secret.as_bytes()),
            "in the database: {start}..."
        );
    }
}
