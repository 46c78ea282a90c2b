//! A cache directory looked at, verified and emptied without an engine: for the `cache` command.
//!
//! Looking works beside running mounts; whoever verifies or removes sees to it that no mount uses the directory
//! ([`crate::account_lock`]): a mount knows what it holds, and would not learn what was taken out. All functions block.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::accounts::{self, Accounts};
use super::{map, store};
use crate::content::block;
use crate::seal::OVERHEAD;

/// One version in a cache directory. Nothing in it names an interaction or an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What its files are called.
    pub name: String,
    /// The version's length in bytes.
    pub size: u64,
    /// Bytes of it that are held.
    pub held: u64,
    /// When it was used last, in seconds since 1970; `None` if the accounts don't know it.
    pub last_used: Option<i64>,
    /// When bytes of it were fetched last, in seconds since 1970; `None` if the accounts don't know it.
    pub last_fetched: Option<i64>,
    /// A screen or video recording.
    pub is_video: bool,
}

/// What a verification found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions looked at.
    pub versions: u64,
    /// Blocks that are what their checksums say.
    pub good_blocks: u64,
    /// Blocks that are not; they were taken out and will be fetched again.
    pub bad_blocks: u64,
    /// Versions whose map could not be read; they were removed.
    pub unreadable_versions: u64,
}

impl Verified {
    /// Takes in what another verification found.
    pub fn add(&mut self, other: Self) {
        self.versions += other.versions;
        self.good_blocks += other.good_blocks;
        self.bad_blocks += other.bad_blocks;
        self.unreadable_versions += other.unreadable_versions;
    }
}

/// Lists the versions, most recently used first.
///
/// # Errors
/// When the directory can't be read.
pub fn list(directory: &Path) -> io::Result<Vec<Listing>> {
    let rows: HashMap<u128, accounts::Row> = rows(directory);
    let mut listed: Vec<Listing> = store::all(directory)?
        .into_iter()
        .filter_map(|fingerprint| {
            let loaded = store::load(directory, fingerprint)?;
            let row = rows.get(&fingerprint);
            let size = loaded.header.size;
            let held = loaded
                .checksums
                .iter()
                .enumerate()
                .filter(|(_, sum)| **sum != 0)
                .map(|(index, _)| block::end_of(index as u64, size) - block::start_of(index as u64))
                .sum();
            Some(Listing {
                name: format!("{fingerprint:032x}"),
                size,
                held,
                last_used: row.map(|row| row.used),
                last_fetched: row.map(|row| row.fetched),
                is_video: row.is_some_and(|row| row.is_video),
            })
        })
        .collect();
    listed.sort_by_key(|listing| std::cmp::Reverse(listing.last_used));
    Ok(listed)
}

/// Verifies every block, taking out what is damaged. `progress` is told the versions done and their number.
///
/// # Errors
/// When the directory can't be read.
pub fn verify(directory: &Path, mut progress: impl FnMut(u64, u64)) -> io::Result<Verified> {
    let all = store::all(directory)?;
    let mut outcome = Verified::default();
    for &fingerprint in &all {
        outcome.versions += 1;
        match store::load(directory, fingerprint) {
            Some(loaded) => verify_version(fingerprint, &loaded, &mut outcome),
            None => {
                store::remove(directory, fingerprint);
                outcome.unreadable_versions += 1;
            }
        }
        progress(outcome.versions, all.len() as u64);
    }
    Ok(outcome)
}

fn verify_version(fingerprint: u128, loaded: &store::Loaded, outcome: &mut Verified) {
    let (size, is_sealed) = (loaded.header.size, loaded.header.is_sealed);
    let mut buffer = vec![0; block::BLOCK as usize + OVERHEAD];
    for (index, &sum) in loaded.checksums.iter().enumerate() {
        if sum == 0 {
            continue;
        }
        let index = index as u64;
        let slot = map::slot_of(index, size, is_sealed);
        let bytes = &mut buffer[..(slot.end - slot.start) as usize];
        let is_good = loaded.files.data.read_exact_at(bytes, slot.start).is_ok()
            && map::checksum(fingerprint, index, bytes) == sum;
        if is_good {
            outcome.good_blocks += 1;
        } else {
            outcome.bad_blocks += 1;
            let _ = loaded
                .files
                .map
                .write_all_at(&[0; 8], map::offset_of(index));
        }
    }
}

/// Removes all versions, or those not used for `unused_for`; how many were removed.
///
/// # Errors
/// When the directory can't be read, or a file can't be removed.
pub fn purge(directory: &Path, unused_for: Option<Duration>) -> io::Result<u64> {
    let rows = rows(directory);
    let now = accounts::now();
    let mut removed = Vec::new();
    for fingerprint in store::all(directory)? {
        let idle = rows.get(&fingerprint).map_or(u64::MAX, |row| {
            now.saturating_sub(row.used).max(0).cast_unsigned()
        });
        if unused_for.is_none_or(|limit| idle >= limit.as_secs()) {
            store::remove(directory, fingerprint);
            removed.push(fingerprint);
        }
    }
    if directory.join("accounts.db").exists()
        && let Ok(accounts) = Accounts::open(directory)
    {
        let _ = accounts.delete(&removed);
    }
    Ok(removed.len() as u64)
}

fn rows(directory: &Path) -> HashMap<u128, accounts::Row> {
    // Looking must not make accounts where there are none.
    if !directory.join("accounts.db").exists() {
        return HashMap::new();
    }
    Accounts::open(directory)
        .ok()
        .and_then(|accounts| accounts.rows().ok())
        .unwrap_or_default()
        .into_iter()
        .map(|row| (row.fingerprint, row))
        .collect()
}
