//! The secret that seals: given, or made once and kept in a file of its own that its owner alone may read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::seal;

/// The fewest bytes of a secret (S76).
pub(super) const MIN_BYTES: usize = 32;
/// The name of the file below `data_dir`.
pub(super) const FILE: &str = "vestibule.secret";

/// How values begin that documentation shows in place of a secret. A word further inside proves nothing.
const SAMPLES: &[&str] = &[
    "change",
    "example",
    "insert",
    "password",
    "placeholder",
    "replace",
    "sample",
    "secret",
    "some-random",
    "some_random",
    "your",
];

/// What is said of a sample.
pub(super) const SAMPLE: &str = "it is a sample, or the same few characters again and again";

/// Whether a secret stands in some documentation, or is hardly one.
pub(super) fn is_sample(text: &str) -> bool {
    let mut seen = [false; 256];
    text.trim()
        .bytes()
        .for_each(|byte| seen[usize::from(byte)] = true);
    let lower = text.trim().to_ascii_lowercase();
    let begins_as_one = SAMPLES
        .iter()
        .any(|sample| lower.trim_start_matches(['<', '"']).starts_with(sample));
    begins_as_one || seen.iter().filter(|seen| **seen).count() < 8
}

/// The secret, as a type that does not print.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes. The only door out.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Takes a secret that is long and varied enough.
    ///
    /// # Errors
    /// What is wrong with it, without the secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < MIN_BYTES {
            return Err(format!(
                "it has {} bytes and needs {MIN_BYTES} at least",
                bytes.len()
            ));
        }
        if is_sample(text) {
            return Err(SAMPLE.into());
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether a secret's file was made just now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Made {
    Now,
    Before,
}

/// Where the secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The configuration gives it.
    Given(Secret),
    /// This file holds it; it is made at the first start.
    File(PathBuf),
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error("cannot use the secret {}: {source}. Check that its folder exists and that this user may write there", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is gone, and a database was made with what it held.
    #[error("the secret {} is missing, and the database was made with it. Restore the file from a backup, or set `secret` to what it held", .0.display())]
    Missing(PathBuf),
    /// The file holds no secret.
    #[error("the secret in {} does not do: {problem}. Restore the file from a backup; without it, sealed data of this database cannot be read", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl SecretSource {
    /// The secret of a database that is there.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn load(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => read(path)?.ok_or_else(|| SecretError::Missing(path.clone())),
        }
    }

    /// The secret; makes the file where there is none, and says so.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn load_or_create(&self) -> Result<(Secret, Made), SecretError> {
        match self {
            Self::Given(secret) => Ok((secret.clone(), Made::Before)),
            Self::File(path) => {
                let failed = |source| SecretError::File {
                    path: path.clone(),
                    source,
                };
                if let Some(secret) = read(path)? {
                    return Ok((secret, Made::Before));
                }
                let made = create(path).map_err(failed)?;
                // Another process may have made it first: what the file holds is what counts.
                let secret = read(path)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
                Ok((secret, made))
            }
        }
    }

    /// Takes back a file that was made for a database which has another secret. The error that says so.
    pub(crate) fn take_back(&self) -> Option<SecretError> {
        match self {
            Self::Given(_) => None,
            Self::File(path) => {
                let _ = std::fs::remove_file(path);
                Some(SecretError::Missing(path.clone()))
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<Secret>, SecretError> {
    let mut text = Zeroizing::new(String::new());
    let outcome =
        std::fs::File::open(path).and_then(|file| file.take(4_096).read_to_string(&mut text));
    match outcome {
        Ok(_) => Secret::parse(&text)
            .map(Some)
            .map_err(|problem| SecretError::Content {
                path: path.to_owned(),
                problem,
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a new secret beside the file and links it into place: nobody ever reads half of one.
fn create(path: &Path) -> std::io::Result<Made> {
    let text: Zeroizing<String> = Zeroizing::new(
        seal::random::<32>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    );
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = match std::fs::hard_link(&beside, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Made::Before),
        outcome => outcome.map(|()| Made::Now),
    };
    std::fs::remove_file(&beside)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    // S76
    #[test]
    fn short_and_sample_secrets_are_refused_and_never_printed() {
        for bad in [
            "",
            "short",
            &"a".repeat(64),
            "change-me-change-me-change-me-change-me",
            &"abc".repeat(20),
            "some-random-long-secret-key-of-the-documentation",
            "<your secret of thirty-two bytes or more>",
        ] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
        assert!(Secret::parse("a-secret-for-one-machine-that-is-long-enough-0123456789").is_ok());
        let good = Secret::parse("0f2d6a9c4b8e71350f2d6a9c4b8e7135").unwrap();
        assert_eq!(
            format!("{good:?} {:?}", SecretSource::Given(good.clone())),
            "Secret(..) Given(Secret(..))"
        );
    }

    // S76
    #[test]
    fn the_file_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let source = SecretSource::File(folder.path().join(FILE));
        assert!(matches!(source.load(), Err(SecretError::Missing(_))));
        let (first, made) = source.load_or_create().unwrap();
        assert_eq!(made, Made::Now);
        let (second, made) = source.load_or_create().unwrap();
        assert_eq!((second.expose(), made), (first.expose(), Made::Before));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.path().join(FILE))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "half").unwrap();
        assert!(matches!(
            SecretSource::File(path.clone()).load_or_create(),
            Err(SecretError::Content { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half");
    }
}
