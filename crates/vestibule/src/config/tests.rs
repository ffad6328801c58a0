//! What a configuration accepts, refuses, and says.

use std::path::Path;

use super::*;

/// A configuration of these variables and this file, in a folder of its own.
fn load(variables: &[(&str, &str)], file: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    load_in(folder.path(), variables, file)
}

fn load_in(folder: &Path, variables: &[(&str, &str)], file: &str) -> Result<Config, ConfigErrors> {
    if !file.is_empty() {
        std::fs::write(folder.join("vestibule.toml"), file).unwrap();
    }
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&Sources::read(Flags::default(), variables, folder)?)
}

const GOOGLE: [(&str, &str); 2] = [
    ("GOOGLE_CLIENT_ID", "123.apps.googleusercontent.com"),
    ("GOOGLE_CLIENT_SECRET", "GOCSPX-abcdef"),
];

#[test]
fn two_variables_are_enough_for_google() {
    let config = load(&GOOGLE, "").unwrap();
    assert_eq!(
        config.callbacks(),
        [("google", "http://localhost:8000/auth/google/callback")]
    );
    assert_eq!(
        config.providers[0].issuer.as_str(),
        "https://accounts.google.com"
    );
    assert_eq!(config.providers[0].name, "Google");
    assert_eq!(config.public_url(), "http://localhost:8000");
    assert!(config.database().ends_with("vestibule.db"));
    assert!(config.check_for_serving().is_ok());
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn an_issuer_and_a_client_are_enough_for_any_other_provider_in_the_file_and_in_the_environment() {
    let file = "[providers.my-idp]\nissuer = \"https://login.example\"\nclient_id = \"c\"\nscopes = [\"openid\"]\n";
    let config = load(&[], file).unwrap();
    assert_eq!(config.providers[0].name, "My Idp");
    assert_eq!(config.providers[0].scopes, ["openid"]);
    assert!(config.providers[0].client_secret.is_none());
    let variables = [
        ("VESTIBULE_PROVIDERS", "acme, my-idp"),
        ("ACME_ISSUER", "https://acme.example"),
        ("ACME_CLIENT_ID", "c"),
        ("MY_IDP_ISSUER", "https://idp.example"),
        ("MY_IDP_CLIENT_ID", "d"),
    ];
    let config = load(&variables, "").unwrap();
    let ids: Vec<&str> = config
        .providers
        .iter()
        .map(|provider| provider.id.as_str())
        .collect();
    assert_eq!(ids, ["acme", "my-idp"]);
}

#[test]
fn flag_then_environment_then_dotenv_then_file_then_default() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("vestibule.toml"),
        "app_name = \"file\"\n",
    )
    .unwrap();
    let name = |flags: &[(&str, &str)], variables: &[(&str, &str)]| {
        let flags = Flags {
            config: None,
            values: flags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        };
        let variables = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let sources = Sources::read(flags, variables, folder.path()).unwrap();
        Config::load(&sources).unwrap().app_name
    };
    assert_eq!(name(&[], &[]), "file");
    std::fs::write(
        folder.path().join(".env"),
        "VESTIBULE_APP_NAME='dotenv'\nOTHER=x\n",
    )
    .unwrap();
    assert_eq!(name(&[], &[]), "dotenv");
    let variable = [("VESTIBULE_APP_NAME", "environment")];
    assert_eq!(name(&[], &variable), "environment");
    assert_eq!(name(&[("app_name", "flag")], &variable), "flag");
    // Empty is unset, as compose files have it.
    assert_eq!(name(&[], &[("VESTIBULE_APP_NAME", "")]), "dotenv");
}

#[test]
fn a_variable_may_name_a_file_that_holds_the_value() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id"), "the-id\n").unwrap();
    let config = load_in(
        folder.path(),
        &[
            ("GOOGLE_CLIENT_ID_FILE", "id"),
            ("GOOGLE_CLIENT_SECRET", "s3cr3t-value"),
        ],
        "",
    )
    .unwrap();
    assert_eq!(config.providers[0].client_id, "the-id");
    let both = [("GOOGLE_CLIENT_ID", "x"), ("GOOGLE_CLIENT_ID_FILE", "id")];
    assert!(
        load_in(folder.path(), &both, "")
            .unwrap_err()
            .to_string()
            .contains("only one of them")
    );
    let missing = [("GOOGLE_CLIENT_ID_FILE", "nowhere")];
    assert!(load_in(folder.path(), &missing, "").is_err());
}

/// What is refused: the variables, the file, the key that the message names, and a piece of its remedy.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
    &'static str,
);

// S76
#[test]
fn what_would_not_do_is_refused_with_the_key_and_the_line_that_would() {
    let rows: &[Row] = &[
        (
            &[("VESTIBULE_PUBLIC_URL", "http://app.example")],
            "",
            "public_url",
            "https://app.example",
        ),
        (
            &[],
            "public_url = \"app.example\"",
            "public_url",
            "https://app.example",
        ),
        (
            &[],
            "public_url = \"https://a@app.example/?x\"",
            "public_url",
            "as people type it",
        ),
        (
            &[],
            "publik_url = \"https://a.example\"",
            "publik_url",
            "did you mean public_url?",
        ),
        (
            &[],
            "[providers.acme]\nclientid = \"x\"\nissuer = \"https://a.example\"",
            "providers.acme.clientid",
            "did you mean providers.acme.client_id?",
        ),
        (
            &[("VESTIBULE_PUBLIC_URI", "https://a.example")],
            "",
            "VESTIBULE_PUBLIC_URI",
            "did you mean VESTIBULE_PUBLIC_URL?",
        ),
        (
            &[("VESTIBULE_SECRET", "short")],
            "",
            "secret",
            "openssl rand -hex 32",
        ),
        (
            &[(
                "VESTIBULE_SECRET",
                "change-me-change-me-change-me-change-me",
            )],
            "",
            "secret",
            "openssl rand -hex 32",
        ),
        (
            &[("GOOGLE_CLIENT_SECRET", "GOCSPX-1")],
            "",
            "providers.google.client_id",
            "GOOGLE_CLIENT_ID",
        ),
        (
            &[("GOOGLE_CLIENT_ID", "1.apps")],
            "",
            "providers.google.client_secret",
            "GOOGLE_CLIENT_SECRET",
        ),
        (
            &[("GOOGLE_CLIENT_ID", "..."), ("GOOGLE_CLIENT_SECRET", "...")],
            "",
            "providers.google.client_id",
            "GOOGLE_CLIENT_ID",
        ),
        (
            &[],
            "[providers.acme]\nclient_id = \"x\"",
            "providers.acme.issuer",
            "ACME_ISSUER",
        ),
        (
            &[],
            "[providers.acme]\nclient_id = \"x\"\nissuer = \"http://a.example\"",
            "providers.acme",
            "https",
        ),
        (
            &[],
            "[providers.login]\nclient_id = \"x\"\nissuer = \"https://a.example\"",
            "providers.login",
            "another name",
        ),
        (&[], "signup = \"opne\"", "signup", "open"),
        (
            &[],
            "signup = \"domains\"",
            "allowed_domains",
            "example.com",
        ),
        (
            &[],
            "allowed_domains = [\"a.example\"]",
            "allowed_domains",
            "signup",
        ),
        (&[], "linking = true", "linking", "write linking = "),
        (
            &[],
            "require_email = \"yes\"",
            "require_email",
            "write require_email = true",
        ),
        (
            &[("VESTIBULE_REQUIRE_EMAIL", "perhaps")],
            "",
            "require_email",
            "VESTIBULE_REQUIRE_EMAIL=true",
        ),
        (
            &[],
            "default_return_to = \"https://evil.example\"",
            "default_return_to",
            "/account",
        ),
        (
            &[],
            "trusted_proxies = [\"proxy\"]",
            "trusted_proxies",
            "10.0.0.1",
        ),
        (
            &[],
            "session_lifetime = \"forever\"",
            "session_lifetime",
            "30d",
        ),
        (
            &[],
            "session_lifetime = \"401d\"",
            "session_lifetime",
            "30d",
        ),
        (&[], "listen = \"everywhere\"", "listen", "127.0.0.1:8000"),
        (&[("PORT", "http")], "", "PORT", "8000"),
        (
            &[],
            "database_url = \"postgres://u:hunter2@h/d\"",
            "database_url",
            "sqlite://",
        ),
        (
            &[("DATABASE_URL", "postgresql+asyncpg://u:hunter2@h/d")],
            "",
            "database_url",
            "VESTIBULE_DATABASE_URL=postgresql://u:...@h/d",
        ),
        (
            &[],
            "database_url = \"sqlite://:memory:\"",
            "database_url",
            "vestibule.db",
        ),
        (
            &[],
            "[[frontends]]\nclient_id = \"web\"\nredirect_uri = []",
            "frontends.web.redirect_uri",
            "did you mean redirect_uris?",
        ),
        (
            &[("VESTIBULE_FRONTENDS", "{")],
            "",
            "VESTIBULE_FRONTENDS",
            "redirect_uris",
        ),
    ];
    for (variables, file, key, remedy) in rows {
        let errors = load(variables, file).expect_err(file);
        let named = errors.all().iter().find(|error| error.key == *key);
        let error = named.unwrap_or_else(|| panic!("{key} is not named: {errors}"));
        assert!(
            error.remedy.contains(remedy) || error.problem.contains(remedy),
            "{error:?}"
        );
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let text = load(&[], "public_url = \"https://a.example\"\nlisten = here\n")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("vestibule.toml") && text.contains("line 2"),
        "{text}"
    );
    // What is wrong stands at the very beginning of its line.
    let twice = load(&[], "signup = \"open\"\nsignup = \"open\"\n")
        .unwrap_err()
        .to_string();
    assert!(twice.contains("line 2"), "{twice}");
    let flags = Flags {
        config: Some("nowhere.toml".into()),
        values: Vec::new(),
    };
    assert!(
        Sources::read(flags, [], Path::new("."))
            .unwrap_err()
            .to_string()
            .contains("nowhere.toml")
    );
}

#[test]
fn a_public_url_that_lacks_its_scheme_is_told_with_the_one_that_fits() {
    for (text, remedy) in [
        ("localhost:8000", "\"http://localhost:8000\""),
        ("app.example", "\"https://app.example\""),
        ("app.example/sign-in", "\"https://app.example/sign-in\""),
    ] {
        let errors = load(&[("VESTIBULE_PUBLIC_URL", text)], "").unwrap_err();
        assert!(errors.to_string().contains(remedy), "{errors}");
    }
}

#[test]
fn a_value_in_place_of_a_table_is_told_so() {
    let errors = load(&[], "providers = 3\n").unwrap_err();
    assert!(
        errors.to_string().contains("a line [providers.google]"),
        "{errors}"
    );
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = load(
        &[("VESTIBULE_SECRET", "x")],
        "signup = \"no\"\nlisten = \"x\"\nother = 1\n",
    )
    .unwrap_err();
    assert_eq!(errors.all().len(), 4, "{errors}");
}

// S82
#[test]
fn no_secret_is_ever_shown() {
    let variables = [
        ("VESTIBULE_SECRET", "canary0f2d6a9c4b8e71350f2d6a9c4b8e7135"),
        (
            "VESTIBULE_PREVIOUS_SECRET",
            "canary9c2d6a9c4b8e71350f2d6a9c4b8e7135",
        ),
        ("GOOGLE_CLIENT_ID", "an-id"),
        ("GOOGLE_CLIENT_SECRET", "canary-client"),
    ];
    let config = load(&variables, "").unwrap();
    assert!(!format!("{config:?} {:?}", config.show()).contains("canary"));
    assert!(config.show().iter().any(|shown| shown.key == "secret"
        && shown.value == "(set)"
        && shown.origin == "VESTIBULE_SECRET"));
}

#[test]
fn every_key_of_the_documentation_is_known() {
    let file = r#"
public_url = "https://app.example/base/"
listen = "127.0.0.1:8000"
data_dir = "."
database_url = "sqlite://x.db"
database_schema = "vestibule"
secret = "0f2d6a9c4b8e71350f2d6a9c4b8e7135"
previous_secret = ""
signup = "domains"
allowed_domains = ["a.example"]
linking = "ask"
require_email = true
default_return_to = "/account"
trusted_proxies = ["10.0.0.0/8"]
session_lifetime = "30d"
session_idle = "7d"
access_token_lifetime = "10m"
jwt_login_lifetime = "1h"
[providers.acme]
issuer = "https://login.acme.example"
metadata_url = "https://login.acme.example/meta"
client_id = "c"
client_secret = "d41d8cd98f"
scopes = ["openid", "email", "profile"]
name = "Acme"
[[frontends]]
client_id = "streamlit"
client_secret = "e41d8cd98f"
redirect_uris = ["http://localhost:8501/"]
handoff = "token-query"
default = true
token_lifetime = "5m"
token_format = "fastapi-users"
token_secret = "0f2d6a9c4b8e71350f2d6a9c4b8e7135"
[rate_limits]
enabled = false
[danger]
allow_http_loopback = true
allow_http_hosts = ["keycloak"]
"#;
    let config = load(&[], file).unwrap();
    assert_eq!(config.public_url(), "https://app.example/base");
    assert_eq!(
        config.providers[0].redirect_uri.as_str(),
        "https://app.example/base/auth/acme/callback"
    );
    assert_eq!(config.warnings().len(), 5, "{:?}", config.warnings());
}

#[test]
fn a_shared_database_variable_is_ours_only_where_it_names_a_database_that_we_know() {
    let config = load(&[("DATABASE_URL", "mysql://u@h/d")], "").unwrap();
    assert!(config.database().ends_with("vestibule.db"));
    let config = load(&[("DATABASE_URL", "sqlite:///srv/app.db")], "").unwrap();
    assert_eq!(config.database(), Path::new("/srv/app.db"));
}

#[test]
fn a_server_without_a_provider_says_which_variables_make_one() {
    let error = load(&[], "")
        .unwrap()
        .check_for_serving()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("GOOGLE_CLIENT_ID") && error.contains("vestibule dev"),
        "{error}"
    );
}
