//! What we build on: no crate with a known hole that matters here, and no `unsafe` of our own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its own tree shall fail"
)]

use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn table(path: &str) -> toml::Table {
    std::fs::read_to_string(root().join(path))
        .unwrap()
        .parse()
        .unwrap()
}

/// Names and versions of everything in `Cargo.lock`.
fn locked() -> Vec<(String, Vec<u64>)> {
    let number = |text: &str| {
        text.split(['-', '+'])
            .next()
            .unwrap()
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect()
    };
    table("Cargo.lock")["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            (
                package["name"].as_str().unwrap().to_owned(),
                number(package["version"].as_str().unwrap()),
            )
        })
        .collect()
}

/// The first version without the hole, and where the hole is described.
const AT_LEAST: &[(&str, [u64; 3], &str)] = &[
    ("sqlx", [0, 8, 1], "RUSTSEC-2024-0363"),
    ("idna", [1, 0, 0], "RUSTSEC-2024-0421"),
    ("h2", [0, 4, 16], "RUSTSEC-2026-0258"),
    ("bcrypt", [0, 19, 2], "RUSTSEC-2026-0199"),
    ("time", [0, 3, 47], "RUSTSEC-2026-0009"),
    ("tokio-postgres", [0, 7, 18], "RUSTSEC-2026-0178"),
    ("postgres-protocol", [0, 6, 12], "RUSTSEC-2026-0180"),
    (
        "rustls-webpki",
        [0, 103, 13],
        "RUSTSEC-2026-0049, 0098, 0104",
    ),
    ("ammonia", [4, 1, 4], "stored script"),
    ("jsonwebtoken", [10, 3, 0], "CVE-2026-25537"),
];

// S95
#[test]
fn no_locked_crate_has_a_hole_that_we_know_of() {
    let locked = locked();
    assert!(locked.len() > 50, "the lock was read");
    for (name, least, hole) in AT_LEAST {
        for (_, version) in locked.iter().filter(|(known, _)| known == name) {
            assert!(
                version.as_slice() >= least.as_slice(),
                "{name} {version:?} has {hole}; take {least:?} or later"
            );
        }
    }
}

// S95: its private-key operations tell the key by their time (RUSTSEC-2023-0071), and OpenSSL has no place here.
#[test]
fn neither_the_rsa_crate_nor_openssl_is_linked() {
    for (name, _) in locked() {
        assert!(
            !matches!(
                name.as_str(),
                "rsa" | "openssl" | "openssl-sys" | "native-tls"
            ),
            "{name}"
        );
    }
}

// S95
#[test]
fn unsafe_code_is_forbidden_in_every_crate_of_ours() {
    let lints = &table("Cargo.toml")["workspace"]["lints"]["rust"];
    assert_eq!(lints["unsafe_code"].as_str(), Some("forbid"));
    let mut crates = vec!["tests".to_owned(), "xtask".to_owned()];
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        crates.push(format!(
            "crates/{}",
            entry.unwrap().file_name().to_str().unwrap()
        ));
    }
    assert!(crates.len() > 6);
    for folder in crates {
        let manifest = table(&format!("{folder}/Cargo.toml"));
        assert_eq!(
            manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "{folder}"
        );
    }
}
