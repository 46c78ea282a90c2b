//! The process's surroundings, as far as configuration depends on them: variables, user, directory, time.
//!
//! Read once, here; everything else gets this value, so that tests need not change their own process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// What surrounds the process.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The time at which the program was started.
    pub now: Timestamp,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
}

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            now: Timestamp::now(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// An environment of these variables only, for the process's user.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            ..Self::of_process()
        }
    }

    /// A variable's value, unless it is absent or empty.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable's value as a path, if it is an absolute one, as the XDG rules demand.
    pub fn directory_variable(&self, name: &str) -> Option<PathBuf> {
        self.variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// The user's cache directory for this program, if there is a place for one.
    pub fn cache_directory(&self) -> Option<PathBuf> {
        self.directory_variable("XDG_CACHE_HOME")
            .or_else(|| {
                self.directory_variable("HOME")
                    .map(|home| home.join(".cache"))
            })
            .or_else(|| (self.uid == 0).then(|| PathBuf::from("/var/cache")))
            .map(|directory| directory.join("interactionfs"))
    }

    /// A path as seen from the directory that the program was started in: the daemon changes to another. `~/` is the
    /// home directory, also where no shell has replaced it: in a file, and behind the `=` of a flag.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match (path.strip_prefix("~"), self.directory_variable("HOME")) {
            (Ok(below), Some(home)) => home.join(below),
            _ => self.directory.join(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory() {
        let environment = Environment::new([("HOME", "/home/someone")]);
        assert_eq!(
            environment.absolute("~/.vcc-secret"),
            PathBuf::from("/home/someone/.vcc-secret")
        );
        assert!(environment.absolute("~someone/x").ends_with("~someone/x"));
        let homeless = Environment::new::<&str, &str>([]);
        assert!(homeless.absolute("~/x").ends_with("~/x"));
    }

    #[test]
    fn the_cache_directory_follows_the_xdg_rules() {
        let mut environment =
            Environment::new([("XDG_CACHE_HOME", "/x"), ("HOME", "/home/someone")]);
        assert_eq!(
            environment.cache_directory(),
            Some("/x/interactionfs".into())
        );
        environment = Environment::new([("XDG_CACHE_HOME", "relative"), ("HOME", "/home/someone")]);
        assert_eq!(
            environment.cache_directory(),
            Some("/home/someone/.cache/interactionfs".into())
        );
        environment = Environment::new::<&str, &str>([]);
        environment.uid = 0;
        assert_eq!(
            environment.cache_directory(),
            Some("/var/cache/interactionfs".into())
        );
        environment.uid = 1000;
        assert_eq!(environment.cache_directory(), None);
    }
}
