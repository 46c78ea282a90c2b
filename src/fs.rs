//! The filesystem's behaviour, without a word of FUSE: inodes, handles, attributes, listings.
//!
//! [`FileSystem`] answers lookups, listings and reads from what exists ([`Interactions`]) and its bytes
//! ([`Contents`]). It owns the inode numbers and the open handles. Its operations are futures that do
//! everything they can from memory before they first wait: whoever polls one once on a thread that must
//! not block gets the answer if it takes no disk and no network, and may hand the same future over
//! otherwise. Every operation ends by its deadline.

mod ahead;
mod attr;
mod error;
mod gone;
mod handle;
mod inode;
mod invalidate;
mod listing;
mod lookup;
mod open;
mod shown;
mod sources;
mod text;
mod walk;
mod xattr;

#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

pub use attr::{Attributes, Kind};
pub use error::FsError;
pub use inode::{Inode, InodeTable, ROOT};
pub use invalidate::{Announcer, Kernel, Notice};
pub use listing::{Batch, Row};
pub use lookup::Found;
pub use open::Opened;
pub use sources::{
    CatalogueInteractions, Content, Contents, EngineContents, Interactions, Reader, SpecialFiles,
};
pub use text::Render;

use crate::lane::Lane;
use crate::model::ItemType;
use crate::remote::{Class, RetryBudget, Terms};
use handle::{Handles, OpenFile};
use listing::OpenDirectory;
use shown::Shown;
use text::TextCache;
use walk::Walks;

/// What of the filesystem can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// The owner of everything.
    pub uid: u32,
    /// The group of everything.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
    /// Whether interactions show text and subtitles beside the recording.
    pub sidecars: bool,
    /// Only items of these types are shown; `None` for all.
    pub types: Option<HashSet<ItemType>>,
    /// How long a read may take.
    pub deadline: Duration,
    /// How long anything else may take: a program that waits in lookup or open can't be killed.
    pub metadata_deadline: Duration,
}

/// What the filesystem stands on.
#[derive(Clone)]
pub struct Sources {
    /// What exists.
    pub interactions: Arc<dyn Interactions>,
    /// The bytes.
    pub contents: Arc<dyn Contents>,
    /// The files of `.interactionfs`.
    pub special: Arc<dyn SpecialFiles>,
    /// How a transcript becomes plain text.
    pub render: Render,
}

/// The filesystem.
pub struct FileSystem {
    interactions: Arc<dyn Interactions>,
    contents: Arc<dyn Contents>,
    special: Arc<dyn SpecialFiles>,
    texts: TextCache,
    announcer: Arc<Announcer>,
    inodes: Arc<InodeTable>,
    shown: Arc<Shown>,
    walks: Arc<Walks>,
    options: Options,
    started: Timestamp,
    files: Handles<OpenFile>,
    directories: Handles<OpenDirectory>,
}

impl std::fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSystem")
            .field("inodes", &self.inodes.count())
            .finish_non_exhaustive()
    }
}

impl FileSystem {
    /// Puts the filesystem together. `announcer` is the one that the sources tell of changes; it holds no
    /// strong reference to them.
    pub fn new(announcer: Arc<Announcer>, sources: Sources, options: Options) -> Arc<Self> {
        announcer.attach(
            Arc::downgrade(&sources.interactions),
            Arc::downgrade(&sources.contents),
        );
        let shown = Shown::new(options.types.clone(), announcer.gone_versions());
        Arc::new(Self {
            interactions: sources.interactions,
            contents: sources.contents,
            special: sources.special,
            texts: TextCache::new(sources.render),
            inodes: announcer.inodes(),
            started: announcer.root_time(),
            announcer,
            shown: Arc::new(shown),
            walks: Arc::default(),
            options,
            files: Handles::default(),
            directories: Handles::default(),
        })
    }

    /// Lets changes be told to the kernel from now on.
    pub fn connect(&self, kernel: Arc<dyn Kernel>) {
        self.announcer.connect(kernel);
    }

    /// Takes back lookups.
    pub fn forget(&self, number: u64, lookups: u64) {
        self.inodes.forget(number, lookups);
    }

    /// How many inodes the kernel holds.
    pub fn held_inodes(&self) -> usize {
        self.inodes.count()
    }

    /// Open files just now.
    pub fn open_files(&self) -> usize {
        self.files.count()
    }

    fn metadata_deadline(&self) -> Instant {
        Instant::now() + self.options.metadata_deadline
    }
}

/// Terms for what a program waits for until `deadline`.
fn reader_terms(deadline: Instant) -> Terms {
    Terms {
        class: Class::Reader,
        deadline,
        retries: RetryBudget::standard(),
    }
}

/// Runs an operation until its deadline. The layers below keep it too; this is for what none of them sees.
async fn within<T>(
    deadline: Instant,
    operation: impl Future<Output = Result<T, FsError>>,
) -> Result<T, FsError> {
    tokio::time::timeout_at(deadline, operation)
        .await
        .unwrap_or(Err(FsError::TimedOut))
}

/// Runs what may read the disk on a thread that may block, one of `lane`'s.
async fn blocking<T: Send + 'static>(
    lane: &'static Lane,
    work: impl FnOnce() -> Result<T, FsError> + Send + 'static,
) -> Result<T, FsError> {
    lane.run(work).await.unwrap_or(Err(FsError::Failed))
}
