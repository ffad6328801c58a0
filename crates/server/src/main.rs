//! The binary `vestibule`: sign-in beside an application in any language.
//!
//! Data goes to stdout, talk to stderr, and every failure ends with what to do next.

mod cli;
mod log;
mod serve;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `vestibule providers | head`.
        Err(cli::CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            cli::say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}
