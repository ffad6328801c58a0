//! The front ends of the configuration: who may receive a sign-in, where, and in which form.
//!
//! Each check tells what is wrong and goes on with the next key, so that one start tells everything. A front end is made
//! only where all its keys do.

use std::collections::BTreeSet;
use std::sync::Arc;

use url::Url;
use vestibule_jose::LegacyHs256Key;
use vestibule_oidc::ClientSecret;

use super::providers::{is_sample, title};
use super::resolve::{Origin, Resolver};
use super::{Secret, keys, seconds, secret};
use crate::frontend::{Frontend, HandOff, RedirectUri, RedirectUriError, TokenFormat};

/// What our own routes are called in `aud`; a client of this name could not be told from them.
const OURSELVES: &str = "vestibule";
const MAX_CLIENT_ID: usize = 128;
const MAX_AUDIENCE: usize = 256;
/// In characters.
const MAX_NAME: usize = 64;
/// The shortest secret of a client, in characters.
const MIN_CLIENT_SECRET: usize = 16;
/// How long a token lives that goes into a URL, and how long it may, in seconds.
const IN_URL: (i64, i64) = (5 * 60, 3_600);

/// What was wrong is among the errors already.
struct Told;

/// All front ends. What would not do is told to `read`; what the operator should know goes to `warnings`.
pub(super) fn all(
    read: &mut Resolver<'_>,
    access_token_lifetime: i64,
    secret: Option<&Secret>,
    warnings: &mut Vec<String>,
) -> Vec<Frontend> {
    let Some((tables, origin)) = read.frontends() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut client_ids = BTreeSet::new();
    let mut defaults = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let entry = Entry::new(at, table, &origin);
        if let Some(id) = table.get("client_id").and_then(toml::Value::as_str)
            && !client_ids.insert(id)
        {
            let found = format!("{id:?} again");
            let _ = entry.wrong(
                read,
                "client_id",
                found,
                "another front end has it",
                "give each front end a client_id of its own",
            );
        }
        let made = entry.frontend(read, access_token_lifetime, secret);
        if table.get("default").and_then(toml::Value::as_bool) == Some(true) {
            defaults.push(entry.label);
        }
        if let Ok(frontend) = made {
            warn(&frontend, warnings);
            all.push(frontend);
        }
    }
    if defaults.len() > 1 {
        read.wrong(
            "frontends",
            format!("default = true in {}", defaults.join(", ")),
            "at most one can receive a sign-in that names none",
            "leave default = true in one of them",
        );
    }
    all
}

/// What is dangerous and allowed.
fn warn(frontend: &Frontend, warnings: &mut Vec<String>) {
    let id = &frontend.client_id;
    if frontend.hand_off.puts_token_in_url() {
        warnings.push(format!("tokens of {id} go through URLs, where history and logs keep them; handoff = \"code\" does not"));
        if frontend.token_lifetime > IN_URL.0 {
            warnings.push(format!(
                "tokens of {id} live {}: who finds one in a URL can use it that long; token_lifetime = \"5m\" is safer",
                span(frontend.token_lifetime)
            ));
        }
    }
    match frontend.token_format {
        TokenFormat::AtJwt => {}
        TokenFormat::FastapiUsers(_) => warnings.push(format!("tokens of {id} are as fastapi-users makes them: our own routes do not take these tokens and they cannot be revoked before they expire")),
    }
}

/// One `[[frontends]]`, and how errors name it.
struct Entry<'a> {
    label: String,
    table: &'a toml::Table,
    origin: &'a Origin,
}

impl<'a> Entry<'a> {
    fn new(at: usize, table: &'a toml::Table, origin: &'a Origin) -> Self {
        let label = match table.get("client_id").and_then(toml::Value::as_str) {
            Some(id) if is_client_id(id) => format!("frontends.{id}"),
            _ => format!("frontends[{at}]"),
        };
        Self {
            label,
            table,
            origin,
        }
    }

    fn frontend(
        &self,
        read: &mut Resolver<'_>,
        access_token_lifetime: i64,
        secret: Option<&Secret>,
    ) -> Result<Frontend, Told> {
        let known = self.refuse_unknown(read);
        let client_id = self.client_id(read);
        let name = self.name(read);
        let client_secret = self.client_secret(read);
        let hand_off = self.hand_off(read);
        let redirect_uris = self.redirect_uris(read, hand_off.as_ref().ok().copied());
        let is_default = self.boolean(read, "default");
        let token_lifetime = match &hand_off {
            Ok(hand_off) => self.token_lifetime(read, *hand_off, access_token_lifetime),
            Err(Told) => Err(Told),
        };
        let token_format = self.token_format(read, secret);
        let audience = self.audience(read, token_format.as_ref().ok());
        known?;
        let client_id = client_id?;
        Ok(Frontend {
            name: name?.unwrap_or_else(|| {
                Some(title(&client_id))
                    .filter(|title| !title.is_empty())
                    .unwrap_or_else(|| client_id.clone())
            }),
            client_id,
            client_secret: client_secret?,
            redirect_uris: redirect_uris?,
            hand_off: hand_off?,
            is_default: is_default?,
            token_lifetime: token_lifetime?,
            token_format: token_format?,
            audience: audience?,
        })
    }

    fn refuse_unknown(&self, read: &mut Resolver<'_>) -> Result<(), Told> {
        let mut outcome = Ok(());
        for name in self.table.keys() {
            if keys::FRONTEND_KEYS.contains(&name.as_str()) {
                continue;
            }
            let near = keys::nearest(name, keys::FRONTEND_KEYS.iter().copied()).map_or_else(
                || "take it out".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let found = format!("in {}", self.origin);
            outcome = Err(self.wrong(read, name, found, "there is no such key", near));
        }
        outcome
    }

    /// RFC 6749 section 2.2, appendix A.1.
    fn client_id(&self, read: &mut Resolver<'_>) -> Result<String, Told> {
        let remedy = self.line("client_id", "\"web\"");
        let id = match self.text(read, "client_id", "\"web\"")? {
            Some(id) => id,
            None => {
                let found = format!("in {}", self.origin);
                return Err(self.wrong(read, "client_id", found, "it is missing", remedy));
            }
        };
        let problem = if id == OURSELVES {
            "it names Vestibule itself"
        } else if !is_client_id(id) {
            "it is 1 to 128 printable ASCII characters"
        } else {
            return Ok(id.to_owned());
        };
        Err(self.wrong(read, "client_id", self.found(id), problem, remedy))
    }

    fn name(&self, read: &mut Resolver<'_>) -> Result<Option<String>, Told> {
        let example = "\"My application\"";
        match self.text(read, "name", example)? {
            Some(name) if name.chars().count() > MAX_NAME || name.contains(char::is_control) => {
                Err(self.wrong(
                    read,
                    "name",
                    self.found(name),
                    format!("it is one line of {MAX_NAME} characters at most"),
                    self.line("name", example),
                ))
            }
            name => Ok(name.map(str::to_owned)),
        }
    }

    /// RFC 6749 sections 2.3.1 and 10.10, appendix A.2.
    fn client_secret(&self, read: &mut Resolver<'_>) -> Result<Option<ClientSecret>, Told> {
        const REMEDY: &str = "make one: openssl rand -hex 32; or leave it out, where the front end runs on its user's machine and can keep none";
        let Some(text) = self.secret(read, "client_secret", REMEDY)? else {
            return Ok(None);
        };
        let length = text.chars().count();
        let problem = if length < MIN_CLIENT_SECRET {
            format!("it has {length} characters and needs {MIN_CLIENT_SECRET} at least")
        } else if !text.chars().all(is_vschar) {
            "it is of printable ASCII characters".to_owned()
        } else if secret::is_sample(&text) || is_sample(&text) {
            secret::SAMPLE.to_owned()
        } else {
            return Ok(Some(ClientSecret::new(text)));
        };
        let found = format!("a value in {}", self.origin);
        Err(self.wrong(read, "client_secret", found, problem, REMEDY))
    }

    fn hand_off(&self, read: &mut Resolver<'_>) -> Result<HandOff, Told> {
        let words = HandOff::ALL.map(|(word, _)| word);
        let word = self.word(read, "handoff", &words, HandOff::Code.word())?;
        let known = HandOff::ALL.into_iter().find(|(known, _)| *known == word);
        known.map(|(_, hand_off)| hand_off).ok_or(Told)
    }

    /// `hand_off` is `None` where its own key is wrong.
    fn redirect_uris(
        &self,
        read: &mut Resolver<'_>,
        hand_off: Option<HandOff>,
    ) -> Result<Vec<RedirectUri>, Told> {
        const KEY: &str = "redirect_uris";
        const EXAMPLE: &str = "[\"http://localhost:8501/\"]";
        let texts = self.list(read, KEY, EXAMPLE)?;
        let needs_none = matches!(hand_off, Some(HandOff::Cookie) | None);
        if texts.is_empty() && !needs_none {
            let found = format!("none in {}", self.origin);
            let problem = "without one it can receive nothing";
            return Err(self.wrong(read, KEY, found, problem, self.line(KEY, EXAMPLE)));
        }
        let mut uris: Vec<RedirectUri> = Vec::new();
        let mut outcome = Ok(());
        for text in texts {
            let (problem, remedy) = match RedirectUri::parse(text) {
                Ok(uri) if !uris.contains(&uri) => {
                    uris.push(uri);
                    continue;
                }
                Ok(_) => (
                    "it stands there twice".to_owned(),
                    "take one of them out".to_owned(),
                ),
                Err(error) => {
                    let near = registrable(text).map(|near| format!("[{near:?}]"));
                    let line = self.line(KEY, near.as_deref().unwrap_or(EXAMPLE));
                    (error.to_string(), line)
                }
            };
            let found = self.found(&without_password(text));
            outcome = Err(self.wrong(read, KEY, found, problem, remedy));
        }
        outcome.map(|()| uris)
    }

    fn token_lifetime(
        &self,
        read: &mut Resolver<'_>,
        hand_off: HandOff,
        access_token_lifetime: i64,
    ) -> Result<i64, Told> {
        const KEY: &str = "token_lifetime";
        const EXAMPLE: &str = "\"5m\"";
        let (default, max) = if hand_off.puts_token_in_url() {
            IN_URL
        } else {
            (access_token_lifetime, super::MAX_ACCESS_TOKEN)
        };
        let Some(text) = self.text(read, KEY, EXAMPLE)? else {
            let key = format!("{}.{KEY}", self.label);
            read.show(&key, format!("{:?}", span(default)), &Origin::Default);
            return Ok(default);
        };
        let problem = match seconds(text) {
            Some(seconds) if (1..=max).contains(&seconds) => return Ok(seconds),
            Some(_) => format!(
                "with handoff = {:?} it is between 1s and {}",
                hand_off.word(),
                span(max)
            ),
            None => "it is a whole number with s, m, h or d".to_owned(),
        };
        Err(self.wrong(
            read,
            KEY,
            self.found(text),
            problem,
            self.line(KEY, EXAMPLE),
        ))
    }

    /// `ours` is the secret that seals, where the configuration gives it.
    fn token_format(
        &self,
        read: &mut Resolver<'_>,
        ours: Option<&Secret>,
    ) -> Result<TokenFormat, Told> {
        const KEY: &str = "token_secret";
        const REMEDY: &str = "write the secret of 32 bytes or more that your fastapi-users back end has; make one for both: openssl rand -hex 32";
        let [at_jwt, fastapi_users] = TokenFormat::WORDS;
        let word = self.word(read, "token_format", &TokenFormat::WORDS, at_jwt);
        let secret = self.secret(read, KEY, REMEDY)?;
        let found = format!("a value in {}", self.origin);
        match (word?, secret) {
            (word, None) if word == fastapi_users => {
                let problem = "it is missing: these tokens are signed with what their readers know";
                Err(self.wrong(read, KEY, String::new(), problem, REMEDY))
            }
            (word, Some(text)) if word == fastapi_users => {
                // Exactly as it stands: the back end takes every byte of its own for the key.
                let key = LegacyHs256Key::new(text.as_bytes());
                match key {
                    Ok(_) if secret::is_sample(&text) => {
                        Err(self.wrong(read, KEY, found, secret::SAMPLE, REMEDY))
                    }
                    // A back end that knows it could open and forge all that we seal (S70).
                    Ok(_) if ours.is_some_and(|ours| ours.expose() == text.as_bytes()) => {
                        let problem = "it is `secret`, which nobody else may know";
                        Err(self.wrong(read, KEY, found, problem, REMEDY))
                    }
                    Ok(key) => Ok(TokenFormat::FastapiUsers(Arc::new(key))),
                    Err(_) => {
                        let problem = format!(
                            "it has {} bytes and needs {} at least",
                            text.len(),
                            secret::MIN_BYTES
                        );
                        Err(self.wrong(read, KEY, found, problem, REMEDY))
                    }
                }
            }
            (_, Some(_)) => {
                let problem = format!("it does nothing while token_format = {at_jwt:?}");
                let line = self.line("token_format", &format!("{fastapi_users:?}"));
                Err(self.wrong(read, KEY, found, problem, format!("{line}, or take it out")))
            }
            (_, None) => Ok(TokenFormat::AtJwt),
        }
    }

    /// `format` is `None` where its own keys are wrong.
    fn audience(
        &self,
        read: &mut Resolver<'_>,
        format: Option<&TokenFormat>,
    ) -> Result<Option<String>, Told> {
        const KEY: &str = "audience";
        const EXAMPLE: &str = "\"https://api.example\"";
        let Some(text) = self.text(read, KEY, EXAMPLE)? else {
            return Ok(None);
        };
        let (problem, remedy) = if text == OURSELVES {
            ("every token of ours has it already", "take it out".into())
        } else if matches!(format, Some(TokenFormat::FastapiUsers(_))) {
            (
                "tokens as fastapi-users makes them have the audience \"fastapi-users:auth\" and no other",
                "take it out".into(),
            )
        } else if text.len() > MAX_AUDIENCE || text.contains(char::is_control) {
            (
                "it is one line of 256 bytes at most",
                self.line(KEY, EXAMPLE),
            )
        } else {
            return Ok(Some(text.to_owned()));
        };
        Err(self.wrong(read, KEY, self.found(text), problem, remedy))
    }

    /// A key that is one of some words.
    fn word(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        words: &[&'static str],
        default: &'static str,
    ) -> Result<&'static str, Told> {
        let Some(text) = self.text(read, name, &format!("{default:?}"))? else {
            let key = format!("{}.{name}", self.label);
            read.show(&key, format!("{default:?}"), &Origin::Default);
            return Ok(default);
        };
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(word);
        }
        let near = keys::nearest(text, words.iter().copied()).unwrap_or(default);
        let problem = format!("it is one of {}", words.join(", "));
        let line = self.line(name, &format!("{near:?}"));
        Err(self.wrong(read, name, self.found(text), problem, line))
    }

    /// A secret: a value, or the content of the file that the same key with `_file` names.
    fn secret(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        remedy: &str,
    ) -> Result<Option<String>, Told> {
        let file_key = format!("{name}_file");
        if self.table.contains_key(name) && self.table.contains_key(&file_key) {
            let found = format!("both {name} and {file_key}");
            let problem = "only one of them can hold";
            let remedy = format!("take {name} or {file_key} out");
            return Err(self.wrong(read, name, found, problem, remedy));
        }
        if let Some(path) = self.text(read, &file_key, "\"/run/secrets/...\"")? {
            return read.value_file(path).map(Some).map_err(|problem| {
                let remedy = "name a file that this user may read and that holds the value alone";
                self.wrong(read, &file_key, self.found(path), problem, remedy)
            });
        }
        match self.table.get(name) {
            None => Ok(None),
            // Elsewhere an empty text is none. Here a template's empty variable would make a client without a secret.
            Some(toml::Value::String(text)) if text.is_empty() => {
                let found = format!("an empty text in {}", self.origin);
                Err(self.wrong(read, name, found, "it is empty", remedy))
            }
            Some(toml::Value::String(text)) => {
                read.show(
                    &format!("{}.{name}", self.label),
                    "(set)".into(),
                    self.origin,
                );
                Ok(Some(text.clone()))
            }
            Some(other) => {
                let found = format!("{} in {}", other.type_str(), self.origin);
                Err(self.wrong(read, name, found, "it must be a text in quotes", remedy))
            }
        }
    }

    /// A text; an empty one is none, as elsewhere.
    fn text(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        example: &str,
    ) -> Result<Option<&'a str>, Told> {
        match self.table.get(name) {
            None => Ok(None),
            Some(toml::Value::String(text)) if text.is_empty() => Ok(None),
            Some(toml::Value::String(text)) => {
                self.show(read, name, format!("{text:?}"));
                Ok(Some(text))
            }
            Some(other) => Err(self.wrong_type(read, name, other, "a text in quotes", example)),
        }
    }

    fn boolean(&self, read: &mut Resolver<'_>, name: &str) -> Result<bool, Told> {
        match self.table.get(name) {
            None => Ok(false),
            Some(toml::Value::Boolean(value)) => {
                self.show(read, name, value.to_string());
                Ok(*value)
            }
            Some(other) => Err(self.wrong_type(read, name, other, "true or false", "true")),
        }
    }

    fn list(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        example: &str,
    ) -> Result<Vec<&'a str>, Told> {
        match self.table.get(name) {
            None => Ok(Vec::new()),
            Some(toml::Value::Array(list)) if list.iter().all(toml::Value::is_str) => {
                let list: Vec<&str> = list.iter().filter_map(toml::Value::as_str).collect();
                self.show(read, name, format!("{list:?}"));
                Ok(list)
            }
            Some(other) => {
                Err(self.wrong_type(read, name, other, "a list of texts in quotes", example))
            }
        }
    }

    fn show(&self, read: &mut Resolver<'_>, name: &str, value: String) {
        read.show(&format!("{}.{name}", self.label), value, self.origin);
    }

    fn wrong_type(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        found: &toml::Value,
        expected: &str,
        example: &str,
    ) -> Told {
        let found = if found.is_table() || found.is_array() {
            format!("{} in {}", found.type_str(), self.origin)
        } else {
            let text: String = found.to_string().chars().take(60).collect();
            format!("{text} in {}", self.origin)
        };
        let line = self.line(name, example);
        self.wrong(read, name, found, format!("it must be {expected}"), line)
    }

    /// A value that is no secret, and where it stands.
    fn found(&self, text: &str) -> String {
        let start: String = text.chars().take(200).collect();
        format!("{start:?} in {}", self.origin)
    }

    /// The line that would do, in the language of where it goes.
    fn line(&self, name: &str, example: &str) -> String {
        match self.origin {
            Origin::File(_) => format!("write {name} = {example} below its [[frontends]]"),
            origin => format!("write \"{name}\": {example} in {origin}"),
        }
    }

    fn wrong(
        &self,
        read: &mut Resolver<'_>,
        name: &str,
        found: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Told {
        read.wrong(&format!("{}.{name}", self.label), found, problem, remedy);
        Told
    }
}

/// Seconds as the configuration writes them.
fn span(seconds: i64) -> String {
    if seconds % 60 == 0 {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

/// `VSCHAR` of RFC 6749 appendix A.
fn is_vschar(char: char) -> bool {
    matches!(char, ' '..='~')
}

fn is_client_id(text: &str) -> bool {
    (1..=MAX_CLIENT_ID).contains(&text.len()) && text.chars().all(is_vschar)
}

/// What may have been meant by a redirect URI that is refused, if that can be registered.
fn registrable(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    if url.has_host() {
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
    }
    if RedirectUri::parse(url.as_str()) == Err(RedirectUriError::Http) {
        url.set_scheme("https").ok()?;
    }
    RedirectUri::parse(url.as_str())
        .is_ok()
        .then(|| url.to_string())
}

fn without_password(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("...")) {
            Ok(()) => url.to_string(),
            Err(()) => "a URL with a password".to_owned(),
        },
        _ => text.to_owned(),
    }
}
