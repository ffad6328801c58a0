//! Our binary behind TLS on one site and its providers on another, in Debian's Chromium: what `SameSite` lets through and
//! what it keeps is the browser's word here and not ours.

use fantoccini::cookies::Cookie;
use tokio::net::TcpListener;
use vestibule_devidp::DevIdp;

use crate::chromium::Chromium;
use crate::support::{Home, SECRET, Server, client};
use crate::terminator::{Shown, acceptor, authority, terminate};

const SESSION: &str = "__Host-vestibule_session";
const FLOW: &str = "__Host-vestibule_flow_";
const ALICE: &str = "Alice Adams";
const BOB: &str = "Bob Brown";

/// An application at `https://app.localhost`, and two providers at `http://127.0.0.1`, where the same people have accounts.
struct Site {
    origin: String,
    home: Home,
    server: Server,
    _google: DevIdp,
    _acme: DevIdp,
}

impl Site {
    /// Both providers answer in this mode.
    async fn start(mode: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = format!("https://app.localhost:{port}");
        let google = provider("Stand-in Google").await;
        let acme = provider("Stand-in Acme").await;
        let client = format!("client_id = \"client\"\nclient_secret = \"{SECRET}\"\n");
        // Nobody signs in with Globex: it is what the account page offers to add at the end.
        let home = Home::with(&format!(
            "public_url = \"{origin}\"\nlisten = \"127.0.0.1:0\"\n\
             [providers.google]\nissuer = \"{}\"\nresponse_mode = \"{mode}\"\n{client}\
             [providers.acme]\nissuer = \"{}\"\nresponse_mode = \"{mode}\"\n{client}\
             [providers.globex]\nissuer = \"{}\"\n{client}\
             [danger]\nallow_http_loopback = true\n",
            google.issuer(),
            acme.issuer(),
            acme.issuer()
        ));
        let server = home.serve();
        let shown = Shown {
            name: "app.localhost",
            expired: false,
        };
        let acceptor = acceptor(&authority(), &shown);
        tokio::spawn(terminate(listener, acceptor, server.address()));
        Self {
            origin,
            home,
            server,
            _google: google,
            _acme: acme,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// From the sign-in page to the provider's.
    async fn go_to(&self, chromium: &Chromium, provider: &str) {
        chromium.open(&self.at("/login")).await;
        chromium.click(&format!("Continue with {provider}")).await;
        chromium.heading("Choose an account").await;
        assert_eq!(chromium.url().await.host_str(), Some("127.0.0.1"));
    }

    /// A whole sign-in, to the account page.
    async fn sign_in(&self, chromium: &Chromium, provider: &str, person: &str) {
        self.go_to(chromium, provider).await;
        chromium.consent(person).await;
        self.is_at_account(chromium, person).await;
    }

    async fn is_at_account(&self, chromium: &Chromium, person: &str) {
        chromium.heading(person).await;
        assert_eq!(chromium.url().await.as_str(), self.at("/account"));
    }

    /// The browser's cookies of this site, as its own page sees them.
    async fn cookies(&self, chromium: &Chromium) -> Vec<Cookie<'static>> {
        assert!(chromium.url().await.as_str().starts_with(&self.origin));
        chromium.client.get_all_cookies().await.unwrap()
    }

    async fn session(&self, chromium: &Chromium) -> Option<String> {
        let cookies = self.cookies(chromium).await;
        let session = cookies.iter().find(|cookie| cookie.name() == SESSION)?;
        Some(session.value().to_owned())
    }

    /// Who a session belongs to, and how many ways in they have; `None` for nobody.
    async fn who(&self, session: &str) -> Option<(String, usize)> {
        let answer = client()
            .get(self.server.url("/users/me"))
            .header("cookie", format!("{SESSION}={session}"))
            .send()
            .await
            .unwrap();
        if answer.status() != 200 {
            return None;
        }
        let me: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let ways = me["identities"].as_array().unwrap().len();
        Some((me["name"].as_str().unwrap().to_owned(), ways))
    }

    /// Waits for the page that says why, and checks its code.
    async fn is_refused(&self, chromium: &Chromium, code: &str, words: &str) {
        chromium.heading(words).await;
        let url = chromium.url().await;
        let start = self.at(&format!("/error?code={code}&ref="));
        assert!(url.as_str().starts_with(&start), "{url}");
    }

    fn people(&self) -> usize {
        let list = self.home.run(&["user", "list"]);
        assert!(list.ok, "{}", list.err);
        list.out.lines().count()
    }
}

async fn provider(name: &str) -> DevIdp {
    DevIdp::builder()
        .name(name.to_owned())
        .client("client", SECRET)
        .start()
        .await
        .unwrap()
}

// S18, S64, S65
pub(crate) async fn form_post() {
    let site = Site::start("form_post").await;
    let chromium = Chromium::start(true).await;
    site.go_to(&chromium, "Acme").await;

    // The attempt's cookie is the one that comes with another site's form.
    chromium.open(&site.at("/healthz")).await;
    let cookies = site.cookies(&chromium).await;
    let [flow] = cookies.as_slice() else {
        panic!("one cookie: {cookies:?}")
    };
    assert!(flow.name().starts_with(FLOW), "{flow:?}");
    assert!(flow.same_site().unwrap().is_none(), "{flow:?}");
    assert_eq!((flow.secure(), flow.http_only()), (Some(true), Some(true)));
    assert_eq!(flow.path(), Some("/"));
    chromium.client.back().await.unwrap();

    chromium.consent(ALICE).await;
    site.is_at_account(&chromium, ALICE).await;
    let cookies = site.cookies(&chromium).await;
    let [session] = cookies.as_slice() else {
        panic!("the session alone: {cookies:?}")
    };
    assert_eq!(session.name(), SESSION);
    assert!(session.same_site().unwrap().is_lax(), "{session:?}");
    let alices = session.value().to_owned();
    assert_eq!(site.who(&alices).await, Some((ALICE.into(), 1)));

    // The session is not sent with the form: the attempt says which one is over once somebody else is in.
    chromium.open(&site.at("/auth/acme/login")).await;
    chromium.consent(BOB).await;
    site.is_at_account(&chromium, BOB).await;
    let bobs = site.session(&chromium).await.unwrap();
    assert_eq!(site.who(&bobs).await, Some((BOB.into(), 1)));
    assert_eq!(site.who(&alices).await, None);
    assert_eq!(site.people(), 2);

    // A sign-in that is cancelled ends no session.
    chromium.open(&site.at("/auth/acme/login")).await;
    chromium.click("Cancel").await;
    site.is_refused(&chromium, "access_denied", "Sign-in cancelled")
        .await;
    let cookies = site.cookies(&chromium).await;
    assert_eq!(cookies.len(), 1, "the session alone: {cookies:?}");
    assert_eq!(site.session(&chromium).await, Some(bobs.clone()));
    assert_eq!(site.who(&bobs).await, Some((BOB.into(), 1)));
    chromium.close().await;
}

// S3, S11
pub(crate) async fn other_browser() {
    let site = Site::start("form_post").await;
    let mallory = Chromium::start(true).await;
    let victim = Chromium::start(true).await;

    // A browser that knows nothing of us.
    site.go_to(&mallory, "Acme").await;
    victim.open(mallory.url().await.as_str()).await;
    victim.consent(BOB).await;
    site.is_refused(&victim, "cookie_missing", "no cookie")
        .await;
    assert_eq!(site.session(&victim).await, None);

    // One that has begun a sign-in of its own.
    site.go_to(&mallory, "Acme").await;
    site.go_to(&victim, "Acme").await;
    let own = victim.url().await;
    victim.open(mallory.url().await.as_str()).await;
    victim.consent(BOB).await;
    site.is_refused(&victim, "state_other_browser", "began elsewhere")
        .await;
    assert_eq!(site.session(&victim).await, None);

    // Whoever began it has nothing of it: the attempt is over.
    mallory.consent(BOB).await;
    site.is_refused(&mallory, "state_used", "used before").await;
    assert_eq!(site.session(&mallory).await, None);
    assert_eq!(site.people(), 0);

    // The other's own sign-in still goes through.
    victim.open(own.as_str()).await;
    victim.consent(ALICE).await;
    site.is_at_account(&victim, ALICE).await;
    mallory.close().await;
    victim.close().await;
}

// S63, S65
pub(crate) async fn add_way_in() {
    let site = Site::start("form_post").await;
    let chromium = Chromium::start(true).await;
    site.sign_in(&chromium, "Google", ALICE).await;
    let before = site.session(&chromium).await.unwrap();
    add(&chromium, "Acme").await;
    let attempt = chromium.url().await;

    // In another browser it adds nothing, whoever is signed in there.
    let other = Chromium::start(true).await;
    site.sign_in(&other, "Google", BOB).await;
    other.open(attempt.as_str()).await;
    other.consent(BOB).await;
    site.is_refused(&other, "cookie_missing", "no cookie").await;
    assert_eq!(site.who(&before).await, Some((ALICE.into(), 1)));
    let bobs = site.session(&other).await.unwrap();
    assert_eq!(site.who(&bobs).await, Some((BOB.into(), 1)));
    other.close().await;

    // In her own it does.
    chromium.open(&site.at("/account")).await;
    add(&chromium, "Acme").await;
    chromium.consent(ALICE).await;
    site.is_at_account(&chromium, ALICE).await;
    let after = site.session(&chromium).await.unwrap();
    assert_eq!(site.who(&after).await, Some((ALICE.into(), 2)));
    assert_eq!(site.who(&before).await, None, "another session");
    assert_eq!(site.people(), 2);

    // From then on either way leads there.
    chromium.click("Sign out").await;
    chromium.heading("Sign in").await;
    site.sign_in(&chromium, "Acme", ALICE).await;
    assert_eq!(site.people(), 2);
    chromium.close().await;
}

/// Presses the button of the account page, which goes on to the provider by itself.
async fn add(chromium: &Chromium, provider: &str) {
    chromium
        .press(&format!("//button[@aria-label='Add {provider}']"))
        .await;
    chromium.heading("Choose an account").await;
    assert_eq!(chromium.url().await.host_str(), Some("127.0.0.1"));
}

pub(crate) async fn owner_is_asked(mode: &str) {
    let site = Site::start(mode).await;
    let chromium = Chromium::start(true).await;
    site.sign_in(&chromium, "Google", ALICE).await;
    chromium.click("Sign out").await;
    chromium.heading("Sign in").await;

    // The other way in, with the same address: nobody is in yet, and the page says what to do.
    site.go_to(&chromium, "Acme").await;
    chromium.consent(ALICE).await;
    chromium.says("You already have an account here.").await;
    chromium.says("we connect Acme to it").await;
    chromium.show("sign-in-asks").await;
    let url = chromium.url().await;
    assert_eq!(url.path(), "/login");
    assert_eq!(site.session(&chromium).await, None);
    assert!(!chromium.text().await.contains("alice@"), "not yet");

    // The way of before leads to the question, and the question changes nothing.
    chromium.click("Continue with Google").await;
    chromium.consent(ALICE).await;
    chromium.heading("Connect Acme to your account?").await;
    chromium.show("link").await;
    assert_eq!(chromium.url().await.as_str(), site.at("/link"));
    let before = site.session(&chromium).await.unwrap();
    assert_eq!(site.who(&before).await, Some((ALICE.into(), 1)));

    chromium.press("//button[@value='connect']").await;
    site.is_at_account(&chromium, ALICE).await;
    chromium.show("account-two-ways").await;
    let after = site.session(&chromium).await.unwrap();
    assert_eq!(site.who(&after).await, Some((ALICE.into(), 2)));
    assert_eq!(site.who(&before).await, None, "another session");
    assert_eq!(site.people(), 1);
    let cookies = site.cookies(&chromium).await;
    assert_eq!(cookies.len(), 1, "nothing waits: {cookies:?}");
    chromium.close().await;
}
