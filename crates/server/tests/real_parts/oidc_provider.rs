//! A certified OpenID provider, written by others: the npm package `oidc-provider`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::{Client, Response};
use url::Url;

use crate::support::{Home, client, cookies, location, who};

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/// With everything that has to be encoded on the way (RFC 6749 section 2.3.1).
const SECRET: &str = "a secret:with/what+must%be&encoded=~";
const PERSON: &str = "somebody@example.com";

/// The provider, ended when it is dropped.
struct Provider {
    child: Child,
    /// Kept open: it goes on to talk.
    _talk: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    fn start(auth_method: &str) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/oidc-provider/provider.mjs"
            ))
            .arg(auth_method)
            .args(ALGORITHMS.map(|algorithm| format!("{algorithm}={}", redirect_uri(algorithm))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stdout.take().unwrap());
        let mut issuer = String::new();
        talk.read_line(&mut issuer).unwrap();
        Self {
            child,
            _talk: talk,
            issuer: issuer.trim().to_owned(),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn label(algorithm: &str) -> String {
    algorithm.to_lowercase()
}

fn redirect_uri(algorithm: &str) -> String {
    format!("http://localhost:8000/auth/{}/callback", label(algorithm))
}

/// A whole login by each client of the provider, one for each algorithm.
pub(crate) async fn each_algorithm(auth_method: &str) {
    let provider = Provider::start(auth_method);
    let mut configuration =
        String::from("public_url = \"http://localhost:8000\"\nlisten = \"127.0.0.1:0\"\n");
    for algorithm in ALGORITHMS {
        write!(
            configuration,
            "[providers.{}]\nissuer = \"{}\"\nclient_id = \"client: {algorithm}\"\nclient_secret = \"{SECRET}\"\n",
            label(algorithm),
            provider.issuer
        )
        .unwrap();
    }
    configuration.push_str("[danger]\nallow_http_loopback = true\n");
    let home = Home::with(&configuration);
    let server = home.serve();
    let client = client();

    for algorithm in ALGORITHMS {
        let begun = client
            .get(server.url(&format!(
                "/auth/{}/login?login_hint={PERSON}",
                label(algorithm)
            )))
            .send()
            .await
            .unwrap();
        let flow = cookies(&begun).join("; ");
        let callback = through(&client, &provider.issuer, location(&begun)).await;
        let (_, path) = callback.split_once("localhost:8000").unwrap();
        let arrived = client
            .get(server.url(path))
            .header("cookie", flow)
            .send()
            .await
            .unwrap();
        let session = cookies(&arrived)
            .into_iter()
            .find(|cookie| cookie.starts_with("vestibule_session="));
        let session = session
            .unwrap_or_else(|| panic!("{algorithm}: {}\n{}", location(&arrived), server.said()));
        assert_eq!(
            who(&client, server.address(), &session).await,
            PERSON,
            "{algorithm}"
        );
    }
    // One issuer and one subject are one person, whichever client they came by.
    let list = home.run(&["user", "list"]);
    assert_eq!(list.out.lines().count(), 1, "{}", list.out);
}

/// Follows the provider's redirects as a browser does, until they lead away.
async fn through(client: &Client, issuer: &str, start: String) -> String {
    let mut jar: BTreeMap<String, String> = BTreeMap::new();
    let mut at = start;
    for _ in 0..10 {
        if !at.starts_with(issuer) {
            return at;
        }
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
            panic!(
                "the provider stops at {at}: {} {}",
                response.status(),
                response.text().await.unwrap()
            );
        }
        at = Url::parse(&at).unwrap().join(&next).unwrap().into();
    }
    panic!("the provider leads in circles: {at}");
}

fn keep(jar: &mut BTreeMap<String, String>, response: &Response) {
    for cookie in cookies(response) {
        if let Some((name, value)) = cookie.split_once('=') {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}
