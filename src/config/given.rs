//! What was given for each option, and where: flags over environment over file, defaults below all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::failure::Failure;

use super::environment::Environment;
use super::options::{OPTIONS, OptionSpec, named};

/// Where a value was given. Higher ones win.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In the configuration file.
    File {
        /// The file.
        file: Arc<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// The key as it is written there.
        key: String,
    },
    /// In this environment variable.
    Environment(String),
    /// By this flag, dashes included.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { file, line, key } => {
                write!(f, "{} line {line}: {key}", file.display())
            }
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One option's value as it was typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// The text; of a switch `true` or `false`.
    pub text: String,
    /// Where it was given.
    pub origin: Origin,
}

/// All values that one source, or several together, give. It can't be printed: it may hold addresses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Value>,
}

impl Given {
    /// Adds a value; the later one wins.
    pub fn insert(&mut self, option: &'static OptionSpec, text: String, origin: Origin) {
        self.values.insert(option.name, Value { text, origin });
    }

    /// Adds a value as if its flag had been typed. Unknown names are passed over.
    pub fn with_flag(mut self, name: &str, text: impl Into<String>) -> Self {
        if let Some(option) = named(name) {
            self.insert(option, text.into(), Origin::Flag(format!("--{name}")));
        }
        self
    }

    /// What the environment gives. An empty variable counts as absent.
    ///
    /// # Errors
    /// A variable that is not UTF-8.
    pub fn from_environment(environment: &Environment) -> Result<Self, Failure> {
        let mut given = Self::default();
        for option in OPTIONS {
            let variable = option.variable();
            if let Some(value) = environment.variable(&variable) {
                let text = utf8(value, &variable)?;
                given.insert(option, text, Origin::Environment(variable));
            }
        }
        Ok(given)
    }

    /// These values where they are given, else those `below`.
    pub fn over(mut self, below: Self) -> Self {
        for (name, value) in below.values {
            self.values.entry(name).or_insert(value);
        }
        self
    }

    /// What was given for an option.
    pub fn get(&self, name: &str) -> Option<&Value> {
        debug_assert!(named(name).is_some(), "{name} is not an option");
        self.values.get(name)
    }

    /// What was given for an option, or its default.
    pub fn or_default(&self, name: &str) -> Value {
        self.get(name).cloned().unwrap_or_else(|| Value {
            text: named(name)
                .and_then(|option| option.default)
                .unwrap_or_default()
                .to_owned(),
            origin: Origin::Default,
        })
    }

    /// Whether a switch is on.
    ///
    /// # Errors
    /// A text that is neither yes nor no.
    pub fn switch(&self, name: &str) -> Result<bool, Failure> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        match value.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(value.refused("it must be yes or no")),
        }
    }

    /// Reads an option's value or default by `parse`, whose error says what the value must be.
    ///
    /// # Errors
    /// The parser's, with the value's origin.
    pub fn read<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let value = self.or_default(name);
        parse(&value.text).map_err(|error| value.refused(error))
    }

    /// Like [`Self::read`], for an option without a default.
    ///
    /// # Errors
    /// The parser's, with the value's origin.
    pub fn read_optional<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        self.get(name)
            .map(|value| parse(&value.text).map_err(|error| value.refused(error)))
            .transpose()
    }
}

impl Value {
    /// The failure that names this value's origin and says what is wrong with it. The value itself is
    /// not repeated: it may be an address or a secret in the wrong place.
    pub fn refused(&self, what: impl fmt::Display) -> Failure {
        Failure::typed(format!("{}: {what}", self.origin))
    }
}

/// A variable's or argument's text.
fn utf8(value: &OsStr, name: &str) -> Result<String, Failure> {
    std::str::from_utf8(value.as_bytes())
        .map(ToOwned::to_owned)
        .map_err(|_| Failure::typed(format!("{name}: it is not valid UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let option = named("refresh").unwrap();
        let mut file = Given::default();
        file.insert(
            option,
            "3s".to_owned(),
            Origin::File {
                file: Arc::new("c.toml".into()),
                line: 7,
                key: "refresh".to_owned(),
            },
        );
        let environment = Environment::new([("INTERACTIONFS_REFRESH", "2s")]);
        let environment = Given::from_environment(&environment).unwrap();
        let flags = Given::default().with_flag("refresh", "1s");

        let all = flags.over(environment.clone()).over(file.clone());
        assert_eq!(all.or_default("refresh").text, "1s");
        let two = Given::default().over(environment).over(file.clone());
        assert_eq!(two.or_default("refresh").text, "2s");
        assert_eq!(
            two.or_default("refresh").origin.to_string(),
            "INTERACTIONFS_REFRESH"
        );
        let one = Given::default().over(file);
        assert_eq!(
            one.or_default("refresh").refused("no").message,
            "c.toml line 7: refresh: no"
        );
        assert_eq!(Given::default().or_default("refresh").text, "60s");
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let environment = Environment::new([("INTERACTIONFS_AGENT", "")]);
        assert!(
            Given::from_environment(&environment)
                .unwrap()
                .get("agent")
                .is_none()
        );
    }
}
