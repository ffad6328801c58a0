//! The list of presets: each is whole, no two are alike, and what is not in the list is no preset.

use std::collections::BTreeSet;
use std::path::Path;

use url::Url;
use vestibule_oidc::providers::{
    self, ALL, Authoritative, ClientAuthMethod, Endpoints, IssuerRule, Preset, Profile, Protocol,
    Setting, Verified, linkedin, twitch,
};
use vestibule_oidc::{
    Callback, CallbackQuery, ClientSecret, FlowSecret, Fresh, LoginRequest, PrivateKey, Provider,
    ProviderError, ProviderId, ProviderSettings, State, Timestamp, start,
};

/// Where a provider's own documentation may stand: its domain, or the one that it publishes at.
const DOCUMENTED_AT: &[(&str, &[&str])] = &[
    ("google", &["developers.google.com"]),
    ("microsoft", &["learn.microsoft.com"]),
    ("apple", &["developer.apple.com"]),
    ("github", &["docs.github.com", "github.blog"]),
    ("gitlab", &["docs.gitlab.com"]),
    ("facebook", &["developers.facebook.com"]),
    ("linkedin", &["learn.microsoft.com"]),
    ("slack", &["docs.slack.dev", "api.slack.com"]),
    ("discord", &["discord.com"]),
    ("x", &["docs.x.com"]),
    ("twitch", &["dev.twitch.tv"]),
    ("spotify", &["developer.spotify.com"]),
    ("openid", &["openid.net"]),
    ("oauth2", &["www.rfc-editor.org"]),
];

/// The bytes that a mark may have: a page shows a dozen of them.
const MAX_MARK: usize = 1_500;

/// The presets of a provider, and not of any.
fn of_providers() -> impl Iterator<Item = &'static Preset> {
    let generic = |preset: &&'static Preset| matches!(preset.id, "openid" | "oauth2");
    ALL.iter().copied().filter(move |preset| !generic(preset))
}

fn endpoints(preset: &Preset) -> Vec<Endpoints> {
    match &preset.protocol {
        Protocol::OpenId(_) => Vec::new(),
        Protocol::OAuth2(oauth2) => [Some(oauth2.endpoints), oauth2.installed]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn urls(endpoints: &Endpoints) -> Vec<String> {
    let profile = match endpoints.profile {
        Profile::Get(url) | Profile::Post(url) => Some(url),
        Profile::TokenResponse => None,
    };
    [
        Some(endpoints.authorization),
        Some(endpoints.token),
        endpoints.revocation,
        profile,
        endpoints.emails.map(|list| list.url),
    ]
    .into_iter()
    .flatten()
    .map(|url| url.replace("{base_url}", "https://hub.acme.example"))
    .collect()
}

fn issuer(preset: &Preset) -> &'static str {
    match &preset.protocol {
        Protocol::OpenId(openid) => match openid.issuer {
            IssuerRule::Fixed(own) | IssuerRule::Installed(own) | IssuerRule::Tenants(own) => own,
            IssuerRule::Configured => "",
        },
        Protocol::OAuth2(oauth2) => oauth2.issuer,
    }
}

/// What its operator would write and no more.
fn settings(preset: &'static Preset) -> ProviderSettings {
    let mut settings = ProviderSettings::new(
        ProviderId::parse(preset.id).expect("an id is a name"),
        preset,
        "us".into(),
        Url::parse("https://app.example/auth/x/callback").expect("a URL"),
    );
    for needed in preset.needs {
        match needed {
            Setting::ClientSecret => {
                settings.client_secret = Some(ClientSecret::new("secret".into()));
            }
            Setting::Tenant => {
                settings.tenant = Some("11111111-2222-3333-4444-555555555555".into());
            }
            Setting::TeamId => settings.team_id = Some("TEAM".into()),
            // One key has both.
            Setting::KeyId => {}
            Setting::PrivateKey => settings.private_key = Some(private_key()),
            Setting::Issuer | Setting::Endpoints => panic!("{} says them itself", preset.id),
        }
    }
    settings
}

fn private_key() -> PrivateKey {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
    let der = key.to_pkcs8v1().expect("a new key is complete");
    PrivateKey::from_pkcs8(der.as_ref(), Some("key".into())).expect("P-256")
}

fn callback(provider: &Provider) -> Callback {
    let (_, started) = begun(provider);
    let query = CallbackQuery::parse(b"code=c&state=s").expect("a query");
    let metadata = provider
        .known_metadata()
        .expect("it has no metadata to ask for");
    let now = Timestamp::from_seconds(1_700_000_000);
    started
        .callback(provider, metadata, query, now)
        .expect("the state is its own")
}

/// Where people are sent, of a provider without metadata.
fn begun(provider: &Provider) -> (Url, vestibule_oidc::Started) {
    let (request, started) = start(
        provider,
        provider
            .known_metadata()
            .expect("it has no metadata to ask for"),
        LoginRequest {
            state: State::new("s".into()),
            secret: FlowSecret::new([9; 32]),
            return_to: "/".into(),
            login_hint: None,
            prompt: None,
            more_scopes: Vec::new(),
            note: Vec::new(),
            now: Timestamp::from_seconds(1_700_000_000),
        },
    );
    (request.into_url(), started)
}

#[test]
fn every_preset_makes_a_provider_of_what_it_says_that_it_needs() {
    for preset in of_providers() {
        let provider = Provider::new(settings(preset)).expect(preset.id);
        assert_eq!(provider.name, preset.name);
        assert!(!provider.is_public_client(), "{}", preset.id);
        assert!(!preset.needs.is_empty(), "{}", preset.id);
    }
}

#[test]
fn every_address_of_a_preset_is_https() {
    for preset in of_providers() {
        let issuer = issuer(preset).replace("{tenantid}", "t");
        let mut all = vec![issuer];
        all.extend(endpoints(preset).iter().flat_map(urls));
        for text in all {
            let url = Url::parse(&text).expect(&text);
            assert_eq!(url.scheme(), "https", "{text}");
            assert!(url.fragment().is_none(), "{text}");
        }
    }
}

#[test]
fn no_two_presets_share_a_name_or_an_issuer() {
    let mut seen = BTreeSet::new();
    for preset in ALL {
        assert!(seen.insert(preset.id), "{}", preset.id);
        assert!(seen.insert(preset.name), "{}", preset.name);
        assert_eq!(
            providers::find(preset.id).map(|found| found.id),
            Some(preset.id)
        );
    }
    let mut seen = BTreeSet::new();
    for preset in of_providers() {
        // An identity is found by issuer and subject: two providers with one issuer would be one.
        assert!(seen.insert(issuer(preset)), "{}", preset.id);
        let aliases = match &preset.protocol {
            Protocol::OpenId(openid) => openid.issuer_aliases,
            Protocol::OAuth2(oauth2) => oauth2.issuer_aliases,
        };
        for alias in aliases {
            assert!(seen.insert(alias), "{alias}");
        }
    }
    assert!(providers::find("nobody").is_none());
}

#[test]
fn openid_providers_are_asked_for_openid_and_others_have_a_subject() {
    for preset in of_providers() {
        match &preset.protocol {
            Protocol::OpenId(_) => assert!(preset.scopes.contains(&"openid"), "{}", preset.id),
            Protocol::OAuth2(oauth2) => {
                assert!(!oauth2.claims.subject.is_empty(), "{}", preset.id);
                assert!(!oauth2.claims.name.is_empty(), "{}", preset.id);
                // An address may change its owner.
                assert!(!oauth2.claims.subject.contains("email"), "{}", preset.id);
            }
        }
    }
}

#[test]
fn names_and_reasons_are_fit_to_be_shown() {
    for preset in ALL {
        let fits = |text: &str, max: usize| {
            !text.is_empty() && text.len() <= max && text.trim() == text && !text.contains('\n')
        };
        assert!(fits(preset.name, 24), "{}", preset.id);
        let because = preset.email.because;
        assert!(
            fits(because, 200) && because.ends_with('.'),
            "{}",
            preset.id
        );
        // It stands in a table of Markdown.
        assert!(!because.contains('|'), "{}", preset.id);
    }
}

#[test]
fn marks_are_small_pictures_and_nothing_else() {
    for preset in of_providers() {
        let Some(mark) = preset.mark else {
            assert!(preset.facts.checked.is_none(), "{} has no mark", preset.id);
            continue;
        };
        let mark = mark.trim_end();
        assert!(mark.len() <= MAX_MARK, "{}: {}", preset.id, mark.len());
        assert!(mark.starts_with("<svg viewBox=\"0 0 ") && mark.ends_with("</svg>"));
        assert!(mark.contains("aria-hidden=\"true\""), "{}", preset.id);
        let (_, rest) = mark.split_once("viewBox=\"").unwrap();
        let (size, _) = rest.split_once('"').unwrap();
        let size: Vec<&str> = size.split(' ').collect();
        assert_eq!(size[2], size[3], "{} is on a square", preset.id);
        for part in mark.split('<').skip(1) {
            let element = part.split([' ', '>', '/']).find(|word| !word.is_empty());
            assert!(
                matches!(element, Some("svg" | "path")),
                "{}: {part}",
                preset.id
            );
        }
        // No scripts, nothing from elsewhere, no names that clash with those of the page.
        for forbidden in [
            " on", "href", "url(", "style", " id=", " class=", "://", "&",
        ] {
            assert!(!mark.contains(forbidden), "{}: {forbidden}", preset.id);
        }
    }
}

#[test]
fn checked_facts_have_a_day_and_a_source_of_the_providers_own() {
    for preset in ALL {
        let Some(day) = preset.facts.checked else {
            assert!(preset.facts.sources.is_empty(), "{}", preset.id);
            continue;
        };
        let digits = day.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
        assert!(day.len() == 10 && digits, "{}: {day}", preset.id);
        let (_, hosts) = DOCUMENTED_AT
            .iter()
            .find(|(id, _)| *id == preset.id)
            .expect(preset.id);
        assert!(!preset.facts.sources.is_empty(), "{}", preset.id);
        for source in preset.facts.sources {
            let url = Url::parse(source).unwrap();
            assert!(hosts.contains(&url.host_str().unwrap()), "{source}");
        }
    }
}

// S56
#[test]
fn what_nobody_has_checked_verifies_no_address() {
    for preset in ALL.iter().filter(|preset| preset.facts.checked.is_none()) {
        assert_eq!(preset.email.verified, Verified::Never, "{}", preset.id);
        assert!(
            !matches!(
                preset.email.authoritative,
                Authoritative::MailboxesAndOrganisations(_)
            ),
            "{}",
            preset.id
        );
        for endpoints in endpoints(preset) {
            assert!(endpoints.emails.is_none(), "{}", preset.id);
        }
    }
}

// S56
#[test]
fn a_list_of_addresses_and_the_rule_that_goes_by_it_come_together() {
    for preset in of_providers() {
        let listed = preset.email.verified == Verified::Listed;
        let lists = endpoints(preset)
            .iter()
            .map(|endpoints| endpoints.emails.is_some())
            .collect::<BTreeSet<_>>();
        if listed {
            assert_eq!(lists, BTreeSet::from([true]), "{}", preset.id);
        } else {
            assert!(!lists.contains(&true), "{}", preset.id);
        }
    }
}

/// The folder is the list: the lines of `mod.rs` name each file, and each row of `table.rs`.
#[test]
fn a_file_that_is_not_in_the_list_is_no_preset() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/providers");
    let list = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let (_, lines) = list.split_once("presets! {\n").unwrap();
    let (lines, _) = lines.split_once("\n}").unwrap();
    let listed: Vec<&str> = lines
        .lines()
        .map(|line| line.trim().trim_end_matches(';'))
        .collect();
    let mut in_files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("mod.rs") {
            continue;
        }
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("pub static ") else {
                continue;
            };
            let (name, _) = rest.split_once(": Preset").unwrap();
            let word = match (&*module, name) {
                // The list ends with them by itself.
                ("generic", "OPENID" | "OAUTH2") => continue,
                ("table", row) => row,
                (file, "PRESET") => file,
                (file, other) => panic!("{file}::{other} can stand in no list"),
            };
            assert!(listed.contains(&word), "{module}::{name}");
            in_files += 1;
        }
    }
    assert_eq!(in_files + 2, ALL.len());
    for entry in std::fs::read_dir(folder.join("marks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let id = name.strip_suffix(".svg").expect(&name);
        assert!(providers::find(id).unwrap().mark.is_some(), "{name}");
    }
}

// RFC 9700 section 2.1.1
#[test]
fn pkce_is_left_out_for_a_provider_that_refuses_it_and_for_no_other() {
    for preset in of_providers() {
        let provider = Provider::new(settings(preset)).unwrap();
        let Some(metadata) = provider.known_metadata() else {
            // The nonce binds the ID token as well.
            assert!(!preset.quirks.refuses_pkce, "{}", preset.id);
            continue;
        };
        let (url, _) = begun(&provider);
        let fresh = Fresh {
            now: Timestamp::from_seconds(1_700_000_000),
            random: [4; 16],
        };
        let request = callback(&provider).token_request(&provider, metadata, fresh);
        let form = request.unwrap().form.unwrap();
        let refuses = preset.id == linkedin::PRESET.id;
        assert_eq!(preset.quirks.refuses_pkce, refuses, "{}", preset.id);
        let challenges = url.query_pairs().any(|(name, _)| name == "code_challenge");
        assert_eq!(challenges, !refuses, "{}", preset.id);
        let verifies = form.expose().contains("code_verifier");
        assert_eq!(verifies, !refuses, "{}", preset.id);
        assert!(form.expose().contains("code=c"));
    }
}

#[test]
fn a_client_whose_code_pkce_cannot_bind_has_a_secret() {
    let mut settings = settings(&linkedin::PRESET);
    settings.client_secret = None;
    let error = Provider::new(settings).err();
    assert_eq!(
        error,
        Some(ProviderError::Missing("client_secret", "LinkedIn".into()))
    );
}

#[test]
fn twitch_is_asked_for_the_claims_that_its_preset_reads() {
    let (_, claims) = twitch::PRESET
        .quirks
        .authorization_params
        .iter()
        .find(|(name, _)| *name == "claims")
        .unwrap();
    let claims: serde_json::Value = serde_json::from_str(claims).unwrap();
    for claim in ["email", "email_verified", twitch::PRESET.quirks.name_claim] {
        assert!(claims["id_token"].get(claim).is_some(), "{claim}");
    }
}

#[test]
fn no_preset_takes_a_public_client_or_a_key_of_ours_for_granted() {
    for preset in of_providers() {
        let method = preset.quirks.client_auth;
        assert!(
            !matches!(
                method,
                Some(ClientAuthMethod::None | ClientAuthMethod::PrivateKeyJwt)
            ),
            "{}",
            preset.id
        );
    }
}
