//! The simplest things that keep the promises of the layers below: for tests of the filesystem, without
//! and with a mount.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::catalogue::{CatalogueError, Known, Listed, Listing, Progress};
use crate::content::{ContentError, Traits};
use crate::model::{AgentId, ContentId, ContentKey, Day, Guid, Interaction, NameTable, TimeWindow};
use crate::remote::RemoteError;
use crate::tree::SpecialFile;

/// The `n`th GUID.
pub(crate) fn guid(n: u8) -> Guid {
    Guid::from_bytes([n; 16])
}

/// The first GUID with this place in the listing.
pub(crate) fn guid_at(sequence: u32) -> Guid {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&sequence.to_be_bytes());
    Guid::from_bytes(bytes)
}

fn sequence(guid: Guid) -> u64 {
    let [a, b, c, d, ..] = *guid.as_bytes();
    u32::from_be_bytes([a, b, c, d]).into()
}

/// An item for [`interaction`]: type, media type, listed length, minute of its last change.
pub(crate) type FakeItem<'a> = (&'a str, &'a str, Option<u64>, u8);

/// An interaction that started `n` seconds (modulo 60) after 10:15 on 2026-11-22.
pub(crate) fn interaction(n: u8, agents: &[&str], items: &[FakeItem<'_>]) -> Interaction {
    let agents: Vec<_> = agents
        .iter()
        .map(|id| serde_json::json!({"id": id}))
        .collect();
    let content: Vec<_> = items
        .iter()
        .map(|(kind, media, length, minute)| {
            serde_json::json!({
                "contentKey": kind, "type": kind, "contentType": media, "contentLength": length,
                "lastModified": format!("2026-11-22T11:{minute:02}:00Z")
            })
        })
        .collect();
    let json = serde_json::json!({
        "guid": guid(n).to_string(), "start": format!("2026-11-22T10:15:{:02}Z", n % 60),
        "direction": "inbound", "handlingAgents": agents, "content": content
    });
    Interaction::from_json(&json.to_string()).unwrap()
}

pub(crate) fn known(interaction: Interaction) -> Arc<Known> {
    let names = NameTable::assign(&interaction.items, None);
    Arc::new(Known { interaction, names })
}

/// A catalogue in a map, listed in the order of the GUIDs.
pub(crate) struct FakeInteractions {
    pub(crate) listed: Mutex<BTreeMap<Guid, Arc<Known>>>,
    /// What only the API knows.
    pub(crate) remote: Mutex<HashMap<Guid, Arc<Known>>>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) news: Notify,
    /// Requests made for a single interaction.
    pub(crate) finds: AtomicUsize,
    /// Never answers [`Interactions::find`].
    pub(crate) hangs: bool,
    pub(crate) demanded: Mutex<Vec<Day>>,
}

impl FakeInteractions {
    pub(crate) fn new(all: impl IntoIterator<Item = Interaction>) -> Self {
        let listed = all
            .into_iter()
            .map(|interaction| (interaction.guid, known(interaction)))
            .collect();
        Self {
            listed: Mutex::new(listed),
            remote: Mutex::default(),
            progress: Mutex::new(Progress::Complete),
            news: Notify::new(),
            finds: AtomicUsize::new(0),
            hangs: false,
            demanded: Mutex::default(),
        }
    }

    /// Puts an interaction in the place of what was known; returns what that was.
    pub(crate) fn put(&self, interaction: Interaction) -> Option<Arc<Known>> {
        let before = self
            .listed
            .lock()
            .unwrap()
            .insert(interaction.guid, known(interaction));
        self.news.notify_waiters();
        before
    }
}

impl Interactions for FakeInteractions {
    fn remembered(&self, guid: Guid) -> Option<Arc<Known>> {
        self.listed.lock().unwrap().get(&guid).cloned()
    }

    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError> {
        Ok(self.remembered(guid))
    }

    fn page(
        &self,
        listing: &Listing,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError> {
        let listed = self.listed.lock().unwrap();
        let Ok(first) = u32::try_from(after + 1) else {
            return Ok(Vec::new());
        };
        Ok(listed
            .range(guid_at(first)..)
            .map(|(_, known)| &known.interaction)
            .filter(|interaction| listing.window.contains(interaction.start))
            .filter(|interaction| match &listing.agent {
                None => true,
                Some(None) => interaction.agents.is_empty(),
                Some(Some(agent)) => interaction.agents.contains(agent),
            })
            .map(|interaction| Listed {
                sequence: sequence(interaction.guid),
                guid: interaction.guid,
                start: interaction.start,
                direction: interaction.direction.clone(),
            })
            .take(limit)
            .collect())
    }

    fn agents(&self, _window: &TimeWindow) -> Result<Vec<Option<AgentId>>, CatalogueError> {
        let listed = self.listed.lock().unwrap();
        let mut agents: Vec<_> = listed
            .values()
            .flat_map(|known| match &*known.interaction.agents {
                [] => vec![None],
                agents => agents.iter().cloned().map(Some).collect(),
            })
            .collect();
        agents.sort();
        agents.dedup();
        Ok(agents)
    }

    fn observe(&self, interaction: Interaction) {
        self.put(interaction);
    }

    fn window(&self) -> TimeWindow {
        TimeWindow {
            from: "2026-11-21T00:00:00Z".parse().unwrap(),
            to: "2026-11-22T13:00:00Z".parse().unwrap(),
        }
    }

    fn progress(&self, _window: &TimeWindow) -> Progress {
        self.progress.lock().unwrap().clone()
    }

    fn progressed(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let news = self.news.notified();
        async move {
            let _ = tokio::time::timeout_at(deadline, news).await;
        }
        .boxed()
    }

    fn find(
        &self,
        guid: Guid,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        assert_ne!(guid, self::guid(0xff), "a mistake that a test asks for");
        if self.hangs {
            return futures::future::pending().boxed();
        }
        let found = self.remote.lock().unwrap().get(&guid).cloned();
        async move { Ok(found) }.boxed()
    }

    fn reread(
        &self,
        guid: Guid,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        let found = self.remote.lock().unwrap().get(&guid).cloned();
        if let Some(known) = &found {
            self.put(known.interaction.clone());
        }
        async move { Ok(found) }.boxed()
    }

    fn demand_day(&self, day: Day) {
        self.demanded.lock().unwrap().push(day);
    }
}

/// Contents by their keys' text and the minute of their last change, in a map.
#[derive(Default)]
pub(crate) struct FakeContents(Arc<Shelf>);

#[derive(Default)]
pub(crate) struct Shelf {
    bytes: Mutex<HashMap<ContentId, Bytes>>,
    learnt: Mutex<HashMap<ContentId, u64>>,
    complete: Mutex<HashMap<ContentId, Arc<File>>>,
    pub(crate) requests: AtomicUsize,
    /// What was fetched without being asked for.
    pub(crate) ahead: Mutex<Vec<ContentId>>,
    pub(crate) refused: Mutex<HashMap<ContentId, ContentError>>,
    pub(crate) forgotten: Mutex<Vec<(Guid, Option<ContentKey>)>>,
}

impl FakeContents {
    pub(crate) fn put(&self, id: ContentId, bytes: impl Into<Bytes>) {
        self.0.bytes.lock().unwrap().insert(id, bytes.into());
    }

    pub(crate) fn put_complete(&self, id: ContentId, file: File) {
        self.0.complete.lock().unwrap().insert(id, Arc::new(file));
    }

    pub(crate) fn remove(&self, id: &ContentId) {
        self.0.bytes.lock().unwrap().remove(id);
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.0
    }
}

struct FakeObject {
    shelf: Arc<Shelf>,
    id: ContentId,
}

impl FakeObject {
    fn bytes(&self) -> Result<Bytes, ContentError> {
        let bytes = self.shelf.bytes.lock().unwrap();
        bytes.get(&self.id).cloned().ok_or(ContentError::Stale)
    }
}

impl Contents for FakeContents {
    fn learnt_size(&self, id: &ContentId) -> Option<u64> {
        self.0.learnt.lock().unwrap().get(id).copied()
    }

    fn held_bytes<'a>(&'a self, id: &'a ContentId) -> BoxFuture<'a, u64> {
        let bytes = self.0.bytes.lock().unwrap();
        let held = bytes.get(id).map_or(0, |bytes| bytes.len() as u64 / 2);
        futures::future::ready(held).boxed()
    }

    fn forget(&self, guid: Guid, key: Option<&ContentKey>) {
        self.0.forgotten.lock().unwrap().push((guid, key.cloned()));
    }

    fn object(&self, id: &ContentId, _traits: Traits) -> Arc<dyn Content> {
        Arc::new(FakeObject {
            shelf: Arc::clone(&self.0),
            id: id.clone(),
        })
    }
}

impl Content for FakeObject {
    fn size(&self) -> Option<u64> {
        self.id.version.length
    }

    fn admission(
        self: Arc<Self>,
        _deadline: Instant,
    ) -> BoxFuture<'static, Result<(), ContentError>> {
        let refused = self.shelf.refused.lock().unwrap().get(&self.id).cloned();
        async move { refused.map_or(Ok(()), Err) }.boxed()
    }

    fn learn_size(self: Arc<Self>, _terms: Terms) -> BoxFuture<'static, Result<u64, ContentError>> {
        self.shelf.requests.fetch_add(1, Ordering::SeqCst);
        async move {
            // Not at once: as if it came over the network.
            tokio::task::yield_now().await;
            let size = self.bytes()?.len() as u64;
            self.shelf
                .learnt
                .lock()
                .unwrap()
                .insert(self.id.clone(), size);
            Ok(size)
        }
        .boxed()
    }

    fn fetch_whole(self: Arc<Self>, _terms: Terms) -> BoxFuture<'static, Result<(), ContentError>> {
        self.shelf.ahead.lock().unwrap().push(self.id.clone());
        async move { self.bytes().map(|_| ()) }.boxed()
    }

    fn complete_file(self: Arc<Self>) -> Option<Arc<File>> {
        self.shelf.complete.lock().unwrap().get(&self.id).cloned()
    }

    fn reader(self: Arc<Self>) -> Box<dyn Reader> {
        Box::new(FakeReader(self))
    }
}

struct FakeReader(Arc<FakeObject>);

impl Reader for FakeReader {
    fn read_now(&self, offset: u64, length: u32) -> Option<Bytes> {
        // Odd blocks have to be waited for.
        if (offset / 4096) % 2 == 1 {
            return None;
        }
        read(&self.0, offset, length).ok()
    }

    fn read(
        &self,
        offset: u64,
        length: u32,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, ContentError>> {
        async move {
            tokio::task::yield_now().await;
            read(&self.0, offset, length)
        }
        .boxed()
    }
}

fn read(object: &FakeObject, offset: u64, length: u32) -> Result<Bytes, ContentError> {
    let bytes = object.bytes()?;
    let start = (offset as usize).min(bytes.len());
    let end = (start + length as usize).min(bytes.len());
    Ok(bytes.slice(start..end))
}

pub(crate) struct FakeSpecialFiles;

impl SpecialFiles for FakeSpecialFiles {
    fn read(&self, file: SpecialFile) -> Bytes {
        Bytes::from_static(file.name().as_bytes())
    }
}

/// A kernel that remembers what it was told.
#[derive(Default)]
pub(crate) struct FakeKernel(pub(crate) Mutex<Vec<Notice>>);

impl Kernel for FakeKernel {
    fn notify(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

/// A filesystem on fakes.
pub(crate) struct Stage {
    pub(crate) interactions: Arc<FakeInteractions>,
    pub(crate) contents: Arc<FakeContents>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) filesystem: Arc<FileSystem>,
}

pub(crate) fn options() -> Options {
    Options {
        sidecars: false,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        file_mode: 0o400,
        dir_mode: 0o500,
        types: None,
        deadline: Duration::from_secs(60),
        metadata_deadline: Duration::from_secs(15),
    }
}

pub(crate) fn stage(interactions: FakeInteractions, options: Options) -> Stage {
    let interactions = Arc::new(interactions);
    let contents = Arc::new(FakeContents::default());
    let announcer = Announcer::new(7, Timestamp::UNIX_EPOCH);
    let sources = Sources {
        interactions: Arc::clone(&interactions) as _,
        contents: Arc::clone(&contents) as _,
        special: Arc::new(FakeSpecialFiles),
        render: Arc::new(|_, raw, start| {
            format!("{start} {}\n", String::from_utf8_lossy(raw).to_uppercase())
        }),
    };
    let filesystem = FileSystem::new(Arc::clone(&announcer), sources, options);
    Stage {
        interactions,
        contents,
        announcer,
        filesystem,
    }
}

impl Stage {
    /// The id of an item's present version.
    pub(crate) fn id(&self, n: u8, kind: &str) -> ContentId {
        let known = self.interactions.remembered(guid(n)).unwrap();
        let item = known
            .interaction
            .items
            .iter()
            .find(|item| item.item_type.as_str() == kind)
            .unwrap();
        item.content_id(guid(n))
    }
}
