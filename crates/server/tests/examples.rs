//! The examples, run as their readers run them, with the programs that they are written for. What is missing is listed
//! as in `real_parts`.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "examples/article.rs"]
mod article;
#[path = "support/chromium.rs"]
mod chromium;
#[path = "examples/example.rs"]
mod example;
#[path = "examples/fastapi.rs"]
mod fastapi;
#[path = "examples/google_api.rs"]
mod google_api;
#[path = "examples/node.rs"]
mod node;
#[path = "support/parts.rs"]
mod parts;
#[path = "examples/spa.rs"]
mod spa;
#[path = "examples/streamlit.rs"]
mod streamlit;
mod support;
#[path = "support/visitor.rs"]
mod visitor;

use libtest_mimic::Arguments;

use crate::example::{node_modules, python};
use crate::parts::{Part, trial};

fn main() {
    let arguments = Arguments::from_args();
    let browser = || Part::browser().to_vec();
    let packages = || {
        let folder = python().join("wheels");
        vec![Part::folder(
            "the Python packages of the examples",
            folder,
            ".ci/python",
        )]
    };
    let node = || {
        let remedy = "npm ci --prefix examples/node";
        vec![
            Part::command("node", "install Node.js 20 or later"),
            Part::folder("the npm package openid-client", node_modules(), remedy),
        ]
    };
    let static_server = || vec![Part::command("python3", "install Python 3.11 or later")];
    let trials = vec![
        trial(
            "the_articles_login_ends_with_a_token_in_the_url_that_fastapi_users_takes",
            &packages(),
            article::token,
        ),
        trial(
            "the_articles_page_unchanged_signs_a_person_in_in_chromium",
            &[packages(), browser()].concat(),
            article::page,
        ),
        trial(
            "the_diff_in_the_articles_readme_is_what_its_back_end_holds",
            &[],
            article::diff,
        ),
        trial(
            "a_streamlit_page_takes_a_token_from_its_url_in_chromium",
            &[packages(), browser()].concat(),
            streamlit::token,
        ),
        trial(
            "a_streamlit_page_redeems_a_code_and_no_other_browsers_in_chromium",
            &[packages(), browser()].concat(),
            streamlit::code,
        ),
        trial(
            "a_sign_in_that_begins_at_vestibule_ends_at_the_streamlit_page_in_chromium",
            &[packages(), browser()].concat(),
            streamlit::from_vestibule,
        ),
        trial(
            "from_a_clone_to_the_protected_route_of_fastapi_in_five_commands_or_fewer",
            &packages(),
            fastapi::five_commands,
        ),
        trial(
            "pyjwt_and_joserfc_take_our_token_by_default_and_refuse_what_is_not_it",
            &packages(),
            fastapi::libraries,
        ),
        trial(
            "an_application_reads_the_calendar_of_whoever_is_signed_in_by_the_readme_alone",
            &packages(),
            google_api::by_the_readme,
        ),
        trial(
            "an_application_reads_the_calendar_after_the_access_token_is_over_and_never_has_the_refresh_token",
            &packages(),
            google_api::renewed,
        ),
        trial(
            "an_application_says_so_where_no_token_of_the_provider_is_kept",
            &packages(),
            google_api::nothing_kept,
        ),
        trial(
            "openid_client_signs_in_from_our_metadata_alone_and_refreshes",
            &node(),
            node::sign_in_and_refresh,
        ),
        trial(
            "openid_client_reads_why_a_person_who_cancels_is_not_signed_in",
            &node(),
            node::cancel,
        ),
        trial(
            "a_page_without_a_server_signs_in_and_out_in_chromium",
            &[static_server(), browser()].concat(),
            spa::sign_in_and_out,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
