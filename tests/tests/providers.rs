//! Every checked preset signs somebody in, through the whole product, over that provider's wire shape; and each quirk by
//! name. Nothing leaves the process.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use url::Url;
use vestibule::oidc::providers::{ALL, Preset};
use vestibule_tests::trust::{self, Here, Said};
use vestibule_tests::{
    Answer, App, Browser, CLIENT_ID, Imitation, Parts, Setup, imitated, reason_of,
};

const SECRET: &str = "canary-client-secret";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// How a provider takes our proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Proof {
    Basic,
    Post,
    /// As `Post`, with a secret that we sign.
    Signed,
}

/// What is known of a provider without its preset: a second opinion.
struct Known {
    id: &'static str,
    token_endpoint: &'static str,
    proof: Proof,
    pkce: bool,
    issuer: &'static str,
    subject: &'static str,
    /// The address, and whether it counts as verified.
    email: (&'static str, bool),
    name: &'static str,
}

const fn known(
    id: &'static str,
    token_endpoint: &'static str,
    proof: Proof,
    (issuer, subject): (&'static str, &'static str),
    email: (&'static str, bool),
    name: &'static str,
) -> Known {
    Known {
        id,
        token_endpoint,
        proof,
        pkce: true,
        issuer,
        subject,
        email,
        name,
    }
}

const KNOWN: &[Known] = &[
    known(
        "google",
        "https://oauth2.googleapis.com/token",
        Proof::Basic,
        ("https://accounts.google.com", "110169484474386276334"),
        ("ann@example.com", true),
        "Ann Example",
    ),
    known(
        "microsoft",
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        Proof::Basic,
        (
            "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
            "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        ),
        ("ann@example.com", true),
        "Ann Example",
    ),
    known(
        "apple",
        "https://appleid.apple.com/auth/token",
        Proof::Signed,
        (
            "https://appleid.apple.com",
            "000544.5e201aec537347aeb79d23cbc345170a.1321",
        ),
        ("c4ptkc9zm5@privaterelay.appleid.com", true),
        "Ann Example",
    ),
    known(
        "github",
        "https://github.com/login/oauth/access_token",
        Proof::Post,
        ("https://github.com", "1"),
        ("octocat@github.com", true),
        "monalisa octocat",
    ),
    known(
        "gitlab",
        "https://gitlab.com/oauth/token",
        Proof::Basic,
        ("https://gitlab.com", "1234567"),
        ("ann@example.com", true),
        "Ann Example",
    ),
    known(
        "discord",
        "https://discord.com/api/oauth2/token",
        Proof::Basic,
        ("https://discord.com", "80351110224678912"),
        ("nelly@example.com", true),
        "Nelly",
    ),
    known(
        "facebook",
        "https://graph.facebook.com/oauth/access_token",
        Proof::Post,
        ("https://www.facebook.com", "10158000000000000"),
        ("ann@example.com", false),
        "Ann Example",
    ),
    Known {
        pkce: false,
        ..known(
            "linkedin",
            "https://www.linkedin.com/oauth/v2/accessToken",
            Proof::Post,
            ("https://www.linkedin.com/oauth", "782bbtaQ"),
            ("doe@example.com", true),
            "John Doe",
        )
    },
    known(
        "slack",
        "https://slack.com/api/openid.connect.token",
        Proof::Post,
        ("https://slack.com", "U0R7JM"),
        ("krane@slack-corp.com", true),
        "krane",
    ),
    known(
        "twitch",
        "https://id.twitch.tv/oauth2/token",
        Proof::Post,
        ("https://id.twitch.tv/oauth2", "713936733"),
        ("ann@example.com", true),
        "AnnStreams",
    ),
    known(
        "x",
        "https://api.x.com/2/oauth2/token",
        Proof::Basic,
        ("https://x.com", "2244994945"),
        ("dev@example.com", true),
        "X Dev",
    ),
    known(
        "spotify",
        "https://accounts.spotify.com/api/token",
        Proof::Basic,
        ("https://accounts.spotify.com", "aB3dE5fG7h"),
        ("email@example.com", false),
        "JM Wizzler",
    ),
];

fn known_of(id: &str) -> &'static Known {
    KNOWN
        .iter()
        .find(|known| known.id == id)
        .expect("it is known")
}

/// What is kept of an identity.
#[derive(Debug, Eq, PartialEq)]
struct Identity {
    issuer: String,
    subject: String,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
}

/// An application with one provider, and what imitates it.
struct At {
    app: App,
    provider: Arc<Imitation>,
    known: &'static Known,
    /// The key that signs our secrets, where they are signed.
    key: EcdsaKeyPair,
}

impl At {
    async fn with(id: &str, top: &str, more: &str) -> Self {
        let known = known_of(id);
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
        let der = key.to_pkcs8v1().expect("a new key is complete");
        let credentials = match known.proof {
            Proof::Signed => format!(
                "team_id = \"TEAM\"\nkey_id = \"KEY\"\nprivate_key = \"\"\"\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n\"\"\"\n",
                STANDARD.encode(der.as_ref())
            ),
            Proof::Basic | Proof::Post => format!("client_secret = \"{SECRET}\"\n"),
        };
        let provider = Arc::new(Imitation::of(id, Some(known.token_endpoint)));
        let setup = Setup {
            without_google: true,
            public_url: "https://app.example".into(),
            top: top.into(),
            tables: format!("[providers.{id}]\nclient_id = \"{CLIENT_ID}\"\n{credentials}{more}\n"),
            ..Setup::default()
        };
        let parts = Parts {
            transport: Some(provider.clone()),
            ..Parts::default()
        };
        Self {
            app: App::over(setup, parts).await,
            provider,
            known,
            key,
        }
    }

    /// With the settings that make this provider's fixtures sign somebody in.
    async fn of(id: &str) -> Self {
        let more = if id == "microsoft" {
            format!("tenant = \"common\"\nallowed_tenants = [\"{TENANT}\"]")
        } else {
            String::new()
        };
        let top = if known_of(id).email.1 {
            ""
        } else {
            "require_email = false"
        };
        Self::with(id, top, &more).await
    }

    async fn begin(&self, browser: &mut Browser) -> Url {
        let answer = browser.get(&format!("/auth/{}/login", self.known.id)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        Url::parse(answer.location()).expect("a provider's URL")
    }

    /// A whole login: the answer of the callback.
    async fn sign_in(&self, browser: &mut Browser) -> Answer {
        let url = self.begin(browser).await;
        let query = self.provider.consent(&url);
        let path = format!("/auth/{}/callback", self.known.id);
        if !url.query_pairs().any(|(_, value)| value == "form_post") {
            return browser.get(&format!("{path}?{query}")).await;
        }
        let request = Request::post(path)
            .header(header::ACCEPT, "text/html")
            .header(header::ORIGIN, "https://appleid.apple.com")
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        browser
            .send(request.body(Body::from(query)).expect("a path"))
            .await
    }

    fn identities(&self) -> Vec<Identity> {
        let file = rusqlite::Connection::open(self.app.database()).expect("the file is there");
        let mut rows = file
            .prepare(
                "SELECT issuer, subject, email, email_verified, name FROM vestibule_identities",
            )
            .expect("the table is there");
        let rows = rows.query_map([], |row| {
            Ok(Identity {
                issuer: row.get(0)?,
                subject: row.get(1)?,
                email: row.get(2)?,
                email_verified: row.get(3)?,
                name: row.get(4)?,
            })
        });
        rows.expect("rows are read")
            .map(|row| row.expect("a row"))
            .collect()
    }

    /// Nobody came in, and this is the public code and the reason.
    fn refused(&self, browser: &Browser, answer: &Answer, code: &str, reason: &str) {
        assert_eq!(answer.code(), code, "{answer:?}");
        assert_eq!(reason_of(&answer.reference()), reason);
        assert_eq!(self.app.counts(), [0, 0, 0]);
        assert!(browser.session().is_none());
    }
}

/// The presets that are imitated; every checked one is.
fn presets() -> Vec<&'static Preset> {
    let imitated = imitated();
    let (here, missing): (Vec<&Preset>, Vec<&Preset>) = ALL
        .iter()
        .copied()
        .filter(|preset| !matches!(preset.id, "openid" | "oauth2"))
        .partition(|preset| imitated.iter().any(|name| name == preset.id));
    for preset in missing {
        assert!(
            preset.facts.checked.is_none(),
            "{} has no fixtures",
            preset.id
        );
    }
    assert_eq!(here.len(), imitated.len());
    here
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checked_preset_signs_somebody_in_over_its_providers_wire_shape() {
    for preset in presets() {
        let at = At::of(preset.id).await;
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        assert_eq!(
            answer.location(),
            "https://app.example/account",
            "{}: {answer:?}",
            preset.id
        );
        assert!(browser.session().is_some(), "{}", preset.id);
        let known = at.known;
        let (email, verified) = known.email;
        assert_eq!(
            at.identities(),
            [Identity {
                issuer: known.issuer.to_owned(),
                subject: known.subject.to_owned(),
                email: Some(email.to_owned()),
                email_verified: verified,
                name: Some(known.name.to_owned())
            }],
            "{}",
            preset.id
        );
        let me = browser.get_json("/users/me").await.json();
        assert_eq!(me["name"], known.name, "{}", preset.id);
        // An address that nobody verified is the user's in no way.
        let owned = if verified { json!(email) } else { Value::Null };
        assert_eq!(me["email"], owned, "{}", preset.id);
        // The second time it is the same person.
        let answer = at.sign_in_again().await;
        assert_eq!(
            answer.location(),
            "https://app.example/account",
            "{}",
            preset.id
        );
        assert_eq!(at.app.counts()[..2], [1, 1], "{}", preset.id);
    }
}

impl At {
    async fn sign_in_again(&self) -> Answer {
        self.sign_in(&mut self.app.browser()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checked_preset_sends_what_its_provider_takes() {
    for preset in presets() {
        let at = At::of(preset.id).await;
        let mut browser = at.app.browser();
        let url = at.begin(&mut browser).await;
        let asked: BTreeSet<String> = url
            .query_pairs()
            .map(|(name, _)| name.into_owned())
            .collect();
        assert_eq!(
            asked.contains("code_challenge"),
            at.known.pkce,
            "{}",
            preset.id
        );
        assert_eq!(
            asked.contains("nonce"),
            at.provider.wire().claims.is_some(),
            "{}",
            preset.id
        );
        assert!(asked.contains("state"), "{}", preset.id);
        drop(at.sign_in(&mut browser).await);
        let request = at.provider.token_request();
        let form = request.form.expect("it is a form");
        assert_eq!(request.url.as_str(), at.known.token_endpoint);
        assert_eq!(form["grant_type"], "authorization_code");
        assert_eq!(form["code"], "a-code");
        let callback = format!("https://app.example/auth/{}/callback", preset.id);
        assert_eq!(form["redirect_uri"], callback);
        assert_eq!(
            form.contains_key("code_verifier"),
            at.known.pkce,
            "{}",
            preset.id
        );
        // RFC 6749 section 2.3: one proof, and it is not in the URL.
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{SECRET}")));
        match at.known.proof {
            Proof::Basic => {
                assert_eq!(
                    request.authorization.as_deref(),
                    Some(&*basic),
                    "{}",
                    preset.id
                );
                assert!(!form.contains_key("client_secret"), "{}", preset.id);
            }
            Proof::Post => {
                assert_eq!(request.authorization, None, "{}", preset.id);
                assert_eq!(form["client_id"], CLIENT_ID);
                assert_eq!(form["client_secret"], SECRET, "{}", preset.id);
            }
            Proof::Signed => {
                assert_eq!(request.authorization, None);
                assert_eq!(form["client_id"], CLIENT_ID);
                assert_ne!(form["client_secret"], SECRET);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_a_provider_refuses_in_its_own_way_signs_nobody_in() {
    for preset in presets() {
        let at = At::of(preset.id).await;
        at.provider.change(|wire| wire.refuses_the_code = true);
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        let (code, reason) = match preset.id {
            "linkedin" => ("client_rejected", "invalid_client"),
            "facebook" | "twitch" => ("provider_error", "token_status"),
            "x" => ("provider_error", "token_error"),
            _ => ("code_rejected", "invalid_grant"),
        };
        at.refused(&browser, &answer, code, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_twelve_kibibytes_signs_in() {
    for preset in presets() {
        let at = At::of(preset.id).await;
        at.provider.change(|wire| match &mut wire.claims {
            // A third more in base64, and the rest of the token.
            Some(claims) => claims["groups"] = "g".repeat(8_800).into(),
            None => wire.token["body"]["access_token"] = "t".repeat(12 * 1024).into(),
        });
        let answer = at.sign_in_again().await;
        assert_eq!(
            answer.location(),
            "https://app.example/account",
            "{}",
            preset.id
        );
    }
}

// ---- GitHub ---------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn github_says_with_status_200_that_our_secret_is_wrong() {
    let at = At::of("github").await;
    at.provider.change(|wire| {
        wire.refuses_the_code = true;
        wire.token_error["body"]["error"] = "incorrect_client_credentials".into();
    });
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "client_rejected", "invalid_client");
}

// S56
#[tokio::test(flavor = "multi_thread")]
async fn github_addresses_count_where_they_are_primary_and_verified() {
    let entry = |primary: bool, verified: Value| json!({ "email": "victim@example.org", "primary": primary, "verified": verified });
    for (list, code, reason) in [
        (
            json!([entry(true, json!(false))]),
            "email_unverified",
            "email_unverified",
        ),
        (
            json!([entry(true, json!("true"))]),
            "email_unverified",
            "email_unverified",
        ),
        (
            json!([entry(false, json!(true))]),
            "email_missing",
            "email_missing",
        ),
        (json!([]), "email_missing", "email_missing"),
    ] {
        let at = At::of("github").await;
        // What the profile shows is what its owner wrote there.
        at.provider.change(|wire| wire.emails = Some(list.clone()));
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        at.refused(&browser, &answer, code, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_without_the_right_to_see_addresses_has_none() {
    let at = At::of("github").await;
    at.provider.change(|wire| {
        wire.emails_status = 404;
        wire.emails = Some(json!({ "message": "Not Found" }));
    });
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "email_missing", "email_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn github_enterprise_server_is_asked_at_its_own_address() {
    let mut at = At::with("github", "", "base_url = \"https://hub.acme.example\"").await;
    at.provider
        .change(|wire| wire.callback = json!({ "code": "a-code" }));
    let url = at.begin(&mut at.app.browser()).await;
    assert_eq!(url.host_str(), Some("hub.acme.example"));
    assert_eq!(url.path(), "/login/oauth/authorize");
    // Its people are others than those of github.com.
    let installed = Arc::new(Imitation::of(
        "github",
        Some("https://hub.acme.example/login/oauth/access_token"),
    ));
    installed.change(|wire| wire.callback = json!({ "code": "a-code" }));
    let parts = Parts {
        transport: Some(installed.clone()),
        ..Parts::default()
    };
    at.app = App::over(at.app.setup(), parts).await;
    at.provider = installed;
    let answer = at.sign_in_again().await;
    assert_eq!(
        answer.location(),
        "https://app.example/account",
        "{answer:?}"
    );
    let [identity] = &at.identities()[..] else {
        panic!("one identity");
    };
    assert_eq!(identity.issuer, "https://hub.acme.example");
    let asked: Vec<String> = at
        .provider
        .sent()
        .iter()
        .map(|sent| sent.url.to_string())
        .collect();
    assert!(
        asked
            .iter()
            .all(|url| url.starts_with("https://hub.acme.example/")),
        "{asked:?}"
    );
    assert!(asked.contains(&"https://hub.acme.example/api/v3/user".to_owned()));
}

// ---- Others ---------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn slack_says_not_ok_with_status_200() {
    for (word, code, reason) in [
        ("invalid_code", "code_rejected", "invalid_grant"),
        ("bad_client_secret", "client_rejected", "invalid_client"),
        ("fatal_error", "provider_error", "token_error"),
    ] {
        let at = At::of("slack").await;
        at.provider.change(|wire| {
            wire.refuses_the_code = true;
            wire.token_error["body"]["error"] = word.into();
        });
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        at.refused(&browser, &answer, code, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twitch_is_asked_for_claims_and_lists_its_scopes_in_an_array() {
    let at = At::of("twitch").await;
    assert!(at.provider.wire().token["body"]["scope"].is_array());
    let mut browser = at.app.browser();
    let url = at.begin(&mut browser).await;
    let (_, claims) = url
        .query_pairs()
        .find(|(name, _)| name == "claims")
        .expect("claims");
    let claims: Value = serde_json::from_str(&claims).expect("JSON");
    assert!(claims["id_token"].get("email_verified").is_some());
    let answer = at.sign_in(&mut browser).await;
    assert_eq!(answer.location(), "https://app.example/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn facebook_without_an_address_signs_in_where_none_is_required_and_else_not() {
    let at = At::of("facebook").await;
    let without = |wire: &mut vestibule_tests::Wire| {
        let profile = wire.profile.as_mut().and_then(Value::as_object_mut);
        profile.expect("a profile").remove("email");
    };
    at.provider.change(without);
    let answer = at.sign_in_again().await;
    assert_eq!(answer.location(), "https://app.example/account");
    assert_eq!(at.identities()[0].email, None);

    let at = At::with("facebook", "", "").await;
    at.provider.change(without);
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "email_missing", "email_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn facebook_and_spotify_verify_no_address_whatever_their_profiles_say() {
    for id in ["facebook", "spotify"] {
        let at = At::with(id, "", "").await;
        at.provider.change(|wire| {
            let profile = wire.profile.as_mut().expect("a profile");
            profile["verified"] = true.into();
            profile["email_verified"] = true.into();
        });
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        at.refused(&browser, &answer, "email_unverified", "email_unverified");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spotify_is_found_again_by_account_id_when_the_users_id_changes() {
    let at = At::of("spotify").await;
    drop(at.sign_in_again().await);
    at.provider.change(|wire| {
        wire.profile.as_mut().expect("a profile")["id"] = "renamed".into();
    });
    drop(at.sign_in_again().await);
    assert_eq!(at.app.counts()[..2], [1, 1]);
    // Without it there is nobody: the id that may change hands is no substitute.
    let at = At::of("spotify").await;
    at.provider.change(|wire| {
        let profile = wire.profile.as_mut().and_then(Value::as_object_mut);
        profile.expect("a profile").remove("account_id");
    });
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "provider_error", "profile_subject");
}

// ---- Apple ----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn apples_name_comes_once_and_is_kept() {
    let at = At::of("apple").await;
    drop(at.sign_in_again().await);
    at.provider
        .change(|wire| wire.callback = json!({ "code": "a-code" }));
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    assert_eq!(
        answer.location(),
        "https://app.example/account",
        "{answer:?}"
    );
    let me = browser.get_json("/users/me").await.json();
    assert_eq!(me["name"], "Ann Example");
}

// S56
#[tokio::test(flavor = "multi_thread")]
async fn apples_text_true_verifies_and_no_other_text_does() {
    for (said, verifies) in [
        (json!("true"), true),
        (json!(true), true),
        (json!("false"), false),
        (json!("TRUE"), false),
        (json!(1), false),
    ] {
        let at = At::of("apple").await;
        at.provider.change(|wire| {
            wire.claims.as_mut().expect("claims")["email_verified"] = said.clone();
        });
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        if verifies {
            assert!(browser.session().is_some(), "{said}");
        } else {
            at.refused(&browser, &answer, "email_unverified", "email_unverified");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apples_client_secret_is_signed_for_apple_by_our_key() {
    let at = At::of("apple").await;
    drop(at.sign_in_again().await);
    let form = at.provider.token_request().form.expect("a form");
    let secret = &form["client_secret"];
    let (message, signature) = secret.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("three parts");
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let json_of = |text: &str| serde_json::from_slice::<Value>(&decode(text)).expect("JSON");
    let (header, claims) = (json_of(header), json_of(claims));
    assert_eq!(
        (&header["alg"], &header["kid"]),
        (&json!("ES256"), &json!("KEY"))
    );
    assert_eq!(claims["iss"], "TEAM");
    assert_eq!(claims["sub"], CLIENT_ID);
    assert_eq!(claims["aud"], "https://appleid.apple.com");
    let lives = claims["exp"]
        .as_i64()
        .zip(claims["iat"].as_i64())
        .map(|(exp, iat)| exp - iat);
    assert!(
        lives.is_some_and(|lives| (1..=15_777_000).contains(&lives)),
        "{lives:?}"
    );
    let public: aws_lc_rs::encoding::EcPublicKeyUncompressedBin<'_> =
        at.key.public_key().as_be_bytes().expect("a point");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.as_ref())
        .verify(message.as_bytes(), &decode(signature))
        .expect("our key signed it");
}

// S18
#[tokio::test(flavor = "multi_thread")]
async fn apples_attempt_cookie_crosses_sites_and_nobody_elses_does() {
    for (id, same_site) in [("apple", "SameSite=None"), ("gitlab", "SameSite=Lax")] {
        let at = At::of(id).await;
        let answer = at.app.browser().get(&format!("/auth/{id}/login")).await;
        let cookies = answer.set_cookies();
        let flow = cookies
            .iter()
            .find(|cookie| cookie.contains("vestibule_flow_"));
        let flow = flow.expect("an attempt has a cookie");
        assert!(
            flow.contains(same_site) && flow.contains("Secure"),
            "{flow}"
        );
    }
}

// S18: image after image, another site would fill the browser with cookies.
#[tokio::test(flavor = "multi_thread")]
async fn apples_attempt_is_begun_by_a_page_and_by_nothing_that_another_site_loads() {
    for (id, site, dest, status) in [
        ("apple", "cross-site", "image", 400),
        ("apple", "same-site", "iframe", 400),
        ("apple", "cross-site", "empty", 400),
        ("apple", "cross-site", "document", 303),
        ("apple", "same-origin", "empty", 303),
        // Its cookie is not taken from other sites.
        ("gitlab", "cross-site", "image", 303),
    ] {
        let at = At::of(id).await;
        let request = Request::get(format!("/auth/{id}/login"))
            .header("sec-fetch-site", site)
            .header("sec-fetch-dest", dest)
            .header(header::ACCEPT, "text/html");
        let answer = at
            .app
            .browser()
            .send(request.body(Body::empty()).expect("a path"))
            .await;
        let is_refused = answer.code() == "bad_request";
        assert_eq!(is_refused, status == 400, "{id} {site} {dest}");
        assert_eq!(answer.set_cookies().is_empty(), is_refused);
    }
}

// ---- Microsoft ------------------------------------------------------------------------------------------------------

// S54
#[tokio::test(flavor = "multi_thread")]
async fn microsofts_accounts_of_a_tenant_that_is_not_allowed_are_refused() {
    let at = At::with(
        "microsoft",
        "",
        "tenant = \"common\"\nallowed_tenants = [\"11111111-2222-3333-4444-555555555555\"]",
    )
    .await;
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "domain_not_allowed", "tenant");
}

// S54
#[tokio::test(flavor = "multi_thread")]
async fn microsofts_issuer_names_the_tenant_of_the_token() {
    let at = At::of("microsoft").await;
    at.provider.change(|wire| {
        // An allowed issuer, and an account of elsewhere.
        wire.claims.as_mut().expect("claims")["tid"] =
            "11111111-2222-3333-4444-555555555555".into();
    });
    let mut browser = at.app.browser();
    let answer = at.sign_in(&mut browser).await;
    at.refused(&browser, &answer, "id_token_invalid", "issuer");
}

// S56; nOAuth
#[tokio::test(flavor = "multi_thread")]
async fn microsofts_address_is_verified_by_xms_edov_alone() {
    for (xms_edov, email_verified, verifies) in [
        (json!(true), Value::Null, true),
        (json!(1), Value::Null, true),
        (json!("1"), Value::Null, true),
        (json!(false), json!(true), false),
        (json!("0"), json!(true), false),
        (Value::Null, json!(true), false),
    ] {
        let at = At::of("microsoft").await;
        at.provider.change(|wire| {
            let claims = wire.claims.as_mut().expect("claims");
            claims["xms_edov"] = xms_edov.clone();
            claims["email_verified"] = email_verified;
            // Asked for its word, UserInfo has none.
            wire.profile = Some(json!({ "sub": claims["sub"], "email": claims["email"] }));
        });
        let mut browser = at.app.browser();
        let answer = at.sign_in(&mut browser).await;
        if verifies {
            assert!(browser.session().is_some(), "{xms_edov}: {answer:?}");
        } else {
            at.refused(&browser, &answer, "email_unverified", "email_unverified");
        }
    }
}

// ---- The pages ------------------------------------------------------------------------------------------------------

/// What the address of each preset counts as, by what is said: no address, no word, false, "true", true, and true of its
/// own domain. N: none, U: unverified, V: verified, A: authoritative. Written by hand: a second opinion.
const TRUST: &[(&str, &str)] = &[
    ("google", "NUUUVA"),
    ("microsoft", "NUUVVA"),
    ("apple", "NUUVVV"),
    ("github", "NUUUVA"),
    ("gitlab", "NUUUVA"),
    ("facebook", "NUUUUU"),
    ("linkedin", "NUUUVV"),
    ("slack", "NUUUVA"),
    ("discord", "NUUUVV"),
    ("x", "NVVVVV"),
    ("twitch", "NUUUVV"),
    ("spotify", "NUUUUU"),
    ("amazon", "NUUUUU"),
    ("bitbucket", "NNNNNN"),
    ("dropbox", "NUUUUU"),
    ("figma", "NUUUUU"),
    ("notion", "NUUUUU"),
    ("reddit", "NNNNNN"),
    ("zoom", "NUUUUU"),
    ("kakao", "NUUUUU"),
    ("line", "NNNNNN"),
    ("naver", "NUUUUU"),
    ("openid", "NUUUVA"),
    ("oauth2", "NUUUVA"),
];

/// What follows: nobody has the address; then, `linking` being `never`, `ask` and `verified`: an account owns it, a disabled
/// one owns it, a password account that never proved it claims it.
const FOLLOWS: &[(char, [&str; 10])] = &[
    ('N', ["`email_missing`"; 10]),
    ('U', ["`email_unverified`"; 10]),
    (
        'V',
        [
            "new account, owning it",
            "`account_exists`",
            "asks its owner",
            "asks its owner",
            "`account_exists`",
            "`account_disabled`",
            "`account_disabled`",
            "new account, owning it; the claim ends",
            "`account_exists`",
            "`account_exists`",
        ],
    ),
    (
        'A',
        [
            "new account, owning it",
            "`account_exists`",
            "asks its owner",
            "**linked**",
            "`account_exists`",
            "`account_disabled`",
            "`account_disabled`",
            "new account, owning it; the claim ends",
            "`account_exists`",
            "`account_exists`",
        ],
    ),
];

// S56, S57, S60
#[test]
fn every_cell_of_the_trust_matrix_is_what_was_written_by_hand() {
    let ids: Vec<&str> = ALL.iter().map(|preset| preset.id).collect();
    let by_hand: Vec<&str> = TRUST.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, by_hand);
    for (preset, (_, classes)) in ALL.iter().zip(TRUST) {
        assert_eq!(classes.len(), Said::ALL.len());
        for (said, class) in Said::ALL.into_iter().zip(classes.chars()) {
            let facts = trust::heard(preset, said);
            let (_, follows) = FOLLOWS.iter().find(|(known, _)| *known == class).unwrap();
            assert_eq!(Here::all().count(), follows.len());
            for (here, expected) in Here::all().zip(follows) {
                let decision = trust::decided(&facts, here);
                assert_eq!(
                    trust::outcome(&decision),
                    *expected,
                    "{} {said:?} {here:?}",
                    preset.id
                );
            }
        }
    }
}

#[test]
fn the_pages_about_providers_say_what_the_presets_say() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, text) in [
        ("email-trust.md", trust::email_trust()),
        ("providers.md", trust::providers()),
    ] {
        let path = docs.join(name);
        if std::env::var_os("VESTIBULE_TEST_RENEW").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/{name} is not what the presets say; renew it with VESTIBULE_TEST_RENEW=1 cargo test -p vestibule-tests --test providers"
        );
    }
}
