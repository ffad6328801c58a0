//! Every key of the configuration: its name, the shape of its value, whether it is a secret, and its variable.

/// The shape of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Text,
    Boolean,
    List,
    Number,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) secret: bool,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key {
        name,
        shape,
        secret: false,
    }
}

const fn secret(name: &'static str) -> Key {
    Key {
        name,
        shape: Shape::Text,
        secret: true,
    }
}

/// The keys that are no provider's, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    key("public_url", Shape::Text),
    key("listen", Shape::Text),
    key("app_name", Shape::Text),
    key("data_dir", Shape::Text),
    key("database_url", Shape::Text),
    key("database_schema", Shape::Text),
    secret("secret"),
    secret("previous_secret"),
    key("signup", Shape::Text),
    key("allowed_domains", Shape::List),
    key("linking", Shape::Text),
    key("require_email", Shape::Boolean),
    key("default_return_to", Shape::Text),
    key("trusted_proxies", Shape::List),
    key("session_lifetime", Shape::Text),
    key("session_idle", Shape::Text),
    key("access_token_lifetime", Shape::Text),
    key("jwt_login_lifetime", Shape::Text),
    key("drain_delay", Shape::Text),
    key("rate_limits.enabled", Shape::Boolean),
    key("danger.allow_http_loopback", Shape::Boolean),
    key("danger.allow_http_hosts", Shape::List),
];

/// The keys of one provider, below `providers.<name>`.
pub(super) const PROVIDER_KEYS: &[Key] = &[
    key("preset", Shape::Text),
    key("name", Shape::Text),
    key("issuer", Shape::Text),
    key("metadata_url", Shape::Text),
    key("base_url", Shape::Text),
    key("tenant", Shape::Text),
    key("allowed_tenants", Shape::List),
    key("authorization_endpoint", Shape::Text),
    key("token_endpoint", Shape::Text),
    key("revocation_endpoint", Shape::Text),
    key("profile_endpoint", Shape::Text),
    key("subject_claim", Shape::Text),
    key("email_claim", Shape::Text),
    key("email_verified_claim", Shape::Text),
    key("name_claim", Shape::Text),
    key("picture_claim", Shape::Text),
    key("client_id", Shape::Text),
    key("app_client_ids", Shape::List),
    secret("client_secret"),
    key("client_auth", Shape::Text),
    secret("private_key"),
    key("key_id", Shape::Text),
    key("team_id", Shape::Text),
    key("client_assertion_audience", Shape::Text),
    key("scopes", Shape::List),
    key("extra_scopes", Shape::List),
    key("optional_scopes", Shape::List),
    key("prompt", Shape::Text),
    key("access_type", Shape::Text),
    key("authorization_params", Shape::List),
    key("response_mode", Shape::Text),
    key("par", Shape::Boolean),
    key("keep_tokens", Shape::Boolean),
    key("authoritative_for", Shape::List),
    key("allowed_hosts", Shape::List),
    key("trusted_audiences", Shape::List),
    key("clock_skew_seconds", Shape::Number),
];

/// What holds keys and is none.
pub(super) const TABLES: &[&str] = &["providers", "rate_limits", "danger"];

/// The keys of one front end, in `[[frontends]]`.
pub(super) const FRONTEND_KEYS: &[&str] = &[
    "client_id",
    "client_secret",
    "client_secret_file",
    "redirect_uris",
    "handoff",
    "default",
    "token_lifetime",
    "token_format",
    "token_secret",
    "token_secret_file",
    "audience",
    "name",
];

/// Variables of ours that are no key: they filter the log, name the file, list providers, steer our own tests, and tell
/// scripts where the binary is.
const OTHER_VARIABLES: &[&str] = &[
    "VESTIBULE_BIN",
    "VESTIBULE_LOG",
    "VESTIBULE_CONFIG",
    "VESTIBULE_PROVIDERS",
    "VESTIBULE_FRONTENDS",
];

/// The variable of a key.
pub(super) fn variable(name: &str) -> String {
    match name
        .strip_prefix("providers.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((provider, field)) => format!(
            "{}_{}",
            provider_variable(provider),
            field.to_ascii_uppercase()
        ),
        None => format!("VESTIBULE_{}", name.replace('.', "_").to_ascii_uppercase()),
    }
}

/// What the variables of a provider begin with.
pub(super) fn provider_variable(provider: &str) -> String {
    provider.replace('-', "_").to_ascii_uppercase()
}

/// The key with this dotted name.
pub(super) fn find(name: &str) -> Option<Key> {
    match name
        .strip_prefix("providers.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((_, field)) => PROVIDER_KEYS.iter().find(|key| key.name == field).copied(),
        None => KEYS.iter().find(|key| key.name == name).copied(),
    }
}

/// The known key that is nearest to a name that is none.
pub(super) fn nearest_key(name: &str) -> Option<String> {
    let (prefix, field) = match name
        .strip_prefix("providers.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((provider, field)) => (format!("providers.{provider}."), field),
        None => (String::new(), name),
    };
    let names = if prefix.is_empty() {
        KEYS
    } else {
        PROVIDER_KEYS
    };
    nearest(field, names.iter().map(|key| key.name)).map(|near| format!("{prefix}{near}"))
}

/// Whether a variable that begins with `VESTIBULE_` is one of ours.
pub(super) fn is_ours(variable_name: &str) -> bool {
    let plain = variable_name.strip_suffix("_FILE").unwrap_or(variable_name);
    plain.starts_with("VESTIBULE_TEST_")
        || plain.starts_with("VESTIBULE_FUZZ_")
        || OTHER_VARIABLES.contains(&plain)
        || KEYS.iter().any(|key| variable(key.name) == plain)
}

/// Whether Kubernetes made a variable: for a service that is called `vestibule` it tells every container beside it where
/// that is, by `VESTIBULE_SERVICE_HOST`, `VESTIBULE_PORT=tcp://...` and more of the kind.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("VESTIBULE_") else {
        return false;
    };
    rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
        || rest == "PORT" && value.contains("://")
        || rest
            .strip_prefix("PORT_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The variable that is nearest to one that is none of ours.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let all: Vec<String> = KEYS
        .iter()
        .map(|key| variable(key.name))
        .chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()))
        .collect();
    nearest(name, all.iter().map(String::as_str)).map(str::to_owned)
}

/// The nearest of some names, if one is near.
pub(super) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    all.map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 2 + known.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The preset whose name was misspelt, if one was: many names are short, and `acme` is no `apple`.
pub(super) fn nearest_preset(name: &str) -> Option<&'static str> {
    let all = vestibule_oidc::providers::ALL
        .iter()
        .map(|preset| preset.id);
    nearest(name, all).filter(|known| strsim::damerau_levenshtein(name, known) <= known.len() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        assert_eq!(nearest_key("publik_url").as_deref(), Some("public_url"));
        assert_eq!(
            nearest_key("providers.acme.clientid").as_deref(),
            Some("providers.acme.client_id")
        );
        assert_eq!(
            nearest_key("rate_limit.enabled").as_deref(),
            Some("rate_limits.enabled")
        );
        assert_eq!(
            nearest_variable("VESTIBULE_PUBLIC_URI").as_deref(),
            Some("VESTIBULE_PUBLIC_URL")
        );
        assert_eq!(nearest_key("something_else_altogether"), None);
    }

    #[test]
    fn a_name_of_ones_own_is_no_misspelt_preset() {
        for (name, meant) in [
            ("gogle", Some("google")),
            ("githbu", Some("github")),
            ("microsft", Some("microsoft")),
            ("acme", None),
            ("y", None),
            ("corp", None),
        ] {
            assert_eq!(nearest_preset(name), meant, "{name}");
        }
    }

    #[test]
    fn variables_follow_from_keys() {
        assert_eq!(
            variable("danger.allow_http_hosts"),
            "VESTIBULE_DANGER_ALLOW_HTTP_HOSTS"
        );
        assert_eq!(variable("providers.my-idp.client_id"), "MY_IDP_CLIENT_ID");
        assert!(
            is_ours("VESTIBULE_SECRET_FILE")
                && is_ours("VESTIBULE_LOG")
                && !is_ours("VESTIBULE_SECRETS")
        );
    }
}
