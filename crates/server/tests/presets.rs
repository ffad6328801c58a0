//! A provider is data: an OpenID provider of one's own is a few lines of configuration, and a preset is one file (or one
//! row of `table.rs`) and its line in the list. Everything else reads that list. That the list is whole is tested beside it
//! (`crates/oidc/tests/presets.rs`).

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Home, SECRET, arrive, client, location, provider, session_of, who};
use vestibule::oidc::providers::{ALL, Setting};

/// Where a source may name a preset, and why. Nothing there is needed to add one.
const NAMED: &[(&str, &str)] = &[
    // `vestibule dev` puts its stand-in in the place of Google where nobody else is configured.
    ("server/src/cli/dev.rs", "google"),
    // `vestibule::google`, for the front page of the library.
    ("vestibule/src/start.rs", "google"),
    // Google prescribes how its button looks.
    ("vestibule/templates/sign_in.html", "google"),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A configuration with every preset, each with no more than it says that it needs.
fn everybody() -> String {
    let mut text = "public_url = \"https://app.example\"\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for preset in ALL {
        let _ = write!(text, "[providers.{}]\nclient_id = \"client\"\n", preset.id);
        for needed in preset.needs {
            for key in needed.keys() {
                let _ = writeln!(text, "{key} = \"\"\"{}\"\"\"", value(*needed, key));
            }
        }
    }
    text
}

/// What an operator could give for a setting.
fn value(needed: Setting, key: &str) -> String {
    match needed {
        Setting::ClientSecret => SECRET.into(),
        Setting::Tenant => "72f988bf-86f1-41af-91ab-2d7cd011db47".into(),
        Setting::TeamId | Setting::KeyId => "ABCDE12345".into(),
        Setting::PrivateKey => rcgen::KeyPair::generate().unwrap().serialize_pem(),
        Setting::Issuer => "https://login.acme.example".into(),
        Setting::Endpoints if key.ends_with("_claim") => "id".into(),
        Setting::Endpoints => format!("https://login.acme.example/{key}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_preset_is_offered_checked_listed_and_documented_without_a_line_elsewhere() {
    let home = Home::with(&everybody());
    let checked = home.run(&["config", "check", "--json"]);
    let checked: Value = serde_json::from_str(&checked.out).unwrap();
    let listed = home.run(&["providers", "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let server = home.serve();
    let asked = async |path: &str| {
        let answer = client().get(server.url(path)).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let page = asked("/login").await;
    let offered: Value = serde_json::from_str(&asked("/auth/providers").await).unwrap();
    let docs = |name: &str| std::fs::read_to_string(crates().join("../docs").join(name)).unwrap();
    let (table, trust) = (docs("providers.md"), docs("email-trust.md"));

    for preset in ALL {
        let (id, name) = (preset.id, preset.name);
        assert!(
            page.contains(&format!("/auth/{id}/login\""))
                && page.contains(&format!("<span>Continue with {name}</span>")),
            "{id}: {page}"
        );
        assert!(
            preset.mark.is_none_or(|mark| page.contains(mark)),
            "{id} has its mark"
        );
        let has =
            |list: &Value, key: &str| list.as_array().unwrap().iter().any(|one| one[key] == id);
        assert!(has(&offered, "id"), "{id}: {offered}");
        assert!(has(&checked["callbacks"], "provider"), "{id}: {checked}");
        assert!(has(&listed, "id"), "{id}: {listed}");
        assert!(table.contains(&format!("\n| `{id}` | [{name}]")), "{id}");
        assert!(trust.contains(&format!("\n### {name}\n")), "{id}");
    }
    assert_eq!(offered.as_array().unwrap().len(), ALL.len());
    assert_eq!(checked["callbacks"].as_array().unwrap().len(), ALL.len());

    // What one needs is asked for by name, from the same list.
    for preset in ALL {
        let text = format!("[providers.{}]\nclient_id = \"client\"\n", preset.id);
        let refused = Home::with(&text).run(&["config", "check"]);
        assert!(!refused.ok, "{}", preset.id);
        for key in preset.needed_keys() {
            let key = format!("providers.{}.{key}", preset.id);
            assert!(refused.err.contains(&key), "{key}: {}", refused.err);
        }
    }
}

/// Files below a folder, whatever they hold, without those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.is_file() && name != "tests.rs" {
            found.push(path);
        }
    }
}

#[test]
fn no_source_but_the_list_names_a_preset() {
    let providers = crates().join("oidc/src/providers");
    let mut found = Vec::new();
    // The other crates know no preset: they may not even import `oidc`, and `tests/tests/imports.rs` sees to that.
    for folder in [
        "oidc/src",
        "accounts/src",
        "store/src",
        "vestibule/src",
        "vestibule/templates",
        "server/src",
    ] {
        sources(&crates().join(folder), &mut found);
    }
    assert!(found.len() > 100, "the sources are here");
    let modules: BTreeSet<String> = std::fs::read_dir(&providers)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["mod", "generic"].contains(&&**name))
        .collect();

    let mut named = BTreeSet::new();
    for path in found {
        if path.starts_with(&providers) {
            continue;
        }
        // Marks and the like are no text.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let path = path.strip_prefix(crates()).unwrap().to_str().unwrap();
        let of_providers = ALL
            .iter()
            .filter(|preset| !matches!(preset.id, "openid" | "oauth2"));
        for preset in of_providers {
            if text.contains(&format!("\"{}\"", preset.id)) {
                named.insert((path.to_owned(), preset.id));
            }
        }
        for module in &modules {
            assert!(
                !text.contains(&format!("providers::{module}"))
                    && !text.contains(&format!("{module}::PRESET")),
                "{path} uses {module} beside the list"
            );
        }
    }
    let allowed: BTreeSet<(String, &str)> = NAMED
        .iter()
        .map(|(path, id)| ((*path).to_owned(), *id))
        .collect();
    assert_eq!(named, allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openid_provider_of_ones_own_signs_people_in_by_configuration_alone() {
    let idp = provider().await;
    let home = Home::with(&format!(
        "public_url = \"http://localhost:8000\"\nlisten = \"127.0.0.1:0\"\n\
         [providers.acme]\nissuer = \"{}\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\n\
         [danger]\nallow_http_loopback = true\n",
        idp.issuer()
    ));
    let server = home.serve();
    let page = client().get(server.url("/login")).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("<span>Continue with Acme</span>"), "{page}");
    assert!(!page.contains("Google"), "{page}");

    let person = "alice@example.com";
    let arrived = arrive(&client(), server.address(), "/auth/acme/login", person)
        .await
        .unwrap();
    assert!(location(&arrived).ends_with("/account"), "{arrived:?}");
    let session = session_of(&arrived).unwrap();
    assert_eq!(who(&client(), server.address(), &session).await, person);
}
