//! The stand-in as a client meets it, over HTTP.

use reqwest::{Client, Response, StatusCode, redirect::Policy};
use serde_json::Value;

use super::*;

mod client_auth;
mod people;
mod pushed;
mod refresh;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT_URI: &str = "http://localhost:8000/auth/google/callback";

async fn started() -> DevIdp {
    DevIdp::builder()
        .client("client", "s e:cret")
        .start()
        .await
        .unwrap()
}

fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

fn url(idp: &DevIdp, path: &str, parameters: &[(&str, &str)]) -> Url {
    Url::parse_with_params(&format!("{}{path}", idp.issuer()), parameters).unwrap()
}

const HONEST: &[(&str, &str)] = &[
    ("client_id", "client"),
    ("redirect_uri", REDIRECT_URI),
    ("response_type", "code"),
    ("scope", "openid email profile"),
    ("state", "s-1"),
    ("nonce", "n-1"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// The honest request with some parameters replaced; an empty value leaves one out.
fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let kept = HONEST
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes)
        .copied()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

async fn authorize(idp: &DevIdp, changes: &[(&'static str, &'static str)]) -> Response {
    client()
        .get(url(idp, "/authorize", &with(changes)))
        .send()
        .await
        .unwrap()
}

/// The parameters that a redirect brings back.
fn brought_back(response: &Response) -> Vec<(String, String)> {
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    Url::parse(location)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

fn value_of<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// The fields that a page posts to the client. Its values are such that nothing in them but `&quot;` is escaped in HTML.
async fn posted_back(response: Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), StatusCode::OK);
    let page = response.text().await.unwrap();
    assert!(page.contains(&format!(r#"<form method="post" action="{REDIRECT_URI}">"#)));
    page.lines()
        .filter_map(|line| line.strip_prefix(r#"<input type="hidden" name=""#))
        .filter_map(|line| line.strip_suffix(r#"">"#))
        .map(|line| {
            let (name, value) = line.split_once(r#"" value=""#).unwrap();
            (name.to_owned(), value.replace("&#34;", "\""))
        })
        .collect()
}

async fn code(idp: &DevIdp) -> String {
    let response = authorize(idp, &[("user", "alice@example.com")]).await;
    value_of(&brought_back(&response), "code")
        .unwrap()
        .to_owned()
}

fn form(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

async fn redeem(idp: &DevIdp, parameters: &[(&str, &str)]) -> Response {
    post(idp, "/token", parameters).await
}

async fn post(idp: &DevIdp, path: &str, parameters: &[(&str, &str)]) -> Response {
    client()
        .post(url(idp, path, &[]))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(parameters))
        .send()
        .await
        .unwrap()
}

fn honest_form(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", "client"),
        ("client_secret", "s e:cret"),
    ]
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_person_chooses_consents_and_the_client_learns_who_it_is() {
    let idp = started().await;
    let choose = authorize(&idp, &[]).await;
    assert_eq!(choose.status(), StatusCode::OK);
    let choose = choose.text().await.unwrap();
    assert!(choose.contains("alice@example.com") && choose.contains("bob@example.com"));
    assert!(choose.contains("stand-in"), "every page says what it is");

    let consent = authorize(&idp, &[("choose", "alice@example.com")])
        .await
        .text()
        .await
        .unwrap();
    assert!(consent.contains("Alice Adams") && !consent.contains("bob@example.com"));

    let parameters = brought_back(&authorize(&idp, &[("user", "alice@example.com")]).await);
    assert_eq!(value_of(&parameters, "state"), Some("s-1"));
    assert_eq!(value_of(&parameters, "iss"), Some(idp.issuer()));
    let answer = redeem(&idp, &honest_form(value_of(&parameters, "code").unwrap())).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer = json(answer).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert!(answer["id_token"].is_string());

    let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let userinfo = client()
        .get(url(&idp, "/userinfo", &[]))
        .header("authorization", token)
        .send()
        .await
        .unwrap();
    assert_eq!(json(userinfo).await["email"], "alice@example.com");
    assert_eq!(idp.counters().token_requests, 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_trusted_stays_on_a_page() {
    let idp = started().await;
    for changes in [
        [("client_id", "stranger")],
        [("redirect_uri", "https://evil.example/cb")],
        [("redirect_uri", "")],
        [("user", "nobody@example.com")],
    ] {
        let response = authorize(&idp, &changes).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{changes:?}");
        assert!(response.headers().get("location").is_none(), "{changes:?}");
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_to_the_client() {
    let idp = started().await;
    for (changes, error) in [
        ([("response_type", "token")], "unsupported_response_type"),
        ([("response_mode", "fragment")], "invalid_request"),
        ([("scope", "email")], "invalid_scope"),
        ([("code_challenge", "")], "invalid_request"),
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("request", "e30.e30.")], "request_not_supported"),
        ([("prompt", "none")], "login_required"),
        ([("cancel", "1")], "access_denied"),
    ] {
        let parameters = brought_back(&authorize(&idp, &changes).await);
        assert_eq!(value_of(&parameters, "error"), Some(error));
        assert_eq!(value_of(&parameters, "state"), Some("s-1"));
        assert_eq!(value_of(&parameters, "code"), None);
    }
}

#[tokio::test]
async fn a_login_hint_leads_to_consent_and_select_account_to_the_choice() {
    let idp = started().await;
    let hinted = authorize(&idp, &[("login_hint", "bob@example.com")])
        .await
        .text()
        .await
        .unwrap();
    assert!(hinted.contains("Bob Brown") && !hinted.contains("Alice Adams"));
    let chosen = authorize(
        &idp,
        &[
            ("login_hint", "bob@example.com"),
            ("prompt", "select_account"),
        ],
    )
    .await;
    assert!(chosen.text().await.unwrap().contains("Alice Adams"));
}

#[tokio::test]
async fn a_code_is_good_once_and_only_with_all_that_belongs_to_it() {
    let idp = started().await;
    for (name, value) in [
        ("redirect_uri", "http://localhost:8000/other"),
        (
            "code_verifier",
            "another-verifier-of-more-than-forty-three-characters",
        ),
    ] {
        let code = code(&idp).await;
        let mut wrong = honest_form(&code);
        wrong.retain(|(known, _)| *known != name);
        wrong.push((name, value));
        let response = redeem(&idp, &wrong).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(json(response).await["error"], "invalid_grant", "{name}");
        // It is spent all the same.
        assert_eq!(
            redeem(&idp, &honest_form(&code)).await.status(),
            StatusCode::BAD_REQUEST,
            "{name}"
        );
    }
    let code = code(&idp).await;
    assert_eq!(
        redeem(&idp, &honest_form(&code)).await.status(),
        StatusCode::OK
    );
    assert_eq!(
        redeem(&idp, &honest_form(&code)).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_code_is_too_old_after_a_minute() {
    let now = Arc::new(std::sync::atomic::AtomicI64::new(1_700_000_000));
    let theirs = Arc::clone(&now);
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .clock(Arc::new(move || {
            theirs.load(std::sync::atomic::Ordering::SeqCst)
        }))
        .start()
        .await
        .unwrap();
    let code = code(&idp).await;
    now.fetch_add(61, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        redeem(&idp, &honest_form(&code)).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_client_authenticates_by_form_or_by_header_with_both_halves_encoded() {
    use base64::Engine as _;
    let idp = started().await;
    let basic = |credentials: &str| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(credentials)
        )
    };
    let send = async |authorization: Option<String>, secret: Option<&str>| {
        let code = code(&idp).await;
        let mut parameters = honest_form(&code);
        parameters.retain(|(name, _)| *name != "client_secret");
        parameters.extend(secret.map(|secret| ("client_secret", secret)));
        let mut request = client()
            .post(url(&idp, "/token", &[]))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(&parameters));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.send().await.unwrap().status()
    };
    assert_eq!(
        send(Some(basic("client:s+e%3Acret")), None).await,
        StatusCode::OK
    );
    assert_eq!(send(None, Some("s e:cret")).await, StatusCode::OK);
    assert_eq!(
        send(Some(basic("client:other")), None).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(send(None, Some("other")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(None, None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        send(Some(basic("client:s+e%3Acret")), Some("s e:cret")).await,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_fault_is_chosen_from_its_own_page_only() {
    let idp = started().await;
    let post = async |headers: &[(&str, &str)]| {
        let mut request = client()
            .post(url(&idp, "/faults", &[]))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("fault=metadata-500");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status()
    };
    let metadata = async || {
        client()
            .get(url(&idp, "/.well-known/openid-configuration", &[]))
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(
        post(&[("sec-fetch-site", "cross-site")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        post(&[("origin", "https://evil.example")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(metadata().await, StatusCode::OK);
    assert_eq!(
        post(&[("sec-fetch-site", "same-origin")]).await,
        StatusCode::SEE_OTHER
    );
    assert_eq!(metadata().await, StatusCode::INTERNAL_SERVER_ERROR);
    let page = client()
        .get(url(&idp, "/faults", &[]))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for fault in Fault::ALL {
        assert!(page.contains(fault.name()), "{fault}");
    }
    idp.set_fault(Fault::None);
    assert_eq!(metadata().await, StatusCode::OK);
}

#[tokio::test]
async fn another_name_that_leads_here_is_refused() {
    let idp = started().await;
    for (host, status) in [
        ("localhost:8009", StatusCode::OK),
        ("127.0.0.1", StatusCode::OK),
        ("[::1]:8009", StatusCode::OK),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("localhost.evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("localhost@evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = client().get(url(&idp, "/faults", &[])).header("host", host);
        assert_eq!(request.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn rotated_keys_leave_the_set() {
    let idp = started().await;
    let kids = async || {
        let set = json(client().get(url(&idp, "/jwks", &[])).send().await.unwrap()).await;
        set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].clone())
            .collect::<Vec<_>>()
    };
    let before = kids().await;
    idp.rotate_keys();
    let after = kids().await;
    assert_eq!(after.len(), 2);
    assert!(!after.contains(&before[0]));
}

#[tokio::test]
async fn endpoints_stand_where_it_listens_whatever_the_issuer_is_called() {
    let idp = DevIdp::builder()
        .client("client", "secret")
        .issuer("http://127.0.0.1:8009/tenant".to_owned())
        .start()
        .await
        .unwrap();
    let base = format!("http://{}/tenant", idp.addr());
    let metadata = client()
        .get(format!("{base}/.well-known/openid-configuration"))
        .send()
        .await
        .unwrap();
    let metadata = json(metadata).await;
    assert_eq!(metadata["issuer"], "http://127.0.0.1:8009/tenant");
    assert_eq!(metadata["token_endpoint"], format!("{base}/token"));
}

#[tokio::test]
async fn it_refuses_to_start_without_a_client_or_with_an_issuer_that_is_none() {
    assert!(matches!(
        DevIdp::builder().start().await,
        Err(DevIdpError::NoClient)
    ));
    for issuer in [
        "",
        "127.0.0.1",
        "ftp://x",
        "http://x/",
        "http://x?y",
        "http://u@x",
    ] {
        let started = DevIdp::builder()
            .client("c", "s")
            .issuer(issuer.to_owned())
            .start()
            .await;
        assert!(matches!(started, Err(DevIdpError::Issuer(_))), "{issuer}");
    }
}

#[tokio::test]
async fn it_stops_while_an_answer_is_slow() {
    let idp = started().await;
    idp.set_fault(Fault::MetadataSlow);
    let slow = tokio::spawn(
        client()
            .get(url(&idp, "/.well-known/openid-configuration", &[]))
            .send(),
    );
    while idp.counters().metadata_fetches == 0 {
        tokio::task::yield_now().await;
    }
    let address = idp.addr();
    idp.stop().await;
    assert!(
        slow.await.unwrap().is_ok(),
        "a request under way is answered"
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_where_nothing_is_answers_with_a_page() {
    let idp = started().await;
    let answer = client()
        .get(url(&idp, "/nowhere", &[]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.text().await.unwrap().contains("Nothing is here"));
}

#[tokio::test]
async fn an_answer_by_form_post_is_a_page_that_posts_itself_and_nothing_of_it_is_in_an_address() {
    let idp = started().await;
    let response = authorize(
        &idp,
        &[
            ("response_mode", "form_post"),
            ("user", "alice@example.com"),
        ],
    )
    .await;
    assert!(response.headers().get("location").is_none());
    assert_eq!(response.headers()["cache-control"], "no-store");
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap();
    let nonce = nonce.split('\'').next().unwrap().to_owned();
    assert!(!policy.contains("form-action") && !policy.contains("unsafe"));
    let fields = posted_back(response).await;
    assert_eq!(value_of(&fields, "state"), Some("s-1"));
    assert_eq!(value_of(&fields, "iss"), Some(idp.issuer()));
    assert_eq!(value_of(&fields, "user"), None);
    let answer = redeem(&idp, &honest_form(value_of(&fields, "code").unwrap())).await;
    assert_eq!(answer.status(), StatusCode::OK);

    let cancelled = authorize(&idp, &[("response_mode", "form_post"), ("cancel", "1")]).await;
    let page = cancelled.text().await.unwrap();
    assert!(!page.contains(&nonce), "a nonce is for one page");
    assert!(page.contains(r#"name="error" value="access_denied""#));
    assert!(page.contains(r#"name="state" value="s-1""#) && !page.contains(r#"name="code""#));
}

#[tokio::test]
async fn a_name_that_is_told_once_comes_with_the_first_form_post_to_each_client_alone() {
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .client("other", "secret")
        .people(vec![Person {
            sub: "1".to_owned(),
            email: "ann@example.com".to_owned(),
            name: "Ann \"A\" Bo".to_owned(),
            tells_name_once: true,
            ..Person::default()
        }])
        .start()
        .await
        .unwrap();
    let user = async |changes: &[(&'static str, &'static str)]| {
        let changes = [&[("response_mode", "form_post"), ("user", "1")], changes].concat();
        let fields = posted_back(authorize(&idp, &changes).await).await;
        assert!(value_of(&fields, "code").is_some());
        value_of(&fields, "user").map(|user| serde_json::from_str::<Value>(user).unwrap())
    };
    // A redirect has no such field, and does not use it up.
    let redirect = authorize(&idp, &[("user", "1")]).await;
    assert_eq!(value_of(&brought_back(&redirect), "user"), None);
    let told = serde_json::json!({
        "name": { "firstName": "Ann", "lastName": "\"A\" Bo" },
        "email": "ann@example.com",
    });
    assert_eq!(user(&[]).await, Some(told.clone()));
    assert_eq!(user(&[]).await, None);
    assert_eq!(user(&[("client_id", "other")]).await, Some(told));
}
