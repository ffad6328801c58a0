//! A certified OpenID provider, written by others: the npm package `oidc-provider`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rcgen::KeyPair;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::support::{Home, Server, client, cookies, location, session_of, who};

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/// With everything that has to be encoded on the way (RFC 6749 section 2.3.1).
const SECRET: &str = "a secret:with/what+must%be&encoded=~";
const PERSON: &str = "somebody@example.com";

/// What a token request says of the grant, sorted; how a client proves who it is comes before or between.
const GRANT: [&str; 4] = ["code", "code_verifier", "grant_type", "redirect_uri"];

/// The provider, ended when it is dropped.
struct Provider {
    child: Child,
    talk: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    fn start(clients: &[Value], requires_par: bool) -> Self {
        let asked = json!({ "clients": clients, "requires_par": requires_par });
        let mut child = Command::new("node")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/oidc-provider/provider.mjs"
            ))
            .arg(asked.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let talk = BufReader::new(child.stdout.take().unwrap());
        let mut provider = Self {
            child,
            talk,
            issuer: String::new(),
        };
        provider.issuer = provider.says();
        provider
    }

    /// The next line.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.talk.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The next request that our server sent it: what came, by name.
    fn got(&mut self, endpoint: &str) -> Vec<String> {
        let line = self.says();
        let mut words = line.split(' ').map(str::to_owned);
        assert_eq!(words.next().unwrap(), endpoint, "{line}");
        words.collect()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the provider.
struct Registration {
    /// The provider's name in our routes.
    label: String,
    /// What the provider knows (RFC 7591).
    known: Value,
    /// What our configuration says beside issuer and client id.
    lines: String,
    /// A private key in PEM, in a file that a variable names.
    key_file: Option<String>,
}

impl Registration {
    fn new(label: &str, auth_method: &str, lines: &str) -> Self {
        let known = json!({
            "client_id": format!("client: {label}"),
            "redirect_uris": [format!("http://localhost:8000/auth/{label}/callback")],
            "token_endpoint_auth_method": auth_method,
        });
        Self {
            label: label.to_owned(),
            known,
            lines: lines.to_owned(),
            key_file: None,
        }
    }

    fn with_secret(label: &str, auth_method: &str, lines: &str) -> Self {
        let lines = format!("client_secret = \"{SECRET}\"\n{lines}");
        let registration = Self::new(label, auth_method, &lines);
        registration.knows("client_secret", SECRET.into())
    }

    /// A client that signs with the one key, where the provider knows the other, without a name.
    fn with_key(label: &str, ours: &KeyPair, known: &KeyPair, lines: &str) -> Self {
        let lines = format!(
            "client_auth = \"private_key_jwt\"\nprivate_key = \"\"\"\n{}\"\"\"\n{lines}",
            ours.serialize_pem()
        );
        let registration = Self::new(label, "private_key_jwt", &lines);
        registration.knows("jwks", json!([{ "pem": known.public_key_pem() }]))
    }

    /// A client whose key has a name at the provider and lies in a file of its own here.
    fn with_named_key(label: &str, key: &KeyPair) -> Self {
        let lines = "client_auth = \"private_key_jwt\"\nkey_id = \"ours\"\n";
        let known = json!([{ "pem": key.public_key_pem(), "kid": "ours" }]);
        Self {
            key_file: Some(key.serialize_pem()),
            ..Self::new(label, "private_key_jwt", lines).knows("jwks", known)
        }
    }

    fn knows(mut self, name: &str, value: Value) -> Self {
        self.known[name] = value;
        self
    }
}

/// Our server and the provider.
struct Setting {
    provider: Provider,
    home: Home,
    server: Server,
    client: Client,
}

/// A sign-in as a browser saw it.
struct Journey {
    /// Where the login start led.
    begun: Url,
    /// Every address that the browser was at, our callback included.
    addresses: Vec<String>,
    /// What we said to the callback.
    arrived: Response,
}

impl Journey {
    fn session(&self, what: &str, server: &Server) -> String {
        session_of(&self.arrived)
            .unwrap_or_else(|| panic!("{what}: {}\n{}", location(&self.arrived), server.said()))
    }

    /// The names in the address that led to the provider.
    fn begun_with(&self) -> Vec<String> {
        let pairs = self.begun.query_pairs();
        pairs.map(|(name, _)| name.into_owned()).collect()
    }
}

/// How the provider ends its part.
enum Ending {
    Redirect(String),
    /// A page that posts itself: where to, and what.
    Form(String, String),
}

impl Setting {
    fn start(registrations: &[Registration]) -> Self {
        Self::with(registrations, false)
    }

    fn with(registrations: &[Registration], requires_par: bool) -> Self {
        let clients: Vec<Value> = registrations
            .iter()
            .map(|registration| registration.known.clone())
            .collect();
        let provider = Provider::start(&clients, requires_par);
        let mut configuration =
            String::from("public_url = \"http://localhost:8000\"\nlisten = \"127.0.0.1:0\"\n");
        for Registration { label, lines, .. } in registrations {
            configuration.push_str(&format!(
                "[providers.{label}]\nissuer = \"{}\"\nclient_id = \"client: {label}\"\n{lines}",
                provider.issuer
            ));
        }
        configuration.push_str("[danger]\nallow_http_loopback = true\n");
        let home = Home::with(&configuration);
        let mut variables = String::new();
        for registration in registrations {
            if let Some(pem) = &registration.key_file {
                let label = &registration.label;
                std::fs::write(home.path().join(label), pem).unwrap();
                let provider = label.to_uppercase().replace('-', "_");
                variables.push_str(&format!("{provider}_PRIVATE_KEY_FILE={label}\n"));
            }
        }
        std::fs::write(home.path().join(".env"), variables).unwrap();
        let server = home.serve();
        Self {
            provider,
            home,
            server,
            client: client(),
        }
    }

    async fn begin(&self, label: &str) -> Response {
        let path = format!("/auth/{label}/login?login_hint={PERSON}");
        let request = self.client.get(self.server.url(&path));
        request.send().await.unwrap()
    }

    /// From the login start to our answer to the callback.
    async fn travel(&self, label: &str) -> Journey {
        let begun = self.begin(label).await;
        let flow = cookies(&begun).join("; ");
        let start = location(&begun);
        let mut addresses = Vec::new();
        let ending = through(
            &self.client,
            &self.provider.issuer,
            start.clone(),
            &mut addresses,
        )
        .await;
        let (callback, request) = match ending {
            Ending::Redirect(callback) => {
                let request = self.client.get(self.server.url(&path_of(&callback)));
                (callback, request)
            }
            Ending::Form(callback, form) => {
                let request = self
                    .client
                    .post(self.server.url(&path_of(&callback)))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .header("origin", &self.provider.issuer)
                    .header("sec-fetch-site", "cross-site")
                    .body(form);
                (callback, request)
            }
        };
        addresses.push(callback);
        Journey {
            begun: Url::parse(&start).unwrap(),
            addresses,
            arrived: request.header("cookie", flow).send().await.unwrap(),
        }
    }

    /// A sign-in that succeeds: the right person is in.
    async fn sign_in(&self, label: &str) -> Journey {
        let journey = self.travel(label).await;
        let session = journey.session(label, &self.server);
        let person = who(&self.client, self.server.address(), &session).await;
        assert_eq!(person, PERSON, "{label}");
        journey
    }

    /// How many people there are. One issuer and one subject are one person, whichever client they came by.
    fn people(&self) -> usize {
        let list = self.home.run(&["user", "list"]);
        assert!(list.ok, "{}", list.err);
        list.out.lines().count()
    }
}

/// A path of ours in an address of `public_url`.
fn path_of(callback: &str) -> String {
    let (_, path) = callback.split_once("localhost:8000").unwrap();
    path.to_owned()
}

/// A whole login by each client of the provider, one for each algorithm of ID tokens.
pub(crate) async fn each_algorithm(auth_method: &str) {
    let registrations = ALGORITHMS.map(|algorithm| {
        Registration::with_secret(&algorithm.to_lowercase(), auth_method, "")
            .knows("id_token_signed_response_alg", algorithm.into())
    });
    let setting = Setting::start(&registrations);
    for registration in &registrations {
        setting.sign_in(&registration.label).await;
    }
    assert_eq!(setting.people(), 1);
}

/// A new key of each kind that assertions are signed with.
fn new_keys() -> [(&'static str, KeyPair); 3] {
    [
        ("p-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("rsa", &rcgen::PKCS_RSA_SHA256),
        ("ed25519", &rcgen::PKCS_ED25519),
    ]
    .map(|(name, algorithm)| (name, KeyPair::generate_for(algorithm).unwrap()))
}

pub(crate) async fn private_key_jwt() {
    let mut registrations = Vec::new();
    for (name, key) in new_keys() {
        registrations.push(Registration::with_key(name, &key, &key, ""));
        let label = format!("{name}-named");
        registrations.push(Registration::with_named_key(&label, &key));
    }
    let mut setting = Setting::start(&registrations);
    for registration in &registrations {
        setting.sign_in(&registration.label).await;
        // An assertion, and nothing else that proves anything (S21).
        let mut expected = vec!["client_assertion", "client_assertion_type", "client_id"];
        expected.extend(GRANT);
        assert_eq!(setting.provider.got("token"), expected);
    }
    assert_eq!(setting.people(), 1);
}

pub(crate) async fn unknown_key() {
    for (name, known) in new_keys() {
        let (_, ours) = new_keys()
            .into_iter()
            .find(|(kind, _)| *kind == name)
            .unwrap();
        let registrations = [Registration::with_key(
            name,
            &ours,
            &known,
            "key_id = \"ours\"\n",
        )];
        let setting = Setting::start(&registrations);
        let arrived = setting.travel(name).await.arrived;
        let location = location(&arrived);
        assert!(
            location.contains("/error?code=client_rejected&"),
            "{name}: {location}"
        );
        assert_eq!(session_of(&arrived), None, "{name}");
        assert_eq!(setting.people(), 0, "{name}");
    }
}

/// Checks that a request was pushed, and that the browser carried nothing of it.
fn check_pushed(setting: &mut Setting, journey: &Journey, proof: &[&str]) {
    assert_eq!(journey.begun_with(), ["client_id", "request_uri"]);
    let pushed = setting.provider.got("pushed_authorization_request");
    for name in ["code_challenge", "nonce", "redirect_uri", "scope", "state"]
        .iter()
        .chain(proof)
    {
        assert!(
            pushed.iter().any(|known| known == name),
            "{name}: {pushed:?}"
        );
    }
    setting.provider.got("token");
}

/// The ways to prove who we are, one client each, and what of it the provider sees.
fn each_method(lines: &str) -> [(Registration, &'static [&'static str]); 4] {
    let (_, key) = new_keys().into_iter().next().unwrap();
    let (basic, post) = ("client_secret_basic", "client_secret_post");
    let public = format!("client_auth = \"none\"\n{lines}");
    [
        (
            Registration::with_secret(
                "basic",
                basic,
                &format!("client_auth = \"{basic}\"\n{lines}"),
            ),
            &["Authorization"],
        ),
        (
            Registration::with_secret("post", post, &format!("client_auth = \"{post}\"\n{lines}")),
            &["client_secret"],
        ),
        (
            Registration::with_key("key", &key, &key, lines),
            &["client_assertion"],
        ),
        (Registration::new("public", "none", &public), &["client_id"]),
    ]
}

/// A provider that takes pushed requests and is told so here, or one that requires them and says so itself.
pub(crate) async fn pushed_requests(required: bool) {
    let methods = each_method(if required { "" } else { "par = true\n" });
    let (registrations, proofs): (Vec<_>, Vec<_>) = methods.into_iter().unzip();
    let mut setting = Setting::with(&registrations, required);
    for (registration, proof) in registrations.iter().zip(proofs) {
        let journey = setting.sign_in(&registration.label).await;
        check_pushed(&mut setting, &journey, proof);
    }
    assert_eq!(setting.people(), 1);
}

pub(crate) async fn form_post() {
    let registrations = each_method("response_mode = \"form_post\"\n").map(|(one, _)| one);
    let setting = Setting::start(&registrations);
    for registration in &registrations {
        let journey = setting.sign_in(&registration.label).await;
        for address in &journey.addresses {
            let url = Url::parse(address).unwrap();
            assert!(
                !url.query_pairs().any(|(name, _)| name == "code") && url.fragment().is_none(),
                "{address}"
            );
        }
    }
    assert_eq!(setting.people(), 1);
}

pub(crate) async fn public_client() {
    let registrations = [Registration::new(
        "public",
        "none",
        "client_auth = \"none\"\n",
    )];
    let mut setting = Setting::start(&registrations);
    let journey = setting.sign_in("public").await;
    let begun = journey.begun_with();
    assert!(
        begun.iter().any(|name| name == "code_challenge"),
        "{begun:?}"
    );
    let mut expected = vec!["client_id"];
    expected.extend(GRANT);
    assert_eq!(setting.provider.got("token"), expected, "no proof but PKCE");
    assert_eq!(setting.people(), 1);
}

/// Follows the provider's redirects as a browser does, until they lead away or a page posts itself away.
async fn through(
    client: &Client,
    issuer: &str,
    start: String,
    addresses: &mut Vec<String>,
) -> Ending {
    let mut jar: BTreeMap<String, String> = BTreeMap::new();
    let mut at = start;
    for _ in 0..10 {
        if !at.starts_with(issuer) {
            return Ending::Redirect(at);
        }
        addresses.push(at.clone());
        let cookie: Vec<String> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let response = client
            .get(&at)
            .header("cookie", cookie.join("; "))
            .send()
            .await
            .unwrap();
        keep(&mut jar, &response);
        let next = location(&response);
        if next.is_empty() {
            let status = response.status();
            let page = response.text().await.unwrap();
            return posting(&page)
                .filter(|_| status == StatusCode::OK)
                .unwrap_or_else(|| panic!("the provider stops at {at}: {status} {page}"));
        }
        at = Url::parse(&at).unwrap().join(&next).unwrap().into();
    }
    panic!("the provider leads in circles: {at}");
}

/// The form of a page that posts itself.
fn posting(page: &str) -> Option<Ending> {
    let (_, rest) = page.split_once("<form method=\"post\" action=\"")?;
    let (action, rest) = rest.split_once('"')?;
    let fields = rest
        .split("<input type=\"hidden\" name=\"")
        .skip(1)
        .filter_map(|field| field.split_once("\"/>")?.0.split_once("\" value=\""));
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    Some(Ending::Form(action.to_owned(), form))
}

fn keep(jar: &mut BTreeMap<String, String>, response: &Response) {
    for cookie in cookies(response) {
        if let Some((name, value)) = cookie.split_once('=') {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}
