//! What is known of the account's interactions, on disk and kept fresh.
//!
//! [`Catalogue`] owns the database: interactions, their items' names, and which windows were searched
//! when. [`Refresher`] owns the schedule of searches and answers demands (a GUID, a day). Nothing here
//! knows an inode or a byte of content.

mod clock;
mod coverage;
mod demand;
#[cfg(test)]
mod fuzz;
mod given;
mod ingest;
mod others;
mod packed;
mod recent;
mod refresh;
mod schedule;
mod schema;
mod sealed;
mod search;
mod settings;
mod state;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upkeep;
mod walk;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

pub use clock::Clock;
pub use refresh::{Freshness, Refresher};
pub use schedule::{Account, requests_per_day};
pub use settings::{Settings, WindowSpec};

use crate::model::{
    AgentId, Day, Direction, Guid, Interaction, NameTable, SearchFilter, TimeWindow,
};
use crate::remote::RemoteError;
use crate::seal::CacheKey;
use coverage::Coverage;
use given::Given;
use ingest::Judged;
use recent::{Recent, Remembered};
use sealed::SealedFile;
use store::{Shown, Store};
use upkeep::{data_version, scrub};

/// An interaction with the names its items have.
#[derive(Clone, Debug)]
pub struct Known {
    /// The interaction.
    pub interaction: Interaction,
    /// The names of its items.
    pub names: NameTable,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where this row stands: grows along the listing, stays with the interaction as long as the catalogue
    /// knows it, and is never given to another. At least 1.
    pub sequence: u64,
    /// The interaction.
    pub guid: Guid,
    /// Its start.
    pub start: Timestamp,
    /// Its direction.
    pub direction: Direction,
}

/// Which interactions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Those that start in this window.
    pub window: TimeWindow,
    /// Only those of this agent; `Some(None)` for those without any agent.
    pub agent: Option<Option<AgentId>>,
}

/// How far a window has been searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it was searched at least once.
    Complete,
    /// It is being searched; more rows may come.
    Searching,
    /// It could not be searched to the end.
    Failed(RemoteError),
}

/// What changed in the catalogue. Sent after the catalogue holds the new state.
#[derive(Clone, Debug)]
pub enum Change {
    /// Interactions that were not known before.
    Added(Guid, Timestamp),
    /// Items were added, replaced or removed.
    Updated {
        /// What was known.
        before: Arc<Known>,
        /// What is known now.
        now: Arc<Known>,
    },
    /// Gone upstream.
    Removed(Arc<Known>),
    /// Updated or removed by other processes, when it wasn't remembered any more what was known.
    Unremembered(Vec<Unremembered>),
}

/// An interaction that changed, of which isn't remembered what was known.
#[derive(Clone, Debug)]
pub struct Unremembered {
    /// The interaction.
    pub guid: Guid,
    /// What is known now; nothing if it is gone.
    pub now: Option<Arc<Known>>,
}

/// Who is told of changes. Called on runtime or blocking threads; must not block, and must not write to the
/// catalogue ([`Catalogue::observe`], [`Catalogue::gone`]): the next change waits for the return.
pub trait Changes: Send + Sync + 'static {
    /// Something changed.
    fn changed(&self, change: Change);
}

/// The catalogue can't be used. The text says what is wrong with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the catalogue can't be used: {0}")]
pub struct CatalogueError(String);

impl From<rusqlite::Error> for CatalogueError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite's own words hold no value that was bound to a statement.
        Self(error.to_string())
    }
}

impl From<std::io::Error> for CatalogueError {
    fn from(error: std::io::Error) -> Self {
        Self(error.kind().to_string())
    }
}

/// A day outside the window of which something is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptDay {
    /// The day.
    pub day: Day,
    /// Whether content of it is kept, not only what the catalogue knows.
    pub is_cached: bool,
}

/// The database of interactions.
#[derive(Debug)]
pub struct Catalogue {
    store: Store,
    /// Where it is written, if it is kept sealed.
    sealed: Option<SealedFile>,
    recent: Mutex<Recent>,
    /// Empty where no other process writes.
    given: Mutex<Given>,
    view: Mutex<View>,
    /// Held while a write and its announcement are made, so that changes are announced in their order.
    writes: Mutex<Writes>,
}

/// What is shown, to whom changes are told, and the time.
#[derive(Debug)]
struct View {
    filter: SearchFilter,
    max_age: Option<Duration>,
    clock: Clock,
    changes: Option<Weak<dyn Changes>>,
}

#[derive(Debug)]
struct Writes {
    /// The highest sequence that was announced.
    newest: i64,
    /// Deleted text may still stand in the write-ahead log.
    scrub_due: bool,
    /// SQLite's mark of what other processes wrote.
    data_version: i64,
}

impl std::fmt::Debug for dyn Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

impl Catalogue {
    /// Opens or makes the catalogue at `path` (0600); one that is damaged or of a newer schema is replaced by an empty one.
    ///
    /// # Errors
    /// [`CatalogueError`] when the file can't be read or written.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        Self::with(Store::open(path)?)
    }

    /// Opens or makes the catalogue that is sealed with `key` at `path` (0600); one that the key doesn't open is replaced
    /// by an empty one. It lives in memory until [`Self::save`] writes it.
    ///
    /// # Errors
    /// [`CatalogueError`] when SQLite refuses.
    pub fn open_sealed(path: &Path, key: &CacheKey) -> Result<Self, CatalogueError> {
        let file = SealedFile::new(path, key);
        let store = match file.load().map(|database| Store::restored(&database)) {
            Some(Ok(store)) => store,
            Some(Err(error)) => {
                tracing::warn!(%error, "the sealed catalogue can't be used and is built anew");
                Store::in_memory()?
            }
            None => Store::in_memory()?,
        };
        let catalogue = Self::with(store)?;
        file.begin(catalogue.store.changes());
        Ok(Self {
            sealed: Some(file),
            ..catalogue
        })
    }

    /// Writes a sealed catalogue, if it has changed since it was written last; others are on disk already, or are to
    /// leave nothing there. Writes the disk.
    ///
    /// # Errors
    /// [`CatalogueError`] when it can't be written; what was written before stays.
    pub fn save(&self) -> Result<(), CatalogueError> {
        let Some(file) = &self.sealed else {
            return Ok(());
        };
        file.save(self.store.changes(), || self.store.serialized())
    }

    /// A catalogue that lives in memory only.
    ///
    /// # Errors
    /// [`CatalogueError`] when SQLite refuses.
    pub fn in_memory() -> Result<Self, CatalogueError> {
        Self::with(Store::in_memory()?)
    }

    fn with(store: Store) -> Result<Self, CatalogueError> {
        let newest = store.checked(ingest::newest_sequence(&store.writer()))?;
        let data_version = store.checked(data_version(&store.writer()))?;
        Ok(Self {
            writes: Mutex::new(Writes {
                newest,
                // The last process may have been killed between a removal and its scrubbing.
                scrub_due: store.is_on_disk(),
                data_version,
            }),
            store,
            sealed: None,
            recent: Mutex::new(Recent::new()),
            given: Mutex::default(),
            view: Mutex::new(View {
                filter: SearchFilter::default(),
                max_age: None,
                clock: Clock::System,
                changes: None,
            }),
        })
    }

    /// An interaction that memory holds. Never blocks.
    pub fn remembered(&self, guid: Guid) -> Option<Arc<Known>> {
        let remembered = self.recent().get(guid)?;
        self.admitted(remembered)
    }

    /// An interaction that memory or the database holds. May read the disk.
    ///
    /// # Errors
    /// [`CatalogueError`] when the database can't be read.
    pub fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError> {
        let (held, generation) = {
            let mut recent = self.recent();
            (recent.get(guid), recent.generation())
        };
        if let Some(remembered) = held {
            return Ok(self.admitted(remembered));
        }
        let Some(remembered) = self.store.interaction(guid)? else {
            return Ok(None);
        };
        if self.store.is_on_disk() {
            let hash = ingest::hash(&remembered.known.interaction);
            self.given().note(guid, hash);
        }
        self.recent().put_read(generation, remembered.clone());
        Ok(self.admitted(remembered))
    }

    /// Returns when the disk doesn't answer those who look for an interaction or write one down; never while it does, and
    /// never without a file.
    pub async fn stuck(&self) {
        self.store.watch().stuck().await;
    }

    /// Up to `limit` rows behind the row `after` (0: from the start), in a stable order. May read the disk.
    ///
    /// Only what the mount's filters admit is listed. Interactions that join while a listing is read
    /// come behind its last row; those that stay keep their places.
    ///
    /// # Errors
    /// [`CatalogueError`] when the database can't be read.
    pub fn page(
        &self,
        listing: &Listing,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError> {
        let page = self.store.page(listing, &self.shown(), after, limit)?;
        if self.store.is_on_disk() {
            let mut given = self.given();
            for (row, hash) in &page {
                given.note(row.guid, *hash);
            }
        }
        Ok(page.into_iter().map(|(row, _)| row).collect())
    }

    /// The agents of the interactions in a window, sorted; `None` stands for interactions without any. May read the disk.
    ///
    /// # Errors
    /// [`CatalogueError`] when the database can't be read.
    pub fn agents(&self, window: &TimeWindow) -> Result<Vec<Option<AgentId>>, CatalogueError> {
        self.store.agents(window, &self.shown())
    }

    /// Takes in an interaction whose metadata was read by itself. May write the disk.
    pub fn observe(&self, interaction: Interaction) {
        if let Err(error) = self.take_in(&[interaction]) {
            tracing::warn!(%error, "an interaction could not be kept");
        }
    }

    /// Removes an interaction for which the API answered that it is gone. May write the disk.
    pub fn gone(&self, guid: Guid) {
        let removed = self.write(|connection| {
            let change = ingest::forget(connection, guid)?;
            Ok(((), change.into_iter().collect()))
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "an interaction that is gone could not be removed");
        }
    }

    /// Whether it knows no interaction at all, so that a mount would have nothing to show. Reads the disk.
    pub fn is_empty(&self) -> bool {
        self.known().is_ok_and(|known| known == 0)
    }

    /// How many interactions it knows. Reads the disk, and takes the longer the more there are.
    ///
    /// # Errors
    /// [`CatalogueError`] when the database can't be read.
    pub fn known(&self) -> Result<u64, CatalogueError> {
        self.store.count(None)
    }

    /// The days outside a window of which anything is kept: known here, or cached elsewhere, which `is_cached`
    /// tells of each interaction. Reads the disk, and all interactions.
    ///
    /// # Errors
    /// [`CatalogueError`] when the database can't be read.
    pub fn kept_outside(
        &self,
        window: &TimeWindow,
        is_cached: &dyn Fn(Guid) -> bool,
    ) -> Result<Vec<KeptDay>, CatalogueError> {
        let days = self.store.days_outside(window, is_cached)?;
        Ok(days
            .into_iter()
            .map(|(day, is_cached)| KeptDay { day, is_cached })
            .collect())
    }

    /// Narrows what is shown, and says who is told of changes.
    fn attach(&self, settings: &Settings, clock: Clock, changes: Option<Weak<dyn Changes>>) {
        let mut view = self.view();
        view.filter = settings.filter.clone();
        view.max_age = settings.offline.then_some(settings.max_age);
        view.clock = clock;
        view.changes = changes;
    }

    /// Takes in a page, and returns its interactions' sequences.
    fn take_in(&self, interactions: &[Interaction]) -> Result<Vec<i64>, CatalogueError> {
        let now = self.now();
        self.write(|connection| {
            let ingested = ingest::take_in(connection, interactions, now)?;
            Ok((ingested.sequences, ingested.changes))
        })
    }

    /// Notes that a complete search of `window`, begun at `at`, showed only `seen` (sorted). Returns what was
    /// missed for the first time.
    fn judge(
        &self,
        window: &TimeWindow,
        seen: &[i64],
        at: Timestamp,
    ) -> Result<Vec<(Guid, Timestamp)>, CatalogueError> {
        let missed = self.store.unseen(window, seen)?;
        if missed.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|connection| {
            let Judged { suspects, changes } = ingest::judge(connection, &missed, at)?;
            Ok((suspects, changes))
        })
    }

    /// What was searched with these filters or with none, and when.
    fn coverage(&self, filter: &SearchFilter) -> Result<Coverage, CatalogueError> {
        let mut coverage = self.store.coverage(filter)?;
        coverage.forget_future(self.now());
        Ok(coverage)
    }

    /// Notes a complete search of `window`, begun at `at`.
    fn searched(
        &self,
        filter: &SearchFilter,
        window: TimeWindow,
        at: Timestamp,
    ) -> Result<(), CatalogueError> {
        let noted = ingest::searched(&mut self.store.writer(), filter, window, at, self.now());
        self.store.checked(noted)
    }

    /// Notes a number that was learnt about the server.
    fn learn(&self, name: &str, value: i64) -> Result<(), CatalogueError> {
        let noted = ingest::learn(&mut self.store.writer(), name, value);
        self.store.checked(noted)
    }

    /// Writes, and announces what that changed.
    fn write<T>(
        &self,
        write: impl FnOnce(&mut Connection) -> rusqlite::Result<(T, Vec<Change>)>,
    ) -> Result<T, CatalogueError> {
        let mut writes = self.writes();
        let _call = self.store.writing();
        let written = {
            let mut connection = self.store.writer();
            write(&mut connection).and_then(|(value, changes)| {
                let (added, newest) = ingest::added_by_others(&connection, writes.newest)?;
                Ok((value, changes, added, newest))
            })
        };
        let (value, mut changes, added, newest) = self.store.checked(written)?;
        writes.newest = newest;
        let own: std::collections::HashSet<Guid> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Added(guid, _) => Some(*guid),
                _ => None,
            })
            .collect();
        changes.extend(
            added
                .into_iter()
                .filter(|change| !matches!(change, Change::Added(guid, _) if own.contains(guid))),
        );
        let removed = changes
            .iter()
            .any(|change| matches!(change, Change::Removed(_)));
        // What was replaced is overwritten with the next round, what is gone at once.
        writes.scrub_due |= changes
            .iter()
            .any(|change| matches!(change, Change::Updated { .. }));
        self.announce(changes);
        if removed && self.store.is_on_disk() {
            writes.scrub_due = !self.store.checked(scrub(&self.store.writer()))?;
        }
        Ok(value)
    }

    /// Brings memory up to date, and tells whoever wants to know.
    fn announce(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.take_into_memory(&changes);
        let listener = self.view().changes.as_ref().and_then(Weak::upgrade);
        if let Some(listener) = listener {
            for change in changes {
                listener.changed(change);
            }
        }
    }

    fn take_into_memory(&self, changes: &[Change]) {
        let seen = self.now();
        let is_shared = self.store.is_on_disk();
        let mut recent = self.recent();
        let mut given = self.given();
        recent.written();
        for change in changes {
            match change {
                Change::Added(..) => {}
                Change::Updated { before, now } => {
                    let guid = now.interaction.guid;
                    if is_shared {
                        let hash = |known: &Known| ingest::hash(&known.interaction);
                        given.changed(guid, hash(before), hash(now));
                    }
                    recent.changed(Remembered {
                        known: now.clone(),
                        seen,
                    });
                }
                Change::Removed(known) => {
                    given.removed(known.interaction.guid);
                    recent.removed(known.interaction.guid);
                }
                Change::Unremembered(changed) => {
                    for Unremembered { guid, now } in changed {
                        match now {
                            Some(now) => given.replaced(*guid, ingest::hash(&now.interaction)),
                            None => given.removed(*guid),
                        }
                        recent.removed(*guid);
                    }
                }
            }
        }
    }

    fn admitted(&self, remembered: Remembered) -> Option<Arc<Known>> {
        self.seen_since()
            .is_none_or(|since| remembered.seen >= since)
            .then_some(remembered.known)
    }

    fn shown(&self) -> Shown {
        Shown {
            seen_since: self.seen_since(),
            filter: self.view().filter.clone(),
        }
    }

    fn seen_since(&self) -> Option<Timestamp> {
        let view = self.view();
        let max_age = view.max_age?;
        Some(
            view.clock
                .now()
                .checked_sub(max_age)
                .unwrap_or(Timestamp::MIN),
        )
    }

    fn now(&self) -> Timestamp {
        self.view().clock.now()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
