//! The database's connections. What is read through them is in [`query`].
//!
//! One connection writes, a few read; with the write-ahead log neither waits for the other. A catalogue in
//! memory has one connection for both. Everything here may block on the disk.

pub(super) mod query;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use self::query::{agents, filter_key, load, micros, page, searches, time};
use super::coverage::Coverage;
use super::recent::Remembered;
use super::{CatalogueError, Listed, Listing, schema};
use crate::disk_watch::{DiskCall, DiskWatch};
use crate::model::{AgentId, Day, Guid, SearchFilter, TimeWindow};

/// How many readers' connections are kept for the next reader.
const IDLE_READERS: usize = 4;

/// How many hashes are passed on together.
const HASHES_AT_ONCE: usize = 1024;

/// What may be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Only interactions that pass.
    pub(super) filter: SearchFilter,
    /// Only interactions that were seen at this time or later.
    pub(super) seen_since: Option<Timestamp>,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Store {
    path: Option<PathBuf>,
    writer: Mutex<Connection>,
    idle: Mutex<Idle>,
    is_damaged: AtomicBool,
    /// Looks for single interactions, which take a moment on a disk that answers, and writes.
    watch: DiskWatch,
}

/// Readers' connections that wait for the next reader. Those of an earlier generation have a file open
/// that was replaced.
#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    generation: u64,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, CatalogueError> {
        Ok(Self {
            writer: Mutex::new(schema::open(path)?),
            path: Some(path.to_owned()),
            idle: Mutex::default(),
            is_damaged: AtomicBool::new(false),
            watch: DiskWatch::new("catalogue"),
        })
    }

    pub(super) fn in_memory() -> Result<Self, CatalogueError> {
        Ok(Self {
            writer: Mutex::new(schema::open_in_memory()?),
            path: None,
            idle: Mutex::default(),
            is_damaged: AtomicBool::new(false),
            watch: DiskWatch::new("catalogue"),
        })
    }

    /// A catalogue in memory, as [`Self::serialized`] gave it.
    pub(super) fn restored(database: &[u8]) -> Result<Self, CatalogueError> {
        let store = Self::in_memory()?;
        schema::restore(&mut store.writer(), database)?;
        Ok(store)
    }

    /// All of the database, as one piece.
    pub(super) fn serialized(&self) -> Result<Vec<u8>, CatalogueError> {
        Ok(self.writer().serialize("main")?.to_vec())
    }

    /// How many rows the writer has changed so far.
    pub(super) fn changes(&self) -> u64 {
        self.writer().total_changes()
    }

    /// Whether the catalogue is in a file.
    pub(super) fn is_on_disk(&self) -> bool {
        self.path.is_some()
    }

    /// The looks for single interactions, and the writes, that are under way.
    pub(super) fn watch(&self) -> &DiskWatch {
        &self.watch
    }

    /// A look for a single interaction begins. In memory none waits for a disk: it may wait for a writer, which takes its
    /// time on a busy machine.
    fn looking(&self) -> Option<DiskCall<'_>> {
        self.is_on_disk().then(|| self.watch.begin())
    }

    /// A write begins, by whoever needn't wait for another writer of this process any more.
    pub(super) fn writing(&self) -> Option<DiskCall<'_>> {
        self.is_on_disk().then(|| self.watch.begin_write())
    }

    /// The writer's connection.
    pub(super) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file proved damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Replaces a damaged file by an empty one, whose sequences go on behind `newest`.
    pub(super) fn rebuild(&self, newest: i64) -> Result<(), CatalogueError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut writer = self.writer();
        *writer = schema::rebuild(path, newest)?;
        let mut idle = self.idle();
        idle.generation += 1;
        idle.connections.clear();
        self.is_damaged.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Notes damage, so that the file is replaced: by this mount soon, or by the next.
    pub(super) fn checked<T>(&self, result: rusqlite::Result<T>) -> Result<T, CatalogueError> {
        if let Err(error) = &result
            && schema::is_damage(error)
        {
            self.note_damage();
        }
        Ok(result?)
    }

    fn note_damage(&self) {
        if let Some(path) = &self.path
            && !self.is_damaged.swap(true, Ordering::Relaxed)
        {
            schema::mark_damaged(path);
        }
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CatalogueError> {
        let Some(path) = &self.path else {
            return Ok(query(&self.writer())?);
        };
        let (idle, generation) = {
            let mut idle = self.idle();
            (idle.connections.pop(), idle.generation)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => self.checked(schema::open_reader(path))?,
        };
        let result = query(&connection);
        let mut idle = self.idle();
        if idle.connections.len() < IDLE_READERS && idle.generation == generation {
            idle.connections.push(connection);
        }
        drop(idle);
        self.checked(result)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An interaction, and when it was last seen.
    pub(super) fn interaction(&self, guid: Guid) -> Result<Option<Remembered>, CatalogueError> {
        let call = self.looking();
        let found = self.read(|connection| load(connection, guid));
        drop(call);
        let found = found?;
        if let Some(Err(_)) = &found {
            self.note_damage();
        }
        found.transpose()
    }

    /// A page of a listing, each row with the hash of what is stored; see [`super::Catalogue::page`].
    pub(super) fn page(
        &self,
        listing: &Listing,
        shown: &Shown,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Listed, i64)>, CatalogueError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.read(|connection| page(connection, listing, shown, after, limit))
    }

    /// The agents of a window; see [`super::Catalogue::agents`].
    pub(super) fn agents(
        &self,
        window: &TimeWindow,
        shown: &Shown,
    ) -> Result<Vec<Option<AgentId>>, CatalogueError> {
        let mut agents = self.read(|connection| agents(connection, window))?;
        if !shown.filter.is_empty() || shown.seen_since.is_some() {
            let mut admitted = Vec::with_capacity(agents.len());
            for agent in agents {
                let listing = Listing {
                    window: *window,
                    agent: Some(agent),
                };
                if !self.page(&listing, shown, 0, 1)?.is_empty() {
                    admitted.extend(listing.agent);
                }
            }
            agents = admitted;
        }
        Ok(agents)
    }

    /// How many interactions start in the window; all of them without one.
    pub(super) fn count(&self, window: Option<&TimeWindow>) -> Result<u64, CatalogueError> {
        let count: i64 = self.read(|connection| match window {
            None => connection.query_row("SELECT count(*) FROM interactions", [], |row| row.get(0)),
            Some(window) => connection
                .prepare_cached(
                    "SELECT count(*) FROM interactions WHERE start >= ?1 AND start < ?2",
                )?
                .query_row((micros(window.from), micros(window.to)), |row| row.get(0)),
        })?;
        Ok(count.unsigned_abs())
    }

    /// The days of the interactions that start outside a window, and whether any of a day is cached.
    pub(super) fn days_outside(
        &self,
        window: &TimeWindow,
        is_cached: &dyn Fn(Guid) -> bool,
    ) -> Result<BTreeMap<Day, bool>, CatalogueError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT guid, start FROM interactions WHERE start < ?1 OR start >= ?2",
            )?;
            let mut rows = query.query((micros(window.from), micros(window.to)))?;
            let mut days = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let day = days.entry(Day::of(time(row, 1)?)).or_insert(false);
                *day = *day || is_cached(Guid::from_bytes(row.get(0)?));
            }
            Ok(days)
        })
    }

    /// The start of the `rank`-th newest interaction that starts before `before`; `None` if there are fewer.
    pub(super) fn start_of_rank(
        &self,
        rank: u32,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, CatalogueError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT start FROM interactions WHERE start < ?1
                     ORDER BY start DESC LIMIT 1 OFFSET ?2",
                )?
                .query_row((micros(before), rank), |row| time(row, 0))
                .optional()
        })
    }

    /// What was searched with these filters, or with none.
    pub(super) fn coverage(&self, filter: &SearchFilter) -> Result<Coverage, CatalogueError> {
        self.read(|connection| {
            let mut spans = searches(connection, filter_key(filter))?;
            if !filter.is_empty() {
                spans.extend(searches(connection, filter_key(&SearchFilter::default()))?);
            }
            Ok(Coverage::of(spans))
        })
    }

    /// A number that was learnt about the server.
    pub(super) fn learnt(&self, name: &str) -> Result<Option<i64>, CatalogueError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM learnt WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })
    }

    /// The interactions of a window that are not among `seen`, which is sorted.
    pub(super) fn unseen(
        &self,
        window: &TimeWindow,
        seen: &[i64],
    ) -> Result<Vec<i64>, CatalogueError> {
        self.read(|connection| {
            // Answered by the index alone.
            let mut query = connection.prepare_cached(
                "SELECT sequence FROM interactions WHERE start >= ?1 AND start < ?2",
            )?;
            let mut rows = query.query((micros(window.from), micros(window.to)))?;
            let mut unseen = Vec::new();
            while let Some(row) = rows.next()? {
                let sequence: i64 = row.get(0)?;
                if seen.binary_search(&sequence).is_err() {
                    unseen.push(sequence);
                }
            }
            Ok(unseen)
        })
    }

    /// Passes on the hashes of all that is stored, a part at a time.
    pub(super) fn hashes(
        &self,
        mut take: impl FnMut(&[(Guid, i64)]),
    ) -> Result<(), CatalogueError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT guid, hash FROM interactions NOT INDEXED")?;
            let mut rows = query.query([])?;
            let mut part = Vec::with_capacity(HASHES_AT_ONCE);
            while let Some(row) = rows.next()? {
                part.push((Guid::from_bytes(row.get(0)?), row.get(1)?));
                if part.len() == HASHES_AT_ONCE {
                    take(&part);
                    part.clear();
                }
            }
            take(&part);
            Ok(())
        })
    }

    /// The hash of what is stored of an interaction.
    pub(super) fn hash(&self, guid: Guid) -> Result<Option<i64>, CatalogueError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT hash FROM interactions WHERE guid = ?1")?
                .query_row([guid.as_bytes()], |row| row.get(0))
                .optional()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_a_file_can_wait_for_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let in_file = Store::open(&folder.path().join("catalogue.db")).unwrap();
        assert!(in_file.looking().is_some() && in_file.writing().is_some());
        let in_memory = Store::in_memory().unwrap();
        assert!(in_memory.looking().is_none() && in_memory.writing().is_none());
    }
}
