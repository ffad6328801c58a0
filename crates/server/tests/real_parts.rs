//! Tests with parts that were written by others. Where a part is missing they are listed as ignored, with the reason;
//! with `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "real_parts/browser.rs"]
mod browser;
#[path = "support/chromium.rs"]
mod chromium;
#[path = "real_parts/oidc_provider.rs"]
mod oidc_provider;
#[path = "support/parts.rs"]
mod parts;
#[path = "real_parts/postgres.rs"]
mod postgres;
#[path = "../../store/tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;
mod support;
#[path = "support/terminator.rs"]
mod terminator;
#[path = "real_parts/two_sites.rs"]
mod two_sites;

use libtest_mimic::Arguments;

use crate::parts::{Part, trial};

fn main() {
    let arguments = Arguments::from_args();
    let browser = Part::browser;
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
            "a_form_that_another_site_posts_signs_in_and_ends_the_session_that_did_not_come_with_it_in_chromium",
            &browser(),
            two_sites::form_post,
        ),
        trial(
            "a_sign_in_that_began_in_another_browser_is_refused_when_its_form_is_posted_in_chromium",
            &browser(),
            two_sites::other_browser,
        ),
        trial(
            "a_person_who_is_signed_in_adds_a_way_in_that_answers_by_form_post_in_chromium",
            &browser(),
            two_sites::add_way_in,
        ),
        trial(
            "the_owner_of_an_address_is_asked_signs_in_as_before_and_connects_in_chromium",
            &browser(),
            || two_sites::owner_is_asked("query"),
        ),
        trial(
            "the_owner_of_an_address_is_asked_also_where_both_providers_answer_by_form_post_in_chromium",
            &browser(),
            || two_sites::owner_is_asked("form_post"),
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
        trial(
            "a_certified_provider_signs_in_with_private_key_jwt_by_each_kind_of_key",
            &provider(),
            oidc_provider::private_key_jwt,
        ),
        trial(
            "a_certified_provider_refuses_an_assertion_by_a_key_that_it_does_not_know",
            &provider(),
            oidc_provider::unknown_key,
        ),
        trial(
            "a_certified_provider_signs_in_a_public_client_that_proves_nothing_but_pkce",
            &provider(),
            oidc_provider::public_client,
        ),
        trial(
            "a_certified_provider_takes_a_pushed_request_and_the_browser_carries_its_name_alone",
            &provider(),
            || oidc_provider::pushed_requests(false),
        ),
        trial(
            "a_certified_provider_that_requires_pushed_requests_gets_them_unasked",
            &provider(),
            || oidc_provider::pushed_requests(true),
        ),
        trial(
            "a_certified_provider_answers_by_form_post_and_no_code_stands_in_an_address",
            &provider(),
            oidc_provider::form_post,
        ),
        trial(
            "a_dump_by_the_printed_command_is_restored_by_the_other_and_checked_with_the_secret",
            &[Part::folder(
                "PostgreSQL",
                server::programs().unwrap_or_default(),
                "apt-get install postgresql",
            )],
            || postgres::drill(server::programs().unwrap()),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
