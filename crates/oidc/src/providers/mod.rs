//! THE list of presets: one file a provider with quirks, and one line here; what has no quirks is a row of `table.rs`.
//!
//! The sign-in page, the documentation, `vestibule providers`, the configuration and the tests all read this list.

pub mod generic;
pub mod table;

/// Makes the list, and a module of each file that is named.
macro_rules! presets {
    (files: $($file:ident)*; rows: $($row:ident)*;) => {
        $(pub mod $file;)*

        /// Every preset, in the order in which they are shown.
        pub static ALL: &[&Preset] = &[
            $(&$file::PRESET,)*
            $(&table::$row,)*
            &generic::OPENID,
            &generic::OAUTH2,
        ];
    };
}

presets! {
    files:
        google
        microsoft
        apple
        github
        gitlab
        facebook
        linkedin
        slack
        discord
        x
        twitch
        spotify;
    rows:
        AMAZON
        BITBUCKET
        DROPBOX
        FIGMA
        NOTION
        REDDIT
        ZOOM
        KAKAO
        LINE
        NAVER;
}

/// What is particular about a provider: plain data.
#[derive(Debug)]
pub struct Preset {
    /// Its name in routes and configuration.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Its mark for buttons, as SVG on a square: `include_str!("marks/x.svg")`.
    pub mark: Option<&'static str>,
    /// How it says who somebody is.
    pub protocol: Protocol,
    /// What is asked for unless the configuration says otherwise.
    pub scopes: &'static [&'static str],
    /// What its word about an address is worth.
    pub email: EmailTrust,
    /// What its operator has to give beside `client_id`.
    pub needs: &'static [Setting],
    /// Where it departs from the specifications.
    pub quirks: Quirks,
    /// When its facts were checked, and against what.
    pub facts: Facts,
}

/// How a provider says who somebody is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a preset is a static, never moved"
)]
pub enum Protocol {
    /// OpenID Connect: by a signed ID token.
    OpenId(OpenId),
    /// OAuth 2.0 alone: by what its API answers to the access token that came of our own code.
    OAuth2(OAuth2),
}

/// An OpenID provider.
#[derive(Debug)]
pub struct OpenId {
    /// Its issuer.
    pub issuer: IssuerRule,
    /// Other spellings of the issuer that its ID tokens and callbacks carry.
    pub issuer_aliases: &'static [&'static str],
}

/// What an issuer may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuerRule {
    /// Its own. With another issuer in the configuration it is not this provider.
    Fixed(&'static str),
    /// Its own, or that of an installation of one's own, by the key `issuer`.
    Installed(&'static str),
    /// One a tenant, with the tenant's id in the place of `{tenantid}`; the key `tenant` says which.
    Tenants(&'static str),
    /// The configuration says.
    Configured,
}

/// A provider that speaks OAuth 2.0 alone.
#[derive(Debug)]
pub struct OAuth2 {
    /// What stands for the issuer in an identity's key. Never changed: whoever signed in before is found by it.
    pub issuer: &'static str,
    /// The values of `iss` that its callbacks may carry (RFC 9207) beside that.
    pub issuer_aliases: &'static [&'static str],
    /// Its own installation.
    pub endpoints: Endpoints,
    /// Those of an installation of one's own, with `{base_url}` where the key of this name goes.
    pub installed: Option<Endpoints>,
    /// Where the facts about a person stand in its answers.
    pub claims: ClaimPaths,
}

/// Where an OAuth 2.0 provider is asked.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    /// Where people are sent.
    pub authorization: &'static str,
    /// Where codes become tokens.
    pub token: &'static str,
    /// Where a token is given back (RFC 7009), if it does as that says.
    pub revocation: Option<&'static str>,
    /// Where the person is described.
    pub profile: Profile,
    /// Where a second answer lists the person's addresses.
    pub emails: Option<EmailList>,
}

/// Where a person is described.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// GET with the access token as bearer.
    Get(&'static str),
    /// POST with the access token as bearer and no body.
    Post(&'static str),
    /// In the token response itself.
    TokenResponse,
}

/// A list of a person's addresses.
#[derive(Clone, Copy, Debug)]
pub struct EmailList {
    /// GET with the access token as bearer.
    pub url: &'static str,
    /// The path of the list in the answer; empty where the answer is the list.
    pub list: &'static str,
    /// The member of an entry with the address.
    pub email: &'static str,
    /// The member that is `true` for the one address that counts.
    pub primary: &'static str,
    /// The member that is `true` where it is verified.
    pub verified: &'static str,
}

/// Where facts stand in a provider's answer: members joined by dots, numbers for places in a list (`data.0.id`). An
/// empty path is nowhere.
#[derive(Clone, Copy, Debug)]
pub struct ClaimPaths {
    /// The subject: stable, never given to another person. A text, or as [`Quirks::numeric_subject`] says.
    pub subject: &'static str,
    /// The address.
    pub email: &'static str,
    /// The display name: the first of these that is there.
    pub name: &'static [&'static str],
    /// An https URL of a picture.
    pub picture: &'static str,
}

/// What a provider's word about an address is worth.
#[derive(Clone, Copy, Debug)]
pub struct EmailTrust {
    /// When the address counts as verified.
    pub verified: Verified,
    /// When the provider is authoritative for a verified one, so that `linking = "verified"` may join accounts by it.
    pub authoritative: Authoritative,
    /// Why, in a sentence for the documentation.
    pub because: &'static str,
}

/// When an address counts as verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verified {
    /// Where this member is JSON `true` (S56).
    IfTrue(&'static str),
    /// Where this member is JSON `true` or the text `"true"`.
    IfTrueOrText(&'static str),
    /// Where this member is JSON `true` or 1, or one of them as text.
    IfTrueOrOne(&'static str),
    /// The list of addresses says that it is primary and verified.
    Listed,
    /// Always: the provider hands out confirmed addresses alone in this place.
    Always,
    /// Never, whatever it says.
    Never,
}

/// When a provider is authoritative for a verified address: it runs the mailbox or the organisation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authoritative {
    /// For the domains that the key `authoritative_for` names, and no other.
    AsConfigured,
    /// For these mailbox domains, and for every account of an organisation, which the claim `hd` names.
    MailboxesAndOrganisations(&'static [&'static str]),
    /// For none, whatever the configuration says.
    Never,
}

/// A setting that a provider needs beside `client_id`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `client_secret`.
    ClientSecret,
    /// `tenant`: a tenant's id, or `common`, `organizations` or `consumers`.
    Tenant,
    /// `team_id`.
    TeamId,
    /// `key_id`: the name of the private key at the provider.
    KeyId,
    /// `private_key`: PEM.
    PrivateKey,
    /// `issuer`.
    Issuer,
    /// `authorization_endpoint`, `token_endpoint`, `profile_endpoint`, `subject_claim`.
    Endpoints,
}

impl Setting {
    /// The keys of the configuration.
    #[must_use]
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::ClientSecret => &["client_secret"],
            Self::Tenant => &["tenant"],
            Self::TeamId => &["team_id"],
            Self::KeyId => &["key_id"],
            Self::PrivateKey => &["private_key"],
            Self::Issuer => &["issuer"],
            Self::Endpoints => &[
                "authorization_endpoint",
                "token_endpoint",
                "profile_endpoint",
                "subject_claim",
            ],
        }
    }
}

/// Where a provider departs from the specifications, or uses what others do not.
#[derive(Clone, Copy, Debug)]
pub struct Quirks {
    /// The answer comes as a form that the browser posts from the provider's page.
    pub form_post: bool,
    /// How it takes our credentials, where its metadata do not say or say it wrong.
    pub client_auth: Option<ClientAuthMethod>,
    /// The client secret is a token that we sign with a key of the provider's console (Apple).
    pub signed_client_secret: bool,
    /// Parameters of the authorization request that are its own.
    pub authorization_params: &'static [(&'static str, &'static str)],
    /// Parameters that make it hand out a refresh token.
    pub offline_params: &'static [(&'static str, &'static str)],
    /// A scope that makes it hand out a refresh token.
    pub offline_scope: Option<&'static str>,
    /// Each client knows a person by another subject, so that two clients have two sets of people.
    pub subject_of_client: bool,
    /// It has no `prompt=login`; `select_account` is the nearest that it has.
    pub no_prompt_login: bool,
    /// Its token response need not say `token_type`.
    pub token_type_may_lack: bool,
    /// What its own words for errors of the token endpoint mean.
    pub token_errors: &'static [(&'static str, TokenFault)],
    /// It refuses browsers inside of apps.
    pub refuses_embedded_browsers: bool,
    /// The name comes in a form field `user` beside the code, the first time alone.
    pub name_in_form: bool,
    /// It refuses token requests with a `code_verifier` (RFC 7636), so that none is sent. Our own secret is then all
    /// that a stolen code lacks: a client there has one.
    pub refuses_pkce: bool,
    /// The claim of its ID tokens and UserInfo that stands for `name`, where it has no `name`.
    pub name_claim: &'static str,
    /// Its API names people by a whole number.
    pub numeric_subject: bool,
}

impl Quirks {
    /// As the specifications say.
    pub const NONE: Self = Self {
        form_post: false,
        client_auth: None,
        signed_client_secret: false,
        authorization_params: &[],
        offline_params: &[],
        offline_scope: None,
        subject_of_client: false,
        no_prompt_login: false,
        token_type_may_lack: false,
        token_errors: &[],
        refuses_embedded_browsers: false,
        name_in_form: false,
        refuses_pkce: false,
        name_claim: "",
        numeric_subject: false,
    };
}

/// A method of client authentication, by the names of OpenID Connect Core section 9.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientAuthMethod {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt`.
    PrivateKeyJwt,
    /// `none`: a public client, whose code is bound by PKCE.
    None,
}

/// What an error of the token endpoint means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFault {
    /// Our credentials are wrong.
    Client,
    /// The code is expired, used, or of another request.
    Code,
}

/// When facts were checked, and against what.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The day as `2026-11-25`; `None`: written down from general knowledge, not compared with the documentation.
    pub checked: Option<&'static str>,
    /// The provider's own pages that they were read from.
    pub sources: &'static [&'static str],
}

/// The preset of a provider's name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Preset> {
    ALL.iter().copied().find(|preset| preset.id == id)
}
