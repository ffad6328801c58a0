//! What a configuration accepts, refuses, and says.

use std::path::Path;

use super::*;
use crate::frontend::{HandOff, TokenFormat};

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
    assert!(config.database().to_string().ends_with("vestibule.db"));
    assert!(config.check_for_serving().is_ok());
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn an_issuer_and_a_client_are_enough_for_any_other_provider_in_the_file_and_in_the_environment() {
    let file = "[providers.my-idp]\nissuer = \"https://login.example\"\nclient_id = \"c\"\nscopes = [\"openid\"]\n";
    let config = load(&[], file).unwrap();
    assert_eq!(config.providers[0].name, "My Idp");
    assert_eq!(config.providers[0].scopes, ["openid"]);
    assert!(config.providers[0].is_public_client());
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
        (&[], "drain_delay = \"1h\"", "drain_delay", "0s and 300s"),
        (&[], "listen = \"everywhere\"", "listen", "127.0.0.1:8000"),
        (&[("PORT", "http")], "", "PORT", "8000"),
        (
            &[],
            "database_url = \"postgres://u:hunter2@h/d\"",
            if cfg!(feature = "postgres") {
                "secret"
            } else {
                "database_url"
            },
            if cfg!(feature = "postgres") {
                "openssl rand -hex 32"
            } else {
                "features = [\"postgres\"]"
            },
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
    let file = r#"
[[frontends]]
client_id = "article"
client_secret = "canary0f2d6a9c4b8e71"
redirect_uris = ["http://localhost:8501/"]
token_format = "fastapi-users"
token_secret = "canarye41d8cd98f00b204e9800998ecf8427e"
"#;
    let config = load(&variables, file).unwrap();
    assert!(!format!("{config:?} {:?}", config.show()).contains("canary"));
    let wrong = [
        "client_secret = \"canary\"",
        "client_secret = [\"canary\"]",
        "client_secrets = \"canary\"",
        "token_secret = \"canary\"",
        "token_secret = \"canary\"\ntoken_format = \"fastapi-users\"",
        "redirect_uris = [\"https://me:canary@app.example/\"]",
    ];
    for line in wrong {
        let errors = load(&[], &format!("[[frontends]]\nclient_id = \"web\"\n{line}")).unwrap_err();
        assert!(!errors.to_string().contains("canary"), "{errors}");
    }
    for json in [
        "[\"canary\"]",
        "\"canary\"",
        "canary",
        "[{\"client_secret\":canary}]",
    ] {
        let errors = load(&[("VESTIBULE_FRONTENDS", json)], "").unwrap_err();
        assert!(!errors.to_string().contains("canary"), "{errors}");
    }
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
drain_delay = "5s"
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
name = "The page"
client_secret = "e41d8cd98f00b204"
redirect_uris = ["http://localhost:8501/"]
handoff = "token-query"
default = true
token_lifetime = "5m"
token_format = "fastapi-users"
token_secret = "e41d8cd98f00b204e9800998ecf8427e"
[[frontends]]
client_id = "spa"
redirect_uris = ["https://spa.example/"]
audience = "https://api.example"
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
    assert_eq!(config.warnings().len(), 6, "{:?}", config.warnings());
}

#[test]
fn a_shared_database_variable_is_ours_only_where_it_names_a_database_that_we_know() {
    let config = load(&[("DATABASE_URL", "mysql://u@h/d")], "").unwrap();
    assert!(config.database().to_string().ends_with("vestibule.db"));
    let config = load(&[("DATABASE_URL", "sqlite:///srv/app.db")], "").unwrap();
    assert_eq!(config.database(), &Database::Sqlite("/srv/app.db".into()));
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgresql_url_is_taken_with_a_secret_and_shown_without_its_password() {
    let secret = "0f2d6a9c4b8e71350f2d6a9c4b8e7135";
    for (schema, expected) in [("", "vestibule"), ("database_schema = \"auth\"", "auth")] {
        let file = format!(
            "database_url = \"postgres://u:hunter2@one,two/d?prepare=false\"\nsecret = \"{secret}\"\n{schema}"
        );
        let config = load(&[], &file).unwrap();
        let Database::Postgres { url, schema } = config.database() else {
            panic!("{config:?}")
        };
        assert_eq!(url.expose(), "postgres://u:hunter2@one,two/d?prepare=false");
        assert_eq!(schema, expected);
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        let shown: Vec<_> = config.show().iter().map(|one| one.value.as_str()).collect();
        let said = format!("{config:?} {} {shown:?}", config.database());
        assert!(
            !said.contains("hunter2") && !said.contains(secret),
            "{said}"
        );
        assert!(said.contains("one,two"), "{said}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgresql_url_that_serve_would_refuse_is_refused_before_anybody_is_asked() {
    for (query, schema, key, words) in [
        ("?pool=7", "auth", "database_url", "pool"),
        (
            "?prepare=no",
            "auth",
            "database_url",
            "prepare is true or false",
        ),
        ("?sslmode=yes", "auth", "database_url", "sslmode is"),
        (
            "?sslmode=require&sslrootcert=/nowhere/ca.pem",
            "auth",
            "database_url",
            "sslrootcert=/nowhere/ca.pem",
        ),
        ("", "pg_ours", "database_schema", "pg_ours"),
    ] {
        let file = format!(
            "database_url = \"postgres://u:hunter2@h/d{query}\"\ndatabase_schema = \"{schema}\"\nsecret = \"0f2d6a9c4b8e71350f2d6a9c4b8e7135\""
        );
        let errors = load(&[], &file).unwrap_err();
        let [error] = errors.all() else {
            panic!("{errors}")
        };
        assert_eq!(error.key, key, "{errors}");
        let said = errors.to_string();
        assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
    }
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

/// The only front end of a file with these lines.
fn frontend(lines: &str) -> Result<(Frontend, Config), ConfigErrors> {
    let config = load(&[], &format!("[[frontends]]\n{lines}"))?;
    let frontend = config.frontends()[0].clone();
    Ok((frontend, config))
}

#[test]
fn a_front_end_is_a_name_and_an_address_and_the_rest_has_defaults() {
    let lines = "client_id = \"my-page\"\nredirect_uris = [\"http://localhost:8501/\"]";
    let (page, config) = frontend(lines).unwrap();
    assert_eq!((page.client_id(), page.name()), ("my-page", "My Page"));
    assert!(page.is_public() && !page.is_default());
    assert_eq!(page.hand_off(), HandOff::Code);
    assert_eq!(
        page.redirect_uris().collect::<Vec<_>>(),
        ["http://localhost:8501/"]
    );
    assert_eq!(
        (page.token_format_word(), page.token_lifetime()),
        ("at+jwt", 600)
    );
    assert_eq!(page.audience(), "my-page");
    assert_eq!(config.access_token_lifetime, 600);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert!(config.show().iter().any(|shown| {
        (shown.key.as_str(), shown.value.as_str()) == ("frontends.my-page.handoff", "\"code\"")
    }));

    let named = frontend(&format!(
        "{lines}\nname = \"Page\"\naudience = \"https://api.example\""
    ));
    let (named, _) = named.unwrap();
    assert_eq!(
        (named.name(), named.audience()),
        ("Page", "https://api.example")
    );
    let (lone, _) = frontend("client_id = \"-\"\nhandoff = \"cookie\"").unwrap();
    assert_eq!((lone.name(), lone.redirect_uris().count()), ("-", 0));
}

#[test]
fn front_ends_keep_their_order_and_stand_in_the_file_or_in_a_variable() {
    let file = "[[frontends]]\nclient_id = \"b\"\nhandoff = \"cookie\"\n[[frontends]]\nclient_id = \"a\"\nhandoff = \"cookie\"\ndefault = true\n";
    let ids = |config: &Config| -> Vec<(String, bool)> {
        let all = config.frontends().iter();
        all.map(|frontend| (frontend.client_id().to_owned(), frontend.is_default()))
            .collect()
    };
    let in_file = load(&[], file).unwrap();
    assert_eq!(ids(&in_file), [("b".into(), false), ("a".into(), true)]);
    let json = r#"[{"client_id":"web","redirect_uris":["https://web.example/cb"],"default":true,"client_secret":"e41d8cd98f00b204"}]"#;
    let variables = [("VESTIBULE_FRONTENDS", json)];
    let in_variable = load(&variables, file).unwrap();
    assert_eq!(ids(&in_variable), [("web".into(), true)]);
    assert!(!in_variable.frontends()[0].is_public());
    // What would do is said in the language of where it goes.
    let wrong = [("VESTIBULE_FRONTENDS", r#"[{"client_id":"web"}]"#)];
    let text = load(&wrong, "").unwrap_err().to_string();
    assert!(
        text.contains(r#""redirect_uris": ["http://localhost:8501/"] in VESTIBULE_FRONTENDS"#),
        "{text}"
    );
    assert!(load(&[], "").unwrap().frontends().is_empty());
}

// S67
#[test]
fn tokens_live_as_long_as_their_hand_off_allows_and_what_goes_into_urls_is_warned_of() {
    let uris = "redirect_uris = [\"http://localhost:8501/\"]";
    let made = |more: &str| frontend(&format!("client_id = \"web\"\n{uris}\n{more}")).unwrap();
    for (more, lifetime, warnings) in [
        ("", 600, 0),
        ("token_lifetime = \"15m\"", 900, 0),
        ("handoff = \"token-query\"", 300, 1),
        ("handoff = \"token-fragment\"", 300, 1),
        ("handoff = \"token-query\"\ntoken_lifetime = \"30s\"", 30, 1),
        (
            "handoff = \"token-query\"\ntoken_lifetime = \"1h\"",
            3_600,
            2,
        ),
    ] {
        let (frontend, config) = made(more);
        assert_eq!(frontend.token_lifetime(), lifetime, "{more}");
        assert_eq!(config.warnings().len(), warnings, "{:?}", config.warnings());
    }
    let (_, config) = made("handoff = \"token-query\"");
    assert_eq!(
        config.warnings(),
        [
            "tokens of web go through URLs, where history and logs keep them; handoff = \"code\" does not"
        ]
    );
    let file =
        format!("access_token_lifetime = \"2m\"\n[[frontends]]\nclient_id = \"web\"\n{uris}");
    assert_eq!(
        load(&[], &file).unwrap().frontends()[0].token_lifetime(),
        120
    );
}

#[test]
fn the_tokens_of_fastapi_users_are_made_with_the_secret_exactly_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let secret = " 0f2d6a9c4b8e71350f2d6a9c4b8e713";
    std::fs::write(folder.path().join("shared"), format!("{secret}\n")).unwrap();
    std::fs::write(folder.path().join("client"), "e41d8cd98f00b204\n").unwrap();
    let lines = "[[frontends]]\nclient_id = \"web\"\nhandoff = \"cookie\"\ntoken_format = \"fastapi-users\"\n";
    let plain = load(&[], &format!("{lines}token_secret = \"{secret}\"")).unwrap();
    let files = "token_secret_file = \"shared\"\nclient_secret_file = \"client\"";
    let from_file = load_in(folder.path(), &[], &format!("{lines}{files}")).unwrap();
    assert!(!from_file.frontends()[0].is_public());
    let claims = serde_json::json!({ "sub": "x" });
    let expected = vestibule_jose::LegacyHs256Key::new(secret.as_bytes())
        .unwrap()
        .sign(&claims);
    for config in [&plain, &from_file] {
        let TokenFormat::FastapiUsers(key) = &config.frontends()[0].token_format else {
            panic!("{:?}", config.frontends()[0]);
        };
        assert_eq!(key.sign(&claims), expected);
        assert!(
            config.warnings()[0].contains("cannot be revoked before they expire"),
            "{:?}",
            config.warnings()
        );
    }
}

/// Lines below `[[frontends]]`, the key that the message names below `frontends.web`, and a piece of what it says.
type FrontendRow = (&'static str, &'static str, &'static str);

// S76, S86
#[test]
fn a_front_end_that_would_not_do_is_refused_with_the_key_and_the_line_that_would() {
    const URIS: &str = "redirect_uris = [\"http://localhost:8501/\"]\n";
    let rows: &[FrontendRow] = &[
        (
            "client_secrets = \"x\"",
            "client_secrets",
            "did you mean client_secret?",
        ),
        ("client_secret = \"short\"", "client_secret", "needs 16"),
        ("client_secret = \"\"", "client_secret", "it is empty"),
        (
            "client_secret = \"change-me-change-me\"",
            "client_secret",
            "sample",
        ),
        (
            "client_secret = \"your-client-secret\"",
            "client_secret",
            "sample",
        ),
        (
            "client_secret = \"................\"",
            "client_secret",
            "sample",
        ),
        (
            "client_secret = \"e41d8cd98f00b20\u{e4}\"",
            "client_secret",
            "ASCII",
        ),
        ("client_secret = \"\"", "client_secret", "openssl rand"),
        (
            "client_secret = 1234567890123456",
            "client_secret",
            "a text in quotes",
        ),
        (
            "client_secret = \"e41d8cd98f00b204\"\nclient_secret_file = \"x\"",
            "client_secret",
            "only one of them",
        ),
        (
            "client_secret_file = \"nowhere\"",
            "client_secret_file",
            "may read",
        ),
        ("handoff = \"cod\"", "handoff", "write handoff = \"code\""),
        ("handoff = \"token\"", "handoff", "token-fragment"),
        ("handoff = true", "handoff", "a text in quotes"),
        ("default = \"yes\"", "default", "write default = true"),
        (
            "token_lifetime = 300",
            "token_lifetime",
            "write token_lifetime = \"5m\"",
        ),
        (
            "token_lifetime = \"soon\"",
            "token_lifetime",
            "a whole number",
        ),
        (
            "token_lifetime = \"16m\"",
            "token_lifetime",
            "between 1s and 15m",
        ),
        ("token_lifetime = \"0s\"", "token_lifetime", "between"),
        (
            "handoff = \"cookie\"\ntoken_lifetime = \"16m\"",
            "token_lifetime",
            "between 1s and 15m",
        ),
        (
            "handoff = \"token-query\"\ntoken_lifetime = \"61m\"",
            "token_lifetime",
            "between 1s and 60m",
        ),
        (
            "token_format = \"jwt\"",
            "token_format",
            "write token_format = \"at+jwt\"",
        ),
        (
            "token_format = \"fastapi\"",
            "token_format",
            "at+jwt, fastapi-users",
        ),
        (
            "token_format = \"fastapi-users\"",
            "token_secret",
            "it is missing",
        ),
        (
            "token_format = \"fastapi-users\"\ntoken_secret = \"e41d8cd98f00b204\"",
            "token_secret",
            "needs 32",
        ),
        (
            "token_format = \"fastapi-users\"\ntoken_secret = \"some-random-long-secret-key-of-the-documentation\"",
            "token_secret",
            "sample",
        ),
        (
            "token_secret = \"0f2d6a9c4b8e71350f2d6a9c4b8e7135\"",
            "token_secret",
            "write token_format = \"fastapi-users\"",
        ),
        (
            "token_format = \"fastapi-users\"\ntoken_secret = \"0f2d6a9c4b8e71350f2d6a9c4b8e7135\"\naudience = \"a\"",
            "audience",
            "fastapi-users:auth",
        ),
        ("audience = \"vestibule\"", "audience", "take it out"),
        ("audience = [\"a\"]", "audience", "a text in quotes"),
        ("audience = \"a\\nb\"", "audience", "one line"),
        ("name = 1", "name", "a text in quotes"),
        ("name = \"a\\nb\"", "name", "one line"),
    ];
    let uri_rows: &[FrontendRow] = &[
        (
            "",
            "redirect_uris",
            "write redirect_uris = [\"http://localhost:8501/\"]",
        ),
        (
            "redirect_uris = []",
            "redirect_uris",
            "it can receive nothing",
        ),
        (
            "redirect_uris = \"https://a.example/\"",
            "redirect_uris",
            "a list of texts",
        ),
        ("redirect_uris = [1]", "redirect_uris", "a list of texts"),
        (
            "redirect_uris = [\"/callback\"]",
            "redirect_uris",
            "not an absolute URL",
        ),
        (
            "redirect_uris = [\"HTTPS://A.example/x/../cb\"]",
            "redirect_uris",
            "[\"https://a.example/cb\"]",
        ),
        (
            "redirect_uris = [\"http://a.example/\"]",
            "redirect_uris",
            "[\"https://a.example/\"]",
        ),
        (
            "redirect_uris = [\"https://u:p@a.example/#x\"]",
            "redirect_uris",
            "[\"https://a.example/\"]",
        ),
        (
            "redirect_uris = [\"javascript:alert(1)\"]",
            "redirect_uris",
            "com.example.app",
        ),
        (
            "redirect_uris = [\"https://a.example/\", \"https://a.example/\"]",
            "redirect_uris",
            "twice",
        ),
        (
            "handoff = \"token-query\"",
            "redirect_uris",
            "it can receive nothing",
        ),
        (
            "handoff = \"cookie\"\nredirect_uris = [\"x\"]",
            "redirect_uris",
            "not an absolute URL",
        ),
    ];
    let with_uris = rows.iter().map(|row| (URIS, row));
    for (uris, (lines, key, said)) in with_uris.chain(uri_rows.iter().map(|row| ("", row))) {
        let file = format!("[[frontends]]\nclient_id = \"web\"\n{uris}{lines}");
        let errors = load(&[], &file).expect_err(lines);
        let [error] = errors.all() else {
            panic!("{lines} is one error: {errors}");
        };
        assert_eq!(error.key, format!("frontends.web.{key}"), "{lines}");
        assert!(
            error.remedy.contains(said) || error.problem.contains(said),
            "{error:?}"
        );
    }
}

#[test]
fn the_client_id_of_a_front_end_is_there_is_its_own_and_is_not_ours() {
    let long = format!("client_id = \"{}\"", "a".repeat(129));
    for (line, key, said) in [
        ("", "frontends[0].client_id", "missing"),
        ("client_id = \"\"", "frontends[0].client_id", "missing"),
        (
            "client_id = 7",
            "frontends[0].client_id",
            "a text in quotes",
        ),
        (
            "client_id = \"caf\u{e9}\"",
            "frontends[0].client_id",
            "ASCII",
        ),
        ("client_id = \"a\\nb\"", "frontends[0].client_id", "ASCII"),
        (&long, "frontends[0].client_id", "1 to 128"),
        (
            "client_id = \"vestibule\"",
            "frontends.vestibule.client_id",
            "itself",
        ),
    ] {
        let errors =
            load(&[], &format!("[[frontends]]\nhandoff = \"cookie\"\n{line}")).unwrap_err();
        let [error] = errors.all() else {
            panic!("{line} is one error: {errors}");
        };
        assert_eq!(error.key, key);
        assert!(error.problem.contains(said), "{error:?}");
    }
    let one = "[[frontends]]\nclient_id = \"web\"\nhandoff = \"cookie\"\ndefault = true\n";
    let errors = load(&[], &one.repeat(2)).unwrap_err();
    let keys: Vec<&str> = errors
        .all()
        .iter()
        .map(|error| error.key.as_str())
        .collect();
    assert_eq!(keys, ["frontends.web.client_id", "frontends"], "{errors}");
}

#[test]
fn everything_wrong_with_front_ends_is_told_at_once() {
    let file = "[[frontends]]\nclient_id = \"web\"\nhandoff = \"x\"\ndefault = 1\nredirect_uris = [\"x\", \"http://a.example/\"]\n[[frontends]]\ntoken_secret = \"x\"\n";
    let errors = load(&[], file).unwrap_err();
    assert_eq!(errors.all().len(), 7, "{errors}");
    for wrong in [
        "frontends = 1",
        "[frontends]\nclient_id = \"web\"",
        "frontends = [1]",
    ] {
        let errors = load(&[], wrong).unwrap_err();
        assert_eq!(
            errors.all()[0].remedy,
            "begin each with a line [[frontends]]"
        );
    }
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_of_our_name_are_not_taken_for_ours() {
    let with = |variables: &[(&str, &str)]| {
        let mut all = vec![
            ("GOOGLE_CLIENT_ID", "an-id"),
            ("GOOGLE_CLIENT_SECRET", "a-value-of-google"),
        ];
        all.extend(variables);
        load(&all, "")
    };
    with(&[
        ("VESTIBULE_SERVICE_HOST", "10.0.0.7"),
        ("VESTIBULE_SERVICE_PORT", "8000"),
        ("VESTIBULE_SERVICE_PORT_HTTP", "8000"),
        ("VESTIBULE_PORT", "tcp://10.0.0.7:8000"),
        ("VESTIBULE_PORT_8000_TCP", "tcp://10.0.0.7:8000"),
        ("VESTIBULE_PORT_8000_TCP_ADDR", "10.0.0.7"),
        ("VESTIBULE_BIN", "target/release/vestibule"),
    ])
    .unwrap();
    // Somebody meant the port to listen on.
    for name in ["VESTIBULE_PORT", "VESTIBULE_SERVICE"] {
        assert!(with(&[(name, "8000")]).is_err(), "{name}");
    }
}

// S70
#[test]
fn what_a_back_end_shares_is_not_the_secret_that_seals() {
    let file = |shared: &str| {
        format!(
            "secret = \"0f2d6a9c4b8e71350f2d6a9c4b8e7135\"\n[providers.google]\nclient_id = \"an-id\"\nclient_secret = \"a-value-of-google\"\n[[frontends]]\nclient_id = \"web\"\nredirect_uris = [\"http://localhost:8501/\"]\ntoken_format = \"fastapi-users\"\ntoken_secret = \"{shared}\""
        )
    };
    load(&[], &file("1f2d6a9c4b8e71350f2d6a9c4b8e7135")).unwrap();
    let same = load(&[], &file("0f2d6a9c4b8e71350f2d6a9c4b8e7135"));
    let text = same.unwrap_err().to_string();
    assert!(
        text.contains("token_secret") && text.contains("it is `secret`"),
        "{text}"
    );
}

// S54, S55
#[test]
fn two_providers_that_are_asked_at_different_places_have_two_issuers() {
    let provider = |name: &str, realm: &str, issuer: &str, subject: &str, client: &str| {
        format!(
            "[providers.{name}]\nauthorization_endpoint = \"https://sso.example/{realm}/authorize\"\ntoken_endpoint = \"https://sso.example/{realm}/token\"\nprofile_endpoint = \"https://sso.example/{realm}/me\"\nsubject_claim = \"{subject}\"\nclient_id = \"{client}\"\nclient_secret = \"hush\"\n{issuer}\n"
        )
    };
    let issuer = "issuer = \"https://sso.example\"";
    let both = |realm: &str, issuer: &str| {
        let first = provider("one", "a", issuer, "id", "us");
        load(&[], &(first + &provider("two", realm, issuer, "id", "us")))
    };
    both("b", "").unwrap();
    // The same place twice is one set of people.
    both("a", issuer).unwrap();
    // By another member, or for another client of a provider that nobody knows, it is another one.
    for (subject, client) in [("employee_number", "us"), ("id", "others")] {
        let first = provider("one", "a", "", "id", "us");
        let second = provider("two", "a", "", subject, client);
        load(&[], &(first + &second)).unwrap_err();
    }
    let github =
        "[providers.one]\npreset = \"github\"\nclient_id = \"us\"\nclient_secret = \"hush\"\n";
    let other = github.replace("one", "two").replace("us\"", "others\"");
    load(&[], &(github.to_owned() + &other)).unwrap();
    let refused = both("b", issuer).unwrap_err().to_string();
    assert!(
        refused.contains("providers.two.issuer") && refused.contains("providers.one"),
        "{refused}"
    );
}

/// A row of `docs/configuration.md`: key, value, default.
type Documented = (String, String, String);

/// The table below a heading of `docs/configuration.md`.
fn documented(heading: &str) -> Vec<Documented> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (key, row) = row.split_once("` | ").unwrap();
            let (value, row) = row.split_once(" | ").unwrap();
            let (default, meaning) = row.split_once(" | ").unwrap();
            assert!(meaning.len() > " |".len(), "{key} is not explained");
            (key.into(), value.into(), default.into())
        })
        .collect()
}

/// Whether the page says of each key the default that is shown, and invents none.
fn assert_defaults(config: &Config, prefix: &str, table: &[Documented]) {
    for (key, _, default) in table {
        let key = format!("{prefix}{key}");
        let shown = config.show().iter().find(|shown| shown.key == key);
        match shown.filter(|shown| shown.origin == "default") {
            Some(shown) => assert_eq!(*default, format!("`{}`", shown.value), "{key}"),
            None => assert!(!default.starts_with("`\""), "{key}: {default}"),
        }
    }
}

fn rows(keys: &[keys::Key]) -> Vec<(String, String)> {
    keys.iter()
        .map(|key| {
            let value = match key.shape {
                keys::Shape::Text if key.secret => "secret",
                keys::Shape::Text => "text",
                keys::Shape::Boolean => "boolean",
                keys::Shape::List => "list",
                keys::Shape::Number => "number",
            };
            (key.name.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn the_page_of_all_keys_names_each_of_them_its_value_and_its_default_and_no_other() {
    let without_default = |table: &[Documented]| -> Vec<(String, String)> {
        let row = |(key, value, _): &Documented| (key.clone(), value.clone());
        table.iter().map(row).collect()
    };
    let file = "[[frontends]]\nclient_id = \"web\"\nredirect_uris = [\"https://web.example/\"]\n";
    let config = load(&GOOGLE, file).unwrap();

    let server = documented("The server");
    assert_eq!(without_default(&server), rows(keys::KEYS));
    assert_defaults(&config, "", &server);

    let provider = documented("A provider");
    assert_eq!(without_default(&provider), rows(keys::PROVIDER_KEYS));

    let front_end = documented("A front end");
    let names: Vec<&str> = front_end.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(names, keys::FRONTEND_KEYS);
    assert_defaults(&config, "frontends.web.", &front_end);
}
