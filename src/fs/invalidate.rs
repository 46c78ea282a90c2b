//! Changes become notices to the kernel.
//!
//! [`Announcer`] is told by the catalogue and by the read engine what changed, and works out which names
//! and inodes the kernel has to drop. It exists before both, and refers to them weakly. Only what the
//! kernel holds is announced. Nothing here waits: [`Kernel`] takes notices at once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::catalogue::{Change, Changes, Known, Unremembered};
use crate::content::Discoveries;
use crate::lane;
use crate::model::{
    AgentId, ContentId, ContentKey, Day, Direction, Guid, Interaction, Item, NameTable,
};
use crate::tree::place::METADATA_NAME;
use crate::tree::{Node, TextForm, view_names};

use super::gone::Gone;
use super::inode::{Inode, InodeTable};
use super::sources::{Contents, Interactions};

/// How long the READs that were under way when a file proved shorter have to be answered before the kernel
/// is told.
const SHORT_READ: Duration = Duration::from_secs(1);

/// Something for the kernel to drop.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// What a name in a directory leads to.
    Name {
        /// The directory.
        parent: u64,
        /// The name.
        name: Box<str>,
    },
    /// The attributes of an inode.
    Attributes(u64),
    /// The attributes of an inode and what is kept of its content, or of its listing.
    Content(u64),
}

/// Who tells the kernel. Must not block.
pub trait Kernel: Send + Sync + 'static {
    /// Passes a notice on, sooner or later.
    fn notify(&self, notice: Notice);
}

/// Turns changes into notices.
pub struct Announcer {
    inodes: Arc<InodeTable>,
    gone: Arc<Gone>,
    /// Inodes whose content was replaced, and that were not opened since.
    replaced: Mutex<HashSet<u64>>,
    /// When the root last changed, in seconds since 1970.
    root_changed: AtomicI64,
    kernel: OnceLock<Arc<dyn Kernel>>,
    interactions: OnceLock<Weak<dyn Interactions>>,
    contents: OnceLock<Weak<dyn Contents>>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

impl Announcer {
    /// An announcer for the mount of an account, told apart from others by `account`; the mount began at `now`.
    pub fn new(account: u64, now: Timestamp) -> Arc<Self> {
        let root = Inode::plain(Node::Root, now);
        Arc::new(Self {
            inodes: Arc::new(InodeTable::new(account, root)),
            gone: Arc::new(Gone::new()),
            replaced: Mutex::default(),
            root_changed: AtomicI64::new(now.as_second()),
            kernel: OnceLock::new(),
            interactions: OnceLock::new(),
            contents: OnceLock::new(),
        })
    }

    pub(super) fn attach(
        &self,
        interactions: Weak<dyn Interactions>,
        contents: Weak<dyn Contents>,
    ) {
        // A second filesystem on the same announcer would be a mistake that harms nobody: the first stays.
        let _ = self.interactions.set(interactions);
        let _ = self.contents.set(contents);
    }

    pub(super) fn connect(&self, kernel: Arc<dyn Kernel>) {
        let _ = self.kernel.set(kernel);
    }

    pub(super) fn inodes(&self) -> Arc<InodeTable> {
        Arc::clone(&self.inodes)
    }

    pub(super) fn gone_versions(&self) -> Arc<Gone> {
        Arc::clone(&self.gone)
    }

    /// Whether an inode's content was replaced since it was opened last: the kernel may not have dropped yet what it keeps.
    pub(super) fn take_replaced(&self, number: u64) -> bool {
        self.replaced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
    }

    pub(super) fn root_time(&self) -> Timestamp {
        Timestamp::from_second(self.root_changed.load(Ordering::Relaxed))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn contents(&self) -> Option<Arc<dyn Contents>> {
        self.contents.get()?.upgrade()
    }

    fn interactions(&self) -> Option<Arc<dyn Interactions>> {
        self.interactions.get()?.upgrade()
    }

    fn notify(&self, notice: Notice) {
        if let Some(kernel) = self.kernel.get() {
            kernel.notify(notice);
        }
    }

    /// Drops a name in a directory, if the kernel can know it.
    fn drop_name(&self, directory: &Node, name: &str) {
        if let Some(parent) = self.inodes.held(directory) {
            self.notify(Notice::Name {
                parent,
                name: name.into(),
            });
        }
    }

    /// Drops what the kernel keeps of a file or a listing.
    fn drop_content(&self, node: &Node) {
        if let Some(number) = self.inodes.held(node) {
            self.notify(Notice::Content(number));
        }
    }

    fn root_changes(&self) {
        self.root_changed
            .store(Timestamp::now().as_second(), Ordering::Relaxed);
        self.notify(Notice::Attributes(super::ROOT));
    }

    fn updated(&self, before: &Known, now: &Known) {
        let guid = now.interaction.guid;
        let directory = Node::Interaction(guid);
        let old = named_items(before);
        let new = named_items(now);
        for (name, item) in &old {
            let same = new
                .get(name)
                .is_some_and(|other| other.content_id(guid) == item.content_id(guid));
            if !same {
                self.drop_name(&directory, name);
                self.drop_versions(&item.content_id(guid));
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.drop_name(&directory, name);
        }
        self.drop_name(&directory, METADATA_NAME);
        self.drop_content(&directory);
        self.drop_text_name(before);
        self.drop_text_name(now);
        if before.interaction.start != now.interaction.start
            || before.interaction.agents != now.interaction.agents
            || before.interaction.direction != now.interaction.direction
        {
            self.drop_links(before);
        }
        if let Some(contents) = self.contents() {
            for item in &before.interaction.items {
                let gone = now
                    .interaction
                    .items
                    .iter()
                    .all(|kept| kept.key != item.key);
                if gone {
                    contents.forget(guid, Some(&item.key));
                }
            }
        }
    }

    /// Drops what the kernel keeps of a version: its bytes, and what is derived from them.
    fn drop_versions(&self, id: &ContentId) {
        self.drop_content(&Node::Item(id.clone()));
        for form in TextForm::ALL {
            self.drop_content(&Node::Text(id.clone(), form));
        }
        let directory = Node::Interaction(id.guid);
        for form in TextForm::ALL {
            self.drop_name(&directory, form.sidecar_name());
        }
    }

    fn removed(&self, known: &Known) {
        let guid = known.interaction.guid;
        let directory = Node::Interaction(guid);
        for (name, item) in named_items(known) {
            self.drop_name(&directory, name);
            self.drop_versions(&item.content_id(guid));
        }
        self.drop_links(known);
        self.drop_text_name(known);
        self.drop_directory(guid);
    }

    /// Drops an interaction that is gone, and its bytes.
    fn drop_directory(&self, guid: Guid) {
        let directory = Node::Interaction(guid);
        self.drop_name(&directory, METADATA_NAME);
        self.drop_content(&directory);
        // Last: the names inside can't be dropped once the directory is.
        self.drop_name(&Node::Root, &guid.to_string());
        self.root_changes();
        if let Some(contents) = self.contents() {
            contents.forget(guid, None);
        }
    }

    /// Drops what the kernel keeps of interactions of which isn't known what they were: the inodes tell.
    fn unremembered(&self, changed: &[Unremembered]) {
        let guids: HashSet<Guid> = changed.iter().map(|changed| changed.guid).collect();
        let held = self.inodes.held_of(&guids);
        for Unremembered { guid, now } in changed {
            let now = now.as_deref();
            for inode in held.get(guid).into_iter().flatten() {
                self.drop_unremembered(*guid, inode, now);
            }
            match now {
                Some(now) => {
                    let directory = Node::Interaction(*guid);
                    for name in named_items(now).keys() {
                        self.drop_name(&directory, name);
                    }
                    self.drop_name(&directory, METADATA_NAME);
                    self.drop_content(&directory);
                    self.drop_text_name(now);
                }
                None => self.drop_directory(*guid),
            }
        }
    }

    /// Drops an inode that may be out of date, and the names under which the kernel can know it.
    fn drop_unremembered(&self, guid: Guid, inode: &Inode, now: Option<&Known>) {
        // A third direction is nowhere documented: a link of one leads nowhere until the kernel asks again.
        for direction in [Direction::Inbound, Direction::Outbound] {
            match &inode.node {
                Node::DateLink(_) => self.drop_date_link(guid, inode.time, &direction),
                Node::AgentLink(agent, _) => {
                    self.drop_agent_link(agent.as_ref(), guid, inode.time, &direction);
                }
                Node::Text(_, TextForm::Plain) => {
                    let name = view_names::text_in_day(inode.time, &direction, guid);
                    self.drop_name(&Node::TextDay(Day::of(inode.time)), &name);
                }
                _ => {}
            }
        }
        let (Node::Item(id) | Node::Text(id, _), Some(item)) = (&inode.node, &inode.item) else {
            return;
        };
        let mut items = now.iter().flat_map(|now| &*now.interaction.items);
        if items.clone().any(|kept| kept.content_id(guid) == *id) {
            return;
        }
        let directory = Node::Interaction(guid);
        // Its name if it was the first of its type, and its name if it wasn't.
        let item = Item::clone(item);
        for (_, name) in NameTable::assign(&[item.clone(), item], None).entries() {
            self.drop_name(&directory, name);
        }
        self.drop_versions(id);
        if items.all(|kept| kept.key != id.key)
            && let Some(contents) = self.contents()
        {
            contents.forget(guid, Some(&id.key));
        }
    }

    fn drop_links(&self, known: &Known) {
        let interaction = &known.interaction;
        let (guid, start, direction) =
            (interaction.guid, interaction.start, &interaction.direction);
        self.drop_date_link(guid, start, direction);
        if interaction.agents.is_empty() {
            self.drop_agent_link(None, guid, start, direction);
        }
        for agent in &interaction.agents {
            self.drop_agent_link(Some(agent), guid, start, direction);
        }
    }

    fn drop_date_link(&self, guid: Guid, start: Timestamp, direction: &Direction) {
        let name = view_names::in_day(start, direction, guid);
        self.drop_name(&Node::Day(Day::of(start)), &name);
    }

    fn drop_agent_link(
        &self,
        agent: Option<&AgentId>,
        guid: Guid,
        start: Timestamp,
        direction: &Direction,
    ) {
        let name = view_names::in_agent(start, direction, guid);
        self.drop_name(&Node::Agent(agent.cloned()), &name);
    }

    fn drop_text_name(&self, known: &Known) {
        let interaction = &known.interaction;
        self.drop_name(
            &Node::TextDay(Day::of(interaction.start)),
            &view_names::text_in_day(interaction.start, &interaction.direction, interaction.guid),
        );
    }
}

impl Changes for Announcer {
    fn changed(&self, change: Change) {
        match change {
            // Nobody keeps that a GUID does not exist, and the root's listing is not kept.
            Change::Added(..) => self.root_changes(),
            Change::Updated { before, now } => self.updated(&before, &now),
            Change::Removed(known) => self.removed(&known),
            Change::Unremembered(changed) => self.unremembered(&changed),
        }
    }
}

impl Discoveries for Announcer {
    fn resized(&self, id: &ContentId, size: u64) {
        let Some(number) = self.inodes.held(&Node::Item(id.clone())) else {
            return;
        };
        let told = self.inodes.get(number).and_then(|inode| inode.size);
        if self.inodes.set_size(number, size) {
            // Attributes only: the kernel cuts or drops the pages itself when it sees another size.
            let notice = Notice::Attributes(number);
            let shrinks = told.or(id.version.length).is_some_and(|told| told > size);
            let runtime = tokio::runtime::Handle::try_current();
            match (self.kernel.get(), runtime) {
                // The READ under way, being short, tells the kernel where the file ends; but not if a notice
                // overtakes it: the kernel would then fill the file up with noughts to the length it knew.
                (Some(kernel), Ok(runtime)) if shrinks => {
                    let kernel = Arc::clone(kernel);
                    runtime.spawn(async move {
                        tokio::time::sleep(SHORT_READ).await;
                        kernel.notify(notice);
                    });
                }
                _ => self.notify(notice),
            }
        }
    }

    fn gone(&self, id: &ContentId) {
        self.gone.insert(id);
        let directory = Node::Interaction(id.guid);
        let known = self
            .interactions()
            .and_then(|interactions| interactions.remembered(id.guid));
        if let Some(known) = known {
            if let Some(name) = name_of(&known, &id.key) {
                self.drop_name(&directory, name);
            }
            self.drop_text_name(&known);
        }
        self.drop_versions(id);
        self.drop_content(&directory);
        if let Some(contents) = self.contents() {
            contents.forget(id.guid, Some(&id.key));
        }
    }

    fn replaced(&self, id: &ContentId) {
        let texts = TextForm::ALL.map(|form| Node::Text(id.clone(), form));
        for node in texts.iter().chain([&Node::Item(id.clone())]) {
            if let Some(number) = self.inodes.held(node) {
                self.inodes.forget_size(number);
                self.replaced
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(number);
            }
        }
        self.drop_versions(id);
    }

    fn observed(&self, interaction: Interaction) {
        if let Some(interactions) = self.interactions() {
            // The catalogue writes it down; who discovered it must not wait for that.
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let work = move || interactions.observe(interaction);
                    runtime.spawn(async move { lane::CATALOGUE.run(work).await });
                }
                Err(_) => interactions.observe(interaction),
            }
        }
    }
}

fn named_items(known: &Known) -> HashMap<&str, &Item> {
    let items = &known.interaction.items;
    (0..items.len())
        .filter_map(|place| Some((known.names.name(place)?, items.get(place)?)))
        .collect()
}

fn name_of<'a>(known: &'a Known, key: &ContentKey) -> Option<&'a str> {
    known
        .names
        .entries()
        .find_map(|(named, name)| (named == key).then_some(name))
}
