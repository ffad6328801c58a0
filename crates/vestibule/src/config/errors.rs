//! What is wrong with a configuration: all of it at once, each with the line that would do.

use core::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The key, or the variable, or the file.
    pub key: String,
    /// Where it was found, and what; never a secret.
    pub found: String,
    /// What is wrong.
    pub problem: String,
    /// What to write.
    pub remedy: String,
}

/// Everything that is wrong, never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl ConfigErrors {
    /// What is wrong with texts that were given to `Builder::settings`.
    pub(crate) fn of_settings(problems: &[String]) -> Self {
        let error = |problem: &String| ConfigError {
            key: "Builder::settings".into(),
            found: String::new(),
            problem: format!("it is not TOML: {problem}"),
            remedy: "write it as it would stand in vestibule.toml".into(),
        };
        Self(problems.iter().map(error).collect())
    }

    /// What is wrong.
    #[must_use]
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has an error; nothing was started")?,
            n => writeln!(f, "the configuration has {n} errors; nothing was started")?,
        }
        for error in &self.0 {
            write!(f, "\n  {}", error.key)?;
            if !error.found.is_empty() {
                write!(f, ": {}", error.found)?;
            }
            write!(f, "\n    {}\n    {}\n", error.problem, error.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
