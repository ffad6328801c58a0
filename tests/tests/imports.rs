//! Keeps the table of who may import whom, as `ARCHITECTURE.md` shows it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its own tree shall fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Our crates, and which of ours each may use outside of its tests.
const TABLE: &[(&str, &[&str])] = &[
    ("jose", &[]),
    ("oidc", &["vestibule-jose"]),
    ("accounts", &["vestibule-oidc"]),
    ("store", &["vestibule-accounts"]),
    (
        "vestibule",
        &[
            "vestibule-accounts",
            "vestibule-devidp",
            "vestibule-jose",
            "vestibule-oidc",
            "vestibule-store",
        ],
    ),
    ("devidp", &[]),
    ("server", &["vestibule", "vestibule-devidp"]),
];

/// Crates that await nothing, speak no HTTP and no SQL, and read no clock.
const PURE: &[&str] = &["jose", "oidc", "accounts"];
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "hyper",
    "rusqlite",
    "tokio-postgres",
    "axum",
    "jiff",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let path = root().join("crates").join(name).join("Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn each_crate_imports_only_what_the_table_allows() {
    for (name, allowed) in TABLE {
        let ours: BTreeSet<String> = dependencies(name)
            .into_iter()
            .filter(|one| one.starts_with("vestibule"))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|one| (*one).to_owned()).collect();
        assert_eq!(ours, allowed, "crates/{name}");
    }
}

#[test]
fn the_table_names_every_crate() {
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        folders,
        TABLE.iter().map(|(name, _)| (*name).to_owned()).collect()
    );
}

#[test]
fn pure_crates_know_no_runtime_no_network_no_database_and_no_clock() {
    for name in PURE {
        for dependency in dependencies(name) {
            assert!(
                !IMPURE.contains(&dependency.as_str()),
                "crates/{name} uses {dependency}"
            );
        }
        for (file, text) in sources(&root().join("crates").join(name).join("src")) {
            for word in [
                "SystemTime",
                "Instant::now",
                "std::env::",
                "async fn",
                "std::net::Tcp",
            ] {
                assert!(!text.contains(word), "{file} holds {word}");
            }
        }
    }
}

#[test]
fn the_store_knows_no_oauth_and_no_policy() {
    for (file, text) in sources(&root().join("crates/store/src")) {
        for word in [
            "if the e-mail is verified",
            "access_token",
            "refresh_token",
            "grant_type",
            "response_type",
            "vestibule_oidc",
        ] {
            assert!(!text.contains(word), "{file} holds {word}");
        }
    }
}

#[test]
fn the_web_edge_holds_no_sql() {
    for (file, text) in sources(&root().join("crates/vestibule/src/web")) {
        for word in ["SELECT ", "INSERT ", "rusqlite"] {
            assert!(!text.contains(word), "{file} holds {word}");
        }
    }
}

fn sources(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            );
        }
    }
    found
}
