//! What the filesystem needs of the layers below, as narrow traits: so that its behaviour can be tested
//! against the simplest things that keep them.
//!
//! Implemented here for the catalogue with its refresher, and for the read engine.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::catalogue::{Catalogue, CatalogueError, Known, Listed, Listing, Progress, Refresher};
use crate::content::{ContentError, Cursor, Engine, Object, Traits};
use crate::model::{AgentId, ContentId, ContentKey, Day, Guid, Interaction, TimeWindow};
use crate::remote::{RemoteError, Terms};
use crate::tree::SpecialFile;

/// What exists. The methods are [`Catalogue`]'s and [`Refresher`]'s, and promise what those promise.
pub trait Interactions: Send + Sync + 'static {
    /// [`Catalogue::remembered`]. Never blocks.
    fn remembered(&self, guid: Guid) -> Option<Arc<Known>>;
    /// [`Catalogue::interaction`]. May read the disk.
    ///
    /// # Errors
    /// When the database can't be read.
    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError>;
    /// [`Catalogue::page`]. May read the disk.
    ///
    /// # Errors
    /// When the database can't be read.
    fn page(
        &self,
        listing: &Listing,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError>;
    /// [`Catalogue::agents`]. May read the disk.
    ///
    /// # Errors
    /// When the database can't be read.
    fn agents(&self, window: &TimeWindow) -> Result<Vec<Option<AgentId>>, CatalogueError>;
    /// [`Catalogue::observe`]. May write the disk.
    fn observe(&self, interaction: Interaction);
    /// [`Refresher::window`].
    fn window(&self) -> TimeWindow;
    /// [`Refresher::progress`].
    fn progress(&self, window: &TimeWindow) -> Progress;
    /// [`Refresher::progressed`].
    fn progressed(&self, deadline: Instant) -> BoxFuture<'_, ()>;
    /// [`Refresher::find`].
    fn find(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>>;
    /// [`Refresher::reread`].
    fn reread(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>>;
    /// [`Refresher::demand_day`].
    fn demand_day(&self, day: Day);
}

/// The bytes of content versions: [`Engine`].
pub trait Contents: Send + Sync + 'static {
    /// [`Engine::learnt_size`]. Never blocks.
    fn learnt_size(&self, id: &ContentId) -> Option<u64>;
    /// [`Engine::held_bytes`].
    fn held_bytes<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, u64>;
    /// [`Engine::forget`].
    fn forget(&self, guid: Guid, key: Option<&ContentKey>);
    /// [`Engine::object`].
    fn object(&self, id: &ContentId, traits: Traits) -> Arc<dyn Content>;
}

/// The bytes of one version: [`Object`].
pub trait Content: Send + Sync + 'static {
    /// [`Object::size`].
    fn size(&self) -> Option<u64>;
    /// [`Object::admission`].
    fn admission(
        self: Arc<Self>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<(), ContentError>>;
    /// [`Object::learn_size`].
    fn learn_size(self: Arc<Self>, terms: Terms) -> BoxFuture<'static, Result<u64, ContentError>>;
    /// [`Object::fetch_whole`].
    fn fetch_whole(self: Arc<Self>, terms: Terms) -> BoxFuture<'static, Result<(), ContentError>>;
    /// [`Object::complete_file`]. Never blocks.
    fn complete_file(self: Arc<Self>) -> Option<Arc<File>>;
    /// [`Object::cursor`].
    fn reader(self: Arc<Self>) -> Box<dyn Reader>;
}

/// One open handle's view of a version's bytes: [`Cursor`].
pub trait Reader: Send + Sync + 'static {
    /// [`Cursor::read_now`]. Never blocks.
    fn read_now(&self, offset: u64, length: u32) -> Option<Bytes>;
    /// [`Cursor::read`].
    fn read(
        &self,
        offset: u64,
        length: u32,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, ContentError>>;
}

/// What the files of `.interactionfs` hold. Never blocks.
pub trait SpecialFiles: Send + Sync + 'static {
    /// The file's bytes just now.
    fn read(&self, file: SpecialFile) -> Bytes;
}

/// The catalogue and what keeps it fresh, together.
#[derive(Debug)]
pub struct CatalogueInteractions {
    catalogue: Arc<Catalogue>,
    refresher: Arc<Refresher>,
}

impl CatalogueInteractions {
    /// Puts them together.
    pub fn new(catalogue: Arc<Catalogue>, refresher: Arc<Refresher>) -> Self {
        Self {
            catalogue,
            refresher,
        }
    }
}

impl Interactions for CatalogueInteractions {
    fn remembered(&self, guid: Guid) -> Option<Arc<Known>> {
        self.catalogue.remembered(guid)
    }

    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError> {
        self.catalogue.interaction(guid)
    }

    fn page(
        &self,
        listing: &Listing,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError> {
        self.catalogue.page(listing, after, limit)
    }

    fn agents(&self, window: &TimeWindow) -> Result<Vec<Option<AgentId>>, CatalogueError> {
        self.catalogue.agents(window)
    }

    fn observe(&self, interaction: Interaction) {
        self.catalogue.observe(interaction);
    }

    fn window(&self) -> TimeWindow {
        self.refresher.window()
    }

    fn progress(&self, window: &TimeWindow) -> Progress {
        self.refresher.progress(window)
    }

    fn progressed(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.refresher.progressed(deadline).boxed()
    }

    fn find(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        self.refresher.find(guid, deadline).boxed()
    }

    fn reread(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        self.refresher.reread(guid, deadline).boxed()
    }

    fn demand_day(&self, day: Day) {
        self.refresher.demand_day(day);
    }
}

/// The read engine as the filesystem's contents.
#[derive(Debug)]
pub struct EngineContents(Arc<Engine>);

impl EngineContents {
    /// Wraps the engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Contents for EngineContents {
    fn learnt_size(&self, id: &ContentId) -> Option<u64> {
        self.0.learnt_size(id)
    }

    fn held_bytes<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, u64> {
        self.0.held_bytes(id).boxed()
    }

    fn forget(&self, guid: Guid, key: Option<&ContentKey>) {
        self.0.forget(guid, key);
    }

    fn object(&self, id: &ContentId, traits: Traits) -> Arc<dyn Content> {
        self.0.object(id, traits)
    }
}

impl Content for Object {
    fn size(&self) -> Option<u64> {
        Self::size(self)
    }

    fn admission(
        self: Arc<Self>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<(), ContentError>> {
        async move { Self::admission(&self, deadline).await }.boxed()
    }

    fn learn_size(self: Arc<Self>, terms: Terms) -> BoxFuture<'static, Result<u64, ContentError>> {
        async move { Self::learn_size(&self, terms).await }.boxed()
    }

    fn fetch_whole(self: Arc<Self>, terms: Terms) -> BoxFuture<'static, Result<(), ContentError>> {
        async move { Self::fetch_whole(&self, terms).await }.boxed()
    }

    fn complete_file(self: Arc<Self>) -> Option<Arc<File>> {
        Self::complete_file(&self)
    }

    fn reader(self: Arc<Self>) -> Box<dyn Reader> {
        Box::new(self.cursor())
    }
}

impl Reader for Cursor {
    fn read_now(&self, offset: u64, length: u32) -> Option<Bytes> {
        Self::read_now(self, offset, length)
    }

    fn read(
        &self,
        offset: u64,
        length: u32,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, ContentError>> {
        Self::read(self, offset, length, deadline).boxed()
    }
}
