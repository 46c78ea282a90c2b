//! What the file needs from time to time: a look for what others wrote, an end of what was deleted, and another file in the
//! place of a damaged one.

use std::time::Duration;

use rusqlite::Connection;

use super::given::Given;
use super::recent::Remembered;
use super::{Catalogue, CatalogueError, ingest, schema};

impl Catalogue {
    /// Finds out what other processes changed of what was given out, and overwrites what still lies in the
    /// write-ahead log of what was deleted. Replaces a file that proved damaged. Returns whether others
    /// wrote.
    pub(super) fn keep_house(&self) -> Result<bool, CatalogueError> {
        if !self.store.is_on_disk() {
            return Ok(false);
        }
        let mut writes = self.writes();
        let _call = self.store.writing();
        if self.store.is_damaged() {
            self.store.rebuild(writes.newest)?;
            // What isn't found again isn't gone for that; but what memory holds must not grow old.
            let held = self.recent().all();
            let mut given = self.given();
            *given = Given::default();
            for Remembered { known, .. } in held {
                given.note(known.interaction.guid, ingest::hash(&known.interaction));
            }
            drop(given);
            writes.data_version = self.store.checked(data_version(&self.store.writer()))?;
        }
        let version = self.store.checked(data_version(&self.store.writer()))?;
        let others_wrote = version != writes.data_version;
        if others_wrote {
            self.changed_by_others(&mut writes)?;
            writes.data_version = version;
        }
        if writes.scrub_due {
            writes.scrub_due = !self.store.checked(scrub(&self.store.writer()))?;
        }
        Ok(others_wrote)
    }
}

/// SQLite's mark of what other connections wrote.
pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// Moves the write-ahead log into the file and empties it; false if a reader is in the way.
pub(super) fn scrub(connection: &Connection) -> rusqlite::Result<bool> {
    // A reader is done soon; the next round tries again.
    connection.busy_timeout(Duration::from_millis(200))?;
    let blocked: rusqlite::Result<i64> =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(schema::BUSY)?;
    match blocked {
        Ok(blocked) => Ok(blocked == 0),
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                || error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseLocked) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
