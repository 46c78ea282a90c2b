//! The file of a catalogue that is sealed with the user's key: the whole database as one sealed piece.
//!
//! While it is used the database lives in memory; it is written now and then, by a new file that takes the old one's
//! place, so a kill at any moment leaves the one or the other. Losing the latest costs searches, never soundness.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CatalogueError;
use crate::seal::{CacheKey, Sealer};

/// Where a sealed catalogue is kept.
#[derive(Debug)]
pub(super) struct SealedFile {
    path: PathBuf,
    sealer: Sealer,
    /// How many changes the database had seen when it was written last. Held while it is written, which concerns nobody
    /// but who would write it at the same time: the database's own locks are free meanwhile.
    written: Mutex<u64>,
}

impl SealedFile {
    pub(super) fn new(path: &Path, key: &CacheKey) -> Self {
        Self {
            path: path.to_owned(),
            sealer: key.sealer(b"catalogue", b""),
            written: Mutex::default(),
        }
    }

    /// The database as it was written last; `None` if there is none, or none that this key opens.
    pub(super) fn load(&self) -> Option<Vec<u8>> {
        let sealed = fs::read(&self.path).ok()?;
        let opened = self.sealer.open(0, sealed);
        if opened.is_none() {
            tracing::warn!("the sealed catalogue is damaged and is built anew");
        }
        opened
    }

    /// Takes what the database is after so many changes for what is written.
    pub(super) fn begin(&self, changes: u64) {
        *self.lock() = changes;
    }

    /// Writes the database, which has seen so many changes, in place of what was written before; unless that is the same.
    pub(super) fn save(
        &self,
        changes: u64,
        database: impl FnOnce() -> Result<Vec<u8>, CatalogueError>,
    ) -> Result<(), CatalogueError> {
        let mut written = self.lock();
        if *written != changes {
            self.write(&database()?)?;
            *written = changes;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, database: &[u8]) -> io::Result<()> {
        let sealed = self.sealer.seal(0, database).map_err(io::Error::other)?;
        // Another mount of the account may be writing its own.
        let beside = self.path.with_extension(std::process::id().to_string());
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(&sealed)?;
                file.sync_data()
            })
            .and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            // Half of it is of no use to anybody.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}
