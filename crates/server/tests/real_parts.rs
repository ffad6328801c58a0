//! Tests with parts that were written by others. Where a part is missing they are listed as ignored, with the reason;
//! with `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "real_parts/browser.rs"]
mod browser;
#[path = "real_parts/oidc_provider.rs"]
mod oidc_provider;
mod support;

use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Trial};

/// A part that may be missing.
struct Part {
    name: &'static str,
    remedy: &'static str,
    is_there: bool,
}

impl Part {
    fn command(name: &'static str, remedy: &'static str) -> Self {
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

    fn folder(name: &'static str, path: &str, remedy: &'static str) -> Self {
        Self {
            name,
            remedy,
            is_there: std::path::Path::new(path).is_dir(),
        }
    }
}

/// A test that needs parts: run, ignored with the reason, or failed where everything is required.
fn trial<F: Future<Output = ()>>(
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

fn main() {
    let arguments = Arguments::from_args();
    let browser = || {
        [
            Part::command("chromium", "apt-get install chromium"),
            Part::command("chromedriver", "apt-get install chromium-driver"),
        ]
    };
    let provider = || {
        [
            Part::command("node", "install Node.js 20 or later"),
            Part::folder(
                "the npm package oidc-provider",
                concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/oidc-provider/node_modules"
                ),
                "npm ci --prefix crates/server/tests/oidc-provider",
            ),
        ]
    };
    let trials = vec![
        trial(
            "a_person_clicks_chooses_consents_arrives_and_signs_out_in_chromium",
            &browser(),
            || browser::sign_in_and_out(true),
        ),
        trial(
            "a_person_without_javascript_does_the_same_in_chromium",
            &browser(),
            || browser::sign_in_and_out(false),
        ),
        trial(
            "a_person_who_cancels_reads_words_for_it_and_can_try_again_in_chromium",
            &browser(),
            browser::cancel,
        ),
        trial(
            "the_back_button_and_a_reload_leave_a_person_signed_in_in_chromium",
            &browser(),
            browser::back_and_reload,
        ),
        trial(
            "a_certified_provider_signs_in_with_each_algorithm_and_client_secret_basic",
            &provider(),
            || oidc_provider::each_algorithm("client_secret_basic"),
        ),
        trial(
            "a_certified_provider_signs_in_with_each_algorithm_and_client_secret_post",
            &provider(),
            || oidc_provider::each_algorithm("client_secret_post"),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
