//! The statements that read the database, and the values of its columns.
//!
//! Plain functions on a connection: which one, and what becomes of damage, is [`super::Store`]'s.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use super::Shown;
use crate::catalogue::coverage::Span;
use crate::catalogue::recent::Remembered;
use crate::catalogue::{CatalogueError, Known, Listed, Listing, ingest, packed};
use crate::model::{
    AgentId, ContentKey, Direction, Guid, Interaction, NameTable, SearchFilter, TimeWindow,
};

/// A window with fewer interactions than this is read by its index and sorted, a fuller one in the order
/// of the table, which skips what is outside.
const NARROW: i64 = 4096;

/// The agent under which interactions without any are filed.
pub(in crate::catalogue) const NO_AGENT: &str = "";

/// An interaction as it is stored, by its GUID.
pub(in crate::catalogue) const LOAD: &str =
    "SELECT details.json, details.names, interactions.seen, hash FROM interactions
     LEFT JOIN details USING (sequence) WHERE guid = ?1";

/// An interaction by its GUID. The inner error is of what was stored, not of the database.
pub(in crate::catalogue) fn load(
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
pub(in crate::catalogue) fn write_names(known: &Known) -> Option<String> {
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

pub(super) fn page(
    connection: &Connection,
    listing: &Listing,
    shown: &Shown,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(Listed, i64)>> {
    let (from, to) = (micros(listing.window.from), micros(listing.window.to));
    let filter = &shown.filter;
    let by_address = filter.connect_from.is_some() || filter.connect_to.is_some();
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);

    let mut sql = String::from("SELECT i.sequence, i.guid, i.start, i.direction, i.hash");
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
        if by_address && !admits(filter, row.get_ref(5)?) {
            continue;
        }
        let sequence = row.get::<_, i64>(0)?.unsigned_abs();
        // A listing that goes back would never end.
        if listed
            .last()
            .map_or(after.unsigned_abs(), |(last, _): &(Listed, i64)| {
                last.sequence
            })
            >= sequence
        {
            return Err(out_of_order());
        }
        let row_listed = Listed {
            sequence,
            guid: Guid::from_bytes(row.get(1)?),
            start: time(row, 2)?,
            direction: direction_of(row.get_ref(3)?),
        };
        listed.push((row_listed, row.get(4)?));
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

pub(super) fn agents(
    connection: &Connection,
    window: &TimeWindow,
) -> rusqlite::Result<Vec<Option<AgentId>>> {
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
pub(in crate::catalogue) fn ahead(
    at: &str,
    next: Option<String>,
) -> rusqlite::Result<Option<String>> {
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
pub(in crate::catalogue) fn searches(
    connection: &Connection,
    filter: i64,
) -> rusqlite::Result<Vec<Span>> {
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
pub(in crate::catalogue) fn filter_key(filter: &SearchFilter) -> i64 {
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
pub(in crate::catalogue) struct DirectionColumn<'a>(pub(in crate::catalogue) &'a Direction);

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
pub(in crate::catalogue) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A stored time.
pub(in crate::catalogue) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros: i64 = row.get(column)?;
    Timestamp::from_microsecond(micros)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, micros))
}
