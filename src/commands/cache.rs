//! `cache`: what lies in the cache directory, whether it is sound, and away with it.
//!
//! Works on the directory alone. An account that a mount uses is listed, but neither verified nor emptied.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::account_lock::AccountLock;
use crate::cli::{Cache, CacheAction};
use crate::config::{Environment, SEALED, values};
use crate::content::disk::inspect;
use crate::failure::Failure;

/// The catalogue's files in an account's directory. The pace's ledger stays: the server remembers, too.
const CATALOGUE: [&str; 3] = [
    "catalogue.sqlite",
    "catalogue.sqlite-wal",
    "catalogue.sqlite-shm",
];

pub(super) fn run(arguments: &Cache) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let directory = directory(arguments, &environment)?;
    let accounts = accounts(&directory).map_err(|error| unusable(&directory, &error))?;
    if accounts.is_empty() {
        return super::print(&format!("nothing is cached in {}\n", directory.display()));
    }
    match &arguments.action {
        CacheAction::Ls => list(&accounts),
        CacheAction::Verify => each(&accounts, verify),
        CacheAction::Purge { older_than } => {
            let unused_for = older_than
                .as_deref()
                .map(values::duration)
                .transpose()
                .map_err(|expected| Failure::typed(format!("--older-than: {expected}")))?;
            each(&accounts, |account| purge(account, unused_for))
        }
    }
}

fn directory(arguments: &Cache, environment: &Environment) -> Result<PathBuf, Failure> {
    arguments
        .cache_dir
        .clone()
        .or_else(|| {
            environment
                .variable("INTERACTIONFS_CACHE_DIR")
                .map(PathBuf::from)
        })
        .map(|directory| environment.absolute(directory))
        .or_else(|| environment.cache_directory())
        .ok_or_else(|| {
            Failure::typed(
                "there is no place for the cache, because HOME is not set: give --cache-dir",
            )
        })
}

/// The directories of accounts, by their names of 32 hexadecimal digits.
fn accounts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_account = name.len() == 32
            && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit)
            && entry.file_type()?.is_dir();
        if is_account {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn list(accounts: &[PathBuf]) -> Result<(), Failure> {
    let mut text = String::new();
    for account in accounts {
        let versions = versions(account).map_err(|error| unusable(account, &error))?;
        // An attempt to mount that was refused leaves an empty one.
        if versions.is_empty() && !account.join(CATALOGUE[0]).exists() {
            continue;
        }
        let held = versions.iter().map(|version| version.held).sum();
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "account {}: {} files, {}",
            short(account),
            versions.len(),
            size(held)
        );
        for version in versions {
            let used = version
                .last_used
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .map_or_else(|| "-".to_owned(), |time| time.to_string());
            let part = if version.held == version.size {
                "whole".to_owned()
            } else {
                format!("of {}", size(version.size))
            };
            let _ = writeln!(
                text,
                "  {}  {used:>20}  {:>10}  {part}",
                version.name,
                size(version.held)
            );
        }
    }
    super::print(&text)
}

/// Does something with each account that no mount uses, and prints what came of it; in the end it fails if there was
/// one that a mount uses.
fn each(
    accounts: &[PathBuf],
    mut act: impl FnMut(&Path) -> io::Result<String>,
) -> Result<(), Failure> {
    let mut in_use = Vec::new();
    for account in accounts {
        let lock = AccountLock::take(account).map_err(|error| unusable(account, &error))?;
        if lock.is_none() {
            in_use.push(short(account));
            continue;
        }
        let outcome = act(account).map_err(|error| unusable(account, &error))?;
        super::print(&format!("account {}: {outcome}\n", short(account)))?;
    }
    if in_use.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!(
        "a mount uses the cache of account {}, which was left as it is: unmount it first ('interactionfs status' names your mounts)",
        in_use.join(", ")
    )))
}

fn verify(account: &Path) -> io::Result<String> {
    let mut found = inspect::Verified::default();
    for place in places(account)? {
        found.add(inspect::verify(&content(&place), |_, _| ())?);
    }
    let damage = match (found.bad_blocks, found.unreadable_versions) {
        (0, 0) => "all sound".to_owned(),
        (blocks, files) => format!(
            "{blocks} damaged blocks and {files} unreadable files were taken out, and will be fetched again"
        ),
    };
    Ok(format!(
        "{} files, {} sound blocks, {damage}",
        found.versions, found.good_blocks
    ))
}

/// Removes what was not used for so long; without an age everything, the catalogue too.
fn purge(account: &Path, unused_for: Option<Duration>) -> io::Result<String> {
    let places = places(account)?;
    let mut removed = 0;
    for place in &places {
        removed += inspect::purge(&content(place), unused_for)?;
    }
    if unused_for.is_some() {
        return Ok(format!("{removed} files removed"));
    }
    let missing_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    missing_is_fine(std::fs::remove_dir_all(content(account)))?;
    for sealed in places.iter().filter(|place| *place != account) {
        missing_is_fine(std::fs::remove_dir_all(sealed))?;
    }
    for name in CATALOGUE {
        missing_is_fine(std::fs::remove_file(account.join(name)))?;
    }
    Ok(format!("{removed} files and the catalogue removed"))
}

/// Where an account's caches are: its own directory, and one below it for each key that a cache is sealed with.
fn places(account: &Path) -> io::Result<Vec<PathBuf>> {
    let mut places = vec![account.to_owned()];
    for entry in std::fs::read_dir(account)? {
        let entry = entry?;
        let is_sealed = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(SEALED.as_bytes());
        if is_sealed && entry.file_type()?.is_dir() {
            places.push(entry.path());
        }
    }
    Ok(places)
}

fn versions(account: &Path) -> io::Result<Vec<inspect::Listing>> {
    let mut versions = Vec::new();
    for place in places(account)? {
        versions.extend(inspect::list(&content(&place))?);
    }
    Ok(versions)
}

fn content(place: &Path) -> PathBuf {
    place.join("content")
}

/// As much of an account's name as tells it from others.
fn short(account: &Path) -> String {
    let name = account.file_name().unwrap_or_default().to_string_lossy();
    name.chars().take(8).collect()
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn unusable(directory: &Path, error: &io::Error) -> Failure {
    Failure::found(format!("{} can't be used ({error})", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const USED: &str = "00000000000000000000000000000001";
    const FREE: &str = "00000000000000000000000000000002";

    fn cache() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for account in [USED, FREE] {
            let account = directory.path().join(account);
            let group = account.join("content/blocks/ab");
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join(format!("ab{}.data", "0".repeat(30))), "x").unwrap();
            fs::write(account.join("catalogue.sqlite"), "x").unwrap();
            fs::write(account.join("pace"), "x").unwrap();
        }
        fs::create_dir(directory.path().join("something else")).unwrap();
        directory
    }

    fn arguments(directory: &Path, action: CacheAction) -> Cache {
        Cache {
            action,
            cache_dir: Some(directory.to_owned()),
        }
    }

    #[test]
    fn purging_deletes_everything_of_accounts_that_no_mount_uses() {
        let cache = cache();
        let mount = AccountLock::share(&cache.path().join(USED)).unwrap();
        let everything = arguments(cache.path(), CacheAction::Purge { older_than: None });
        let failure = run(&everything).unwrap_err();
        assert!(failure.message.contains("unmount it first"), "{failure}");
        let exists = |account: &str, name: &str| cache.path().join(account).join(name).exists();
        assert!(exists(USED, "catalogue.sqlite") && exists(USED, "content"));
        assert!(!exists(FREE, "catalogue.sqlite") && !exists(FREE, "content"));
        assert!(exists(FREE, "pace") && exists("something else", ""));
        drop(mount);
        run(&everything).unwrap();
        assert!(!exists(USED, "catalogue.sqlite") && !exists(USED, "content"));
        run(&everything).unwrap();
    }

    #[test]
    fn verifying_removes_what_has_no_map_and_leaves_the_catalogue() {
        let cache = cache();
        run(&arguments(cache.path(), CacheAction::Ls)).unwrap();
        run(&arguments(cache.path(), CacheAction::Verify)).unwrap();
        let group = cache.path().join(FREE).join("content/blocks/ab");
        assert_eq!(fs::read_dir(group).unwrap().count(), 0);
        assert!(cache.path().join(FREE).join("catalogue.sqlite").exists());
    }

    #[test]
    fn an_age_is_checked_and_a_missing_cache_is_empty() {
        let cache = cache();
        let odd = Some("soon".to_owned());
        let purge = arguments(cache.path(), CacheAction::Purge { older_than: odd });
        assert!(run(&purge).unwrap_err().message.contains("--older-than"));
        let missing = cache.path().join("missing");
        run(&arguments(&missing, CacheAction::Verify)).unwrap();
        assert!(!missing.exists());
    }
}
