//! What the cache directory holds, how much of it, and when it was used last: SQLite, one row a version.
//!
//! Only for deciding what to remove: whether a byte is right is decided by its checksum alone, so a lost or
//! stale row can cost room or a fetch, never a wrong byte. Names nothing: GUID and key are hashes.
//! All calls may block.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::Identity;
use super::store;

/// What changed about a version since the last flush.
#[derive(Clone, Debug)]
struct Change {
    identity: Identity,
    bytes: Option<u64>,
    is_fetched: bool,
    true_size: Option<u64>,
}

/// One version, for listings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) fingerprint: u128,
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) used: i64,
    pub(crate) fetched: i64,
    pub(crate) is_video: bool,
}

#[derive(Debug)]
pub(crate) struct Accounts {
    database: Mutex<Connection>,
    /// For what somebody waits for: beside the write-ahead log, nobody who reads waits for one who writes.
    reader: Mutex<Connection>,
    changes: Mutex<HashMap<u128, Change>>,
}

/// The accounts' file in the cache directory.
const FILE: &str = "accounts.db";

/// Thirty days, after which pictures leave the cache.
const VIDEO_AGE: i64 = 30 * 24 * 3600;

/// Seconds since 1970 by the system's clock.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn blob(fingerprint: u128) -> [u8; 16] {
    fingerprint.to_be_bytes()
}

fn from_blob(blob: &[u8]) -> u128 {
    blob.try_into().map_or(0, u128::from_be_bytes)
}

/// Whether an error says that the file itself is bad, and not the disk or another process's use of it.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
        )
    )
}

/// Removes the accounts of a cache directory: they are begun anew when it is opened next.
pub(crate) fn discard(directory: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.join(format!("{FILE}{suffix}")));
    }
}

impl Accounts {
    /// Opens the accounts of a cache directory. What can't be read is begun anew, together with the files.
    pub(crate) fn open(directory: &Path) -> Result<Self, String> {
        let path = directory.join(FILE);
        let try_open = || -> Result<(Connection, Connection), String> {
            // Made here, because SQLite would make it by the umask.
            store::own_file(&path, true).map_err(|error| error.kind().to_string())?;
            let opened = Self::connect(&path).and_then(|database| {
                let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                reader.busy_timeout(std::time::Duration::from_secs(1))?;
                Ok((database, reader))
            });
            opened.map_err(|_| "the accounts can't be read".to_owned())
        };
        let (database, reader) = try_open().or_else(|_| {
            discard(directory);
            try_open()
        })?;
        Ok(Self {
            database: Mutex::new(database),
            reader: Mutex::new(reader),
            changes: Mutex::default(),
        })
    }

    fn connect(path: &Path) -> rusqlite::Result<Connection> {
        let database = Connection::open(path)?;
        database.busy_timeout(std::time::Duration::from_secs(5))?;
        // Else SQLite plans a statement anew for each value that is bound to it.
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "OFF")?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS versions (
                fingerprint BLOB PRIMARY KEY, guid INTEGER NOT NULL, key INTEGER NOT NULL,
                is_video INTEGER NOT NULL, modified INTEGER, bytes INTEGER NOT NULL DEFAULT 0,
                used INTEGER NOT NULL, fetched INTEGER NOT NULL DEFAULT 0, true_size INTEGER
             ) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS by_use ON versions (used, bytes);
             CREATE INDEX IF NOT EXISTS by_item ON versions (guid, key);
             CREATE INDEX IF NOT EXISTS by_size ON versions (true_size) WHERE true_size IS NOT NULL;",
        )?;
        // Accounts of earlier versions don't have it. Another mount may be adding it just now: then that is no failure.
        let has_sort = || {
            database
                .prepare("SELECT 1 FROM pragma_table_info('versions') WHERE name = 'sort'")?
                .exists([])
        };
        if !has_sort()? {
            let added = database
                .execute_batch("ALTER TABLE versions ADD COLUMN sort TEXT NOT NULL DEFAULT ''");
            if !has_sort()? {
                added?;
            }
        }
        Ok(database)
    }

    /// Notes that a version was used.
    pub(crate) fn used(&self, identity: Identity) {
        self.change(identity, |_| {});
    }

    /// Notes how many bytes of a version are there; `is_fetched` if some came from the server just now.
    pub(crate) fn holds(&self, identity: Identity, bytes: u64, is_fetched: bool) {
        self.change(identity, |change| {
            change.bytes = Some(bytes);
            change.is_fetched |= is_fetched;
        });
    }

    /// Notes a true size that the metadata doesn't give.
    pub(crate) fn sized(&self, identity: Identity, size: u64) {
        self.change(identity, |change| change.true_size = Some(size));
    }

    fn change(&self, identity: Identity, apply: impl FnOnce(&mut Change)) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let change = changes.entry(identity.fingerprint).or_insert(Change {
            identity,
            bytes: None,
            is_fetched: false,
            true_size: None,
        });
        // Whoever noted it first may not have known what it is.
        change.identity.is_video |= identity.is_video;
        if change.identity.sort.is_empty() {
            change.identity.sort = identity.sort;
        }
        apply(change);
    }

    /// Writes what changed.
    pub(crate) fn flush(&self) -> rusqlite::Result<()> {
        let changes =
            std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        if changes.is_empty() {
            return Ok(());
        }
        let now = now();
        let mut database = self.lock();
        let transaction = database.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO versions (fingerprint, guid, key, is_video, modified, bytes, used, fetched, true_size, sort)
                 VALUES (?1, ?2, ?3, ?4, ?5, coalesce(?6, 0), ?7, ?7, ?9, ?10)
                 ON CONFLICT (fingerprint) DO UPDATE SET
                    bytes = coalesce(?6, bytes), used = ?7, is_video = max(is_video, ?4),
                    fetched = max(fetched, ?8), true_size = coalesce(?9, true_size),
                    sort = CASE ?10 WHEN '' THEN sort ELSE ?10 END",
            )?;
            for (fingerprint, change) in changes {
                statement.execute(params![
                    blob(fingerprint),
                    change.identity.guid.cast_signed(),
                    change.identity.key.cast_signed(),
                    change.identity.is_video,
                    change.identity.modified,
                    change.bytes.map(u64::cast_signed),
                    now,
                    if change.is_fetched { now } else { 0 },
                    change.true_size.map(u64::cast_signed),
                    change.identity.sort,
                ])?;
            }
        }
        transaction.commit()
    }

    /// Bytes held of all versions.
    pub(crate) fn total(&self) -> rusqlite::Result<u64> {
        self.lock()
            .query_row("SELECT coalesce(sum(bytes), 0) FROM versions", [], |row| {
                row.get::<_, i64>(0)
            })
            .map(|total| total.max(0).cast_unsigned())
    }

    /// Bytes held by type, largest first.
    pub(crate) fn by_type(&self) -> rusqlite::Result<Vec<(String, u64)>> {
        let database = self.lock();
        let mut statement = database.prepare_cached(
            "SELECT sort, sum(bytes) FROM versions WHERE bytes > 0 GROUP BY sort ORDER BY 2 DESC",
        )?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0).cast_unsigned()))
        })?;
        rows.collect()
    }

    /// Bytes held of one version.
    pub(crate) fn bytes_of(&self, fingerprint: u128) -> rusqlite::Result<u64> {
        self.reader()
            .query_row(
                "SELECT bytes FROM versions WHERE fingerprint = ?1",
                [blob(fingerprint)],
                |row| row.get::<_, i64>(0),
            )
            .optional()
            .map(|bytes| bytes.unwrap_or(0).max(0).cast_unsigned())
    }

    /// The interactions, hashed, of which any bytes are held.
    pub(crate) fn held_guids(&self) -> rusqlite::Result<HashSet<u64>> {
        let database = self.lock();
        let mut statement =
            database.prepare("SELECT DISTINCT guid FROM versions WHERE bytes > 0")?;
        let guids = statement.query_map([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
        guids.collect()
    }

    /// All true sizes that metadata don't give.
    pub(crate) fn true_sizes(&self) -> rusqlite::Result<Vec<(u128, u64)>> {
        let database = self.lock();
        let mut statement = database
            .prepare("SELECT fingerprint, true_size FROM versions WHERE true_size IS NOT NULL")?;
        let rows = statement.query_map([], |row| {
            let fingerprint = from_blob(row.get_ref(0)?.as_blob()?);
            Ok((fingerprint, row.get::<_, i64>(1)?.max(0).cast_unsigned()))
        })?;
        rows.collect()
    }

    /// Whether a version is too old to be served.
    pub(crate) fn is_expired(&self, fingerprint: u128, max_age: i64) -> rusqlite::Result<bool> {
        self.reader()
            .query_row(
                "SELECT (bytes > 0 AND fetched < ?2 - ?3) OR (is_video AND modified < ?2 - ?4)
                 FROM versions WHERE fingerprint = ?1",
                params![blob(fingerprint), now(), max_age, VIDEO_AGE],
                |row| row.get::<_, Option<bool>>(0),
            )
            .optional()
            .map(|expired| expired.flatten().unwrap_or(false))
    }

    /// Takes out the versions that are too old, and then those used longest ago until `size` bytes are left.
    pub(crate) fn evict(&self, size: u64, max_age: i64) -> rusqlite::Result<Vec<u128>> {
        let mut evicted = self.select(
            "SELECT fingerprint, bytes FROM versions
             WHERE (bytes > 0 AND fetched < ?1 - ?2) OR (is_video AND modified < ?1 - ?3)",
            params![now(), max_age, VIDEO_AGE],
            u64::MAX,
        )?;
        self.delete(&evicted)?;
        let over = self.total()?.saturating_sub(size);
        if over > 0 {
            let oldest = self.select(
                "SELECT fingerprint, bytes FROM versions WHERE bytes > 0 ORDER BY used, fetched",
                [],
                over,
            )?;
            self.empty(&oldest)?;
            evicted.extend(oldest);
        }
        Ok(evicted)
    }

    /// Takes out all versions of an item, or of all items of an interaction.
    pub(crate) fn forget(&self, guid: u64, key: Option<u64>) -> rusqlite::Result<Vec<u128>> {
        let forgotten = self.select(
            "SELECT fingerprint, bytes FROM versions WHERE guid = ?1 AND (?2 IS NULL OR key = ?2)",
            params![guid.cast_signed(), key.map(u64::cast_signed)],
            u64::MAX,
        )?;
        self.delete(&forgotten)?;
        Ok(forgotten)
    }

    /// Takes out these versions.
    pub(crate) fn delete(&self, fingerprints: &[u128]) -> rusqlite::Result<()> {
        self.each(
            &["DELETE FROM versions WHERE fingerprint = ?1"],
            fingerprints,
        )
    }

    /// Takes out the bytes of these versions: only a true size stays.
    pub(crate) fn empty(&self, fingerprints: &[u128]) -> rusqlite::Result<()> {
        self.each(
            &[
                "DELETE FROM versions WHERE fingerprint = ?1 AND true_size IS NULL",
                "UPDATE versions SET bytes = 0 WHERE fingerprint = ?1",
            ],
            fingerprints,
        )
    }

    fn each(&self, statements: &[&str], fingerprints: &[u128]) -> rusqlite::Result<()> {
        if fingerprints.is_empty() {
            return Ok(());
        }
        let mut database = self.lock();
        let transaction = database.transaction()?;
        for &fingerprint in fingerprints {
            for statement in statements {
                transaction
                    .prepare_cached(statement)?
                    .execute([blob(fingerprint)])?;
            }
        }
        transaction.commit()
    }

    /// All versions, most recently used first.
    pub(crate) fn rows(&self) -> rusqlite::Result<Vec<Row>> {
        let database = self.lock();
        let mut statement = database.prepare(
            "SELECT fingerprint, bytes, used, fetched, is_video FROM versions ORDER BY used DESC",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Row {
                fingerprint: from_blob(row.get_ref(0)?.as_blob()?),
                bytes: row.get::<_, i64>(1)?.max(0).cast_unsigned(),
                used: row.get(2)?,
                fetched: row.get(3)?,
                is_video: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    /// Rows of a query for fingerprint and bytes, until `enough` bytes are together.
    fn select(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        enough: u64,
    ) -> rusqlite::Result<Vec<u128>> {
        let database = self.lock();
        let mut statement = database.prepare_cached(query)?;
        let mut rows = statement.query(parameters)?;
        let mut found = Vec::new();
        let mut bytes = 0_u64;
        while bytes < enough
            && let Some(row) = rows.next()?
        {
            found.push(from_blob(row.get_ref(0)?.as_blob()?));
            bytes = bytes.saturating_add(row.get::<_, i64>(1)?.max(0).cast_unsigned());
        }
        Ok(found)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(fingerprint: u128, is_video: bool, sort: &'static str) -> Identity {
        Identity {
            fingerprint,
            guid: 1,
            key: 2,
            is_video,
            sort,
            modified: Some(0),
        }
    }

    #[test]
    fn what_a_version_is_stays_known_whoever_notes_it() {
        let directory = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(directory.path()).unwrap();
        for _ in 0..2 {
            // A true size is noted by one who doesn't know what it is the size of.
            accounts.sized(identity(7, false, ""), 10);
            accounts.holds(identity(7, true, "screenRecording"), 10, true);
            accounts.flush().unwrap();
            accounts.sized(identity(7, false, ""), 10);
            accounts.flush().unwrap();
        }
        assert!(accounts.rows().unwrap()[0].is_video, "it leaves in time");
        accounts.holds(identity(8, false, "transcript"), 30, true);
        accounts.holds(identity(9, false, ""), 5, true);
        accounts.flush().unwrap();
        let expected = [("transcript", 30), ("screenRecording", 10), ("", 5)];
        assert_eq!(
            accounts.by_type().unwrap(),
            expected.map(|(sort, bytes)| (sort.to_owned(), bytes))
        );
    }

    #[test]
    fn accounts_of_an_earlier_version_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(directory.path()).unwrap();
        accounts.holds(identity(7, false, "transcript"), 10, true);
        accounts.flush().unwrap();
        accounts
            .lock()
            .execute_batch("ALTER TABLE versions DROP COLUMN sort")
            .unwrap();
        drop(accounts);
        let accounts = Accounts::open(directory.path()).unwrap();
        assert_eq!(accounts.by_type().unwrap(), [(String::new(), 10)]);
        accounts.used(identity(7, false, "transcript"));
        accounts.flush().unwrap();
        assert_eq!(accounts.by_type().unwrap(), [("transcript".to_owned(), 10)]);
    }
}
