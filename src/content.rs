//! The read engine: bytes of content versions, through a memory tier and a disk tier.
//!
//! Every version of every item is one [`Object`], shared by all who read it. The engine owns the bytes,
//! knows which are present, which are in flight and which are worth asking for, and sees to it that a
//! byte held is never fetched again, that bytes of two versions never meet, and that memory stays within
//! its bound. It knows [`crate::remote::Remote`] and neither inode, name nor catalogue.
//!
//! A READ goes `cursor` → `object` → `plan` (pure) → `stream` → `memory` and `disk`:
//!
//! - `block`: how a file is cut, and sets of blocks;
//! - `cursor` and `history`: one handle's reads, and whether they go through the file or jump about;
//! - `object` and `flight`: what is known of a version, who waits for what, which flights are under way;
//! - `plan`: wait for a flight, or ask for which bytes; every rule of the request economy;
//! - `stream` and `pace`: the task of one flight, from its request to its last block, and how fast it goes;
//! - `version_check`: whether an answer is of the object's version;
//! - `whole`: what is missing of a version, and fetching that for later;
//! - `failures`: what has just failed, for the kernel's repetitions;
//! - `memory` and `disk`: the two tiers; `spare`: buffers used again; `shared`: what all objects of an engine share.

mod block;
mod cursor;
pub mod disk;
mod failures;
mod flight;
mod history;
mod memory;
mod object;
mod pace;
mod plan;
mod shared;
mod spare;
mod stream;
#[cfg(test)]
mod tests;
mod version_check;
mod whole;

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use self::disk::{Disk, Entry};
use self::flight::State;
use self::shared::Shared;
use crate::model::{ContentId, ContentKey, Guid, Interaction, Item};
use crate::remote::{Remote, RemoteError, Terms};
use crate::seal::CacheKey;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of blocks kept in memory.
    pub memory_bytes: u64,
    /// The disk tier; `None` writes nothing at all.
    pub disk: Option<DiskSettings>,
}

/// How the disk tier is set up.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// What blocks are sealed with, if they are.
    pub key: Option<CacheKey>,
    /// This account's own directory; made 0700 if missing.
    pub directory: PathBuf,
    /// Bytes kept; the least recently used versions go first.
    pub size_bytes: u64,
    /// How long a version is kept since it was last fetched from the server.
    pub max_age: Duration,
}

/// What an object is, as far as the engine's decisions depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// Pictures of a screen or a person: expires 30 days after its version's `lastModified`.
    pub is_video: bool,
    /// Its type, from a fixed list, for figures by type; empty if whoever asks doesn't know.
    pub sort: &'static str,
}

impl Traits {
    /// An item's.
    pub fn of(item: &Item) -> Self {
        Self {
            is_video: item.item_type.is_video() || item.media_type.starts_with("video/"),
            sort: item.item_type.documented(),
        }
    }
}

/// What is missing of a version in both tiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    /// As many requests as it takes to have all of it; 0 when all of it is held.
    pub requests: u64,
    /// Bytes that are missing, as far as its size is known.
    pub bytes: u64,
    /// Its length in bytes, if it is known.
    pub size: Option<u64>,
}

/// Why bytes could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The version no longer exists: replaced, or deleted upstream.
    #[error("this version no longer exists on the server")]
    Stale,
    /// The deadline passed, or is known to pass before the bytes can come.
    #[error("the deadline passed")]
    DeadlinePassed,
    /// The request failed for good.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Who is told what the engine finds out in passing. Called on runtime threads; must not block.
pub trait Discoveries: Send + Sync + 'static {
    /// The version's true length in bytes, where it was not known or another was listed.
    fn resized(&self, id: &ContentId, size: u64);
    /// The item's content answers 404 or 410.
    fn gone(&self, id: &ContentId);
    /// Other bytes are in the place of the version's, which the metadata may not say yet: nothing that was made of the
    /// old ones counts any more.
    fn replaced(&self, id: &ContentId);
    /// An interaction's metadata was read again.
    fn observed(&self, interaction: Interaction);
}

/// How long an open waits for credentials that are not there yet: the read may need none.
const ADMISSION: Duration = Duration::from_secs(5);

/// The read engine.
pub struct Engine {
    shared: Arc<Shared>,
}

/// One version of one item.
pub struct Object {
    shared: Arc<Shared>,
    id: ContentId,
    /// What its blocks in memory are kept under.
    place: u64,
    disk: Option<Arc<Entry>>,
    state: Mutex<State>,
    /// Held by the one flight that reads the metadata again.
    settling: tokio::sync::Mutex<()>,
}

/// One open handle's view of an object: carries the history that readahead goes by.
pub struct Cursor {
    object: Arc<Object>,
    number: u64,
    /// The block up to which memory was let go behind it.
    released: AtomicU64,
}

/// What is held and under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes of blocks in memory.
    pub memory_bytes: u64,
    /// Bytes on disk, as of the last accounting.
    pub disk_bytes: u64,
    /// The same by type, largest first.
    pub disk_types: Vec<(String, u64)>,
    /// Answers being read.
    pub streams: usize,
    /// Whether there is a disk tier that has not failed.
    pub has_disk: bool,
    /// Whether there is one that also answers just now.
    pub has_working_disk: bool,
}

/// What happened since the engine started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValues {
    /// Bytes that reads were answered with from memory.
    pub memory_bytes: u64,
    /// Bytes read from disk for readers.
    pub disk_bytes: u64,
    /// Bytes that came from the server.
    pub wire_bytes: u64,
    /// Requests for content, each try of the engine's own counted.
    pub requests: u64,
    /// Reads answered without waiting.
    pub hits: u64,
    /// Reads that had to wait for the disk or the server.
    pub misses: u64,
    /// Blocks that left memory for want of room.
    pub memory_evictions: u64,
    /// Versions that left the disk for want of room or for their age.
    pub disk_evictions: u64,
    /// Blocks on disk that failed their checksum.
    pub disk_blocks_refused: u64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor")
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

/// Interactions of which something is on disk.
#[derive(Debug)]
pub struct CachedInteractions(HashSet<u64>);

impl CachedInteractions {
    /// Whether this is one of them.
    pub fn contains(&self, guid: Guid) -> bool {
        self.0.contains(&disk::guid_hash(guid))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The table's objects hold what they share, the table included.
        self.shared.table.clear();
    }
}

impl Engine {
    /// Starts the engine on the current tokio runtime. A disk tier that can't be used is reported once in
    /// the log and done without.
    pub fn new(
        remote: Arc<dyn Remote>,
        discoveries: Arc<dyn Discoveries>,
        settings: Settings,
    ) -> Arc<Self> {
        let disk = settings.disk.and_then(|settings| {
            Disk::open(settings)
                .inspect_err(|why| {
                    tracing::warn!(%why, "the cache directory is of no use: going on without it");
                })
                .ok()
        });
        let shared = Shared::new(remote, discoveries, settings.memory_bytes, disk);
        Arc::new(Self {
            shared: Arc::new(shared),
        })
    }

    /// The object of a version. Cheap; makes no request and reads no disk.
    pub fn object(self: &Arc<Self>, id: &ContentId, traits: Traits) -> Arc<Object> {
        self.shared.table.get_or_make(id, || {
            Object::new(Arc::clone(&self.shared), id.clone(), traits)
        })
    }

    /// The version's true length in bytes if it is known to differ from the metadata's or the metadata has none
    /// (also from an earlier mount, as far as that needs no blocking). Never blocks.
    pub fn learnt_size(&self, id: &ContentId) -> Option<u64> {
        if let Some(object) = self.shared.table.get(id) {
            let state = object.lock();
            return state.size.filter(|_| state.size_is_learnt);
        }
        self.shared
            .disk
            .as_ref()
            .and_then(|disk| disk.learnt_size(id.fingerprint()))
    }

    /// Bytes of the version that are held in either tier, if that was looked up before. Never blocks.
    pub fn held_at_hand(&self, id: &ContentId) -> Option<u64> {
        let object = self.shared.table.get(id);
        let object = object.filter(|object| object.lock().disk_is_known)?;
        let size = object.size().unwrap_or(u64::MAX);
        let held = object.held();
        let last = block::count_of(size).saturating_sub(1);
        let whole = held.len().saturating_mul(block::BLOCK);
        // Only the last block is shorter.
        let cut = if held.contains(last) && size != u64::MAX {
            block::BLOCK - (size - block::start_of(last)).min(block::BLOCK)
        } else {
            0
        };
        Some(whole.saturating_sub(cut))
    }

    /// Bytes of the version that are held in either tier, for `user.interactionfs.cached`; those on a disk that doesn't answer
    /// count as none.
    pub async fn held_bytes(&self, id: &ContentId) -> u64 {
        if let Some(held) = self.held_at_hand(id) {
            return held;
        }
        let Some(disk) = self.shared.disk.clone() else {
            return 0;
        };
        let fingerprint = id.fingerprint();
        let held = self.shared.on_disk(move || disk.held_bytes(fingerprint));
        held.await.ok().flatten().unwrap_or(0)
    }

    /// Deletes all versions of an item (or of all of an interaction's items) from both tiers, in the background.
    pub fn forget(&self, guid: Guid, key: Option<&ContentKey>) {
        for object in self.shared.table.of(guid, key) {
            self.shared.memory.forget(object.place);
            if let Some(entry) = object.entry() {
                // For good: a flight under way must not bring it back to disk.
                entry.retire();
                entry.clear();
            }
            self.shared.table.forget(object.id());
        }
        if let Some(disk) = &self.shared.disk {
            disk.forget(guid, key);
        }
    }

    /// Of which interactions something is on disk. Blocks.
    pub fn cached_interactions(&self) -> CachedInteractions {
        let disk = self.shared.disk.as_ref();
        CachedInteractions(disk.map(|disk| disk.held_guids()).unwrap_or_default())
    }

    /// What is held and under way.
    pub fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.shared.memory.usage().0,
            disk_bytes: self.shared.disk.as_ref().map_or(0, |disk| disk.usage().0),
            disk_types: self
                .shared
                .disk
                .as_ref()
                .map_or_else(Vec::new, |disk| disk.types()),
            streams: self.shared.flights(),
            has_disk: self.shared.has_disk(),
            has_working_disk: self.shared.has_working_disk(),
        }
    }

    /// What happened since the engine started.
    pub fn counters(&self) -> CounterValues {
        let counters = &self.shared.counters;
        let disk = self.shared.disk.as_ref().map(|disk| disk.usage());
        CounterValues {
            memory_bytes: counters.memory_bytes.load(Ordering::Relaxed),
            disk_bytes: counters.disk_bytes.load(Ordering::Relaxed),
            wire_bytes: counters.wire_bytes.load(Ordering::Relaxed),
            requests: counters.requests.load(Ordering::Relaxed),
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            memory_evictions: self.shared.memory.usage().1,
            disk_evictions: disk.map_or(0, |usage| usage.1),
            disk_blocks_refused: disk.map_or(0, |usage| usage.2),
        }
    }

    /// Waits, not for ever, until what came is on disk and accounted for. Not at all for a disk that doesn't answer.
    pub async fn shutdown(&self) {
        if let Some(disk) = self.shared.disk.clone() {
            let _ = self.shared.on_disk(move || disk.flush()).await;
        }
    }
}

impl Object {
    /// Which version this is.
    pub fn id(&self) -> &ContentId {
        &self.id
    }

    /// Its length in bytes: the true one if learnt, else the metadata's, else `None`. A listed length of 0
    /// counts as none until an answer confirms it, because a file believed to be empty is never asked for.
    pub fn size(&self) -> Option<u64> {
        self.lock().size
    }

    /// Its length in bytes; when not known, by one request that also keeps the bytes.
    ///
    /// # Errors
    /// [`ContentError`] when the request fails within the terms.
    pub async fn learn_size(self: &Arc<Self>, terms: Terms) -> Result<u64, ContentError> {
        self.size_within(&terms).await
    }

    /// Whether what is not held of it may be had, as far as that can be told without asking for it.
    ///
    /// # Errors
    /// The credentials are refused, or this item was, and something of it is not held.
    pub async fn admission(self: &Arc<Self>, deadline: Instant) -> Result<(), ContentError> {
        // Accounts may be behind what is there: only the disk itself tells that nothing need be asked for.
        self.look_at_disk().await;
        if self.is_whole() {
            return Ok(());
        }
        let refused = self.lock().failures.of_all(Instant::now());
        let remote = &self.shared.remote;
        if let Some(refusal) = refused.or_else(|| remote.refusal().map(ContentError::from)) {
            return Err(refusal);
        }
        // What else went wrong is the read's to say: it may need nothing of it, or find it mended.
        let deadline = deadline.min(Instant::now() + ADMISSION);
        match remote.admission(deadline).await {
            Err(error @ RemoteError::Unauthorized { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A new handle's view.
    pub fn cursor(self: &Arc<Self>) -> Cursor {
        if let Some(entry) = &self.disk {
            entry.note_use();
        }
        Cursor::new(Arc::clone(self))
    }

    /// The whole version as one verified file on disk, for passthrough; `None` while it is not complete,
    /// not yet verified, or there is no disk tier that answers: the kernel's own reads of a stuck disk end with it only. Never
    /// blocks; may start a verification in the background.
    pub fn complete_file(self: &Arc<Self>) -> Option<Arc<File>> {
        let state = self.lock();
        if state.is_stale || self.shared.disk_is_stuck() {
            return None;
        }
        if !state.disk_is_known {
            drop(state);
            let object = Arc::clone(self);
            self.shared.spawn(async move {
                object.look_at_disk().await;
                if object.lock().disk_is_known {
                    // Starts its verification, if it is complete.
                    object.complete_file();
                }
            });
            return None;
        }
        let size = state.size;
        drop(state);
        self.disk
            .as_ref()
            .filter(|entry| {
                entry
                    .stored()
                    .is_some_and(|stored| Some(stored.size) == size)
            })?
            .complete_file()
    }

    /// Sees to it that all bytes are held, for prefetching small files.
    ///
    /// # Errors
    /// [`ContentError`] when they can't be had within the terms.
    pub async fn fetch_whole(self: &Arc<Self>, terms: Terms) -> Result<(), ContentError> {
        self.whole_within(&terms).await
    }
}

impl Cursor {
    /// What is at `offset`, up to `length` bytes, shorter only at the end of the file: if it can be had without blocking.
    pub fn read_now(&self, offset: u64, length: u32) -> Option<Bytes> {
        self.now(offset, length)
    }

    /// What is at `offset`, up to `length` bytes, shorter only at the end of the file.
    ///
    /// # Errors
    /// [`ContentError::Stale`] when the version is gone, [`ContentError::DeadlinePassed`] at the deadline.
    pub async fn read(
        &self,
        offset: u64,
        length: u32,
        deadline: Instant,
    ) -> Result<Bytes, ContentError> {
        self.within(offset, length, deadline).await
    }
}
