//! Authorization requests that a client pushes.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const SECRET: (&str, &str) = ("client_secret", "s e:cret");

/// A stand-in that wants requests pushed, and its clock.
async fn started_for_pushed() -> (DevIdp, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(1_700_000_000));
    let theirs = Arc::clone(&now);
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .client("other", "secret")
        .clock(Arc::new(move || theirs.load(Ordering::SeqCst)))
        .require_pushed_authorization_requests()
        .start()
        .await
        .unwrap();
    (idp, now)
}

/// Pushes the honest request with some parameters replaced, and gives the URI that names it.
async fn pushed(idp: &DevIdp, changes: &[(&'static str, &'static str)]) -> String {
    let answer = post(idp, "/par", &[&with(changes)[..], &[SECRET]].concat()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer = json(answer).await;
    assert_eq!(answer["expires_in"], 60);
    answer["request_uri"].as_str().unwrap().to_owned()
}

async fn get(address: impl reqwest::IntoUrl) -> Response {
    client().get(address).send().await.unwrap()
}

async fn visit(idp: &DevIdp, client_id: &str, request_uri: &str) -> Response {
    let named = [("client_id", client_id), ("request_uri", request_uri)];
    get(url(idp, "/authorize", &named)).await
}

/// The links of one of our pages that hold this text. A link has no character that HTML escapes but `&`.
fn links(page: &str, text: &str) -> Vec<String> {
    let all = page.split("href=\"").skip(1);
    all.filter_map(|rest| rest.split('"').next())
        .map(|link| link.replace("&#38;", "&"))
        .filter(|link| link.contains(text))
        .collect()
}

async fn assert_stays_here(response: Response) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(response.headers().get("location").is_none());
}

#[tokio::test]
async fn a_pushed_request_leads_over_the_pages_to_a_code_and_is_in_no_address() {
    let (idp, _) = started_for_pushed().await;
    let request_uri = pushed(&idp, &[("login_hint", "bob@example.com")]).await;
    let consent = visit(&idp, "client", &request_uri).await;
    let consent = consent.text().await.unwrap();
    assert!(consent.contains("Bob Brown"));
    for link in links(&consent, "/authorize") {
        assert!(!link.contains("redirect_uri") && !link.contains("s-1"));
    }
    let other = links(&consent, "choose=").remove(0);
    let choose = get(other).await.text().await.unwrap();
    let alice = links(&choose, "choose=alice").remove(0);
    let consent = get(alice).await.text().await.unwrap();
    assert!(consent.contains("Alice Adams") && !consent.contains("Bob Brown"));
    let allow = links(&consent, "user=").remove(0);
    let parameters = brought_back(&get(&allow).await);
    assert_eq!(value_of(&parameters, "state"), Some("s-1"));
    let code = value_of(&parameters, "code").unwrap();
    let answer = redeem(&idp, &honest_form(code)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(idp.counters().pushed_requests, 1);
    // It was answered: no second code comes of it.
    assert_stays_here(get(&allow).await).await;
}

#[tokio::test]
async fn a_test_chooses_in_one_step_and_a_person_can_cancel() {
    let (idp, _) = started_for_pushed().await;
    let request_uri = pushed(&idp, &[]).await;
    let named = [
        ("client_id", "client"),
        ("request_uri", request_uri.as_str()),
        ("user", "alice@example.com"),
        // What stands beside the name does not count.
        ("state", "s-2"),
        ("redirect_uri", "https://evil.example/cb"),
    ];
    let parameters = brought_back(&get(url(&idp, "/authorize", &named)).await);
    assert_eq!(value_of(&parameters, "state"), Some("s-1"));
    assert!(value_of(&parameters, "code").is_some());

    let request_uri = pushed(&idp, &[]).await;
    let page = visit(&idp, "client", &request_uri).await;
    let page = page.text().await.unwrap();
    let cancel = links(&page, "cancel=").remove(0);
    let parameters = brought_back(&get(cancel).await);
    assert_eq!(value_of(&parameters, "error"), Some("access_denied"));
    let allow = links(&page, "choose=alice").remove(0);
    assert_stays_here(get(allow).await).await;
}

#[tokio::test]
async fn a_request_uri_is_good_once_for_a_minute_for_its_own_client() {
    let (idp, now) = started_for_pushed().await;
    let request_uri = pushed(&idp, &[]).await;
    assert_eq!(
        visit(&idp, "client", &request_uri).await.status(),
        StatusCode::OK
    );
    assert_stays_here(visit(&idp, "client", &request_uri).await).await;

    for other in ["other", "", "stranger"] {
        let request_uri = pushed(&idp, &[]).await;
        assert_stays_here(visit(&idp, other, &request_uri).await).await;
    }
    let unknown = "urn:ietf:params:oauth:request_uri:x";
    assert_stays_here(visit(&idp, "client", unknown).await).await;

    let request_uri = pushed(&idp, &[]).await;
    now.fetch_add(59, Ordering::SeqCst);
    let page = visit(&idp, "client", &request_uri).await;
    let page = page.text().await.unwrap();
    let step = links(&page, "choose=alice").remove(0);
    let request_uri = pushed(&idp, &[]).await;
    now.fetch_add(60, Ordering::SeqCst);
    assert_stays_here(visit(&idp, "client", &request_uri).await).await;
    // A person has longer than a browser needs.
    assert_eq!(get(&step).await.status(), StatusCode::OK);
    now.fetch_add(600, Ordering::SeqCst);
    assert_stays_here(get(&step).await).await;
}

#[tokio::test]
async fn a_request_in_a_url_is_refused_where_it_has_to_be_pushed_and_only_there() {
    let (idp, _) = started_for_pushed().await;
    let refused = authorize(&idp, &[("user", "alice@example.com")]).await;
    let parameters = brought_back(&refused);
    assert_eq!(value_of(&parameters, "error"), Some("invalid_request"));
    assert_eq!(value_of(&parameters, "code"), None);
    assert_eq!(value_of(&parameters, "state"), Some("s-1"));

    let metadata = async |idp: &DevIdp| {
        let address = url(idp, "/.well-known/openid-configuration", &[]);
        json(get(address).await).await
    };
    let required = "require_pushed_authorization_requests";
    let endpoint = "pushed_authorization_request_endpoint";
    let here = metadata(&idp).await;
    assert_eq!(here[required], true);
    assert_eq!(here[endpoint], format!("{}/par", idp.issuer()));

    let idp = started().await;
    let there = metadata(&idp).await;
    assert_eq!(there[required], false);
    assert_eq!(there[endpoint], format!("{}/par", idp.issuer()));
    let request_uri = pushed(&idp, &[]).await;
    assert_eq!(
        visit(&idp, "client", &request_uri).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_wrong_request_is_refused_when_it_is_pushed() {
    let (idp, _) = started_for_pushed().await;
    for (changes, error) in [
        (
            [("redirect_uri", "https://evil.example/cb")],
            "invalid_request",
        ),
        ([("response_type", "token")], "unsupported_response_type"),
        ([("code_challenge", "")], "invalid_request"),
        ([("scope", "email")], "invalid_scope"),
        ([("request_uri", "urn:x")], "invalid_request"),
    ] {
        let answer = post(&idp, "/par", &[&with(&changes)[..], &[SECRET]].concat()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{changes:?}");
        let answer = json(answer).await;
        assert_eq!(answer["error"], error, "{changes:?}");
        assert!(answer.get("request_uri").is_none(), "{changes:?}");
    }
    for proof in [("client_secret", "another"), ("state", "s-2")] {
        let parameters = [&with(&[("state", "")])[..], &[proof]].concat();
        let answer = post(&idp, "/par", &parameters).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(json(answer).await["error"], "invalid_client");
    }
    // The client proves who it is, and the request names nobody.
    let request = client()
        .post(url(&idp, "/par", &[]))
        .basic_auth("client", Some("s e:cret"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&with(&[("client_id", "")])));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(answer).await["error"], "invalid_request");
}
