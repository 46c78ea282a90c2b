//! What is written to the database: pages of interactions, removals, searches made.
//!
//! Each call is one transaction, and returns what it changed once that is committed. An interaction keeps
//! its sequence as long as it is known; one that comes back after a removal is a new row.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::coverage::Coverage;
use super::packed::pack;
use super::store::query::{
    DirectionColumn, NO_AGENT, filter_key, load, micros, searches, time, write_names,
};
use super::{Change, Known};
use crate::model::{AgentId, Guid, Interaction, NameTable, SearchFilter, TimeWindow, most_values};

/// How old the note of when an interaction was last seen may be: seeing it again within that time writes
/// nothing.
const SEEN_TO: SignedDuration = SignedDuration::from_hours(1);

/// How many complete searches in a row must miss an interaction that is gone.
const MISSES: i64 = 2;

/// Interactions of more values are not compared value by value.
const COMPARED_MAX: usize = 20_000;

/// What a page brought.
#[derive(Debug, Default)]
pub(super) struct Ingested {
    /// The sequences of the interactions on it.
    pub(super) sequences: Vec<i64>,
    /// What changed.
    pub(super) changes: Vec<Change>,
}

/// What a search's end brought.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Missed for the first time.
    pub(super) suspects: Vec<(Guid, Timestamp)>,
    /// What changed.
    pub(super) changes: Vec<Change>,
}

/// Takes in interactions that the API showed at `now`.
pub(super) fn take_in(
    connection: &mut Connection,
    interactions: &[Interaction],
    now: Timestamp,
) -> rusqlite::Result<Ingested> {
    let transaction = begin(connection)?;
    let mut ingested = Ingested::default();
    for interaction in interactions {
        let (sequence, change) = take_in_one(&transaction, interaction, now)?;
        ingested.sequences.push(sequence);
        ingested.changes.extend(change);
    }
    transaction.commit()?;
    Ok(ingested)
}

fn take_in_one(
    transaction: &Transaction<'_>,
    interaction: &Interaction,
    now: Timestamp,
) -> rusqlite::Result<(i64, Option<Change>)> {
    let hash = hash(interaction);
    let known = transaction
        .prepare_cached("SELECT sequence, hash, seen, missed FROM interactions WHERE guid = ?1")?
        .query_row([interaction.guid.as_bytes()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                time(row, 2)?,
                row.get::<_, i64>(3)?,
            ))
        })
        .optional()?;
    let Some((sequence, known_hash, seen, missed)) = known else {
        let sequence = insert(transaction, interaction, hash, now)?;
        let change = Change::Added(interaction.guid, interaction.start);
        return Ok((sequence, Some(change)));
    };
    if known_hash == hash {
        note_seen(transaction, sequence, seen, missed, now)?;
        return Ok((sequence, None));
    }
    // A stored interaction that can't be read is replaced like one that isn't there.
    let before = load(transaction, interaction.guid)?
        .and_then(Result::ok)
        .map(|held| held.known);
    if let Some(before) = &before
        && says_the_same(&before.interaction, interaction)
    {
        note_seen(transaction, sequence, seen, missed, now)?;
        return Ok((sequence, None));
    }
    let names = NameTable::assign(
        &interaction.items,
        before.as_ref().map(|before| &before.names),
    );
    let known = Arc::new(Known {
        interaction: interaction.clone(),
        names,
    });
    unfile(
        transaction,
        sequence,
        before.as_ref().map(|before| &before.interaction),
    )?;
    update(transaction, sequence, &known, hash, now)?;
    let change = match before {
        Some(before) => Change::Updated { before, now: known },
        None => Change::Added(interaction.guid, interaction.start),
    };
    Ok((sequence, Some(change)))
}

fn insert(
    transaction: &Transaction<'_>,
    interaction: &Interaction,
    hash: i64,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO interactions (guid, start, direction, hash, seen) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            interaction.guid.as_bytes(),
            micros(interaction.start),
            DirectionColumn(&interaction.direction),
            hash,
            micros(now),
        ))?;
    let sequence = transaction.last_insert_rowid();
    transaction
        .prepare_cached("INSERT OR REPLACE INTO details (sequence, json) VALUES (?1, ?2)")?
        .execute((sequence, pack(interaction.json.reveal())))?;
    file_by_agent(transaction, sequence, interaction)?;
    Ok(sequence)
}

fn update(
    transaction: &Transaction<'_>,
    sequence: i64,
    known: &Known,
    hash: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let interaction = &known.interaction;
    transaction
        .prepare_cached(
            "UPDATE interactions SET start = ?2, direction = ?3, hash = ?4, seen = ?5, missed = 0
             WHERE sequence = ?1",
        )?
        .execute((
            sequence,
            micros(interaction.start),
            DirectionColumn(&interaction.direction),
            hash,
            micros(now),
        ))?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO details (sequence, json, names) VALUES (?1, ?2, ?3)",
        )?
        .execute((
            sequence,
            pack(interaction.json.reveal()),
            write_names(known),
        ))?;
    file_by_agent(transaction, sequence, interaction)
}

/// The agents that an interaction is filed under.
fn filed_under(interaction: &Interaction) -> BTreeSet<&str> {
    let mut agents: BTreeSet<&str> = interaction.agents.iter().map(AgentId::as_str).collect();
    if agents.is_empty() {
        agents.insert(NO_AGENT);
    }
    agents
}

/// Takes an interaction from its agents: `before` is what was stored, if it could be read.
fn unfile(
    transaction: &Transaction<'_>,
    sequence: i64,
    before: Option<&Interaction>,
) -> rusqlite::Result<()> {
    let Some(before) = before else {
        // Reads the whole table, which is as rare as a damaged row.
        return transaction
            .prepare_cached("DELETE FROM agents WHERE sequence = ?1")?
            .execute([sequence])
            .map(drop);
    };
    let mut delete =
        transaction.prepare_cached("DELETE FROM agents WHERE agent = ?1 AND sequence = ?2")?;
    for agent in filed_under(before) {
        delete.execute((agent, sequence))?;
    }
    Ok(())
}

fn file_by_agent(
    transaction: &Transaction<'_>,
    sequence: i64,
    interaction: &Interaction,
) -> rusqlite::Result<()> {
    let agents = filed_under(interaction);
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO agents (agent, sequence, start) VALUES (?1, ?2, ?3)",
    )?;
    for agent in agents {
        insert.execute((agent, sequence, micros(interaction.start)))?;
    }
    Ok(())
}

fn note_seen(
    transaction: &Transaction<'_>,
    sequence: i64,
    seen: Timestamp,
    missed: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if missed > 0 || now.duration_since(seen) >= SEEN_TO {
        transaction
            .prepare_cached("UPDATE interactions SET seen = ?2, missed = 0 WHERE sequence = ?1")?
            .execute((sequence, micros(now)))?;
    }
    Ok(())
}

/// Notes that a complete search, begun at `at`, missed these interactions, and removes those that it
/// wasn't the first to miss. What was seen since then isn't judged.
pub(super) fn judge(
    connection: &mut Connection,
    missed: &[i64],
    at: Timestamp,
) -> rusqlite::Result<Judged> {
    let transaction = begin(connection)?;
    let mut judged = Judged::default();
    for sequence in missed {
        let row = transaction
            .prepare_cached(
                "UPDATE interactions SET missed = missed + 1 WHERE sequence = ?1 AND seen < ?2
                 RETURNING missed, guid, start",
            )?
            .query_row((sequence, micros(at)), |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    Guid::from_bytes(row.get(1)?),
                    time(row, 2)?,
                ))
            })
            .optional()?;
        match row {
            Some((misses, guid, _)) if misses >= MISSES => {
                judged.changes.extend(remove(&transaction, guid)?);
            }
            Some((_, guid, start)) => judged.suspects.push((guid, start)),
            None => {}
        }
    }
    transaction.commit()?;
    Ok(judged)
}

/// Removes an interaction that is gone.
pub(super) fn forget(connection: &mut Connection, guid: Guid) -> rusqlite::Result<Option<Change>> {
    let transaction = begin(connection)?;
    let change = remove(&transaction, guid)?;
    transaction.commit()?;
    Ok(change)
}

fn remove(transaction: &Transaction<'_>, guid: Guid) -> rusqlite::Result<Option<Change>> {
    let known = load(transaction, guid)?
        .and_then(Result::ok)
        .map(|held| held.known);
    let sequence: Option<i64> = transaction
        .prepare_cached("DELETE FROM interactions WHERE guid = ?1 RETURNING sequence")?
        .query_row([guid.as_bytes()], |row| row.get(0))
        .optional()?;
    if let Some(sequence) = sequence {
        transaction
            .prepare_cached("DELETE FROM details WHERE sequence = ?1")?
            .execute([sequence])?;
        let before = known.as_ref().map(|known| &known.interaction);
        unfile(transaction, sequence, before)?;
    }
    Ok(known.map(Change::Removed))
}

/// Notes a complete search of `window`, begun at `at`.
pub(super) fn searched(
    connection: &mut Connection,
    filter: &SearchFilter,
    window: TimeWindow,
    at: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = begin(connection)?;
    // Read again: another mount may have searched too.
    let key = filter_key(filter);
    let mut coverage = Coverage::of(searches(&transaction, key)?);
    coverage.forget_future(now);
    coverage.searched(window, at);
    transaction
        .prepare_cached("DELETE FROM searches WHERE filter = ?1")?
        .execute([key])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO searches (filter, first, behind, at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for span in coverage.spans() {
        insert.execute((
            key,
            micros(span.window.from),
            micros(span.window.to),
            micros(span.at),
        ))?;
    }
    drop(insert);
    transaction.commit()
}

/// Notes a number that was learnt about the server.
pub(super) fn learn(connection: &mut Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO learnt (name, value) VALUES (?1, ?2)")?
        .execute((name, value))?;
    Ok(())
}

/// Interactions that joined behind `newest` without this process's doing, and the newest sequence now.
pub(super) fn added_by_others(
    connection: &Connection,
    newest: i64,
) -> rusqlite::Result<(Vec<Change>, i64)> {
    let last = newest_sequence(connection)?;
    if last <= newest {
        return Ok((Vec::new(), newest));
    }
    let changes = connection
        .prepare_cached("SELECT guid, start FROM interactions WHERE sequence > ?1")?
        .query_map([newest], |row| {
            Ok(Change::Added(Guid::from_bytes(row.get(0)?), time(row, 1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((changes, last))
}

/// The highest sequence that is in use.
pub(super) fn newest_sequence(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM interactions")?
        .query_row([], |row| row.get(0))
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// What tells two states of an interaction apart without reading them.
pub(super) fn hash(interaction: &Interaction) -> i64 {
    xxhash_rust::xxh3::xxh3_64(interaction.json.reveal().as_bytes()).cast_signed()
}

/// Whether two texts say the same, whatever the order of their fields and their spacing. Long ones count as
/// changed: to compare them takes many times their size.
fn says_the_same(a: &Interaction, b: &Interaction) -> bool {
    let is_long = |one: &Interaction| most_values(one.json.reveal().as_bytes()) > COMPARED_MAX;
    if is_long(a) || is_long(b) {
        return false;
    }
    let read = |interaction: &Interaction| {
        serde_json::from_str::<serde_json::Value>(interaction.json.reveal()).ok()
    };
    match (read(a), read(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}
