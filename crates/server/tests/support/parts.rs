//! Tests with parts that were written by others. Where a part is missing they are listed as ignored, with the reason;
//! with `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(dead_code, reason = "each test needs some of the parts")]

use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

/// A part that may be missing.
#[derive(Clone)]
pub(crate) struct Part {
    name: &'static str,
    remedy: &'static str,
    is_there: bool,
}

impl Part {
    pub(crate) fn browser() -> [Self; 2] {
        [
            Self::command("chromium", "apt-get install chromium"),
            Self::command("chromedriver", "apt-get install chromium-driver"),
        ]
    }

    pub(crate) fn known(name: &'static str, is_there: bool, remedy: &'static str) -> Self {
        Self {
            name,
            remedy,
            is_there,
        }
    }

    pub(crate) fn command(name: &'static str, remedy: &'static str) -> Self {
        let ran = Command::new(name)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        Self {
            name,
            remedy,
            is_there: ran.is_ok_and(|status| status.success()),
        }
    }

    pub(crate) fn folder(name: &'static str, path: impl AsRef<Path>, remedy: &'static str) -> Self {
        Self {
            name,
            remedy,
            is_there: path.as_ref().is_dir(),
        }
    }
}

/// A test that needs parts: run, ignored with the reason, or failed where everything is required.
pub(crate) fn trial<F: Future<Output = ()>>(
    name: &'static str,
    parts: &[Part],
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let missing: Vec<String> = parts
        .iter()
        .filter(|part| !part.is_there)
        .map(|part| format!("{} is missing: {}", part.name, part.remedy))
        .collect();
    if missing.is_empty() {
        return Trial::test(name, move || {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(test());
            Ok(())
        });
    }
    let reason = missing.join("; ");
    if std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all") {
        return Trial::test(name, move || Err(reason.into()));
    }
    Trial::test(name, || Ok(()))
        .with_kind(reason)
        .with_ignored_flag(true)
}
