//! Providers without ID tokens (S55).

use vestibule_jose::json;

use super::*;
use crate::providers::{ALL, Protocol, github, table};
use crate::{AccessTokenOnly, ApiSettings, ProfileError};

fn api() -> ApiSettings {
    ApiSettings {
        authorization_endpoint: Some("https://hub.example/authorize".into()),
        token_endpoint: Some("https://hub.example/token".into()),
        profile_endpoint: Some("https://api.hub.example/user".into()),
        subject_claim: Some("data.0.id".into()),
        email_claim: Some("email".into()),
        email_verified_claim: Some("verified".into()),
        ..ApiSettings::default()
    }
}

fn provider() -> Provider {
    let mut settings = settings(&generic::OAUTH2);
    settings.api = api();
    Provider::new(settings).unwrap()
}

fn access(provider: &Provider, token: &str) -> AccessTokenOnly {
    let metadata = provider.known_metadata().unwrap();
    let (_, started) = start(provider, metadata, login());
    let query = CallbackQuery::parse(format!("code=c&state={STATE}").as_bytes()).unwrap();
    let callback = started.callback(provider, metadata, query, NOW).unwrap();
    let answer = json_answer(&json!({ "access_token": token, "token_type": "bearer" }));
    match callback.token_response(provider, answer).unwrap() {
        Exchanged::AccessTokenOnly(access) => access,
        Exchanged::WithIdToken(_) => panic!("an ID token of a provider that has none"),
    }
}

fn identify(profile: Value) -> Result<VerifiedIdentity, ProfileError> {
    let provider = provider();
    access(&provider, "t").identify(&provider, Some(&json_answer(&profile)), None)
}

// S55
#[test]
fn a_subject_is_a_text_or_a_whole_number_at_its_path() {
    let long = "x".repeat(255);
    for (id, subject) in [
        (json!(7), Some("7")),
        (json!("abc"), Some("abc")),
        (json!(""), None),
        (json!(u64::MAX), Some("18446744073709551615")),
        (json!(7.5), None),
        (json!(-7), None),
        (json!(1e30), None),
        (json!(null), None),
        (json!(true), None),
        (json!(["7"]), None),
        (json!({ "id": 7 }), None),
        (json!("x".repeat(255)), Some(long.as_str())),
        (json!("x".repeat(256)), None),
        (json!("a\nb"), None),
    ] {
        let found = identify(json!({ "data": [{ "id": id }], "id": 9, "sub": "9" }));
        let found = found.as_ref().ok().map(VerifiedIdentity::subject);
        assert_eq!(found, subject, "{id}");
    }
    let error = identify(json!({ "id": 7 })).err().unwrap();
    assert_eq!(
        (error.reason(), error.code()),
        ("profile_subject", "provider_error")
    );
}

// S55, S56
#[test]
fn a_profile_says_an_address_is_verified_by_json_true_alone() {
    for (said, verified) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
        (json!(1), false),
        (json!(null), false),
    ] {
        let profile = json!({ "data": [{ "id": 1 }], "email": "a@b.org", "verified": said });
        let expected = if verified {
            EmailClaim::Verified("a@b.org".into())
        } else {
            EmailClaim::Unverified("a@b.org".into())
        };
        let identity = identify(profile).unwrap();
        assert_eq!(*identity.email(), expected, "{said}");
        assert!(!identity.authoritative());
    }
}

#[test]
fn a_long_access_token_is_sent_in_the_header_alone() {
    let provider = provider();
    let token = "t".repeat(12 * 1024);
    let request = access(&provider, &token)
        .profile_request(&provider)
        .unwrap();
    assert_eq!(request.url.as_str(), "https://api.hub.example/user");
    assert_eq!(
        request.authorization.unwrap().expose(),
        format!("Bearer {token}")
    );
    assert!(request.form.is_none());
}

// S55: a number where the provider's documentation says that it is one, or nothing is known of it.
#[test]
fn a_number_is_a_subject_where_the_preset_says_so_alone() {
    for preset in ALL {
        let Protocol::OAuth2(oauth2) = &preset.protocol else {
            continue;
        };
        // Nothing is known of it: the configuration names the path.
        if preset.id == generic::OAUTH2.id {
            continue;
        }
        let provider = Provider::new(settings(preset)).unwrap();
        let may = matches!(preset.id, "github" | "kakao");
        for (id, subject) in [
            (json!(583_231), may.then_some("583231")),
            (json!("583231"), Some("583231")),
            (json!(-1), None),
            (json!(1.0), None),
        ] {
            // The subject at its path: members joined by dots.
            let path = oauth2.claims.subject.rsplit('.');
            let profile = path.fold(id.clone(), |value, member| json!({ member: value }));
            let answer = json_answer(&profile);
            let identity = access(&provider, "t").identify(&provider, Some(&answer), None);
            let found = identity.as_ref().ok().map(VerifiedIdentity::subject);
            assert_eq!(found, subject, "{} {id}", preset.id);
        }
    }
}

// S25, S26
#[test]
fn a_profile_that_does_not_do_ends_the_login_with_its_reason() {
    let honest = json!({ "data": [{ "id": 1 }] }).to_string();
    let twice = honest.replacen('{', r#"{"data":[{"id":2}],"#, 1);
    let status = ("profile_status", "provider_error");
    let unavailable = ("profile_status", "provider_unavailable");
    let media = ("profile_content_type", "provider_error");
    let json = ("profile_json", "provider_error");
    let subject = ("profile_subject", "provider_error");
    for (answer, expected) in [
        (answer(401, "application/json", honest.clone()), status),
        (answer(302, "application/json", honest.clone()), status),
        (answer(201, "application/json", honest.clone()), status),
        (answer(429, "application/json", honest.clone()), unavailable),
        (answer(500, "application/json", honest.clone()), unavailable),
        (answer(200, "text/html", honest.clone()), media),
        (answer(200, "application/json", ""), json),
        (answer(200, "application/json", format!("[{honest}]")), json),
        (answer(200, "application/json", twice), json),
        (answer(200, "application/json", "[".repeat(10_000)), json),
        (answer(200, "application/json", "{}"), subject),
        (
            answer(200, "application/json", r#"{"data":{"id":1}}"#),
            subject,
        ),
        (answer(200, "application/json", r#"{"data":[]}"#), subject),
        (
            answer(200, "application/json", r#"{"data.0.id":1}"#),
            subject,
        ),
    ] {
        let provider = provider();
        let error = access(&provider, "t")
            .identify(&provider, Some(&answer), None)
            .err()
            .unwrap_or_else(|| panic!("{answer:?} is accepted"));
        assert_eq!((error.reason(), error.code()), expected, "{answer:?}");
    }
}

// ATTACKS E08
#[test]
fn an_address_of_a_wrong_type_in_a_profile_is_none_and_ends_no_login() {
    for email in [
        json!(null),
        json!(""),
        json!(7),
        json!(true),
        json!(["a@b.org"]),
        json!({ "address": "a@b.org" }),
        json!(format!("{}@b.org", "a".repeat(2_000))),
    ] {
        let profile = json!({ "data": [{ "id": 1 }], "email": email, "verified": true });
        let identity = identify(profile).unwrap();
        assert_eq!(*identity.email(), EmailClaim::Absent, "{email}");
        assert!(!identity.authoritative());
    }
}

fn listed(answer: &OutboundResponse) -> Result<EmailClaim, ProfileError> {
    let provider = Provider::new(settings(&github::PRESET)).unwrap();
    // What its owner chose to show counts for nothing.
    let profile = json_answer(&json!({ "id": 1, "email": "shown@b.org", "email_verified": true }));
    let access = access(&provider, "t");
    assert!(access.emails_request(&provider).is_some());
    let identity = access.identify(&provider, Some(&profile), Some(answer))?;
    assert_eq!(identity.subject(), "1");
    Ok(identity.email().clone())
}

// S56, ATTACKS E08
#[test]
fn the_primary_address_of_a_list_counts_and_is_verified_by_json_true_alone() {
    let a = || "a@b.org".to_owned();
    let entry = |email: Value, primary: Value, verified: Value| json!({ "email": email, "primary": primary, "verified": verified });
    let other = entry(json!("other@b.org"), json!(false), json!(true));
    for (list, expected) in [
        (
            json!([entry(json!(a()), json!(true), json!(true))]),
            EmailClaim::Verified(a()),
        ),
        (
            json!([other, entry(json!(a()), json!(true), json!(true))]),
            EmailClaim::Verified(a()),
        ),
        (
            json!([other, entry(json!(a()), json!(true), json!(false))]),
            EmailClaim::Unverified(a()),
        ),
        (
            json!([entry(json!(a()), json!(true), json!("true"))]),
            EmailClaim::Unverified(a()),
        ),
        (
            json!([entry(json!(a()), json!(true), json!(1))]),
            EmailClaim::Unverified(a()),
        ),
        (
            json!([{ "email": a(), "primary": true }]),
            EmailClaim::Unverified(a()),
        ),
        (json!([other]), EmailClaim::Absent),
        (
            json!([entry(json!(a()), json!("true"), json!(true))]),
            EmailClaim::Absent,
        ),
        (
            json!([entry(json!(a()), json!(1), json!(true))]),
            EmailClaim::Absent,
        ),
        (
            json!([entry(json!([a()]), json!(true), json!(true))]),
            EmailClaim::Absent,
        ),
        (
            json!([entry(json!(""), json!(true), json!(true))]),
            EmailClaim::Absent,
        ),
        (
            json!([entry(json!(null), json!(true), json!(true))]),
            EmailClaim::Absent,
        ),
        (json!([]), EmailClaim::Absent),
        (json!([null, 7, "a@b.org", [], {}]), EmailClaim::Absent),
        (
            json!({ "email": a(), "primary": true, "verified": true }),
            EmailClaim::Absent,
        ),
        (json!("a@b.org"), EmailClaim::Absent),
        (json!(null), EmailClaim::Absent),
    ] {
        assert_eq!(listed(&json_answer(&list)), Ok(expected), "{list}");
    }
}

#[test]
fn a_list_that_the_person_did_not_let_us_see_is_no_address_and_a_broken_one_ends_the_login() {
    let list = r#"[{"email":"a@b.org","primary":true,"verified":true}]"#;
    for status in [401, 403, 404] {
        let said = answer(status, "application/json", list);
        assert_eq!(listed(&said), Ok(EmailClaim::Absent), "{status}");
    }
    for (answer, reason) in [
        (answer(500, "application/json", list), "profile_status"),
        (answer(429, "application/json", list), "profile_status"),
        (answer(302, "application/json", list), "profile_status"),
        (answer(200, "text/html", list), "profile_content_type"),
        (answer(200, "application/json", ""), "profile_json"),
        (
            answer(200, "application/json", format!("{list}{list}")),
            "profile_json",
        ),
        (
            answer(
                200,
                "application/json",
                list.replacen('{', r#"{"primary":true,"#, 1),
            ),
            "profile_json",
        ),
        (
            answer(
                200,
                "application/json",
                format!("[{}1]", "1,".repeat(200_000)),
            ),
            "profile_json",
        ),
    ] {
        let error = listed(&answer).err().unwrap();
        assert_eq!(error.reason(), reason, "{answer:?}");
    }
}

// ATTACKS E16: rights are ours to give.
#[test]
fn claims_of_rights_in_a_profile_leave_no_trace() {
    let profile = json!({
        "data": [{ "id": 1 }], "is_superuser": true, "is_verified": true, "is_active": true,
        "groups": ["canary"], "roles": ["canary"], "hd": "canary.example", "iss": "canary",
    });
    let identity = identify(profile).unwrap();
    let debug = format!("{identity:?}");
    for trace in ["superuser", "groups", "roles", "canary"] {
        assert!(!debug.contains(trace), "{trace}: {debug}");
    }
    let plain = identify(json!({ "data": [{ "id": 1 }] })).unwrap();
    assert_eq!(debug, format!("{plain:?}"));
}

// S24, ATTACKS E09
#[test]
fn a_long_name_is_cut_and_an_answer_of_a_megabyte_is_not_read() {
    let named = |name: Value| {
        let mut settings = settings(&generic::OAUTH2);
        settings.api = ApiSettings {
            name_claim: Some("name".into()),
            ..api()
        };
        let provider = Provider::new(settings).unwrap();
        let profile = json!({ "data": [{ "id": 1 }], "name": name });
        access(&provider, "t").identify(&provider, Some(&json_answer(&profile)), None)
    };
    let name = |said: Value| named(said).unwrap().name().map(str::to_owned);
    assert_eq!(name(json!("x".repeat(200_000))), Some("x".repeat(1_024)));
    assert_eq!(name(json!("A\u{0}\u{202e}nn\r\n")).as_deref(), Some("Ann"));
    for none in [json!(7), json!(["Ann"]), json!({}), json!(null), json!(" ")] {
        assert_eq!(name(none.clone()), None, "{none}");
    }
    let error = named(json!("x".repeat(1_000_000))).err().unwrap();
    assert_eq!(
        (error.reason(), error.code()),
        ("profile_json", "provider_error")
    );
}

// S55: a token response describes nobody, unless the preset says that it does.
#[test]
fn a_token_response_is_a_profile_where_the_preset_says_so_alone() {
    let identified = |provider: &Provider, response: Value| {
        let response = json::parse_object(response.to_string().as_bytes(), 1_000).unwrap();
        let access = access(provider, "t");
        let is_asked = access.profile_request(provider).is_some();
        let access = AccessTokenOnly { response, ..access };
        let identity = access.identify(provider, None, None);
        (
            is_asked,
            identity.map(|identity| identity.subject().to_owned()),
        )
    };
    let notion = Provider::new(settings(&table::NOTION)).unwrap();
    let owner = json!({ "owner": { "user": { "id": "7" } } });
    assert_eq!(identified(&notion, owner), (false, Ok("7".to_owned())));
    let response = json!({ "data": [{ "id": "evil" }] });
    let (is_asked, found) = identified(&provider(), response);
    assert!(is_asked);
    let error = found.err().unwrap();
    assert_eq!(
        (error.reason(), error.code()),
        ("profile_missing", "provider_error")
    );
}
