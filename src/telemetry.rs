//! Logging: to standard error, or appended to a file that only its owner can read.
//!
//! The level applies to this program's own parts. What dependencies log is capped at warnings, whatever
//! is asked for: an HTTP library's debug output holds URLs and headers, and those hold what is personal.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::values::Expected;
use crate::failure::Failure;

/// This program's own targets.
const OWN: &str = "interactionfs";

const EXPECTED: Expected = Expected(
    "it must be error, warn, info, debug, trace or off, or such a list as info,interactionfs::remote=debug",
);

/// Whether a `--log-level` can be used.
///
/// # Errors
/// What it must look like.
pub fn check_level(level: &str) -> Result<(), Expected> {
    targets(level).map(|_| ())
}

/// Starts logging at `level` to `file`, or to standard error. Called once; later calls change nothing.
///
/// # Errors
/// A file that can't be written, or a level that can't be used.
pub fn start(level: &str, file: Option<&Path>) -> Result<(), Failure> {
    let targets =
        targets(level).map_err(|error| Failure::typed(format!("--log-level: {error}")))?;
    // No colours: the library panics or complains when they are asked for without its feature for them.
    let layer = tracing_subscriber::fmt::layer()
        .with_target(true)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(targets);
    // A second start, in a test process, finds the first one's subscriber and keeps it.
    let _ = match file {
        Some(path) => registry.with(layer.with_writer(append(path)?)).try_init(),
        None => registry.with(layer.with_writer(std::io::stderr)).try_init(),
    };
    Ok(())
}

fn append(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            Failure::found(format!(
                "the log file {} can't be written ({error}): check --log-file",
                path.display()
            ))
        })
}

/// What passes: own targets as asked, all others up to warnings at most.
fn targets(level: &str) -> Result<Targets, Expected> {
    let mut own = LevelFilter::INFO;
    let mut parts = Vec::new();
    for directive in level.split(',').map(str::trim) {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        if level.is_empty() || level.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(EXPECTED);
        }
        let level: LevelFilter = level.parse().map_err(|_| EXPECTED)?;
        match target {
            None => own = level,
            Some(target) if target == OWN || target.starts_with("interactionfs::") => {
                parts.push((target.to_owned(), level));
            }
            Some(_) => {
                return Err(Expected(
                    "only parts of interactionfs have levels of their own",
                ));
            }
        }
    }
    Ok(Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target(OWN, own)
        .with_targets(parts))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn dependencies_never_log_more_than_warnings() {
        for level in ["trace", "debug", "off,interactionfs=trace"] {
            let targets = targets(level).unwrap();
            for dependency in ["hyper_util::client", "reqwest::connect", "h2", "rustls"] {
                assert!(!targets.would_enable(dependency, &Level::INFO), "{level}");
            }
            assert!(
                targets.would_enable("interactionfs::remote", &Level::TRACE) || level == "debug"
            );
        }
        assert!(targets("hyper=trace").is_err());
    }

    #[test]
    fn one_part_can_be_louder() {
        let targets = targets("warn,interactionfs::remote=debug").unwrap();
        assert!(targets.would_enable("interactionfs::remote::pacer", &Level::DEBUG));
        assert!(!targets.would_enable("interactionfs::content", &Level::INFO));
        for bad in ["loud", "", "info,", "5", "=info", "interactionfs="] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_log_file_is_its_owners_and_appended_to() {
        use std::io::Write;
        use std::os::unix::fs::MetadataExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for _ in 0..2 {
            append(&path).unwrap().write_all(b"line\n").unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"line\nline\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
