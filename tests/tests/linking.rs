//! One account for one person: the owner of an address is asked, ways in are added and taken away, and nobody gets into
//! somebody else's account.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;
use url::Url;
use vestibule_devidp::{DevIdp, Person, RedirectUris};
use vestibule_tests::{
    Answer, App, Browser, CLIENT_ID, Imitation, Parts, Setup, log_text, reason_of,
};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const SPA: &str =
    "[[frontends]]\nclient_id = \"spa\"\nredirect_uris = [\"https://spa.example/cb\"]\n";

/// An application with two providers: `google`, and `acme`, which knows Alice by another subject, and Mallory.
struct Two {
    app: App,
    acme: DevIdp,
}

impl Two {
    async fn start() -> Self {
        Self::with("", "").await
    }

    /// With more lines at the top, and below `[providers.acme]`.
    async fn with(top: &str, acme_lines: &str) -> Self {
        let person = |sub: &str, email: &str, name: &str| Person {
            sub: sub.to_owned(),
            email: email.to_owned(),
            email_verified: true,
            name: name.to_owned(),
            ..Person::default()
        };
        let acme = DevIdp::builder()
            .listen(([127, 0, 0, 1], 0).into())
            .client("acme-client", "canary-acme-secret")
            .redirect_uris(RedirectUris::AnyLoopback)
            .people(vec![
                person("acme-alice", ALICE, "Alice at Acme"),
                person("acme-alice-2", "alice@acme.example", "Alice's second"),
                person("acme-mallory", "mallory@acme.example", "Mallory"),
            ])
            .start()
            .await
            .expect("a port on loopback is free");
        let app = App::with(Setup {
            top: top.into(),
            tables: format!(
                "[providers.acme]\nname = \"Acme\"\nissuer = \"{}\"\nclient_id = \"acme-client\"\nclient_secret = \"canary-acme-secret\"\n{acme_lines}\n{SPA}",
                acme.issuer()
            ),
            ..Setup::default()
        })
        .await;
        Self { app, acme }
    }

    fn browser(&self) -> Browser {
        self.app.browser()
    }

    /// A browser in which Alice has signed in with Google.
    async fn alice(&self) -> Browser {
        let mut browser = self.browser();
        let answer = browser.sign_in(ALICE).await;
        assert!(answer.location().ends_with("/account"), "{answer:?}");
        browser
    }
}

/// Who is signed in, and with which ways in.
async fn who(browser: &mut Browser) -> (String, Vec<String>) {
    let me = browser.get_json("/users/me").await.json();
    let ways = me["identities"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|identity| {
            let text = |name: &str| identity[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("provider"), text("subject"))
        })
        .collect();
    (me["id"].as_str().unwrap_or_default().to_owned(), ways)
}

/// Presses "Add" on the account page: where the browser goes.
async fn begin_link(browser: &mut Browser, provider: &str) -> Url {
    let page = browser.post(&format!("/auth/{provider}/link")).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    goes_to(&page)
}

/// Where a page goes on to by itself.
fn goes_to(page: &Answer) -> Url {
    let (_, rest) = page
        .body
        .split_once("content=\"0;url=")
        .expect("it goes on");
    let (url, _) = rest.split_once('"').expect("the attribute ends");
    Url::parse(&url.replace("&#38;", "&").replace("&amp;", "&")).expect("a URL")
}

/// Adds a way in from the account page.
async fn add(browser: &mut Browser, provider: &str, person: &str) -> Answer {
    let url = begin_link(browser, provider).await;
    let callback = browser.at_provider(&url, person).await;
    browser.get(&callback).await
}

fn json(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, "application/json")
        .header("sec-fetch-site", "same-origin")
        .body(Body::empty())
        .expect("a path")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_an_address_is_asked_signs_in_as_before_says_yes_and_has_one_account() {
    let two = Two::start().await;
    let mut before = two.alice().await;
    let (alice, _) = who(&mut before).await;
    let rows = two.app.counts();

    // Another browser, the other provider: nobody is in, and nothing is written.
    let mut browser = two.browser();
    let asked = browser.sign_in_at("acme", ALICE).await;
    assert_eq!(
        asked.location(),
        "http://localhost:8000/login?return_to=%2Faccount"
    );
    assert!(browser.session().is_none());
    assert_eq!(two.app.counts(), rows);
    assert_eq!(browser.get_json("/users/me").await.status, 401);

    // The page says why, and names the provider that waits.
    let page = browser.get("/login?return_to=%2Faccount").await;
    assert!(page.body.contains("You already have an account here"));
    assert!(page.body.contains("connect Acme"), "{}", page.body);
    assert!(
        !page.body.contains(ALICE),
        "nothing of the account is shown"
    );

    let at = |way: &str| page.body.find(way).expect("it is offered");
    assert!(at("/auth/google/login") < at("/auth/acme/login"));

    // The way of before leads to the question.
    let signed_in = browser.sign_in(ALICE).await;
    assert_eq!(signed_in.location(), "http://localhost:8000/link");
    let question = browser.get("/link").await;
    assert_eq!(question.status, StatusCode::OK);
    assert!(question.body.contains("Connect Acme"), "{}", question.body);
    assert!(question.body.contains(ALICE));
    assert_eq!(
        who(&mut browser).await.1.len(),
        1,
        "a question changes nothing"
    );

    let old = browser.clone();
    let connected = browser.post_form("/link", "answer=connect").await;
    assert_eq!(connected.location(), "http://localhost:8000/account");
    assert!(!browser.cookies.contains_key("vestibule_link"));
    let (user, ways) = who(&mut browser).await;
    assert_eq!(user, alice);
    assert_eq!(ways.len(), 2);
    // S65: another session, and the old one is over.
    assert_ne!(browser.session(), old.session());
    assert_eq!(old.clone().get_json("/users/me").await.status, 401);

    let log = log_text();
    assert!(log.contains("login.owner_asked"));

    // From now on either way leads there.
    let mut later = two.browser();
    assert!(
        later
            .sign_in_at("acme", ALICE)
            .await
            .location()
            .ends_with("/account")
    );
    assert_eq!(who(&mut later).await.0, alice);
    assert_eq!(two.app.count("users"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_interrupted_a_front_end_ends_at_the_front_end() {
    let two = Two::start().await;
    two.alice().await;
    let mut browser = two.browser();
    let request = "client_id=spa&redirect_uri=https%3A%2F%2Fspa.example%2Fcb&response_type=code&state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    let begun = browser.get(&format!("/auth/acme/login?{request}")).await;
    let url = Url::parse(begun.location()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    let asked = browser.get(&callback).await;
    let page = asked.location().to_owned();
    assert!(page.starts_with("http://localhost:8000/login?"), "{page}");
    // The page's form may lead to the front end, and nowhere else.
    let page = browser.get(&page).await;
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://spa.example;")
    );
    browser.sign_in(ALICE).await;
    let connected = browser.post_form("/link", "answer=connect").await;
    assert!(connected.location().contains("/oauth/authorize?"));
    let on = browser.get(connected.location()).await;
    assert!(
        on.location().starts_with("https://spa.example/cb?code="),
        "{}",
        on.location()
    );
}

// S57
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_waits_is_connected_by_nobody_but_the_owner_after_a_younger_sign_in() {
    let two = Two::start().await;
    let mut old = two.alice().await;

    // Somebody else's sign-in drops it.
    let mut browser = two.browser();
    browser.sign_in_at("acme", ALICE).await;
    let waits = browser.cookies["vestibule_link"].clone();
    let answer = browser.sign_in(BOB).await;
    assert!(answer.location().ends_with("/account"));
    assert!(!browser.cookies.contains_key("vestibule_link"));
    // Brought back, it is still not his.
    browser
        .cookies
        .insert("vestibule_link".into(), waits.clone());
    assert!(browser.get("/link").await.location().contains("/login?"));
    let refused = browser.post_form("/link", "answer=connect").await;
    assert!(refused.location().contains("/login?"), "{refused:?}");
    assert_eq!(who(&mut browser).await.1.len(), 1);

    // A session of the owner that is older than the question is no yes.
    two.app.clock.advance_seconds(5);
    let mut asked = two.browser();
    asked.sign_in_at("acme", ALICE).await;
    old.cookies.insert(
        "vestibule_link".into(),
        asked.cookies["vestibule_link"].clone(),
    );
    assert!(old.get("/link").await.location().contains("/login?"));
    assert!(
        old.post_form("/link", "answer=connect")
            .await
            .location()
            .contains("/login?")
    );
    assert_eq!(who(&mut old).await.1.len(), 1);
    // And with an old session the sign-in page asks, instead of going on.
    assert!(old.get("/login").await.body.contains("connect Acme"));

    // Nobody signed in, a forged one, one that waited too long.
    assert!(
        asked
            .post_form("/link", "answer=connect")
            .await
            .location()
            .contains("/login?")
    );
    let mut forged = two.alice().await;
    let mut changed = waits.clone().into_bytes();
    changed[40] ^= 1;
    let changed = String::from_utf8_lossy(&changed).into_owned();
    forged.cookies.insert("vestibule_link".into(), changed);
    assert_eq!(
        forged.post_form("/link", "answer=connect").await.code(),
        "state_expired"
    );
    let mut late = two.browser();
    late.sign_in_at("acme", ALICE).await;
    let waits = late.cookies["vestibule_link"].clone();
    late.sign_in(ALICE).await;
    two.app.clock.advance_seconds(601);
    late.cookies.insert("vestibule_link".into(), waits);
    assert_eq!(
        late.post_form("/link", "answer=connect").await.code(),
        "state_expired"
    );
    assert_eq!(two.app.count("identities"), 2, "Alice's and Bob's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_once_and_no_is_an_answer() {
    let two = Two::start().await;
    two.alice().await;
    let mut browser = two.browser();
    browser.sign_in_at("acme", ALICE).await;
    browser.sign_in(ALICE).await;
    let no = browser.post_form("/link", "answer=no").await;
    assert_eq!(no.location(), "http://localhost:8000/account");
    assert!(!browser.cookies.contains_key("vestibule_link"));
    assert_eq!(who(&mut browser).await.1.len(), 1);

    let mut browser = two.browser();
    browser.sign_in_at("acme", ALICE).await;
    browser.sign_in(ALICE).await;
    let mut twice = browser.clone();
    browser.post_form("/link", "answer=connect").await;
    assert_eq!(who(&mut browser).await.1.len(), 2);
    // The double click: its session is over, and nothing happens again.
    let again = twice.post_form("/link", "answer=connect").await;
    assert!(again.location().contains("/login?"), "{again:?}");
    // Taken away, the same answer does not bring it back.
    twice.cookies.insert(
        "vestibule_session".into(),
        browser.session().unwrap().to_owned(),
    );
    browser.post("/auth/acme/unlink").await;
    let again = twice.post_form("/link", "answer=connect").await;
    assert_eq!(again.location(), "http://localhost:8000/account");
    assert_eq!(who(&mut browser).await.1.len(), 1);
}

// S7, S63, A12
#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_answers_adds_or_takes_away() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    add(&mut browser, "acme", ALICE).await;
    let before = who(&mut browser).await;
    let begun = browser.flows().len();
    for path in ["/auth/google/link", "/auth/acme/unlink", "/link"] {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
        ] {
            let request = Request::post(path)
                .header(name, value)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from("answer=connect"))
                .unwrap();
            let refused = browser.send(request).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path} {value}");
            assert_eq!(refused.code(), "csrf_failed", "{path} {value}");
        }
    }
    // Nor does a link: these take POST.
    for path in ["/auth/google/link", "/auth/acme/unlink"] {
        assert_eq!(
            browser.get(path).await.code(),
            "method_not_allowed",
            "{path}"
        );
    }
    assert_eq!(browser.flows().len(), begun);
    assert_eq!(who(&mut browser).await, before);
}

// S63, S65
#[tokio::test(flavor = "multi_thread")]
async fn somebody_signed_in_adds_a_way_in_and_gets_another_session() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    let page = browser.get("/account").await;
    assert!(
        page.body.contains("action=\"/auth/acme/link\""),
        "{}",
        page.body
    );
    assert!(
        !page.body.contains("/unlink\""),
        "the last way in has no button"
    );
    let (alice, _) = who(&mut browser).await;
    let mut old = browser.clone();
    let mut elsewhere = two.alice().await;
    assert_eq!(who(&mut elsewhere).await.1.len(), 1);

    let answer = add(&mut browser, "acme", "mallory@acme.example").await;
    assert_eq!(answer.location(), "http://localhost:8000/account");
    let (user, ways) = who(&mut browser).await;
    assert_eq!(user, alice);
    assert_eq!(ways.len(), 2);
    assert_eq!(old.get_json("/users/me").await.status, 401);
    // Another browser of hers sees it at once.
    assert_eq!(who(&mut elsewhere).await.1.len(), 2);
    // Her address stays as it was, and the other one opens no second account.
    let me = browser.get_json("/users/me").await.json();
    assert_eq!(me["email"], ALICE);
    let mut later = two.browser();
    later.sign_in_at("acme", "mallory@acme.example").await;
    assert_eq!(who(&mut later).await.0, alice);

    // Twice is once.
    add(&mut browser, "acme", "mallory@acme.example").await;
    assert_eq!(who(&mut browser).await.1.len(), 2);
    let page = browser.get("/account").await;
    assert!(page.body.contains("action=\"/auth/acme/unlink\""));
    assert!(!page.body.contains("/auth/acme/link\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_our_own_pages_adds_a_way_in_too() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    // Ways in are listed the oldest first.
    two.app.clock.advance_seconds(1);
    let begun = browser.send(json(Method::POST, "/auth/acme/link")).await;
    assert_eq!(begun.status, StatusCode::OK);
    let url = begun.json()["authorization_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let callback = browser.at_provider(&Url::parse(&url).unwrap(), ALICE).await;
    browser.get(&callback).await;
    let listed = browser.get_json("/users/me/identities").await.json();
    let mut providers: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|way| way["provider"].as_str().unwrap())
        .collect();
    providers.sort_unstable();
    assert_eq!(providers, ["acme", "google"]);

    for (path, status, code) in [
        ("/users/me/identities", 400, "bad_request"),
        ("/users/me/identities?provider=nobody", 204, ""),
        ("/users/me/identities?provider=acme&subject=other", 204, ""),
    ] {
        let answer = browser.send(json(Method::DELETE, path)).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (status, code),
            "{path}"
        );
        assert_eq!(who(&mut browser).await.1.len(), 2, "{path}");
    }
    let path = "/users/me/identities?provider=acme&subject=acme-alice";
    for _ in 0..2 {
        let answer = browser.send(json(Method::DELETE, path)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(who(&mut browser).await.1.len(), 1);
    }
    let last = browser
        .send(json(Method::DELETE, "/users/me/identities?provider=google"))
        .await;
    assert_eq!(last.code(), "last_method");
    assert_eq!(who(&mut browser).await.1.len(), 1);
}

// S63
#[tokio::test(flavor = "multi_thread")]
async fn whoever_came_in_by_a_way_that_is_taken_away_is_out_and_finishes_nothing() {
    let two = Two::start().await;
    let mut alice = two.alice().await;
    add(&mut alice, "acme", ALICE).await;
    let mut at_google = two.alice().await;
    let mut bob = two.browser();
    bob.sign_in(BOB).await;

    // Somebody who has her account at Acme begins to add a way in of their own.
    let mut intruder = two.browser();
    intruder.sign_in_at("acme", ALICE).await;
    assert_eq!(who(&mut intruder).await, who(&mut alice).await);
    let token = intruder.post("/auth/session/token").await.json();
    let token = token["access_token"].as_str().unwrap().to_owned();
    let url = begin_link(&mut intruder, "acme").await;
    let callback = intruder.at_provider(&url, "mallory@acme.example").await;

    alice.post("/auth/acme/unlink").await;
    assert_eq!(intruder.get_json("/users/me").await.status, 401);
    let bearer = Request::get("/users/me")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let refused = two.browser().send(bearer).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let refused = intruder.get(&callback).await;
    assert_eq!(refused.code(), "session_expired");
    assert_eq!(reason_of(&refused.reference()), "session_of_link_over");

    // Her own session began there too, and goes on, alone; nobody else's ends.
    assert_eq!(who(&mut alice).await.1.len(), 1);
    assert_eq!(at_google.get_json("/users/me").await.status, 401);
    assert_eq!(who(&mut bob).await.1.len(), 1);
    assert_eq!(two.app.count("sessions"), 2);
}

// S63
#[tokio::test(flavor = "multi_thread")]
async fn ways_in_are_changed_in_the_first_five_minutes_of_a_session_alone() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    add(&mut browser, "acme", ALICE).await;
    two.app.clock.advance_seconds(301);
    for path in ["/auth/google/link", "/auth/acme/unlink"] {
        let page = browser.post(path).await;
        assert_eq!(
            page.location(),
            "/login?return_to=%2Faccount&prompt=login&again=1",
            "{path}"
        );
        let refused = browser.send(json(Method::POST, path)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(refused.code(), "reauth_required", "{path}");
    }
    assert_eq!(who(&mut browser).await.1.len(), 2);
    // The page says why, and the sign-in that it leads to is a new one.
    let page = browser
        .get("/login?return_to=%2Faccount&prompt=login&again=1")
        .await;
    assert!(
        page.body.contains("please sign in once more"),
        "{}",
        page.body
    );
    assert!(page.body.contains("prompt=login"));
    browser.sign_in(ALICE).await;
    let done = browser.post("/auth/acme/unlink").await;
    assert_eq!(done.location(), "/account");
    assert_eq!(who(&mut browser).await.1.len(), 1);

    // Nobody: 401, and a page is sent to sign in.
    let mut nobody = two.browser();
    for path in ["/auth/google/link", "/auth/acme/unlink"] {
        assert_eq!(
            nobody.send(json(Method::POST, path)).await.status,
            401,
            "{path}"
        );
        assert_eq!(
            nobody.post(path).await.location(),
            "/login?return_to=%2Faccount"
        );
    }
    assert!(nobody.flows().is_empty());
}

// S63, A11
#[tokio::test(flavor = "multi_thread")]
async fn a_way_in_is_added_to_the_account_that_began_and_in_its_session_alone() {
    let two = Two::start().await;
    let mut alice = two.alice().await;
    let mut bob = two.browser();
    bob.sign_in(BOB).await;
    let rows = two.app.counts();

    // Begun in one browser, finished in another one: it has no cookie of the attempt.
    let url = begin_link(&mut alice, "acme").await;
    let callback = alice.at_provider(&url, "mallory@acme.example").await;
    let refused = bob.get(&callback).await;
    assert_eq!(refused.code(), "cookie_missing");

    // Even with that cookie: the browser is signed in as somebody else by now.
    let url = begin_link(&mut alice, "acme").await;
    let callback = alice.at_provider(&url, "mallory@acme.example").await;
    let mut both = alice.clone();
    both.cookies.insert(
        "vestibule_session".into(),
        bob.session().unwrap().to_owned(),
    );
    let refused = both.get(&callback).await;
    assert_eq!(refused.code(), "session_expired");
    assert_eq!(reason_of(&refused.reference()), "session_of_link_changed");

    // Or as nobody; or the session has ended meanwhile.
    let url = begin_link(&mut alice, "acme").await;
    let callback = alice.at_provider(&url, "mallory@acme.example").await;
    let mut nobody = alice.clone();
    nobody.cookies.remove("vestibule_session");
    assert_eq!(nobody.get(&callback).await.code(), "session_expired");
    let url = begin_link(&mut alice, "acme").await;
    let callback = alice.at_provider(&url, "mallory@acme.example").await;
    let mut signed_out = alice.clone();
    alice.post("/auth/logout").await;
    let refused = signed_out.get(&callback).await;
    assert_eq!(refused.code(), "session_expired");
    assert_eq!(reason_of(&refused.reference()), "session_of_link_over");
    assert_eq!(two.app.counts(), [rows[0], rows[1], rows[2] - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_of_somebody_else_is_not_added() {
    let two = Two::start().await;
    let mut mallory = two.browser();
    mallory.sign_in_at("acme", "mallory@acme.example").await;
    let mut alice = two.alice().await;
    let refused = add(&mut alice, "acme", "mallory@acme.example").await;
    assert_eq!(refused.code(), "identity_in_use");
    assert_eq!(who(&mut alice).await.1.len(), 1);
    assert_eq!(who(&mut mallory).await.1.len(), 1);
    // The session that tried is as it was.
    assert_eq!(alice.get_json("/users/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_adds_nothing_and_is_told_so() {
    let two = Two::start().await;
    let mut alice = two.alice().await;
    let url = begin_link(&mut alice, "acme").await;
    let callback = alice.at_provider(&url, ALICE).await;
    let (id, _) = who(&mut alice).await;
    let id = vestibule::accounts::UserId::parse(&id).unwrap();
    two.app.vestibule.set_active(id, false).await.unwrap();
    // ATTACKS E10
    assert_eq!(alice.get(&callback).await.code(), "account_disabled");
    // Nor does the address let another provider in, or ask.
    let refused = two.browser().sign_in_at("acme", ALICE).await;
    assert_eq!(refused.code(), "account_disabled");
    assert_eq!(two.app.count("identities"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ways_in_at_one_provider_the_one_that_is_named_goes() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    add(&mut browser, "acme", ALICE).await;
    add(&mut browser, "acme", "alice@acme.example").await;
    assert_eq!(who(&mut browser).await.1.len(), 3);
    let unnamed = browser.post("/auth/acme/unlink").await;
    assert_eq!(unnamed.code(), "bad_request");
    let page = browser.get("/account").await;
    assert!(
        page.body.contains("value=\"acme-alice-2\""),
        "{}",
        page.body
    );
    browser
        .post_form("/auth/acme/unlink", "subject=acme-alice")
        .await;
    let (_, ways) = who(&mut browser).await;
    assert!(!ways.contains(&"acme acme-alice".to_owned()), "{ways:?}");
    assert!(ways.contains(&"acme acme-alice-2".to_owned()), "{ways:?}");
    // What cannot be read may name another one.
    let body = Request::post("/auth/acme/unlink")
        .header("sec-fetch-site", "same-origin")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from("{\"subject\":\"acme-alice\"}"))
        .unwrap();
    assert_eq!(browser.send(body).await.code(), "bad_request");
    assert_eq!(who(&mut browser).await.1.len(), 2);
    // Who is gone from the account is asked anew.
    let asked = two.browser().sign_in_at("acme", ALICE).await;
    assert!(asked.location().contains("/login?"), "{asked:?}");
}

// S56
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_joined_by_address_where_the_operator_says_so_and_the_provider_runs_it() {
    let two = Two::with(
        "linking = \"verified\"",
        "authoritative_for = [\"example.com\"]",
    )
    .await;
    let mut alice = two.alice().await;
    let mut browser = two.browser();
    let answer = browser.sign_in_at("acme", ALICE).await;
    assert!(answer.location().ends_with("/account"), "{answer:?}");
    assert_eq!(who(&mut browser).await.0, who(&mut alice).await.0);
    assert_eq!(two.app.count("users"), 1);

    // Without that word it asks; with `never` it refuses.
    let two = Two::with("linking = \"verified\"", "").await;
    two.alice().await;
    let asked = two.browser().sign_in_at("acme", ALICE).await;
    assert!(asked.location().contains("/login?"), "{asked:?}");
    let two = Two::with(
        "linking = \"never\"",
        "authoritative_for = [\"example.com\"]",
    )
    .await;
    two.alice().await;
    let refused = two.browser().sign_in_at("acme", ALICE).await;
    assert_eq!(refused.code(), "account_exists");
    assert_eq!(two.app.count("identities"), 1);
}

// S56
#[tokio::test(flavor = "multi_thread")]
async fn a_way_in_that_its_user_took_away_comes_back_by_that_user_s_word_alone() {
    let two = Two::with(
        "linking = \"verified\"",
        "authoritative_for = [\"example.com\"]",
    )
    .await;
    let mut alice = two.alice().await;
    let joined = two.browser().sign_in_at("acme", ALICE).await;
    assert!(joined.location().ends_with("/account"), "{joined:?}");
    assert_eq!(who(&mut alice).await.1.len(), 2);

    alice.post("/auth/acme/unlink").await;
    assert_eq!(who(&mut alice).await.1.len(), 1);
    let mut browser = two.browser();
    let asked = browser.sign_in_at("acme", ALICE).await;
    assert!(asked.location().contains("/login?"), "{asked:?}");
    assert!(browser.session().is_none());
    assert_eq!(who(&mut alice).await.1.len(), 1);
    assert_eq!(two.app.count("taken_away"), 1);

    // She says yes, and it is a way in as before.
    browser.sign_in(ALICE).await;
    browser.post_form("/link", "answer=connect").await;
    assert_eq!(who(&mut browser).await.1.len(), 2);
    assert_eq!(two.app.count("taken_away"), 0);
    let back = two.browser().sign_in_at("acme", ALICE).await;
    assert!(back.location().ends_with("/account"), "{back:?}");
    assert_eq!(two.app.count("users"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_s_bearer_token_takes_a_way_in_away_and_adds_none() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    add(&mut browser, "acme", ALICE).await;
    let token = browser.post("/auth/session/token").await.json();
    let token = token["access_token"].as_str().unwrap().to_owned();
    let mut program = two.browser();
    let request = |method: Method, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .unwrap()
    };
    // The browser that goes to the provider must be the one that is signed in.
    let refused = program
        .send(request(Method::POST, "/auth/google/link"))
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let path = "/users/me/identities?provider=acme";
    let gone = program.send(request(Method::DELETE, path)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let listed: Value = program
        .send(request(Method::GET, "/users/me/identities"))
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    drop(two.acme);
}

// S61, S63
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_configured_no_longer_is_no_way_in_and_connects_nobody() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    // Waiting for its owner while the configuration changes.
    let mut waits = two.browser();
    waits.sign_in_at("acme", ALICE).await;
    waits.sign_in(ALICE).await;
    add(&mut browser, "acme", "alice@acme.example").await;
    let Two { app, acme } = two;
    let app = app.again(Setup::default()).await;
    let at = |browser: &Browser| {
        let mut now = app.browser();
        now.cookies = browser.cookies.clone();
        now
    };
    let refused = at(&waits).post_form("/link", "answer=connect").await;
    assert_eq!(refused.code(), "provider_disabled");

    let mut browser = at(&browser);
    let page = browser.get("/account").await;
    assert!(!page.body.contains("/auth/google/unlink"), "{}", page.body);
    let last = browser.post("/auth/google/unlink").await;
    assert_eq!(last.code(), "last_method");
    // The way that is none may go.
    browser.post("/auth/acme/unlink").await;
    assert_eq!(who(&mut browser).await.1.len(), 1);
    drop(acme);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_question_too() {
    let two = Two::start().await;
    two.alice().await;
    for path in ["/logout", "/auth/logout"] {
        let mut browser = two.browser();
        browser.sign_in_at("acme", ALICE).await;
        assert!(browser.cookies.contains_key("vestibule_link"));
        browser.post(path).await;
        assert!(!browser.cookies.contains_key("vestibule_link"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adds_a_way_in_chooses_the_account_there() {
    let two = Two::start().await;
    let mut browser = two.alice().await;
    let url = begin_link(&mut browser, "acme").await;
    assert!(url.as_str().contains("prompt=select_account"), "{url}");
    // What it was is in the log, with the reason.
    let callback = browser.at_provider(&url, ALICE).await;
    browser.get(&callback).await;
    assert!(log_text().contains("the person is signed in and adds it"));
}

// S59
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_changes_at_the_provider_moves_nobody_and_takes_nothing() {
    let google = Arc::new(Imitation::of("google", None));
    let app = App::over(
        Setup {
            without_google: true,
            public_url: "https://app.example".into(),
            tables: format!(
                "[providers.google]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"canary-client-secret\"\n"
            ),
            ..Setup::default()
        },
        Parts {
            transport: Some(google.clone()),
            ..Parts::default()
        },
    )
    .await;
    let mut users = Vec::new();
    for (subject, email, verified) in [
        ("1", "ann@example.com", true),
        ("2", "ben@example.com", true),
        // Ann's address is Ben's at the provider now, then one that nobody has proved.
        ("1", "ben@example.com", true),
        ("1", "new@example.com", false),
    ] {
        google.change(|wire| {
            let claims = wire.claims.as_mut().expect("Google signs ID tokens");
            claims["sub"] = subject.into();
            claims["email"] = email.into();
            claims["email_verified"] = verified.into();
        });
        let mut browser = app.browser();
        let url = browser.begin().await;
        let query = google.consent(&url);
        let answer = browser.get(&format!("/auth/google/callback?{query}")).await;
        assert!(answer.location().ends_with("/account"), "{answer:?}");
        users.push(browser.get_json("/users/me").await.json());
    }
    assert_eq!(users[2]["id"], users[0]["id"]);
    assert_ne!(users[2]["id"], users[1]["id"]);
    for ann in [&users[2], &users[3]] {
        assert_eq!(ann["email"], "ann@example.com");
    }
    let claimed = |user: &Value| {
        let identity = &user["identities"][0];
        (
            identity["email"].clone(),
            identity["email_verified"].clone(),
        )
    };
    assert_eq!(claimed(&users[2]), ("ben@example.com".into(), true.into()));
    assert_eq!(claimed(&users[3]), ("new@example.com".into(), false.into()));
    assert_eq!(app.counts(), [2, 2, 4]);
}
