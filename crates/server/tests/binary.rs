//! The binary as its users meet it: commands, refusals, signals, and a power cut.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Home, SECRET, client, configuration, location, provider, sign_in, who};
use vestibule::oidc::providers::ALL;
use vestibule_devidp::Fault;

const ALICE: &str = "alice@example.com";
const PEOPLE: [&str; 3] = ["alice@example.com", "bob@example.com", "carol@example.com"];

#[test]
fn the_version_and_the_help_are_there() {
    let home = Home::empty();
    assert!(home.run(&["version"]).out.starts_with("vestibule "));
    let json: serde_json::Value =
        serde_json::from_str(&home.run(&["version", "--json"]).out).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let help = home.run(&["--help"]);
    for verb in [
        "dev",
        "serve",
        "config",
        "providers",
        "user",
        "client",
        "keys",
        "version",
    ] {
        assert!(
            help.out.contains(&format!("  {verb}")),
            "{verb}: {}",
            help.out
        );
    }
    for (verb, words) in [
        (["client", "list"], "redirect URIs"),
        (["config", "check"], "each front end"),
        (["keys", "revoke"], "nobody is signed out"),
        (["user", "invite"], "renews the invitation"),
        (["user", "link"], "nothing is written"),
    ] {
        let help = home.run(&[verb[0], verb[1], "--help"]);
        assert!(help.ok && help.out.contains(words), "{}", help.out);
    }
}

/// What is wrong, and what the one message must name: the key, what was found, the line that would do.
#[test]
fn what_serve_cannot_run_with_is_refused_with_the_key_what_was_found_and_the_line_that_would_do() {
    let good = configuration("http://127.0.0.1:9");
    let rows: &[(&str, String, &[&str])] = &[
        (
            "no client id",
            good.replace("client_id = \"client\"\n", ""),
            &["providers.google.client_id", "GOOGLE_CLIENT_ID"],
        ),
        (
            "a short secret",
            format!("secret = \"short\"\n{good}"),
            &["secret", "32"],
        ),
        (
            "a sample secret",
            format!("secret = \"change-me-change-me-change-me-change-me\"\n{good}"),
            &["secret"],
        ),
        (
            "http outside loopback",
            good.replace("http://localhost:8000", "http://app.example.com"),
            &[
                "public_url",
                "http://app.example.com",
                "https://app.example.com",
            ],
        ),
        (
            "an unknown key",
            format!("publik_url = \"x\"\n{good}"),
            &["publik_url", "public_url"],
        ),
        (
            "a wrong type",
            format!("require_email = \"perhaps\"\n{good}"),
            &["require_email", "perhaps"],
        ),
        (
            "a front end over http",
            format!(
                "{good}\n[[frontends]]\nclient_id = \"web\"\nredirect_uris = [\"http://app.example.com/\"]\n"
            ),
            &["frontends.web.redirect_uris", "https://app.example.com/"],
        ),
        ("no TOML", format!("{good}\n[["), &["vestibule.toml"]),
    ];
    for (what, configuration, names) in rows {
        let home = Home::with(configuration);
        let refused = home.run(&["serve"]);
        assert!(!refused.ok, "{what}");
        assert!(
            refused.err.starts_with("error: "),
            "{what}: {}",
            refused.err
        );
        for name in *names {
            assert!(
                refused.err.contains(name),
                "{what} does not name {name}: {}",
                refused.err
            );
        }
        assert!(!refused.err.contains(SECRET), "{what}");
        assert!(!home.database().exists(), "{what}: nothing is left behind");
    }
}

#[test]
fn several_faults_of_a_configuration_are_told_in_one_message() {
    let text = configuration("http://127.0.0.1:9")
        .replace("http://localhost:8000", "http://app.example.com");
    let refused = Home::with(&format!("nonsense = 1\n{text}")).run(&["serve"]);
    assert!(
        refused.err.contains("nonsense") && refused.err.contains("public_url"),
        "{}",
        refused.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_before_the_database_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = configuration("http://127.0.0.1:9").replace("127.0.0.1:0", &address);
    let home = Home::with(&text);
    let refused = home.run(&["serve"]);
    assert!(!refused.ok);
    assert!(
        refused.err.contains(&address) && refused.err.contains("VESTIBULE_LISTEN="),
        "{}",
        refused.err
    );
    assert!(!home.database().exists());
}

/// Sends bytes and reads until the server hangs up; what came, and after how long.
fn spoken(server: SocketAddr, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let began = Instant::now();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text, began.elapsed())
}

// S78; ATTACKS F16
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_hosts_or_none_is_refused() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let status = |hosts: &str| {
        let request = format!("GET /auth/providers HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let text = spoken(server.address(), request.as_bytes()).0;
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert!(status("Host: a.example\r\n").contains("200"));
    for hosts in [
        "",
        "Host: a.example\r\nHost: evil.example\r\n",
        "Host: a.example\r\nHost: a.example\r\n",
    ] {
        assert!(status(hosts).contains("400"), "{hosts:?}");
    }
}

// ATTACKS J01
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_half_a_greeting_is_let_go_after_ten_seconds() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let address = server.address();
    let talks: [&[u8]; 4] = [
        b"",
        b"PRI * HT",
        b"GET /login HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let waiting = talks.map(|bytes| std::thread::spawn(move || silenced(address, bytes)));
    for (thread, bytes) in waiting.into_iter().zip(talks) {
        let after = thread.join().unwrap();
        assert!(
            (5..20).contains(&after.as_secs()),
            "{:?} after {after:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// After how long the server hangs up on somebody who says no more than this.
fn silenced(server: SocketAddr, bytes: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let began = Instant::now();
    // What it says of HTTP/2 and of its limits is read away.
    while matches!(stream.read(&mut [0; 1_024]), Ok(read) if read > 0) {}
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_serve_on_one_file_is_refused_and_the_first_serves_on() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let refused = home.run(&["serve"]);
    assert!(!refused.ok);
    assert!(
        refused.err.contains("in use") && refused.err.contains("database_url"),
        "{}",
        refused.err
    );
    sign_in(&client(), server.address(), ALICE).await.unwrap();
    server.kill();
    // The system gives the lock back with the process, however that ends.
    home.serve();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_secret_is_refused_and_the_previous_secret_leads_over() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let [first, second] = ["1", "2"].map(|digit| format!("q9Zk3Wv7Lr2Xb5Nt8Mc1Hd4Js6Pf0G{digit}y"));
    let with = |extra: &str| {
        std::fs::write(
            home.path().join("vestibule.toml"),
            format!("{extra}\n{}", configuration(idp.issuer())),
        )
        .unwrap()
    };
    with(&format!("secret = \"{first}\""));
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();
    server.kill();

    with(&format!("secret = \"{second}\""));
    let refused = home.run(&["serve"]);
    assert!(!refused.ok);
    assert!(refused.err.contains("previous_secret"), "{}", refused.err);
    assert!(!refused.err.contains(&first) && !refused.err.contains(&second));

    with(&format!(
        "secret = \"{second}\"\nprevious_secret = \"{first}\""
    ));
    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_secret_is_named_and_no_other_takes_its_place() {
    let idp = provider().await;
    let home = Home::at(&idp);
    home.serve().kill();
    let secret = home.path().join("vestibule.secret");
    std::fs::rename(&secret, home.path().join("elsewhere")).unwrap();
    for verb in [&["serve"] as &[&str], &["keys", "list"], &["user", "list"]] {
        let refused = home.run(verb);
        assert!(
            !refused.ok
                && refused.err.contains("./vestibule.secret is missing")
                && refused.err.contains("backup"),
            "{verb:?}: {}",
            refused.err
        );
        assert!(!secret.exists(), "{verb:?}");
    }
    std::fs::rename(home.path().join("elsewhere"), &secret).unwrap();
    home.serve();
}

#[test]
fn what_is_no_database_is_refused_with_what_to_do_and_left_as_it_is() {
    let good = configuration("http://127.0.0.1:9");
    let home = Home::with(&format!("database_url = \"sqlite://folder\"\n{good}"));
    std::fs::create_dir(home.path().join("folder")).unwrap();
    let refused = home.run(&["serve"]);
    assert!(
        !refused.ok && refused.err.contains("error: ./folder is a folder"),
        "{}",
        refused.err
    );
    assert!(
        refused
            .err
            .contains("database_url = \"sqlite://./folder/vestibule.db\""),
        "{}",
        refused.err
    );
    assert!(!home.path().join("folder.lock").exists());

    let home = Home::with(&format!("database_url = \"sqlite://notes.txt\"\n{good}"));
    let notes = "what somebody wrote down ".repeat(100);
    std::fs::write(home.path().join("notes.txt"), &notes).unwrap();
    let refused = home.run(&["serve"]);
    assert!(
        !refused.ok && refused.err.contains("no") && refused.err.contains("database_url"),
        "{}",
        refused.err
    );
    let left = std::fs::read_to_string(home.path().join("notes.txt")).unwrap();
    assert_eq!(left, notes);

    let home = Home::with(&format!("data_dir = \"missing\"\n{good}"));
    let refused = home.run(&["serve"]);
    assert!(
        !refused.ok
            && refused.err.contains("./missing/vestibule.db:")
            && refused.err.contains("data_dir"),
        "{}",
        refused.err
    );
}

#[test]
fn a_program_reads_what_is_wrong_with_a_configuration_as_json() {
    let home = Home::with(&format!(
        "nonsense = 1\n{}",
        configuration("http://127.0.0.1:9")
    ));
    let checked = home.run(&["config", "check", "--json"]);
    assert!(!checked.ok);
    let json: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["errors"][0]["key"], "nonsense");
    assert!(checked.err.contains("nonsense"), "{}", checked.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_signal_lets_a_sign_in_that_is_under_way_end() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    sign_in(&client(), server.address(), ALICE).await.unwrap();
    idp.set_fault(Fault::TokenSlow);
    let asked = idp.counters().token_requests;
    let address = server.address();
    let under_way = tokio::spawn(async move { sign_in(&client(), address, ALICE).await });
    while idp.counters().token_requests == asked {
        tokio::task::yield_now().await;
    }
    server.terminate();
    // It is answered, by the words for a provider that hangs, and not cut off.
    let answer = under_way.await.unwrap().unwrap_err();
    assert!(answer.contains("provider_unavailable"), "{answer}");
    assert!(server.ended());
}

/// What `/readyz` says, and whether it asks for another connection next time.
async fn ready(client: &reqwest::Client, server: SocketAddr) -> (u16, String, bool) {
    let answer = client.get(format!("http://{server}/readyz")).send().await;
    let answer = answer.unwrap();
    let closes = answer
        .headers()
        .get("connection")
        .is_some_and(|value| value == "close");
    (
        answer.status().as_u16(),
        answer.text().await.unwrap(),
        closes,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_says_so_and_still_signs_people_in_until_a_second_signal_ends_it() {
    let idp = provider().await;
    let text = configuration(idp.issuer());
    let home = Home::with(&format!("drain_delay = \"5m\"\n{text}"));
    let server = home.serve();
    let (client, address) = (client(), server.address());
    let before = ready(&client, address).await;
    assert_eq!(before, (200, "ready".to_owned(), false));

    server.terminate();
    server.until_said("\"server.draining\"");
    let draining = ready(&client, address).await;
    assert_eq!(draining, (503, "draining".to_owned(), true));
    let session = sign_in(&client, address, ALICE).await.unwrap();
    assert_eq!(who(&client, address, &session).await, ALICE);

    // Somebody is waited for; the second signal does not.
    idp.set_fault(Fault::TokenSlow);
    let asked = idp.counters().token_requests;
    let under_way = tokio::spawn(async move { sign_in(&client, address, ALICE).await });
    while idp.counters().token_requests == asked {
        tokio::task::yield_now().await;
    }
    server.terminate();
    server.until_said("\"server.drain_cut_short\"");
    let cut = under_way.await.unwrap().unwrap_err();
    assert!(!cut.contains("provider_unavailable"), "{cut}");
    assert!(server.ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_delay_a_signal_closes_the_listener_at_once() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let address = server.address();
    idp.set_fault(Fault::TokenSlow);
    let under_way = tokio::spawn(async move { sign_in(&client(), address, ALICE).await });
    while idp.counters().token_requests == 0 {
        tokio::task::yield_now().await;
    }
    server.terminate();
    // The sign-in keeps the server, and nobody else gets in. Who comes in the very moment of the end may be reset.
    let is_refused = || {
        let refused = TcpStream::connect(address).err();
        refused.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    while !is_refused() {
        assert!(!under_way.is_finished());
        tokio::task::yield_now().await;
    }
    server.terminate();
    let _ = under_way.await.unwrap().unwrap_err();
    assert!(server.ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_signal_is_heard_as_soon_as_the_server_says_that_it_listens() {
    let idp = provider().await;
    let home = Home::at(&idp);
    for _ in 0..20 {
        let server = home.serve();
        server.terminate();
        assert!(server.ended());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_shows_disables_enables_and_promotes_beside_a_running_server() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let nothing = home.run(&["user", "list"]);
    assert!(
        !nothing.ok && nothing.err.contains("there is no database"),
        "{}",
        nothing.err
    );
    assert!(
        !home.database().exists() && !home.path().join("vestibule.secret").exists(),
        "looking makes nothing"
    );
    let server = home.serve();
    assert!(home.run(&["user", "list"]).err.contains("no users"));
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();

    assert!(home.run(&["user", "list"]).out.contains(ALICE));
    let shown = home.run(&["user", "show", ALICE]);
    assert!(shown.out.contains(idp.issuer()), "{}", shown.out);
    for row in [
        "name      Alice Adams\n",
        "state     active\n",
        "created   20",
    ] {
        assert!(shown.out.contains(row), "{row}: {}", shown.out);
    }
    assert!(home.run(&["user", "show", "ALICE@EXAMPLE.COM"]).ok);
    let unknown = home.run(&["user", "show", "nobody@example.com"]);
    assert!(
        !unknown.ok && unknown.err.contains("user list"),
        "{}",
        unknown.err
    );

    let list = home.run(&["--json", "user", "list"]);
    let list: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list["users"][0]["email"], ALICE);

    let none = home.run(&["user", "list", "--limit", "0"]);
    assert!(!none.ok && none.err.contains("--limit"), "{}", none.err);

    assert!(home.run(&["user", "admin", ALICE]).ok);
    let listed = home.run(&["user", "list"]);
    assert!(
        listed
            .out
            .contains("  active, admin  alice@example.com  Alice Adams\n"),
        "{}",
        listed.out
    );
    let promoted = home.run(&["--json", "user", "show", ALICE]);
    let promoted: serde_json::Value = serde_json::from_str(&promoted.out).unwrap();
    assert_eq!(promoted["is_superuser"], true);
    assert!(home.run(&["user", "admin", "--revoke", ALICE]).ok);

    assert!(home.run(&["user", "disable", ALICE]).ok);
    let refused = sign_in(&client(), server.address(), ALICE)
        .await
        .unwrap_err();
    assert!(refused.contains("account_disabled"), "{refused}");
    assert!(home.run(&["user", "enable", ALICE]).ok);
    // The command line is another process: what the server has seen it believes for a second.
    let ended = async { while !who(&client(), server.address(), &session).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("an ended session stays ended");
    sign_in(&client(), server.address(), ALICE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_invites_lists_and_uninvites_beside_a_running_server() {
    let idp = provider().await;
    let home = Home::with(&format!(
        "signup = \"invite\"\n{}",
        configuration(idp.issuer())
    ));
    let server = home.serve();
    let come = async |person: &str| sign_in(&client(), server.address(), person).await;
    let listed = || -> serde_json::Value {
        serde_json::from_str(&home.run(&["user", "invitations", "--json"]).out).unwrap()
    };
    let checked = home.run(&["config", "check"]);
    assert!(
        checked.ok && !checked.err.contains("signup"),
        "{}",
        checked.err
    );
    let none = home.run(&["user", "invitations"]);
    assert!(
        none.ok && none.err.contains("no invitations"),
        "{}",
        none.err
    );

    let invited = home.run(&["user", "invite", "Alice@Example.com", "--expires", "1h"]);
    assert!(
        invited.ok
            && invited
                .err
                .starts_with("Alice@Example.com is invited until 2"),
        "{}",
        invited.err
    );
    assert!(!invited.err.contains("warning"), "{}", invited.err);
    let first = listed()[0]["expires_at"].clone();
    assert!(home.run(&["user", "invite", ALICE]).ok);
    let renewed = listed();
    assert_eq!(renewed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&renewed[0]["email"], &renewed[0]["state"]),
        (&ALICE.into(), &"open".into())
    );
    assert!(
        renewed[0]["expires_at"].as_str() > first.as_str(),
        "{renewed}"
    );

    for (arguments, words) in [
        (&["user", "invite", "alice"] as &[&str], "exactly one @"),
        (&["user", "uninvite", "alice"], "exactly one @"),
        (&["user", "invite", ALICE, "--expires", "7"], "such as 7d"),
        (
            &["user", "invite", ALICE, "--expires", "366d"],
            "365d at most",
        ),
        (
            &["user", "invite", ALICE, "--expires", "1s"],
            "365d at most",
        ),
    ] {
        let refused = home.run(arguments);
        assert!(
            !refused.ok && refused.err.contains(words),
            "{arguments:?}: {}",
            refused.err
        );
    }
    assert_eq!(listed(), renewed, "a refused command changes nothing");

    let refused = come("bob@example.com").await.unwrap_err();
    assert!(refused.contains("signup_closed"), "{refused}");
    come(ALICE).await.unwrap();
    assert_eq!(listed(), serde_json::json!([]));
    let refused = home.run(&["user", "invite", "ALICE@example.com"]);
    assert!(
        !refused.ok
            && refused
                .err
                .contains("ALICE@example.com is the address of a user already"),
        "{}",
        refused.err
    );

    assert!(home.run(&["user", "invite", "bob@example.com"]).ok);
    let text = home.run(&["user", "invitations"]).out;
    assert!(text.starts_with("bob@example.com  until 2"), "{text}");
    for words in ["is no longer invited", "there was no invitation for"] {
        let taken = home.run(&["user", "uninvite", "BOB@example.com"]);
        assert!(taken.ok && taken.err.contains(words), "{}", taken.err);
    }
    let json = home.run(&["--json", "user", "uninvite", "bob@example.com"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "email": "bob@example.com", "withdrawn": false })
    );
    assert!(come("bob@example.com").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_invites_is_told_where_an_invitation_changes_nothing() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    for signup in ["open", "closed", "domains"] {
        let domains = match signup {
            "domains" => "--allowed-domains=example.org",
            _ => "--allowed-domains=",
        };
        let invited = home.run(&["--signup", signup, domains, "user", "invite", ALICE]);
        let expected = format!("warning: signup = \"{signup}\"");
        assert!(
            invited.ok
                && invited.err.contains(&expected)
                && invited.err.contains("until signup = \"invite\""),
            "{signup}: {}",
            invited.err
        );
    }
    // And so it is: signup is open here, and somebody else comes in.
    sign_in(&client(), server.address(), "bob@example.com")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_a_sign_in_would_lead_to_and_nothing_comes_of_it() {
    let idp = provider().await;
    let second = format!(
        "[providers.acme]\nissuer = \"https://login.acme.example\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\nauthoritative_for = [\"example.com\"]\n"
    );
    let home = Home::with(&format!("{}{second}", configuration(idp.issuer())));
    let server = home.serve();
    sign_in(&client(), server.address(), ALICE).await.unwrap();
    let shown = || home.run(&["user", "show", ALICE, "--json"]).out;
    let before = (shown(), home.run(&["user", "list"]).out);
    let value: serde_json::Value = serde_json::from_str(&before.0).unwrap();
    let id = value["id"].as_str().unwrap();
    let subject = value["identities"][0]["subject"].as_str().unwrap();

    let known = ["--provider", "google", "--subject", subject];
    let of_acme = ["--provider", "acme", "--email", "ALICE@example.com"];
    let verified = [&of_acme[..], &["--verified"]].concat();
    let other = ["--provider=acme", "--email=ann@example.org", "--verified"];
    for (linking, identity, expected) in [
        (
            "ask",
            &known[..],
            format!("Sign in as {id}: the identity is a way in of this user\n"),
        ),
        (
            "never",
            &verified,
            "Refuse with account_exists: the address belongs to a user, and linking = \"never\"\n"
                .into(),
        ),
        (
            "ask",
            &verified,
            format!(
                "Ask {id} to sign in and confirm: the address belongs to this user, and linking = \"ask\"\n"
            ),
        ),
        (
            "verified",
            &verified,
            format!(
                "Link to {id}: the address belongs to this user; linking = \"verified\", and the provider is authoritative for the address\n"
            ),
        ),
        (
            "verified",
            &of_acme,
            "Refuse with email_unverified: an address is required (require_email), and this one does not count as verified\n".into(),
        ),
        (
            "verified",
            &other,
            "Create a user who owns the address: nobody has the identity or owns the address, and signup lets in whoever comes so\n".into(),
        ),
    ] {
        let command = ["--linking", linking, "user", "link", "--dry-run"];
        let told = home.run(&[&command[..], identity].concat());
        assert!(told.ok, "{}", told.err);
        assert_eq!(told.out, expected, "{linking} {identity:?}");
    }
    let json = home.run(&[&["--json", "user", "link", "--dry-run"], &verified[..]].concat());
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&json["decision"], &json["user"], &json["email_counts_as"]),
        (&"ask_to_link".into(), &id.into(), &"authoritative".into())
    );

    for (arguments, words) in [
        (&["--provider", "acme"] as &[&str], "only the person can"),
        (
            &["--dry-run", "--provider", "github"],
            "no provider of this name",
        ),
        (
            &["--dry-run", "--provider", "acme", "--verified"],
            "--email",
        ),
        (
            &["--dry-run", "--provider", "acme", "--email", "alice"],
            "exactly one @",
        ),
        (
            &[
                "--dry-run",
                "--provider",
                "acme",
                "--hosted-domain",
                "a.example",
            ],
            "names no organisations",
        ),
    ] {
        let refused = home.run(&[&["user", "link"], arguments].concat());
        assert!(
            !refused.ok && refused.err.contains(words) && refused.out.is_empty(),
            "{arguments:?}: {}",
            refused.err
        );
    }
    assert_eq!((shown(), home.run(&["user", "list"]).out), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_and_rotated_and_no_private_half_is_shown() {
    let idp = provider().await;
    let home = Home::at(&idp);
    home.serve().kill();
    let before = home.run(&["keys", "list"]);
    assert!(before.ok, "{}", before.err);
    assert_eq!(before.out.lines().count(), 1, "{}", before.out);
    assert!(
        before.out.contains("  ES256  made 20") && before.out.ends_with(" UTC  signs\n"),
        "{}",
        before.out
    );
    assert!(home.run(&["keys", "rotate"]).ok);
    let after = home.run(&["keys", "list"]);
    assert_eq!(after.out.lines().count(), 2, "{}", after.out);
    assert!(after.out.contains("signs from 20"), "{}", after.out);
    let json = home.run(&["--json", "keys", "list"]);
    assert!(json.out.contains("\"active_from\":\"20"), "{}", json.out);
    assert!(
        !json.out.contains("\"d\"") && !json.out.contains("sealed"),
        "{}",
        json.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_gone_another_signs_and_nobody_is_signed_out() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();
    let keys = || -> serde_json::Value {
        let listed = home.run(&["--json", "keys", "list"]);
        serde_json::from_str(&listed.out).unwrap()
    };
    let first = keys()[0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(keys()[0]["state"], "signs");

    // A kid may begin with a hyphen.
    for unknown in ["no-such-key", "-no-such-key"] {
        let refused = home.run(&["keys", "revoke", unknown]);
        assert!(!refused.ok);
        assert!(
            refused.err.contains(unknown) && refused.err.contains("vestibule keys list"),
            "{}",
            refused.err
        );
    }
    assert_eq!(keys()[0]["kid"], first.as_str(), "nothing was written");

    let revoked = home.run(&["--json", "keys", "revoke", &first]);
    assert!(revoked.ok, "{}", revoked.err);
    let revoked: serde_json::Value = serde_json::from_str(&revoked.out).unwrap();
    assert_eq!(revoked["revoked"], first.as_str());
    let second = keys();
    assert_eq!(second.as_array().unwrap().len(), 1);
    assert_ne!(second[0]["kid"], first.as_str());
    assert_eq!(second[0]["state"], "signs");
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);

    // For people: what each key does, and times that they can read.
    assert!(home.run(&["keys", "rotate"]).ok);
    let listed = home.run(&["keys", "list"]).out;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].contains("  signs, published until 20"), "{listed}");
    assert!(lines[1].contains("  signs from 20"), "{listed}");
    assert!(
        lines.iter().all(|line| line.contains("  made 20")),
        "{listed}"
    );
    let told = home.run(&["keys", "revoke", second[0]["kid"].as_str().unwrap()]);
    assert!(
        told.ok && told.out.is_empty() && told.err.contains("nobody is signed out"),
        "{}",
        told.err
    );
}

#[test]
fn whoever_reads_the_first_lines_of_an_answer_alone_is_told_of_no_error() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let done = Home::with("")
        .command(&["providers"])
        .stdout(write)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(done.status.success());
    assert!(done.stderr.is_empty(), "{:?}", done.stderr);
}

#[test]
fn the_providers_are_listed_whole_in_columns_that_fit_without_a_configuration() {
    let home = Home::with("this is no TOML");
    let text = home.run(&["providers"]);
    assert!(text.ok, "{}", text.err);
    for line in text.out.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    // The entry of the first is written here by hand.
    let google = "\
google     Google     OpenID Connect  checked 2026-11-24
    needs          client_id, client_secret
    verified       where `email_verified` is JSON `true`
    authoritative  for gmail.com, where `hd` names an organisation, and for the domains of
                   `authoritative_for`
    against        developers.google.com
";
    assert!(text.out.starts_with(google), "{}", text.out);

    let json = home.run(&["providers", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let listed = json.as_array().unwrap();
    assert_eq!(listed.len(), ALL.len());
    for (preset, listed) in ALL.iter().zip(listed) {
        let keys: Vec<&String> = listed.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "checked", "email", "id", "name", "needs", "protocol", "scopes", "sources"
            ]
        );
        assert_eq!(listed["id"], preset.id);
        assert_eq!(listed["email"]["because"], preset.email.because);
        assert_eq!(
            listed["checked"].is_null(),
            preset.facts.checked.is_none(),
            "{}",
            preset.id
        );
        let line = text
            .out
            .lines()
            .find(|line| line.starts_with(&format!("{} ", preset.id)))
            .unwrap();
        let checked = preset.facts.checked.unwrap_or("unchecked");
        assert!(
            line.contains(preset.name) && line.ends_with(checked),
            "{line}"
        );
    }
    let apple = listed.iter().find(|one| one["id"] == "apple").unwrap();
    assert_eq!(
        apple["needs"],
        serde_json::json!(["client_id", "team_id", "key_id", "private_key"])
    );
    assert_eq!(apple["protocol"], "openid");
}

/// Three front ends below a configuration, and two secrets that nothing may print.
fn with_front_ends() -> String {
    let configuration = configuration("http://127.0.0.1:9");
    format!(
        r#"{configuration}
[[frontends]]
client_id = "streamlit"
client_secret = "canary0f2d6a9c4b8e7135"
redirect_uris = ["http://localhost:8501/"]
default = true
[[frontends]]
client_id = "article"
redirect_uris = ["http://localhost:8502/"]
handoff = "token-query"
token_lifetime = "10m"
token_format = "fastapi-users"
token_secret = "canary0f2d6a9c4b8e71350f2d6a9c4b8e7135"
[[frontends]]
client_id = "own-page"
handoff = "cookie"
audience = "https://api.example"
"#
    )
}

#[test]
fn front_ends_are_listed_without_a_database_and_without_their_secrets() {
    let home = Home::with(&with_front_ends());
    let listed = home.run(&["client", "list"]);
    assert!(listed.ok, "{}", listed.err);
    let rows: Vec<Vec<&str>> = listed
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [
            [
                "streamlit",
                "confidential",
                "code",
                "at+jwt",
                "10m",
                "default",
                "http://localhost:8501/"
            ],
            [
                "article",
                "public",
                "token-query",
                "fastapi-users",
                "10m",
                "-",
                "http://localhost:8502/"
            ],
            ["own-page", "public", "cookie", "at+jwt", "10m", "-", "-"],
        ]
    );
    let json = home.run(&["--json", "client", "list"]);
    let all: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        all[0],
        serde_json::json!({
            "client_id": "streamlit", "name": "Streamlit", "kind": "confidential", "handoff": "code",
            "token_format": "at+jwt", "token_lifetime": 600, "audience": "streamlit", "default": true,
            "redirect_uris": ["http://localhost:8501/"],
        })
    );
    assert!(!json.out.contains("canary") && !listed.out.contains("canary"));
    assert!(!home.database().exists());
}

#[test]
fn where_there_is_no_front_end_the_list_says_how_to_add_one_and_that_does() {
    let home = Home::with(&configuration("http://127.0.0.1:9"));
    let listed = home.run(&["client", "list"]);
    assert!(listed.ok && listed.out.is_empty(), "{}", listed.out);
    let (_, block) = listed.err.split_once("  [[frontends]]").unwrap();
    let (block, _) = block.split_once("`vestibule config check`").unwrap();
    let secret = "0f2d6a9c4b8e71350f2d6a9c4b8e7135";
    let text = format!(
        "{}\n[[frontends]]{}",
        configuration("http://127.0.0.1:9"),
        block.replace("...", secret)
    );
    let added = Home::with(&text).run(&["client", "list"]);
    assert!(
        added.ok && added.out.starts_with("web  confidential  code"),
        "{}{}",
        added.out,
        added.err
    );
    assert_eq!(home.run(&["--json", "client", "list"]).out.trim(), "[]");
}

// S67
#[test]
fn the_check_says_what_each_front_end_may_do_and_warns_of_what_is_dangerous() {
    let home = Home::with(&with_front_ends());
    let checked = home.run(&["config", "check"]);
    assert!(checked.ok, "{}", checked.err);
    for line in [
        "streamlit (confidential): receives a code at http://localhost:8501/; default",
        "article (public): receives a token of 10m in the query at http://localhost:8502/; tokens as fastapi-users makes them",
        "own-page (public): has the session's cookie on http://localhost:8000; tokens for https://api.example",
    ] {
        assert!(
            checked.out.lines().any(|found| found == line),
            "{line}: {}",
            checked.out
        );
    }
    for warning in [
        "tokens of article go through URLs, where history and logs keep them; handoff = \"code\" does not",
        "tokens of article live 10m",
        "our own routes do not take these tokens and they cannot be revoked before they expire",
    ] {
        assert!(checked.err.contains(warning), "{warning}: {}", checked.err);
    }
    let json = home.run(&["--json", "config", "check"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["frontends"][1]["handoff"], "token-query");
    assert_eq!(json["frontends"].as_array().unwrap().len(), 3);
    assert!(json["warnings"].as_array().unwrap().len() >= 3);
    let shown = home.run(&["config", "show"]);
    assert!(
        shown.out.contains("frontends.article.token_secret = (set)")
            && !shown.out.contains("canary"),
        "{}",
        shown.out
    );
}

#[test]
fn the_configuration_is_shown_with_its_origins_and_without_its_secrets() {
    let home = Home::with(&configuration("http://127.0.0.1:9"));
    std::fs::write(
        home.path().join(".env"),
        "VESTIBULE_APP_NAME=\"From the file\"\n",
    )
    .unwrap();
    let shown = home.run_with(&["config", "show"], &[("VESTIBULE_SIGNUP", "closed")]);
    assert!(shown.ok, "{}", shown.err);
    assert!(
        shown.out.contains("From the file") && shown.out.contains(".env"),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("VESTIBULE_SIGNUP"), "{}", shown.out);
    assert!(!shown.out.contains(SECRET));
    let checked = home.run(&["config", "check"]);
    assert!(checked.ok, "{}", checked.err);
    assert!(
        checked
            .out
            .contains("http://localhost:8000/auth/google/callback"),
        "{}",
        checked.out
    );
}

#[test]
fn dev_says_what_is_dangerous_in_a_configuration_and_nothing_of_its_own_choices() {
    assert!(!Home::empty().dev().said().contains("warning"));
    let home = Home::with(
        "[[frontends]]\nclient_id = \"page\"\nredirect_uris = [\"http://localhost:8501/\"]\nhandoff = \"token-query\"\n",
    );
    let said = home.dev().said();
    assert!(
        said.contains("warning: tokens of page go through URLs"),
        "{said}"
    );
    assert_eq!(said.matches("warning").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_needs_nothing_and_signs_a_person_in() {
    let home = Home::empty();
    // Where another program has it already, that does as well.
    let _taken = TcpListener::bind("127.0.0.1:8000");
    let server = home.dev();
    let said = server.said();
    assert!(
        said.contains("port 8000 is taken by another program; 80"),
        "{said}"
    );
    let line = said
        .lines()
        .find(|line| line.contains("sign-in page"))
        .unwrap();
    let login = line.split_whitespace().last().unwrap();
    let origin = login.strip_suffix("/login").unwrap();
    assert!(origin.starts_with("http://localhost:"), "{said}");
    let port = origin.rsplit(':').next().unwrap();
    let client = client();

    let page = client
        .get(login)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("Continue with Google"));
    let bare = client.get(format!("{origin}/")).send().await.unwrap();
    assert_eq!(
        (bare.status().as_u16(), location(&bare).as_str()),
        (303, format!("{origin}/account").as_str())
    );
    let nowhere = format!("{origin}/nowhere");
    let program = client.get(&nowhere).send().await.unwrap();
    assert_eq!(program.status().as_u16(), 404);
    let person = client
        .get(&nowhere)
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(location(&person), format!("{origin}/error?code=not_found"));
    // Another loopback name is led to ours, so that the cookies are where the callback looks; any other host is refused.
    let other = client
        .get(format!("http://127.0.0.1:{port}/login?x=1"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (other.status().as_u16(), location(&other)),
        (303, format!("{origin}/login?x=1"))
    );
    let foreign = client
        .get(login)
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status().as_u16(), 421);

    let begun = client
        .get(format!("{origin}/auth/google/login"))
        .send()
        .await
        .unwrap();
    let flow = support::cookies(&begun).join("; ");
    let consented = client
        .get(format!("{}&user={ALICE}", location(&begun)))
        .send()
        .await
        .unwrap();
    let arrived = client
        .get(location(&consented))
        .header("cookie", flow)
        .send()
        .await
        .unwrap();
    assert_eq!(location(&arrived), format!("{origin}/account"));
    assert!(home.path().join("vestibule-dev.db").exists());

    // A second one takes the next free ports, but not the same database.
    let second = home.run(&["dev"]);
    assert!(
        !second.ok && second.err.contains("in use"),
        "{}",
        second.err
    );
}

/// Whatever a client saw succeed is there after the power was cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_a_client_saw_succeed_survives_kill_9_at_any_moment() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let client = client();
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    let mut dice: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut sessions: Vec<(String, &str)> = Vec::new();
    let mut server = home.serve();
    let mut kills = 0;
    // A busy machine sees fewer logins between two kills.
    while kills < 100 || (acknowledged < 100 && kills < 400) {
        kills += 1;
        let address = server.address();
        let streams: Vec<_> = PEOPLE
            .into_iter()
            .map(|person| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while let Ok(session) = sign_in(&client, address, person).await {
                        seen.push((session, person));
                    }
                    seen
                })
            })
            .collect();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(20 + (dice >> 33) % 150)).await;
        server.kill();
        sessions.clear();
        for stream in streams {
            sessions.extend(stream.await.unwrap());
        }
        server = home.serve();
        slowest = slowest.max(server.ready_after);
        for (session, person) in &sessions {
            assert_eq!(who(&client, server.address(), session).await, *person);
        }
        acknowledged += sessions.len();
    }
    server.kill();
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let count = |table: &str| -> i64 {
        database
            .query_row(
                &format!("SELECT count(*) FROM vestibule_{table}"),
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    assert!(count("users") <= 3 && count("users") == count("identities"));
    assert!(acknowledged >= 100, "only {acknowledged} logins were seen");
    println!("{kills} kills: {acknowledged} logins seen and kept; slowest start {slowest:?}");
}
