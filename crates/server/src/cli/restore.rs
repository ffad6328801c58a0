//! `vestibule restore`: a backup tried, or put in the place of the database.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use vestibule::backup::{self, Contents, Fits};
use vestibule::config::{Config, Database};

use super::backup::{as_json, line, stamp, with_pg_restore};
use super::{CliError, Global, load, print, say, when};

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The backup; with PostgreSQL, --check looks at the configured database instead
    file: Option<PathBuf>,
    /// Only try it, beside a server that may be running: is it whole, does this version know it, does the secret fit?
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(global: &Global, verb: &Restore) -> Result<(), CliError> {
    let config = load(global)?;
    let file = verb.file.as_deref();
    match (config.database(), file, verb.check) {
        (Database::Postgres { .. }, None, true) => check_postgres(global).await,
        (Database::Postgres { url, schema }, ..) => {
            Err(CliError::Told(with_pg_restore(url, schema, file)))
        }
        (Database::Sqlite(_), None, _) => Err(CliError::Told(format!(
            "name a backup: vestibule restore FILE{}. `vestibule backup` makes one, in {}",
            if verb.check { " --check" } else { "" },
            config.data_dir().join("backups").display()
        ))),
        (Database::Sqlite(database), Some(file), true) => check(global, &config, database, file),
        (Database::Sqlite(database), Some(file), false) => restore(global, &config, database, file),
    }
}

fn check(global: &Global, config: &Config, database: &Path, file: &Path) -> Result<(), CliError> {
    let (contents, fits) = backup::drill(config, database, file)?;
    if global.json {
        let mut answer = as_json(file, &contents);
        answer["secret_fits"] = true.into();
        return print(&answer.to_string());
    }
    print(&line(file, &contents))?;
    tell(config, &contents, fits);
    say(
        "it is whole and the secret fits; `vestibule restore` without --check puts it in the place of the database",
    );
    Ok(())
}

fn restore(global: &Global, config: &Config, database: &Path, file: &Path) -> Result<(), CliError> {
    let restored = backup::restore(config, database, file, &stamp())?;
    if global.json {
        let mut answer = as_json(file, &restored.contents);
        answer["database"] = database.display().to_string().into();
        answer["kept"] = json!(restored.kept.map(|kept| kept.display().to_string()));
        return print(&answer.to_string());
    }
    print(&line(database, &restored.contents))?;
    tell(config, &restored.contents, restored.fits);
    if let Some(kept) = &restored.kept {
        say(&format!(
            "the database that was here is kept as {}",
            kept.display()
        ));
    }
    say(
        "who was disabled or signed out after the backup was made is not now: do it again, then `vestibule serve`",
    );
    Ok(())
}

/// What an operator should know of a backup beyond its numbers.
fn tell(config: &Config, contents: &Contents, fits: Fits) {
    match contents.newest_sign_in {
        Some(time) => say(&format!("the newest sign-in in it: {}", when(time))),
        None => say("nobody has signed in yet"),
    }
    if contents.is_older {
        say(
            "an older version made it: `vestibule serve` brings it up to date, which was tried on a copy",
        );
    }
    if fits == Fits::Previous {
        say(&format!(
            "it needs previous_secret: keep that until a server has run on it for ten minutes with the secret of {}",
            config.secret_place()
        ));
    }
}

/// Whether our secret fits a database that was restored, and whether what the secret seals is there.
async fn check_postgres(global: &Global) -> Result<(), CliError> {
    // It opens only where the secret fits.
    let vestibule = super::beside(global).await?;
    let keys = vestibule.signing_keys().await;
    vestibule.close().await;
    let keys = keys?.len();
    if keys == 0 {
        return Err(CliError::Told(
            "the database holds no signing key: no server has used it, or not all was restored. Restore it with pg_restore, or look at database_url".into(),
        ));
    }
    if global.json {
        return print(&json!({ "secret_fits": true, "signing_keys": keys }).to_string());
    }
    say("the secret fits the configured database");
    Ok(())
}
