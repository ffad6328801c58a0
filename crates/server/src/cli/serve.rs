//! `vestibule serve`: sign-ins, until a signal.

use clap::Args;
use vestibule::Vestibule;

use super::{CliError, Global, load};
use crate::{log, serve};

#[derive(Args, Debug)]
pub(crate) struct Serve {}

pub(crate) async fn run(global: &Global, _verb: Serve) -> Result<(), CliError> {
    let config = load(global)?;
    config.check_for_serving()?;
    log::start();
    for warning in config.warnings() {
        tracing::warn!(event = "config.warning", detail = warning);
    }
    // Before the database is touched: a second start must not leave anything behind.
    let listen = config.listen();
    let listener = serve::listen(listen).map_err(|error| super::cannot_listen(listen, &error))?;
    let listen = listener.local_addr()?;
    let public_url = config.public_url().to_owned();
    let vestibule = Vestibule::from_config(config).await?;
    let signal = serve::signal()?;
    tracing::info!(event = "server.listening", %listen, public_url, version = env!("CARGO_PKG_VERSION"));
    serve::until_signal(listener, serve::router(&vestibule), vestibule, signal).await;
    Ok(())
}
