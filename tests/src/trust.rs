//! What a provider's word about an address leads to, computed by the product: a login of each preset is taken through
//! the real steps, and what comes out through the real rule. `docs/email-trust.md` and `docs/providers.md` are written
//! from it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use url::Url;
use vestibule::accounts::{
    Account, Decision, EmailFact, IdentityFacts, Intent, Known, Linking, Policy, Refusal, Signup,
    UserId, UserVersion, decide,
};
use vestibule::oidc::providers::{
    ALL, Authoritative, IssuerRule, Preset, Profile, Protocol, Setting, Verified, google,
};
use vestibule::oidc::{
    Callback, CallbackQuery, ClientSecret, Exchanged, FlowSecret, Fresh, JwkSet, LoginRequest,
    Metadata, OutboundResponse, PrivateKey, Provider, ProviderId, ProviderSettings, State,
    Timestamp, VerifiedIdentity, start,
};

use crate::imitation::{CLIENT_ID, Signer};

/// The address that is spoken of.
const ADDRESS: &str = "ann@example.com";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const TENANT: &str = "11111111-2222-3333-4444-555555555555";

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

/// What a provider says about an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    /// No address.
    NoAddress,
    /// An address, and no word about it.
    NoWord,
    /// That it is not verified.
    False,
    /// The text `"true"`.
    TextTrue,
    /// `true`.
    True,
    /// `true`, and all that could make it authoritative: `hd`, or the domain in `authoritative_for`.
    Authoritative,
}

impl Said {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoAddress,
        Self::NoWord,
        Self::False,
        Self::TextTrue,
        Self::True,
        Self::Authoritative,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::NoAddress => "no address",
            Self::NoWord => "an address, no word",
            Self::False => "not verified",
            Self::TextTrue => "the text \"true\"",
            Self::True => "verified",
            Self::Authoritative => "verified, of its own domain",
        }
    }

    fn word(self) -> Option<Value> {
        match self {
            Self::NoAddress | Self::NoWord => None,
            Self::False => Some(json!(false)),
            Self::TextTrue => Some(json!("true")),
            Self::True | Self::Authoritative => Some(json!(true)),
        }
    }
}

/// What we know of the address, and how accounts are linked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Here {
    /// Nobody has it.
    Nobody,
    /// An account owns it.
    Owned(Linking),
    /// An account owns it, and the operator disabled it.
    OwnedByDisabled(Linking),
    /// A password account that never proved it claims it.
    Claimed(Linking),
}

impl Here {
    /// What the table of each provider shows.
    const OF_EACH: [Self; 4] = [
        Self::Nobody,
        Self::Owned(Linking::Never),
        Self::Owned(Linking::Ask),
        Self::Owned(Linking::Verified),
    ];
    /// What one table shows for all of them.
    const OF_ALL: [Self; 6] = [
        Self::OwnedByDisabled(Linking::Never),
        Self::OwnedByDisabled(Linking::Ask),
        Self::OwnedByDisabled(Linking::Verified),
        Self::Claimed(Linking::Never),
        Self::Claimed(Linking::Ask),
        Self::Claimed(Linking::Verified),
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OF_EACH.into_iter().chain(Self::OF_ALL)
    }
}

/// What the address is to us after such a login.
#[must_use]
pub fn heard(preset: &'static Preset, said: Said) -> IdentityFacts {
    let provider = Provider::new(settings(preset, said)).expect("the preset is whole");
    IdentityFacts::from(&sign_in(&provider, said))
}

/// What is decided then, where an address is required (`require_email`, the default) and anybody may sign up.
#[must_use]
pub fn decided(facts: &IdentityFacts, here: Here) -> Decision {
    let account = |is_active| {
        Some(Account {
            user: UserId::from_bytes([7; 16]),
            version: UserVersion(1),
            is_active,
        })
    };
    let (owner, claimant, linking) = match here {
        Here::Nobody => (None, None, Linking::Ask),
        Here::Owned(linking) => (account(true), None, linking),
        Here::OwnedByDisabled(linking) => (account(false), None, linking),
        Here::Claimed(linking) => (None, account(true), linking),
    };
    let known = Known {
        owner,
        claimant,
        ..Known::default()
    };
    let policy = Policy {
        linking,
        signup: Signup::Open,
        require_email: true,
    };
    decide(facts, &known, &policy, Intent::SignIn)
}

fn settings(preset: &'static Preset, said: Said) -> ProviderSettings {
    let mut settings = ProviderSettings::new(
        ProviderId::parse(preset.id).expect("an id is a name"),
        preset,
        CLIENT_ID.into(),
        Url::parse("https://app.example/callback").expect("a URL"),
    );
    for needed in preset.needs {
        match needed {
            Setting::ClientSecret => settings.client_secret = Some(ClientSecret::new("s".into())),
            Setting::Tenant => settings.tenant = Some(TENANT.into()),
            Setting::TeamId => settings.team_id = Some("TEAM".into()),
            Setting::KeyId => {}
            Setting::PrivateKey => settings.private_key = Some(private_key()),
            Setting::Issuer => settings.issuer = Some("https://login.acme.example".into()),
            Setting::Endpoints => {
                let at = |path: &str| Some(format!("https://login.acme.example/{path}"));
                settings.api.authorization_endpoint = at("authorize");
                settings.api.token_endpoint = at("token");
                settings.api.profile_endpoint = at("me");
                settings.api.subject_claim = Some("id".into());
                settings.api.email_claim = Some("email".into());
                settings.api.email_verified_claim = Some("email_verified".into());
            }
        }
    }
    if said == Said::Authoritative && !names_organisations(preset) {
        settings.authoritative_for = vec!["example.com".into()];
    }
    settings
}

fn names_organisations(preset: &Preset) -> bool {
    matches!(
        preset.email.authoritative,
        Authoritative::MailboxesAndOrganisations(_)
    )
}

fn private_key() -> PrivateKey {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
    let der = key.to_pkcs8v1().expect("a new key is complete");
    PrivateKey::from_pkcs8(der.as_ref(), Some("KEY".into())).expect("P-256")
}

/// The member that this preset goes by; where it goes by none, one that a careless reader would go by.
fn word_path(preset: &Preset) -> &'static str {
    match preset.email.verified {
        Verified::IfTrue(path) | Verified::IfTrueOrText(path) | Verified::IfTrueOrOne(path) => path,
        Verified::Listed | Verified::Always | Verified::Never => "email_verified",
    }
}

/// A login whose provider says so, through every step of the protocol.
fn sign_in(provider: &Provider, said: Said) -> VerifiedIdentity {
    let preset = provider.preset;
    match &preset.protocol {
        Protocol::OpenId(_) => {
            let issuer = provider.issuer.as_str();
            let metadata = json!({
                "issuer": issuer,
                "authorization_endpoint": "https://login.acme.example/authorize",
                "token_endpoint": "https://login.acme.example/token",
                "jwks_uri": "https://login.acme.example/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            let metadata = Metadata::parse(metadata.to_string().as_bytes(), provider)
                .expect("the metadata do");
            let (callback, nonce) = callback(provider, &metadata);
            let mut claims = json!({
                "iss": issuer, "sub": "1", "aud": CLIENT_ID, "nonce": nonce, "tid": TENANT,
                "iat": NOW.seconds(), "exp": NOW.seconds() + 600,
            });
            say(&mut claims, "email", word_path(preset), said);
            if said == Said::Authoritative && names_organisations(preset) {
                claims["hd"] = "example.com".into();
            }
            let token = tokens(&json!({ "id_token": SIGNER.sign(&claims) }));
            let Exchanged::WithIdToken(exchanged) =
                callback.token_response(provider, token).expect("tokens")
            else {
                panic!("{} signs ID tokens", preset.id);
            };
            let keys = JwkSet::parse(SIGNER.jwks().to_string().as_bytes()).expect("keys");
            exchanged
                .verify(provider, &metadata, &keys, NOW)
                .expect("the ID token does")
        }
        Protocol::OAuth2(oauth2) => {
            let metadata = provider
                .known_metadata()
                .expect("it has no metadata to ask for");
            let (callback, _) = callback(provider, metadata);
            let or = |own: &'static str, configured: &'static str| {
                if own.is_empty() && preset.needs.contains(&Setting::Endpoints) {
                    configured
                } else {
                    own
                }
            };
            let mut profile = json!({});
            put(&mut profile, or(oauth2.claims.subject, "id"), "1".into());
            let email = or(oauth2.claims.email, "email");
            say(&mut profile, email, word_path(preset), said);
            let emails = oauth2.endpoints.emails.map(|list| {
                let mut entry = json!({});
                say(&mut entry, list.email, list.verified, said);
                put(&mut entry, list.primary, true.into());
                answer(&json!([entry]))
            });
            let in_tokens = oauth2.endpoints.profile == Profile::TokenResponse;
            let token = tokens(if in_tokens { &profile } else { &Value::Null });
            let Exchanged::AccessTokenOnly(exchanged) =
                callback.token_response(provider, token).expect("tokens")
            else {
                panic!("{} signs no ID tokens", preset.id);
            };
            let profile = (!in_tokens).then(|| answer(&profile));
            exchanged
                .identify(provider, profile.as_ref(), emails.as_ref())
                .expect("the profile names somebody")
        }
    }
}

fn callback(provider: &Provider, metadata: &Metadata) -> (Callback, String) {
    let request = LoginRequest {
        state: State::new("s".into()),
        secret: FlowSecret::new([9; 32]),
        return_to: "/".into(),
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        note: Vec::new(),
        now: NOW,
    };
    let (request, started) = start(provider, metadata, request);
    let nonce = request
        .into_url()
        .query_pairs()
        .find(|(name, _)| name == "nonce")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let query = CallbackQuery::parse(b"code=c&state=s").expect("a query");
    let callback = started.callback(provider, metadata, query, NOW);
    let callback = callback.expect("the callback is of this attempt");
    // A provider that takes our proof is asked before it answers.
    let fresh = Fresh {
        now: NOW,
        random: [4; 16],
    };
    let _request = callback
        .token_request(provider, metadata, fresh)
        .expect("our proof can be made");
    (callback, nonce)
}

/// Puts what is said into an answer.
fn say(answer: &mut Value, email: &str, word: &str, said: Said) {
    if said != Said::NoAddress {
        put(answer, email, ADDRESS.into());
    }
    if let Some(value) = said.word() {
        put(answer, word, value);
    }
}

/// Puts a value at a path of members.
fn put(answer: &mut Value, path: &str, value: Value) {
    if path.is_empty() {
        return;
    }
    let mut at = answer;
    for member in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[member];
    }
    *at = value;
}

fn tokens(more: &Value) -> OutboundResponse {
    let mut members = json!({ "access_token": "t", "token_type": "Bearer" });
    for (name, value) in more.as_object().into_iter().flatten() {
        members[name] = value.clone();
    }
    answer(&members)
}

fn answer(body: &Value) -> OutboundResponse {
    OutboundResponse {
        status: 200,
        content_type: Some("application/json".into()),
        body: body.to_string().into_bytes(),
    }
}

// ---- The pages ------------------------------------------------------------------------------------------------------

const RENEWED_BY: &str = "<!-- Written by the tests from the presets. To renew it: VESTIBULE_TEST_RENEW=1 cargo test -p vestibule-tests --test providers -->";

/// `docs/email-trust.md`.
#[must_use]
pub fn email_trust() -> String {
    let mut page = format!(
        "# What a provider's word about an e-mail address is worth\n\n{RENEWED_BY}\n\n{}\n",
        include_str!("trust_lead.md").trim()
    );
    page += "\n## At a glance\n\nWhat an address counts as, by what the provider says of it.\n\n| provider |";
    for said in Said::ALL {
        let _ = write!(page, " {} |", said.words());
    }
    page += "\n|---|---|---|---|---|---|---|\n";
    for preset in ALL {
        let _ = write!(page, "| [{}](#{}) |", preset.name, anchor(preset.name));
        for said in Said::ALL {
            let _ = write!(page, " {} |", class(&heard(preset, said)));
        }
        page.push('\n');
    }
    page += &of_all();
    page += "\n## Each provider\n";
    for preset in ALL {
        page += &section(preset);
    }
    page
}

fn section(preset: &'static Preset) -> String {
    let mut text = format!(
        "\n### {}\n\n{}\n\n- Verified: {}.\n- Authoritative: {}.\n- {}\n\n",
        preset.name,
        preset.email.because,
        preset.verified_when(),
        preset.authoritative_when(),
        checked(preset)
    );
    text += "| it says | nobody here has the address | an account owns it, `linking = \"never\"` | `\"ask\"` | `\"verified\"` |\n|---|---|---|---|---|\n";
    for said in Said::ALL {
        let facts = heard(preset, said);
        let _ = write!(text, "| {} |", said.words());
        for here in Here::OF_EACH {
            let _ = write!(text, " {} |", outcome(&decided(&facts, here)));
        }
        text.push('\n');
    }
    text
}

/// What follows alike of every provider's word, by what the address counts as.
fn of_all() -> String {
    let mut text = format!(
        "\n## Disabled owners, and claims that nobody proved\n\n{}\n\n",
        include_str!("trust_of_all.md").trim()
    );
    text += "| the address counts as | its owner is disabled, `linking = \"never\"` | `\"ask\"` | `\"verified\"` | a password account claims it, `\"never\"` | `\"ask\"` | `\"verified\"` |\n|---|---|---|---|---|---|---|\n";
    // Google's words reach every class.
    for said in [
        Said::NoAddress,
        Said::False,
        Said::True,
        Said::Authoritative,
    ] {
        let facts = heard(&google::PRESET, said);
        let _ = write!(text, "| {} |", class(&facts));
        for here in Here::OF_ALL {
            let _ = write!(text, " {} |", outcome(&decided(&facts, here)));
        }
        text.push('\n');
    }
    text
}

/// What an address counts as.
#[must_use]
pub fn class(facts: &IdentityFacts) -> &'static str {
    match &facts.email {
        EmailFact::Absent => "none",
        EmailFact::Unverified => "unverified",
        EmailFact::Verified {
            authoritative: false,
            ..
        } => "verified",
        EmailFact::Verified {
            authoritative: true,
            ..
        } => "authoritative",
    }
}

/// A decision in words.
#[must_use]
pub fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Decision::SignIn(_) => "signed in",
        Decision::Create {
            owning: Some(_),
            evict: Some(_),
            ..
        } => "new account, owning it; the claim ends",
        Decision::Create {
            owning: Some(_), ..
        } => "new account, owning it",
        Decision::Create { owning: None, .. } => "new account without it",
        Decision::Link(_) => "**linked**",
        Decision::AskToLink(_) => "asks its owner",
        // Nobody can sign in with a password yet, so nobody is asked; `admit.rs` refuses with this code.
        Decision::AskClaimant(_) => "`account_exists`",
        Decision::Refuse(Refusal::EmailMissing) => "`email_missing`",
        Decision::Refuse(Refusal::EmailUnverified) => "`email_unverified`",
        Decision::Refuse(Refusal::AccountExists) => "`account_exists`",
        Decision::Refuse(Refusal::AccountDisabled) => "`account_disabled`",
        Decision::Refuse(_) => "refused",
    }
}

fn checked(preset: &Preset) -> String {
    let Some(day) = preset.facts.checked else {
        return "Unchecked: written down from general knowledge.".into();
    };
    let sources: Vec<String> = preset
        .facts
        .sources
        .iter()
        .map(|source| format!("<{source}>"))
        .collect();
    format!("Checked on {day} against {}.", sources.join(", "))
}

fn anchor(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// `docs/providers.md`.
#[must_use]
pub fn providers() -> String {
    let mut page = format!(
        "# Providers\n\n{RENEWED_BY}\n\n{}\n\n",
        include_str!("providers_lead.md").trim()
    );
    page += "| `[providers.…]` | provider | speaks | beside `client_id` | asked for | who somebody is | checked |\n|---|---|---|---|---|---|---|\n";
    for preset in ALL {
        let needs: Vec<String> = preset
            .needed_keys()
            .iter()
            .map(|key| format!("`{key}`"))
            .collect();
        let who = match &preset.protocol {
            Protocol::OpenId(openid) => match openid.issuer {
                IssuerRule::Tenants(_) => "`sub` of an issuer for each tenant".to_owned(),
                IssuerRule::Fixed(_) | IssuerRule::Installed(_) | IssuerRule::Configured => {
                    "`sub`".to_owned()
                }
            },
            Protocol::OAuth2(oauth2) if oauth2.claims.subject.is_empty() => {
                "as configured".to_owned()
            }
            Protocol::OAuth2(oauth2) => format!("`{}`", oauth2.claims.subject),
        };
        let scopes = match preset.scopes {
            [] => "nothing".to_owned(),
            scopes => format!("`{}`", scopes.join(" ")),
        };
        let _ = writeln!(
            page,
            "| `{}` | [{}](email-trust.md#{}) | {} | {} | {scopes} | {who} | {} |",
            preset.id,
            preset.name,
            anchor(preset.name),
            preset.speaks(),
            needs.join(", "),
            preset.facts.checked.unwrap_or("no")
        );
    }
    page += "\n## Where they differ\n\n";
    for preset in ALL {
        let notes = notes(preset);
        if !notes.is_empty() {
            let _ = writeln!(page, "- {}: {}.", preset.name, notes.join("; "));
        }
    }
    page
}

fn notes(preset: &Preset) -> Vec<String> {
    let quirks = &preset.quirks;
    let mut notes = Vec::new();
    if let Protocol::OAuth2(oauth2) = &preset.protocol
        && oauth2.installed.is_some()
    {
        notes.push("`base_url` names an installation of one's own".into());
    }
    if let Protocol::OpenId(openid) = &preset.protocol {
        match openid.issuer {
            IssuerRule::Installed(_) => {
                notes.push("`issuer` names an installation of one's own".into());
            }
            IssuerRule::Tenants(_) => {
                notes.push(
                    "`tenant = \"common\"` and `\"organizations\"` need `allowed_tenants`".into(),
                );
            }
            IssuerRule::Fixed(_) | IssuerRule::Configured => {}
        }
    }
    if quirks.form_post {
        notes.push("the answer is a form that the browser posts, so it needs https".into());
    }
    if quirks.signed_client_secret {
        notes.push("the client secret is signed anew for each request".into());
    }
    if quirks.name_in_form {
        notes.push("the name comes the first time alone".into());
    }
    if quirks.refuses_pkce {
        notes.push("it refuses PKCE, so our secret alone binds the code".into());
    }
    if quirks.refuses_embedded_browsers {
        notes.push("it refuses browsers inside of apps".into());
    }
    if !quirks.token_errors.is_empty() {
        notes.push("errors of its token endpoint have words of its own".into());
    }
    match (quirks.offline_scope, quirks.offline_params) {
        (Some(scope), _) => notes.push(format!("a refresh token comes with the scope `{scope}`")),
        (None, []) => {}
        (None, params) => {
            let params: Vec<String> = params.iter().map(|(k, v)| format!("`{k}={v}`")).collect();
            notes.push(format!(
                "a refresh token comes with {}",
                params.join(" and ")
            ));
        }
    }
    notes
}
