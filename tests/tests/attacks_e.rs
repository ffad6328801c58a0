//! A hostile provider's claims, addresses and accounts (ATTACKS part E): each row names its tests, and those that no other
//! file has stand here. What is refused leaves nothing behind, and what is let in is let in as nobody else.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use vestibule::Superuser;
use vestibule_devidp::{DevIdp, Fault, Person, RedirectUris};
use vestibule_tests::{
    Answer, App, Browser, CLIENT_ID, Imitation, LONE_SURROGATE, Parts, Setup, log_text, reason_of,
};

/// A row of part E, and where it is proved: a file below the root, and a test in it.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const HERE: &str = "tests/tests/attacks_e.rs";
const SIGN_IN: &str = "tests/tests/sign_in.rs";
const LINKING: &str = "tests/tests/linking.rs";
const PROVIDERS: &str = "tests/tests/providers.rs";
const FAULTS: &str = "tests/tests/faults.rs";
const FRONT_ENDS: &str = "tests/tests/front_ends.rs";
const NATIVE: &str = "tests/tests/native.rs";
const CONFORMANCE: &str = "crates/store/src/conformance.rs";

/// The numbers have gaps, as in the list.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    // The word "verified", in every wrong form.
    ("E01", &[
        (HERE, "an_address_without_the_word_true_reaches_nobody_s_account"),
        (HERE, "where_no_address_is_required_an_unverified_one_opens_an_account_of_its_own"),
        (PROVIDERS, "every_cell_of_the_trust_matrix_is_what_was_written_by_hand"),
        (SIGN_IN, "an_unverified_address_signs_nobody_up_and_says_nothing_about_who_is_here"),
    ]),
    // A password account is registered by the store's verb alone: there is no route for it yet.
    ("E02", &[
        (HERE, "a_squatter_keeps_nothing_of_an_address_that_its_owner_proves"),
        (HERE, "while_nobody_can_be_asked_for_a_password_a_claimed_address_is_refused"),
        (CONFORMANCE, "an_evicted_claimant_loses_claim_password_and_sessions_and_keeps_its_row"),
    ]),
    ("E03", &[
        (HERE, "a_tenant_that_writes_somebody_else_s_address_gets_nobody_else_s_account"),
        (PROVIDERS, "microsofts_address_is_verified_by_xms_edov_alone"),
        (PROVIDERS, "microsofts_issuer_names_the_tenant_of_the_token"),
    ]),
    ("E04", &[
        (HERE, "a_squatter_keeps_nothing_of_an_address_that_its_owner_proves"),
        ("crates/store/src/conformance/grants.rs", "an_evicted_claimant_loses_what_it_was_given"),
    ]),
    ("E07", &[(LINKING, "an_address_that_changes_at_the_provider_moves_nobody_and_takes_nothing")]),
    ("E08", &[
        (HERE, "what_is_no_address_is_none_and_never_an_error_of_ours"),
        (HERE, "a_huge_address_ends_in_a_code_wherever_it_comes_from"),
        (FAULTS, "each_defect_of_a_login_is_refused_with_its_own_reason_and_leaves_nothing_behind"),
    ]),
    ("E09", &[
        (HERE, "names_and_pictures_of_any_shape_sign_people_in_and_are_kept_clean"),
        (HERE, "half_a_character_and_a_name_of_a_megabyte_are_refused_by_a_documented_code"),
        ("tests/tests/postgres.rs", "nul_in_claims"),
    ]),
    ("E10", &[
        (SIGN_IN, "a_disabled_user_is_out_everywhere_and_no_login_lets_them_in_again"),
        (SIGN_IN, "a_user_whom_another_process_disables_is_out_within_a_second"),
        (LINKING, "a_disabled_user_adds_nothing_and_is_told_so"),
        (FRONT_ENDS, "who_is_disabled_or_signed_out_gets_nothing_more_by_code_refresh_or_access_token"),
    ]),
    // A provider is disabled by taking it out of the configuration.
    ("E11", &[
        (SIGN_IN, "a_provider_that_was_taken_out_refuses_attempts_begun_before"),
        (LINKING, "a_provider_that_is_configured_no_longer_is_no_way_in_and_connects_nobody"),
    ]),
    ("E14", &[(NATIVE, "a_token_that_is_not_for_us_expired_forged_or_for_another_nonce_lets_nobody_in")]),
    ("E15", &[
        (HERE, "only_people_of_exactly_the_allowed_domain_sign_up"),
        (FAULTS, "userinfo_is_asked_where_only_people_of_some_domains_may_sign_up"),
    ]),
    ("E16", &[
        (HERE, "a_scope_that_shrank_costs_the_address_and_one_that_grew_gives_no_rights"),
        (PROVIDERS, "github_without_the_right_to_see_addresses_has_none"),
        (PROVIDERS, "facebook_without_an_address_signs_in_where_none_is_required_and_else_not"),
    ]),
    ("E17", &[
        (FAULTS, "each_defect_of_a_login_is_refused_with_its_own_reason_and_leaves_nothing_behind"),
        ("crates/oidc/src/login/tests.rs", "a_userinfo_answer_that_does_not_do_ends_the_login"),
    ]),
    ("E18", &[(HERE, "claims_of_rights_are_nobody_s_rights_and_are_kept_nowhere")]),
    ("E19", &[(SIGN_IN, "closed_sign_up_lets_nobody_new_in_and_keeps_those_who_are_here")]),
    // The issue's own list, beside part E.
    ("a subject that is none", &[
        (HERE, "a_profile_without_a_subject_is_nobody"),
        (FAULTS, "each_defect_of_a_login_is_refused_with_its_own_reason_and_leaves_nothing_behind"),
    ]),
    ("a token of twelve kibibytes", &[(PROVIDERS, "a_token_of_twelve_kibibytes_signs_in")]),
];

#[test]
fn each_row_is_proved_by_tests_that_are_there() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for (row, tests) in ROWS {
        assert!(!tests.is_empty(), "{row} has no test");
        for (file, test) in *tests {
            let text = std::fs::read_to_string(root.join(file)).expect("the file is there");
            assert!(
                text.contains(&format!("fn {test}(")),
                "{row}: {file} {test}"
            );
        }
    }
}

const ALICE: &str = "alice@example.com";

/// An application with two providers: `google`, where Alice is, and `acme`, whose people are these.
struct At {
    app: App,
    acme: DevIdp,
}

impl At {
    /// With more lines at the top, and below `[providers.acme]`.
    async fn with(top: &str, acme_lines: &str, people: Vec<Person>) -> Self {
        let acme = DevIdp::builder()
            .listen(([127, 0, 0, 1], 0).into())
            .client("acme-client", "canary-acme-secret")
            .redirect_uris(RedirectUris::AnyLoopback)
            .people(people)
            .start()
            .await
            .expect("a port on loopback is free");
        let app = App::with(Setup {
            top: top.into(),
            tables: format!(
                "[providers.acme]\nissuer = \"{}\"\nclient_id = \"acme-client\"\nclient_secret = \"canary-acme-secret\"\n{acme_lines}\n",
                acme.issuer()
            ),
            ..Setup::default()
        })
        .await;
        Self { app, acme }
    }

    /// Alice has an account, by Google.
    async fn alice(&self) -> (Browser, Value) {
        let mut browser = self.app.browser();
        browser.sign_in(ALICE).await;
        let me = me(&mut browser).await;
        assert_eq!(me["email"], ALICE);
        (browser, me)
    }

    fn execute(&self, sql: &str, parameters: &[&str]) {
        let file = rusqlite::Connection::open(self.app.database()).expect("the file is there");
        let changed = file.execute(sql, rusqlite::params_from_iter(parameters));
        assert_eq!(changed.expect("the statement does"), 1);
    }

    /// The one value of the one row.
    fn text(&self, sql: &str) -> Option<String> {
        let file = rusqlite::Connection::open(self.app.database()).expect("the file is there");
        file.query_row(sql, [], |row| row.get(0))
            .expect("there is a row")
    }
}

/// Somebody at a stand-in who is found as `key`, and of whom it says this besides.
fn person(key: &str, claims: Value) -> Person {
    let Value::Object(claims) = claims else {
        panic!("claims are an object");
    };
    Person {
        sub: key.to_owned(),
        email: key.to_owned(),
        email_verified: true,
        name: "Eve Example".to_owned(),
        claims,
        ..Person::default()
    }
}

async fn me(browser: &mut Browser) -> Value {
    browser.get_json("/users/me").await.json()
}

/// What is refused leaves nothing: no row, no session, no question that waits.
fn refused(app: &App, browser: &Browser, answer: &Answer, before: [i64; 3], told: [&str; 2]) {
    let found = [answer.code(), reason_of(&answer.reference())];
    assert_eq!(found, told, "{answer:?}");
    assert_eq!(app.counts(), before, "{told:?}");
    assert!(browser.session().is_none(), "{told:?}");
    assert!(!browser.cookies.contains_key("vestibule_link"), "{told:?}");
}

/// What the person reads, without the reference.
async fn words(browser: &mut Browser, answer: &Answer) -> String {
    let page = browser.get(answer.location()).await.body;
    // Above it stands the nonce of its style.
    let (_, body) = page.split_once("<body").expect("it is a page");
    body.replace(&answer.reference(), "")
}

/// Everything that the database holds, in whatever table.
fn database(app: &App) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(app.folder.path()).expect("the folder is there") {
        let path = file.expect("a folder can be read").path();
        if path.to_string_lossy().contains("vestibule.db") {
            bytes.extend(std::fs::read(path).expect("a file can be read"));
        }
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

// ---- Whose address it is --------------------------------------------------------------------------------------------

/// What is said in place of `true`.
fn no_true_words() -> Vec<Value> {
    vec![
        json!(false),
        Value::Null,
        json!("false"),
        json!("true"),
        json!(1),
        json!([true]),
        json!({ "true": true }),
    ]
}

/// Somebody for each of those words, with Alice's address; and one with an address that nobody has.
fn who_say_no_true_word() -> Vec<Person> {
    let mut people: Vec<Person> = no_true_words()
        .into_iter()
        .enumerate()
        .map(|(n, word)| {
            let claims = json!({ "email": ALICE, "email_verified": word });
            person(&format!("eve-{n}"), claims)
        })
        .collect();
    people.push(person(
        "nobody",
        json!({ "email": "nobody@example.com", "email_verified": false }),
    ));
    people
}

// ATTACKS E01; S56
#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_the_word_true_reaches_nobody_s_account() {
    for linking in ["never", "ask", "verified"] {
        // Acme runs the domain, so that the word alone decides.
        let at = At::with(
            &format!("linking = \"{linking}\""),
            "authoritative_for = [\"example.com\"]",
            who_say_no_true_word(),
        )
        .await;
        let (mut alice, _) = at.alice().await;
        let before = at.app.counts();

        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", "nobody").await;
        let told = ["email_unverified", "email_unverified"];
        refused(&at.app, &browser, &answer, before, told);
        let of_nobody = words(&mut browser, &answer).await;
        for n in 0..no_true_words().len() {
            let mut browser = at.app.browser();
            let answer = browser.sign_in_at("acme", &format!("eve-{n}")).await;
            refused(&at.app, &browser, &answer, before, told);
            // The page does not tell who has an account.
            assert_eq!(words(&mut browser, &answer).await, of_nobody);
        }
        // No word at all, in the ID token or in UserInfo.
        at.acme.set_fault(Fault::EmailVerifiedInUserinfo);
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", "eve-1").await;
        refused(&at.app, &browser, &answer, before, told);

        assert_eq!(
            me(&mut alice).await["identities"].as_array().unwrap().len(),
            1
        );
    }
}

// ATTACKS E01
#[tokio::test(flavor = "multi_thread")]
async fn where_no_address_is_required_an_unverified_one_opens_an_account_of_its_own() {
    let at = At::with(
        "require_email = false\nlinking = \"verified\"",
        "authoritative_for = [\"example.com\"]",
        who_say_no_true_word(),
    )
    .await;
    let (mut alice, before) = at.alice().await;
    for n in 0..no_true_words().len() {
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", &format!("eve-{n}")).await;
        assert!(answer.location().ends_with("/account"), "{answer:?}");
        let eve = me(&mut browser).await;
        assert_ne!(eve["id"], before["id"]);
        assert_eq!(
            (&eve["email"], &eve["is_verified"]),
            (&Value::Null, &json!(false))
        );
    }
    assert_eq!(me(&mut alice).await, before);
}

/// Mallory has an account without an address, by Acme, and then a password and a claim to Alice's address on it.
async fn squatter(linking: &str) -> (At, Browser) {
    let mallory = person(
        "mallory",
        json!({ "email": ALICE, "email_verified": false }),
    );
    let top = format!("require_email = false\nlinking = \"{linking}\"");
    let at = At::with(&top, "", vec![mallory]).await;
    let mut browser = at.app.browser();
    browser.sign_in_at("acme", "mallory").await;
    at.execute(
        "UPDATE vestibule_users SET claimed_email = ?1, claimed_email_key = ?1, password_hash = ?2",
        &[ALICE, "$argon2id$canary"],
    );
    (at, browser)
}

// ATTACKS E02, E04; S57
#[tokio::test(flavor = "multi_thread")]
async fn a_squatter_keeps_nothing_of_an_address_that_its_owner_proves() {
    let (at, mut mallory) = squatter("never").await;
    let token = mallory.post("/auth/session/token").await.json();
    let bearer = format!(
        "Bearer {}",
        token["access_token"].as_str().expect("a token")
    );
    let with_token = async || {
        let request = Request::get("/users/me").header(header::AUTHORIZATION, &bearer);
        let request = request.body(Body::empty()).expect("a path");
        at.app.browser().send(request).await.status
    };
    assert_eq!(with_token().await, StatusCode::OK);
    let planted = me(&mut mallory).await;

    let (mut alice, owner) = at.alice().await;
    assert_ne!(owner["id"], planted["id"]);
    assert_eq!(owner["is_verified"], true);
    // The password, the claim, the session and the token of before are gone.
    assert_eq!(
        at.text("SELECT coalesce(password_hash, claimed_email, claimed_email_key) FROM vestibule_users WHERE email IS NULL"),
        None
    );
    assert_eq!(
        mallory.get_json("/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(with_token().await, StatusCode::UNAUTHORIZED);
    // Mallory's own way in leads to the emptied account, and no further.
    mallory.sign_in_at("acme", "mallory").await;
    let emptied = me(&mut mallory).await;
    assert_eq!(emptied["id"], planted["id"]);
    assert_eq!(emptied["email"], Value::Null);
    assert_eq!(me(&mut alice).await, owner);
    assert_eq!(at.app.counts(), [2, 2, 2]);
}

// ATTACKS E02; S57
#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_be_asked_for_a_password_a_claimed_address_is_refused() {
    for linking in ["ask", "verified"] {
        let (at, mut mallory) = squatter(linking).await;
        let before = at.app.counts();
        let planted = me(&mut mallory).await;
        let mut browser = at.app.browser();
        let answer = browser.sign_in(ALICE).await;
        let told = ["account_exists", "claimed_by_password"];
        refused(&at.app, &browser, &answer, before, told);
        assert_eq!(me(&mut mallory).await, planted);
    }
}

// ATTACKS E03; S54, S56; nOAuth
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_writes_somebody_else_s_address_gets_nobody_else_s_account() {
    const OURS: &str = "0c2b1a5e-6a3d-4b1c-8f57-2f6b9d1e7a10";
    const THEIRS: &str = "5d1f3b77-9f0e-4c53-9a42-1b1d7c2e8f90";
    const STRANGE: &str = "77777777-6a3d-4b1c-8f57-2f6b9d1e7a10";
    let of = |key: &str, tenant: &str, sub: &str, claims: Value| Person {
        sub: sub.to_owned(),
        tenant: Some(tenant.to_owned()),
        ..person(key, claims)
    };
    let ann = |xms_edov: Value| {
        json!({
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "email": "ann@ours.example", "email_verified": true,
            "preferred_username": "ann@ours.example", "upn": "ann@ours.example",
            "xms_edov": xms_edov,
        })
    };
    let microsoft = DevIdp::builder()
        .listen(([127, 0, 0, 1], 0).into())
        .issuer("https://login.microsoftonline.com/{tenantid}/v2.0".to_owned())
        .client("ms-client", "canary-ms-secret")
        .redirect_uris(RedirectUris::AnyLoopback)
        .people(vec![
            of("ann", OURS, "ann-sub", ann(json!(true))),
            of("evil", THEIRS, "evil-sub", ann(json!(false))),
            // The same subject and object, of another tenant; and a tenant that vouches for what is not its own.
            of("twin", THEIRS, "ann-sub", ann(json!(true))),
            of("strange", STRANGE, "ann-sub", ann(json!(true))),
        ])
        .start()
        .await
        .expect("a port on loopback is free");
    let app = App::with(Setup {
        top: "linking = \"verified\"".into(),
        tables: format!(
            "[providers.microsoft]\nclient_id = \"ms-client\"\nclient_secret = \"canary-ms-secret\"\ntenant = \"common\"\nallowed_tenants = [\"{OURS}\", \"{THEIRS}\"]\nmetadata_url = \"http://{}/common/v2.0/.well-known/openid-configuration\"\n",
            microsoft.addr()
        ),
        ..Setup::default()
    })
    .await;
    let mut ann = app.browser();
    let answer = ann.sign_in_at("microsoft", "ann").await;
    assert!(answer.location().ends_with("/account"), "{answer:?}");
    let owner = me(&mut ann).await;
    assert_eq!(owner["email"], "ann@ours.example");
    let before = app.counts();

    for (person, told) in [
        ("evil", ["email_unverified", "email_unverified"]),
        ("strange", ["domain_not_allowed", "tenant"]),
    ] {
        let mut browser = app.browser();
        let answer = browser.sign_in_at("microsoft", person).await;
        refused(&app, &browser, &answer, before, told);
    }
    // Verified, says the other tenant: the owner is asked, and nobody is in.
    let mut browser = app.browser();
    let asked = browser.sign_in_at("microsoft", "twin").await;
    assert!(asked.location().contains("/login?"), "{asked:?}");
    assert!(browser.session().is_none());
    assert_eq!(app.counts(), before);
    assert_eq!(me(&mut ann).await, owner);
}

// ---- What is no address, no name, no right --------------------------------------------------------------------------

// ATTACKS E08
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_is_none_and_never_an_error_of_ours() {
    let emails = vec![
        Value::Null,
        json!(""),
        json!(" "),
        json!(7),
        json!(true),
        json!([ALICE]),
        json!({ "value": ALICE }),
        json!("alice"),
        json!("alice@@example.com"),
        json!("alice@example.com,eve@evil.example"),
        json!("<alice@example.com>"),
        json!("alice\u{0}@example.com"),
        json!("alice@example.com\r\nbcc: eve@evil.example"),
        json!(format!("{}@example.com", "a".repeat(8_000))),
    ];
    let people = |emails: &[Value]| {
        let of = |(n, email): (usize, &Value)| {
            person(
                &format!("eve-{n}"),
                json!({ "email": email, "email_verified": true }),
            )
        };
        emails.iter().enumerate().map(of).collect::<Vec<Person>>()
    };
    // An address is required.
    let at = At::with("", "", people(&emails)).await;
    at.alice().await;
    let before = at.app.counts();
    for (n, email) in emails.iter().enumerate() {
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", &format!("eve-{n}")).await;
        assert_eq!(answer.code(), "email_missing", "{email}");
        refused(&at.app, &browser, &answer, before, ["email_missing"; 2]);
    }
    // None is: an account by the subject alone, that owns nothing.
    let at = At::with("require_email = false", "", people(&emails)).await;
    let (_, alice) = at.alice().await;
    for (n, email) in emails.iter().enumerate() {
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", &format!("eve-{n}")).await;
        assert!(
            answer.location().ends_with("/account"),
            "{email}: {answer:?}"
        );
        let eve = me(&mut browser).await;
        assert_ne!(eve["id"], alice["id"], "{email}");
        // Kept as said, if at all, and never as verified: a program may read it.
        assert_eq!(eve["identities"][0]["email_verified"], false, "{email}");
        assert_eq!(
            (&eve["email"], &eve["is_verified"]),
            (&Value::Null, &json!(false)),
            "{email}"
        );
        assert_eq!(
            browser.get("/account").await.status,
            StatusCode::OK,
            "{email}"
        );
    }
    assert_eq!(
        at.app.count("users"),
        1 + i64::try_from(emails.len()).unwrap()
    );
}

// ATTACKS E08
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_address_ends_in_a_code_wherever_it_comes_from() {
    let huge = |bytes: usize| json!({ "email": format!("{}@x.example", "a".repeat(bytes)) });
    let people = vec![
        person("larger-than-a-token", huge(20_000)),
        person("a-megabyte", huge(1_000_000)),
    ];
    let at = At::with("require_email = false", "", people).await;
    at.alice().await;
    let before = at.app.counts();
    for (key, fault, told) in [
        (
            "larger-than-a-token",
            Fault::None,
            ["id_token_invalid", "too_large"],
        ),
        (
            "a-megabyte",
            Fault::None,
            ["provider_error", "answer_too_large"],
        ),
    ] {
        at.acme.set_fault(fault);
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", key).await;
        refused(&at.app, &browser, &answer, before, told);
    }
    // In UserInfo alone, which is asked where an address is required.
    let mut setup = at.app.setup();
    setup.top = String::new();
    let app = at.app.again(setup).await;
    at.acme.set_fault(Fault::NoEmail);
    for (key, told) in [
        ("larger-than-a-token", ["email_missing", "email_missing"]),
        ("a-megabyte", ["provider_error", "answer_too_large"]),
    ] {
        let mut browser = app.browser();
        let answer = browser.sign_in_at("acme", key).await;
        refused(&app, &browser, &answer, before, told);
    }
}

// ATTACKS E09; I03
#[tokio::test(flavor = "multi_thread")]
async fn names_and_pictures_of_any_shape_sign_people_in_and_are_kept_clean() {
    const PICTURE: &str = "https://a.example/p.png";
    let none = Value::Null;
    let rows = vec![
        // The claims; the name that is kept, and the picture.
        (
            json!({ "name": null, "picture": null, "locale": null }),
            none.clone(),
            none.clone(),
        ),
        (
            json!({ "name": 7, "picture": 7, "locale": 7 }),
            none.clone(),
            none.clone(),
        ),
        (
            json!({ "name": ["A"], "picture": [PICTURE], "locale": ["de"] }),
            none.clone(),
            none.clone(),
        ),
        (
            json!({ "name": { "a": 1 }, "picture": { "url": PICTURE }, "locale": {} }),
            none.clone(),
            none.clone(),
        ),
        (
            json!({ "name": "", "picture": "", "locale": "" }),
            none.clone(),
            none.clone(),
        ),
        (
            json!({ "name": "\u{0}\r\n\t", "picture": PICTURE }),
            none.clone(),
            json!(PICTURE),
        ),
        (
            json!({ "name": "A\u{0}nn\u{7}", "picture": "https://a.example/\u{0}" }),
            json!("Ann"),
            none.clone(),
        ),
        (
            json!({ "name": "\u{1f469}\u{200d}\u{1f680} Ann", "picture": "javascript:alert(1)" }),
            json!("\u{1f469}\u{200d}\u{1f680} Ann"),
            none.clone(),
        ),
        (
            json!({ "name": "\u{5d0}\u{5e0}", "picture": "http://a.example/p.png" }),
            json!("\u{5d0}\u{5e0}"),
            none.clone(),
        ),
        // Letters of any direction stay; what turns the direction of other people's text goes.
        (
            json!({ "name": "Ann \u{202e}nimda\u{2066}", "picture": "data:text/html,x" }),
            json!("Ann nimda"),
            none.clone(),
        ),
        (
            json!({ "name": "<script>alert(1)</script>", "picture": "https://u:p@a.example/" }),
            json!("<script>alert(1)</script>"),
            none.clone(),
        ),
        (
            json!({ "name": "n".repeat(8_000), "picture": format!("https://a.example/{}", "p".repeat(1_500)), "locale": "l".repeat(500) }),
            json!("n".repeat(1_024)),
            none,
        ),
    ];
    let people = rows
        .iter()
        .enumerate()
        .map(|(n, (claims, _, _))| {
            let mut all = claims.clone();
            all["email"] = format!("eve-{n}@example.org").into();
            person(&format!("eve-{n}"), all)
        })
        .collect();
    let at = At::with("", "", people).await;
    for (n, (claims, name, picture)) in rows.iter().enumerate() {
        let mut browser = at.app.browser();
        let answer = browser.sign_in_at("acme", &format!("eve-{n}")).await;
        assert!(
            answer.location().ends_with("/account"),
            "{claims}: {answer:?}"
        );
        let eve = me(&mut browser).await;
        assert_eq!((&eve["name"], &eve["picture"]), (name, picture), "{claims}");
        let page = browser.get("/account").await;
        assert_eq!(page.status, StatusCode::OK, "{claims}");
        assert!(!page.body.contains("<script>alert"), "{claims}");
    }
    assert!(
        !holds(&database(&at.app), "llllllllllllllll"),
        "nobody asked for the locale"
    );
}

/// An application whose `google` is imitated: what it says is on the wire as it stands.
async fn imitated(top: &str, more: &str) -> (App, Arc<Imitation>) {
    let google = Arc::new(Imitation::of("google", None));
    let setup = Setup {
        without_google: true,
        public_url: "https://app.example".into(),
        top: top.into(),
        tables: format!(
            "[providers.google]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"canary-client-secret\"\n{more}\n"
        ),
        ..Setup::default()
    };
    let parts = Parts {
        transport: Some(google.clone()),
        ..Parts::default()
    };
    (App::over(setup, parts).await, google)
}

async fn sign_in(provider: &Imitation, name: &str, browser: &mut Browser) -> Answer {
    let url = browser.begin_at(name).await;
    let query = provider.consent(&url);
    browser.get(&format!("/auth/{name}/callback?{query}")).await
}

// ATTACKS E09. Half a surrogate pair is no character: the answer is refused as a whole, because a reader that mends it
// makes one of two subjects (RFC 8259 section 8.2, RFC 7493 section 2.1).
#[tokio::test(flavor = "multi_thread")]
async fn half_a_character_and_a_name_of_a_megabyte_are_refused_by_a_documented_code() {
    let half = format!("Ann {LONE_SURROGATE}");
    let huge = "n".repeat(1_000_000);
    for (name, in_token, told) in [
        (&half, true, ["id_token_invalid", "format"]),
        (&half, false, ["provider_error", "userinfo_json"]),
        (&huge, true, ["token_response_invalid", "token_json"]),
        (&huge, false, ["provider_error", "userinfo_json"]),
    ] {
        let (app, google) = imitated("", "").await;
        google.change(|wire| {
            let claims = wire.claims.as_mut().expect("Google signs ID tokens");
            if in_token {
                claims["name"] = name.as_str().into();
            } else {
                claims["email"] = Value::Null;
                wire.profile = Some(json!({
                    "sub": claims["sub"], "email": ALICE, "email_verified": true, "name": name,
                }));
            }
        });
        let mut browser = app.browser();
        let answer = sign_in(&google, "google", &mut browser).await;
        refused(&app, &browser, &answer, [0, 0, 0], told);
    }
}

// ATTACKS E18
#[tokio::test(flavor = "multi_thread")]
async fn claims_of_rights_are_nobody_s_rights_and_are_kept_nowhere() {
    let people = |alice: &Value| {
        let claims = json!({
            "id": alice["id"], "user_id": alice["id"], "user": alice["id"],
            "is_superuser": true, "is_admin": true, "is_verified": true, "is_active": false,
            "admin": "canary-admin", "roles": ["canary-role"], "role": "canary-role",
            "groups": ["canary-group"], "permissions": ["canary-permission"],
            "scope": "canary-scope", "has_password": true, "password_hash": "canary-hash",
            "version": 99, "created_at": 1,
            "email": "eve@example.org", "email_verified": false,
        });
        vec![person("eve", claims)]
    };
    // Alice's account is the same in a second process, whose Acme knows its id.
    let at = At::with("require_email = false", "", Vec::new()).await;
    let (_, alice) = at.alice().await;
    let acme = DevIdp::builder()
        .listen(([127, 0, 0, 1], 0).into())
        .client("acme-client", "canary-acme-secret")
        .redirect_uris(RedirectUris::AnyLoopback)
        .people(people(&alice))
        .start()
        .await
        .expect("a port on loopback is free");
    let mut setup = at.app.setup();
    setup.tables = setup.tables.replace(at.acme.issuer(), acme.issuer());
    let app = at.app.again(setup).await;

    let routes = Router::new()
        .route("/admin", get(async |_: Superuser| "in"))
        .with_state(app.vestibule.clone());
    let mut browser = app.browser_of(routes);
    let answer = browser.sign_in_at("acme", "eve").await;
    assert!(answer.location().ends_with("/account"), "{answer:?}");
    let eve = me(&mut browser).await;
    assert_ne!(eve["id"], alice["id"]);
    assert_eq!(eve["email"], Value::Null);
    assert_eq!(
        ["is_active", "is_superuser", "is_verified"].map(|name| &eve[name]),
        [&json!(true), &json!(false), &json!(false)]
    );
    assert_eq!(
        browser.get_json("/admin").await.status,
        StatusCode::FORBIDDEN
    );
    // Nor do they come by a second sign-in, which renews what is known of the identity.
    browser.sign_in_at("acme", "eve").await;
    assert_eq!(me(&mut browser).await["is_superuser"], false);
    // Our own tokens say nothing of them either.
    let token = browser.post("/auth/session/token").await.json();
    let token = token["access_token"].as_str().expect("a token").to_owned();
    assert!(!decoded(&token).contains("canary"));

    app.vestibule.close().await;
    let database = database(&app);
    assert!(
        holds(&database, "eve@example.org"),
        "the database is there to be searched"
    );
    assert!(!holds(&database, "canary-"));
    assert!(!log_text().contains("canary-role"));
}

/// The claims of a token as text, unverified.
fn decoded(token: &str) -> String {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    String::from_utf8(payload).expect("claims are text")
}

// ---- Who may come ---------------------------------------------------------------------------------------------------

// ATTACKS E15; DESIGN 8: `allowed_domains`, by Google's `hd` and a verified address.
#[tokio::test(flavor = "multi_thread")]
async fn only_people_of_exactly_the_allowed_domain_sign_up() {
    let rows = [
        // `hd`, the address, whether it is verified.
        (None, Some("x@good.com"), true),
        (Some("evil.com"), Some("x@good.com"), true),
        (Some("good.com.evil.com"), Some("x@good.com"), true),
        (Some("sub.good.com"), Some("x@good.com"), true),
        (Some("g\u{43e}\u{43e}d.com"), Some("x@good.com"), true),
        (Some(""), Some("x@good.com"), true),
        (Some("good.com"), Some("x@notgood.com"), true),
        (Some("good.com"), Some("x@good.com.evil"), true),
        (Some("good.com"), Some("x@sub.good.com"), true),
        (Some("good.com"), Some("x@goodxcom"), true),
        (Some("good.com"), Some("x@g\u{43e}\u{43e}d.com"), true),
        (Some("good.com"), Some("good.com@evil.com"), true),
        (Some("good.com"), Some("x@evil.com@good.com"), true),
        (Some("good.com"), Some("x@gmail.com"), true),
        (Some("good.com"), Some("x@good.com"), false),
        // Nothing in the signed token: the organisation that UserInfo names is believed by nobody.
        (None, None, true),
        // A personal account with the company's address as its alias.
        (None, Some("x@good.com"), false),
    ];
    let top = "signup = \"domains\"\nallowed_domains = [\"good.com\"]\nrequire_email = false";
    let (app, google) = imitated(top, "").await;
    let say = |hd: Option<&str>, email: Option<&str>, verified: bool| {
        google.change(|wire| {
            let claims = wire.claims.as_mut().expect("Google signs ID tokens");
            claims["email"] = email.into();
            claims["email_verified"] = verified.into();
            let claims = claims.as_object_mut().expect("claims are an object");
            match hd {
                Some(hd) => claims.insert("hd".into(), hd.into()),
                None => claims.remove("hd"),
            };
            wire.profile = Some(json!({
                "sub": claims["sub"], "email": "x@good.com", "email_verified": true, "hd": "good.com",
            }));
        });
    };
    for (hd, email, verified) in rows {
        say(hd, email, verified);
        let mut browser = app.browser();
        let answer = sign_in(&google, "google", &mut browser).await;
        assert_eq!(
            answer.code(),
            "domain_not_allowed",
            "{hd:?} {email:?} {verified}"
        );
        refused(
            &app,
            &browser,
            &answer,
            [0, 0, 0],
            ["domain_not_allowed"; 2],
        );
    }
    // Any spelling of the domain is the domain.
    say(Some("GOOD.com"), Some("x@Good.COM"), true);
    let mut browser = app.browser();
    let answer = sign_in(&google, "google", &mut browser).await;
    assert_eq!(answer.location(), "https://app.example/account");
    assert_eq!(app.counts(), [1, 1, 1]);
}

// ATTACKS E16
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_shrank_costs_the_address_and_one_that_grew_gives_no_rights() {
    let without_address = |google: &Imitation, scope: Value| {
        google.change(|wire| {
            wire.token["body"]["scope"] = scope;
            let claims = wire.claims.as_mut().and_then(Value::as_object_mut);
            let claims = claims.expect("Google signs ID tokens");
            claims.remove("email");
            claims.remove("email_verified");
            wire.profile = Some(json!({ "sub": claims["sub"] }));
        });
    };
    let (app, google) = imitated("", "").await;
    let (lenient, theirs) = imitated("require_email = false", "").await;
    for scope in [
        json!("openid"),
        json!(""),
        Value::Null,
        json!(7),
        json!(["openid"]),
    ] {
        without_address(&google, scope.clone());
        let mut browser = app.browser();
        let answer = sign_in(&google, "google", &mut browser).await;
        refused(&app, &browser, &answer, [0, 0, 0], ["email_missing"; 2]);

        without_address(&theirs, scope.clone());
        let mut browser = lenient.browser();
        let answer = sign_in(&theirs, "google", &mut browser).await;
        assert_eq!(answer.location(), "https://app.example/account", "{scope}");
        assert_eq!(me(&mut browser).await["email"], Value::Null);
    }

    let (app, google) = imitated("", "").await;
    google.change(|wire| {
        wire.token["body"]["scope"] = "openid email profile admin superuser canary-scope".into();
    });
    let mut browser = app.browser();
    sign_in(&google, "google", &mut browser).await;
    assert_eq!(me(&mut browser).await["is_superuser"], false);
    let token = browser.post("/auth/session/token").await.json();
    let token = token["access_token"].as_str().expect("a token").to_owned();
    let claims = decoded(&token);
    assert!(
        !claims.contains("admin") && !claims.contains("canary"),
        "{claims}"
    );
    app.vestibule.close().await;
    assert!(!holds(&database(&app), "canary-scope"));
}

// ---- Who somebody is ------------------------------------------------------------------------------------------------

// The issue: "a provider whose answer lacks the subject, has it as a number or an empty string". Of ID tokens, `faults.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_without_a_subject_is_nobody() {
    // The provider, its token endpoint, the subject's member, whether a whole number does.
    for (id, token_endpoint, member, may_be_number) in [
        (
            "github",
            "https://github.com/login/oauth/access_token",
            "id",
            true,
        ),
        (
            "discord",
            "https://discord.com/api/oauth2/token",
            "id",
            false,
        ),
        (
            "facebook",
            "https://graph.facebook.com/oauth/access_token",
            "id",
            false,
        ),
        (
            "spotify",
            "https://accounts.spotify.com/api/token",
            "account_id",
            false,
        ),
    ] {
        let provider = Arc::new(Imitation::of(id, Some(token_endpoint)));
        let setup = Setup {
            without_google: true,
            public_url: "https://app.example".into(),
            top: "require_email = false".into(),
            tables: format!(
                "[providers.{id}]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"canary-client-secret\"\n"
            ),
            ..Setup::default()
        };
        let parts = Parts {
            transport: Some(provider.clone()),
            ..Parts::default()
        };
        let app = App::over(setup, parts).await;
        let mut bad = vec![
            Value::Null,
            json!(""),
            json!("s".repeat(300)),
            json!("a\u{0}b"),
            json!("a\nb"),
            json!(true),
            json!(["1"]),
            json!({ "id": "1" }),
            json!(-1),
            json!(1.5),
            json!(1e300),
        ];
        if !may_be_number {
            bad.push(json!(1));
        }
        for subject in bad {
            provider.change(|wire| {
                wire.profile.as_mut().expect("a profile")[member] = subject.clone();
            });
            let mut browser = app.browser();
            let answer = sign_in(&provider, id, &mut browser).await;
            assert_eq!(answer.code(), "provider_error", "{id} {subject}");
            let told = ["provider_error", "profile_subject"];
            refused(&app, &browser, &answer, [0, 0, 0], told);
        }
        provider.change(|wire| {
            let profile = wire.profile.as_mut().and_then(Value::as_object_mut);
            profile.expect("a profile").remove(member);
        });
        let mut browser = app.browser();
        let answer = sign_in(&provider, id, &mut browser).await;
        refused(
            &app,
            &browser,
            &answer,
            [0, 0, 0],
            ["provider_error", "profile_subject"],
        );
        // It was the subject alone.
        provider.change(|wire| {
            wire.profile.as_mut().expect("a profile")[member] = "1".into();
        });
        let mut browser = app.browser();
        let answer = sign_in(&provider, id, &mut browser).await;
        assert_eq!(answer.location(), "https://app.example/account", "{id}");
        assert_eq!(app.counts(), [1, 1, 1]);
    }
}
