//! The catalogue's file: how it is opened, made, brought up to date, and replaced when it is damaged.
//!
//! What is promised: a connection from here has the present schema, writes ahead (readers never wait for
//! the writer, and a kill at any moment leaves a sound file), and overwrites what is deleted. The file and
//! SQLite's companions are 0600.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::CatalogueError;

/// Marks a SQLite file as a catalogue (`application_id`): "ifsc".
const APPLICATION: i32 = 0x6966_7363;

/// How long a connection waits for another process's write.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The steps from each schema version to the next; the schema's version is how many were made.
///
/// `interactions` is narrow, so that a listing of a million rows reads little; what a listing doesn't
/// show is in `details`. `sequence` is the readers' cookie: AUTOINCREMENT never gives a number twice.
/// Times are microseconds since 1970. `direction` is 0 (inbound), 1 (outbound) or the API's word.
/// `hash` is of the JSON; `missed` counts complete searches in a row that should have shown the
/// interaction and did not. `json` is text or packed (`packed.rs`); `names` is NULL where the default names apply. The agent '' stands for none.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE interactions (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    guid BLOB NOT NULL UNIQUE,
    start INTEGER NOT NULL,
    direction NOT NULL,
    hash INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    missed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX interactions_by_start ON interactions (start);
CREATE TABLE details (
    sequence INTEGER PRIMARY KEY,
    json TEXT NOT NULL,
    names TEXT
);
CREATE TABLE agents (
    agent TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    start INTEGER NOT NULL,
    PRIMARY KEY (agent, sequence)
) WITHOUT ROWID;
CREATE INDEX agents_by_start ON agents (agent, start);
CREATE INDEX agents_by_sequence ON agents (sequence);
CREATE TABLE searches (
    filter INTEGER NOT NULL,
    first INTEGER NOT NULL,
    behind INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE learnt (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
",
    // From here on `details.json` may be packed, which the first version can't read.
    "DROP INDEX agents_by_sequence;",
];

/// Opens the writer's connection to the catalogue at `path`, which is made, or replaced when it is damaged
/// or of a newer schema.
pub(super) fn open(path: &Path) -> Result<Connection, CatalogueError> {
    if marked_damaged(path) {
        tracing::warn!("the catalogue was found damaged and is built anew");
        remove(path)?;
    }
    match try_open(path) {
        Ok(connection) => Ok(connection),
        Err(OpenError::Unusable(why)) => {
            tracing::warn!(why, "the catalogue on disk can't be used and is built anew");
            remove(path)?;
            try_open(path).map_err(|error| CatalogueError(error.to_string()))
        }
        Err(error) => Err(CatalogueError(error.to_string())),
    }
}

/// Replaces the catalogue at `path` by an empty one, whose sequences go on behind `newest`: whoever is in the
/// middle of a listing must not meet a number twice.
pub(super) fn rebuild(path: &Path, newest: i64) -> Result<Connection, CatalogueError> {
    tracing::warn!("the catalogue on disk is damaged and is built anew");
    remove(path)?;
    let connection = try_open(path).map_err(|error| CatalogueError(error.to_string()))?;
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('interactions', ?1)",
        [newest],
    )?;
    Ok(connection)
}

/// A catalogue in memory.
pub(super) fn open_in_memory() -> Result<Connection, CatalogueError> {
    let mut connection = Connection::open_in_memory()?;
    plan_once(&connection)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    migrate(&mut connection).map_err(|error| CatalogueError(error.to_string()))?;
    Ok(connection)
}

/// Fills a catalogue in memory with a database that was serialized, brought up to date.
pub(super) fn restore(connection: &mut Connection, database: &[u8]) -> Result<(), CatalogueError> {
    let unusable = |error: OpenError| CatalogueError(error.to_string());
    connection.deserialize_read_exact("main", database, database.len(), false)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    migrate(connection).map_err(unusable)?;
    probe(connection).map_err(unusable)
}

/// One more connection, which only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // Not opened read-only: the first reader after a crash may have to recover the log's index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    plan_once(&connection)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Has each statement planned once. As it is built here, SQLite otherwise plans one anew whenever another value is bound to
/// it, which takes as long as running it does.
fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Notes beside the file that it proved damaged, so that the next mount builds it anew: under a running
/// one it can't be replaced, since others may have it open.
pub(super) fn mark_damaged(path: &Path) {
    let mark = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(damage_mark(path));
    if let Err(error) = mark {
        tracing::warn!(kind = %error.kind(), "the damaged catalogue can't be marked");
    }
}

/// Whether an error says that the file itself is bad. The statements here are fixed and tried, so one that SQLite doesn't
/// understand, a value of another type or a broken constraint comes from a file in which something has changed by itself.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqlInputError,
        Utf8Error,
    };
    let is_bad = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
        )
    );
    let is_strange = matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | SqlInputError { .. }
            | Utf8Error(..)
    );
    // A file that was cut off.
    let is_short = error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ);
    is_bad || is_strange || is_short
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Unusable(&'static str),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Unusable("it is damaged")
        } else {
            Self::Catalogue(error.into())
        }
    }
}

/// A catalogue as the first version of the schema made it, filled by the caller.
#[cfg(test)]
pub(super) fn make_first_version(path: &Path, fill: impl FnOnce(&Connection)) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection
        .pragma_update(None, "application_id", APPLICATION)
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    fill(&connection);
}

fn try_open(path: &Path) -> Result<Connection, OpenError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    plan_once(&connection)?;
    connection.set_prepared_statement_cache_capacity(64);
    // The first statement that touches the file: a file that is no database fails here.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // With a write-ahead log, NORMAL loses at most the last transactions in a power cut, never soundness.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    // A first search writes a million rows: moved into the file in larger steps, a page is written once for many.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    migrate(&mut connection)?;
    probe(&connection)?;
    Ok(connection)
}

/// Makes the file before SQLite does, which gives its companions the file's mode.
fn make_private(path: &Path) -> Result<(), CatalogueError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let version = schema_version(connection)?;
    if version == MIGRATIONS.len() {
        return check_application(connection);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another mount may have been faster.
    let version = schema_version(&transaction)?;
    if version > 0 {
        check_application(&transaction)?;
    }
    let Some(steps) = MIGRATIONS.get(version..) else {
        return Err(OpenError::Unusable("a newer version wrote it"));
    };
    for step in steps {
        transaction
            .execute_batch(step)
            .map_err(|error| match error {
                error if is_damage(&error) => error.into(),
                // Tables that shouldn't be there: not ours, or half of one of ours.
                _ if version == 0 => OpenError::Unusable("it has an unknown schema"),
                error => OpenError::from(error),
            })?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

fn schema_version(connection: &Connection) -> Result<usize, OpenError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| OpenError::Unusable("it has an unknown schema"))
}

fn check_application(connection: &Connection) -> Result<(), OpenError> {
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION {
        Ok(())
    } else {
        Err(OpenError::Unusable("it isn't a catalogue"))
    }
}

/// Touches every table. Not a check of the whole file, which would take longer the more it holds.
fn probe(connection: &Connection) -> Result<(), OpenError> {
    for query in [
        "SELECT max(sequence), max(hash) FROM (SELECT sequence, hash FROM interactions ORDER BY sequence DESC LIMIT 1)",
        "SELECT max(start), 0 FROM interactions",
        "SELECT max(sequence), max(length(json)) FROM (SELECT sequence, json FROM details ORDER BY sequence DESC LIMIT 1)",
        "SELECT count(*), 0 FROM (SELECT agent FROM agents LIMIT 1)",
        "SELECT count(first), count(at) FROM searches",
        "SELECT count(name), count(value) FROM learnt",
    ] {
        connection
            .query_row(query, [], |_| Ok(()))
            .map_err(|error| match error {
                rusqlite::Error::SqliteFailure(failure, _)
                    if failure.code == ErrorCode::Unknown =>
                {
                    OpenError::Unusable("it has an unknown schema")
                }
                error => OpenError::from(error),
            })?;
    }
    Ok(())
}

fn damage_mark(path: &Path) -> PathBuf {
    beside(path, ".damaged")
}

fn marked_damaged(path: &Path) -> bool {
    damage_mark(path).exists()
}

fn remove(path: &Path) -> Result<(), CatalogueError> {
    for file in [
        path.to_owned(),
        beside(path, "-wal"),
        beside(path, "-shm"),
        damage_mark(path),
    ] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
