//! The database's connections, and what is read through them.
//!
//! One connection writes, a few read; with the write-ahead log neither waits for the other. A catalogue in
//! memory has one connection for both. Everything here may block on the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use super::coverage::{Coverage, Span};
use super::recent::Remembered;
use super::{CatalogueError, Known, Listed, Listing, ingest, packed, schema};
use crate::disk_watch::{DiskCall, DiskWatch};
use crate::model::{
    AgentId, ContentKey, Day, Direction, Guid, Interaction, NameTable, SearchFilter, TimeWindow,
};

/// How many readers' connections are kept for the next reader.
const IDLE_READERS: usize = 4;

/// A window with fewer interactions than this is read by its index and sorted, a fuller one in the order
/// of the table, which skips what is outside.
const NARROW: i64 = 4096;

/// The agent under which interactions without any are filed.
pub(super) const NO_AGENT: &str = "";

/// An interaction as it is stored, by its GUID.
pub(super) const LOAD: &str =
    "SELECT details.json, details.names, interactions.seen, hash FROM interactions
     LEFT JOIN details USING (sequence) WHERE guid = ?1";

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

    /// A page of a listing; see [`super::Catalogue::page`].
    pub(super) fn page(
        &self,
        listing: &Listing,
        shown: &Shown,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError> {
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

/// An interaction by its GUID. The inner error is of what was stored, not of the database.
pub(super) fn load(
    connection: &Connection,
    guid: Guid,
) -> rusqlite::Result<Option<Result<Remembered, CatalogueError>>> {
    let row = connection
        .prepare_cached(LOAD)?
        .query_row([guid.as_bytes()], |row| {
            let json = packed::unpack(row.get_ref(0)?);
            let names: Option<String> = row.get(1)?;
            let known = json.and_then(|json| parse(&json, names.as_deref()));
            Ok((known, time(row, 2)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    Ok(row.map(|(known, seen, hash)| {
        // What was damaged on the disk may still be JSON, or not be there at all: that isn't "unknown", which would
        // hide an interaction for good.
        let is_whole = |known: &Known| {
            known.interaction.guid == guid && ingest::hash(&known.interaction) == hash
        };
        let known = known
            .filter(is_whole)
            .ok_or_else(|| CatalogueError("a stored interaction is unreadable".into()))?;
        Ok(Remembered {
            known: known.into(),
            seen,
        })
    }))
}

fn parse(json: &str, names: Option<&str>) -> Option<Known> {
    let interaction = Interaction::from_json(json).ok()?;
    let previous = match names {
        Some(names) => Some(read_names(names)?),
        None => None,
    };
    let names = NameTable::assign(&interaction.items, previous.as_ref());
    Some(Known { interaction, names })
}

fn read_names(names: &str) -> Option<NameTable> {
    let entries: Vec<(String, Box<str>)> = serde_json::from_str(names).ok()?;
    Some(NameTable::from_entries(
        entries
            .into_iter()
            .map(|(key, name)| (ContentKey::new(&key), name)),
    ))
}

/// Names as they are stored: nothing where the default ones apply.
pub(super) fn write_names(known: &Known) -> Option<String> {
    if known.names == NameTable::assign(&known.interaction.items, None) {
        return None;
    }
    let entries: Vec<(&str, &str)> = known
        .names
        .entries()
        .map(|(key, name)| (key.as_str(), name))
        .collect();
    serde_json::to_string(&entries).ok()
}

fn page(
    connection: &Connection,
    listing: &Listing,
    shown: &Shown,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Listed>> {
    let (from, to) = (micros(listing.window.from), micros(listing.window.to));
    let filter = &shown.filter;
    let by_address = filter.connect_from.is_some() || filter.connect_to.is_some();
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);

    let mut sql = String::from("SELECT i.sequence, i.guid, i.start, i.direction");
    let mut values: Vec<(&str, &dyn ToSql)> =
        vec![(":after", &after), (":from", &from), (":to", &to)];
    sql.push_str(if by_address { ", d.json" } else { "" });
    let agent = listing
        .agent
        .as_ref()
        .map(|agent| agent.as_ref().map_or(NO_AGENT, AgentId::as_str));
    if let Some(agent) = &agent {
        // The order of the joins and the plus keep SQLite on the index that has the rows in order.
        sql.push_str(" FROM agents a CROSS JOIN interactions i ON i.sequence = a.sequence");
        values.push((":listed_agent", agent));
    } else if is_narrow(connection, from, to)? {
        sql.push_str(" FROM interactions i INDEXED BY interactions_by_start");
    } else {
        sql.push_str(" FROM interactions i NOT INDEXED");
    }
    if by_address {
        sql.push_str(" CROSS JOIN details d ON d.sequence = i.sequence");
    }
    sql.push_str(if agent.is_some() {
        " WHERE a.agent = :listed_agent AND a.sequence > :after AND +a.start >= :from AND +a.start < :to"
    } else {
        " WHERE i.sequence > :after AND i.start >= :from AND i.start < :to"
    });
    let seen = shown.seen_since.map(micros);
    if let Some(seen) = &seen {
        sql.push_str(" AND i.seen >= :seen");
        values.push((":seen", seen));
    }
    let direction = filter.direction.as_ref().map(DirectionColumn);
    if let Some(direction) = &direction {
        sql.push_str(" AND i.direction = :direction");
        values.push((":direction", direction));
    }
    let of_agent = filter.agent.as_ref().map(AgentId::as_str);
    if let Some(of_agent) = &of_agent {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM agents f WHERE f.agent = :agent AND f.sequence = i.sequence)",
        );
        values.push((":agent", of_agent));
    }
    sql.push_str(if agent.is_some() {
        " ORDER BY a.sequence"
    } else {
        " ORDER BY i.sequence"
    });
    if !by_address {
        sql.push_str(" LIMIT :rows");
        values.push((":rows", &rows));
    }

    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(&*values)?;
    let mut listed = Vec::with_capacity(limit.min(4096));
    while listed.len() < limit
        && let Some(row) = rows.next()?
    {
        if by_address && !admits(filter, row.get_ref(4)?) {
            continue;
        }
        let sequence = row.get::<_, i64>(0)?.unsigned_abs();
        // A listing that goes back would never end.
        if listed
            .last()
            .map_or(after.unsigned_abs(), |last: &Listed| last.sequence)
            >= sequence
        {
            return Err(out_of_order());
        }
        listed.push(Listed {
            sequence,
            guid: Guid::from_bytes(row.get(1)?),
            start: time(row, 2)?,
            direction: direction_of(row.get_ref(3)?),
        });
    }
    Ok(listed)
}

/// Whether a window holds few enough interactions to be read by its index.
fn is_narrow(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT count(*) < ?3 FROM (SELECT 1 FROM interactions INDEXED BY interactions_by_start
             WHERE start >= ?1 AND start < ?2 LIMIT ?3)",
        )?
        .query_row((from, to, NARROW), |row| row.get(0))
}

fn admits(filter: &SearchFilter, json: ValueRef<'_>) -> bool {
    packed::unpack(json)
        .and_then(|json| Interaction::from_json(&json).ok())
        .is_some_and(|interaction| filter.admits(&interaction))
}

fn agents(connection: &Connection, window: &TimeWindow) -> rusqlite::Result<Vec<Option<AgentId>>> {
    // From agent to agent by the index, without touching the rows in between.
    let mut next = connection
        .prepare_cached("SELECT agent FROM agents WHERE agent > ?1 ORDER BY agent LIMIT 1")?;
    let mut first = connection.prepare_cached("SELECT agent FROM agents ORDER BY agent LIMIT 1")?;
    let mut present = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM agents INDEXED BY agents_by_start
         WHERE agent = ?1 AND start >= ?2 AND start < ?3)",
    )?;
    let mut agents = Vec::new();
    let mut at: Option<String> = first.query_row([], |row| row.get(0)).optional()?;
    while let Some(agent) = at {
        if present.query_row((&agent, micros(window.from), micros(window.to)), |row| {
            row.get(0)
        })? {
            agents.push((agent != NO_AGENT).then(|| AgentId::new(&agent)));
        }
        let behind = next.query_row([&agent], |row| row.get(0)).optional()?;
        at = ahead(&agent, behind)?;
    }
    Ok(agents)
}

/// The next one of a walk along an index. A damaged index need not be in order: the walk would go in circles.
pub(super) fn ahead(at: &str, next: Option<String>) -> rusqlite::Result<Option<String>> {
    if next.as_deref().is_some_and(|next| next <= at) {
        return Err(out_of_order());
    }
    Ok(next)
}

/// An index doesn't keep its order: SQLite doesn't look.
fn out_of_order() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some("an index is out of order".to_owned()),
    )
}

/// The stored spans of one filter.
pub(super) fn searches(connection: &Connection, filter: i64) -> rusqlite::Result<Vec<Span>> {
    connection
        .prepare_cached("SELECT first, behind, at FROM searches WHERE filter = ?1")?
        .query_map([filter], |row| {
            Ok(Span {
                window: TimeWindow {
                    from: time(row, 0)?,
                    to: time(row, 1)?,
                },
                at: time(row, 2)?,
            })
        })?
        .collect()
}

/// What stands for a filter in the database: a hash, because filters hold addresses. 0 for none.
pub(super) fn filter_key(filter: &SearchFilter) -> i64 {
    if filter.is_empty() {
        return 0;
    }
    let fields = [
        filter.agent.as_ref().map(AgentId::as_str),
        filter.direction.as_ref().map(Direction::as_str),
        filter.connect_from.as_ref().map(|text| &**text.reveal()),
        filter.connect_to.as_ref().map(|text| &**text.reveal()),
    ];
    let mut bytes = Vec::new();
    for field in fields {
        let length = field.map_or(u64::MAX, |field| field.len() as u64);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(field.unwrap_or_default().as_bytes());
    }
    xxhash_rust::xxh3::xxh3_64(&bytes).cast_signed()
}

/// A direction as it is stored.
pub(super) struct DirectionColumn<'a>(pub(super) &'a Direction);

impl ToSql for DirectionColumn<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self.0 {
            Direction::Inbound => 0_i64.into(),
            Direction::Outbound => 1_i64.into(),
            Direction::Other(word) => (&**word).into(),
        })
    }
}

fn direction_of(value: ValueRef<'_>) -> Direction {
    match value {
        ValueRef::Integer(0) => Direction::Inbound,
        ValueRef::Integer(_) => Direction::Outbound,
        other => Direction::Other(other.as_str().unwrap_or_default().into()),
    }
}

/// A time as it is stored.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A stored time.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros: i64 = row.get(column)?;
    Timestamp::from_microsecond(micros)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, micros))
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
