//! Where the client secret comes from: a file, the environment, or a systemd credential. Never a flag.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::failure::Failure;
use crate::seal::{CacheKey, SHORTEST};

use super::environment::Environment;
use super::given::{Given, Origin};

/// The variable that may hold the secret itself.
const VARIABLE: &str = "INTERACTIONFS_CLIENT_SECRET";

/// The longest secret, in bytes: more is another file than was meant.
const SIZE_LIMIT: u64 = 64 * 1024;

/// Where a secret comes from. It can be read again, when the secret was changed.
#[derive(Clone)]
pub enum SecretSource {
    /// A file that others must not be able to read.
    File(PathBuf),
    /// A file of systemd's, which guards it by the directory it is in.
    Credential(PathBuf),
    /// The environment, whose value at the start counts.
    Environment(SecretString),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "file",
            Self::Credential(_) => "systemd credential",
            Self::Environment(_) => "environment",
        })
    }
}

impl SecretSource {
    /// The source to use: a file that a flag names, the variable, a file that the environment or the
    /// configuration names, a systemd credential.
    ///
    /// # Errors
    /// No source at all, or a variable that is not UTF-8.
    pub(super) fn find(given: &Given, environment: &Environment) -> Result<Self, Failure> {
        let credentials = environment.directory_variable("CREDENTIALS_DIRECTORY");
        let file = given.get("client-secret-file");
        let of_file = |text: &str| {
            let path = environment.absolute(text);
            match &credentials {
                Some(directory) if path.starts_with(directory) => Self::Credential(path),
                _ => Self::File(path),
            }
        };
        if let Some(value) = file.filter(|value| matches!(value.origin, Origin::Flag(_))) {
            return Ok(of_file(&value.text));
        }
        if let Some(value) = environment.variable(VARIABLE) {
            return trimmed(value.as_bytes())
                .map(Self::Environment)
                .map_err(|what| Failure::typed(format!("{VARIABLE}: {what}")));
        }
        if let Some(value) = file {
            return Ok(of_file(&value.text));
        }
        credentials
            .map(|directory| directory.join("client-secret"))
            .filter(|path| path.exists())
            .map(Self::Credential)
            .ok_or_else(|| {
                Failure::typed(
                    "no client secret is given: give --client-secret-file FILE (chmod 600), the variable \
                     INTERACTIONFS_CLIENT_SECRET or a systemd credential named client-secret; or --offline to see \
                     what is cached",
                )
            })
    }

    /// The secret, without the line break at its end.
    ///
    /// # Errors
    /// A file that can't be read, that everybody can read, or that holds no secret.
    pub fn read(&self) -> Result<SecretString, Failure> {
        match self {
            Self::Environment(secret) => Ok(secret.clone()),
            Self::Credential(path) => read_file(path, false),
            Self::File(path) => read_file(path, true),
        }
    }
}

fn read_file(path: &Path, guarded: bool) -> Result<SecretString, Failure> {
    let bytes = read_guarded(path, guarded, "client secret", "client-secret-file")?;
    trimmed(&bytes).map_err(|what| {
        Failure::found(format!("the client secret file {}: {what}", path.display()))
    })
}

/// The key that the cache is sealed with, from a file that others must not be able to read.
///
/// # Errors
/// A file that can't be read, that everybody can read, or that holds too little to be a key.
pub(super) fn cache_key(text: &str, environment: &Environment) -> Result<CacheKey, Failure> {
    let path = environment.absolute(text);
    let is_credential = environment
        .directory_variable("CREDENTIALS_DIRECTORY")
        .is_some_and(|directory| path.starts_with(directory));
    let bytes = read_guarded(&path, !is_credential, "cache key", "cache-key-file")?;
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    CacheKey::of(&bytes[..end.map_or(0, |last| last + 1)]).ok_or_else(|| {
        Failure::found(format!(
            "the cache key file {} holds less than {SHORTEST} bytes: make a key with 'openssl rand -hex 32'",
            path.display()
        ))
    })
}

fn read_guarded(path: &Path, guarded: bool, what: &str, option: &str) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Failure::found(format!(
            "the {what} file {shown} can't be read ({error}): check --{option} and who may read it"
        ))
    };
    let file = File::open(path).map_err(unreadable)?;
    // The mode of what was opened, not of what the path may name a moment later.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Failure::found(format!(
            "the {what} file {shown} is not a file: check --{option}"
        )));
    }
    if guarded && metadata.mode() & 0o004 != 0 {
        return Err(Failure::found(format!(
            "the {what} file {shown} can be read by everybody: run 'chmod 600 {shown}', and consider making a new one"
        )));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn trimmed(bytes: &[u8]) -> Result<SecretString, &'static str> {
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err("it is larger than 64 KiB, so it is not a secret");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not valid UTF-8")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("it is empty");
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::failure::FailureKind;

    fn secret_file(directory: &Path, name: &str, mode: u32) -> String {
        let path = directory.join(name);
        std::fs::write(&path, "hunter2\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn read(given: &Given, environment: &Environment) -> Result<String, Failure> {
        SecretSource::find(given, environment)?
            .read()
            .map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_file_readable_by_the_world_is_refused_unless_systemd_guards_it() {
        let directory = tempfile::tempdir().unwrap();
        let open = secret_file(directory.path(), "client-secret", 0o644);
        let closed = secret_file(directory.path(), "closed", 0o640);
        let nothing = Environment::new::<&str, &str>([]);
        let given = |path: &str| Given::default().with_flag("client-secret-file", path);

        let failure = read(&given(&open), &nothing).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Found);
        assert!(failure.message.contains("chmod 600"), "{failure}");
        assert_eq!(read(&given(&closed), &nothing).unwrap(), "hunter2");

        let systemd = Environment::new([("CREDENTIALS_DIRECTORY", directory.path())]);
        assert_eq!(read(&given(&open), &systemd).unwrap(), "hunter2");
        assert_eq!(read(&Given::default(), &systemd).unwrap(), "hunter2");
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_the_variable_over_the_configured_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = secret_file(directory.path(), "file", 0o600);
        let environment = Environment::new([
            (VARIABLE, "other\n"),
            ("INTERACTIONFS_CLIENT_SECRET_FILE", &file),
        ]);
        let flag = Given::default().with_flag("client-secret-file", file);
        assert_eq!(read(&flag, &environment).unwrap(), "hunter2");
        let given = Given::from_environment(&environment).unwrap();
        assert_eq!(read(&given, &environment).unwrap(), "other");
    }

    #[test]
    fn what_is_missing_is_found_and_no_source_is_typed() {
        let nothing = Environment::new::<&str, &str>([]);
        let missing = Given::default().with_flag("client-secret-file", "/nonexistent/file");
        assert_eq!(
            read(&missing, &nothing).unwrap_err().kind,
            FailureKind::Found
        );
        assert_eq!(
            read(&Given::default(), &nothing).unwrap_err().kind,
            FailureKind::Typed
        );
    }

    #[test]
    fn a_cache_key_is_guarded_like_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = Environment::new::<&str, &str>([]);
        let open = secret_file(directory.path(), "open", 0o644);
        let refused = cache_key(&open, &nothing).unwrap_err();
        assert!(refused.message.contains("chmod 600"), "{refused}");
        let short = secret_file(directory.path(), "short", 0o600);
        let refused = cache_key(&short, &nothing).unwrap_err();
        assert!(refused.message.contains("openssl rand"), "{refused}");
        let missing = cache_key("/nonexistent/key", &nothing).unwrap_err();
        assert_eq!(missing.kind, FailureKind::Found);

        let write = |text: &str| {
            std::fs::write(&short, text).unwrap();
            cache_key(&short, &nothing).unwrap().name()
        };
        let name = write("0123456789abcdef0123456789abcdef");
        assert_eq!(name, write("0123456789abcdef0123456789abcdef\n"));
        assert_ne!(name, write("0123456789abcdef0123456789abcdee"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let source = SecretSource::Environment(SecretString::from("hunter2"));
        assert_eq!(format!("{source:?}"), "environment");
    }
}
