//! Names and attributes: `lookup`, `getattr`, `readlink` and extended attributes.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::{Known, Progress};
use crate::content::Traits;
use crate::lane;
use crate::model::{AgentId, Day, Guid, Item};
use crate::tree::place::{METADATA_NAME, meaning};
use crate::tree::{Meaning, Node, TextForm, View, metadata, view_names};

use super::attr::attributes;
use super::inode::Inode;
use super::{Attributes, FileSystem, FsError, blocking, reader_terms, within, xattr};

/// The longest name that Linux takes, in bytes.
const NAME_LIMIT: usize = 255;

/// How long to wait for word of progress at once: a bound, should it come between two looks.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a lookup found. One lookup is counted for an entry, to be taken back by [`FileSystem::forget`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The name leads here.
    Entry(Attributes),
    /// The name leads nowhere and never will: the kernel may remember that.
    Never,
}

impl FileSystem {
    /// Finds `name` in the directory `parent`.
    ///
    /// # Errors
    /// [`FsError::NotFound`] when it doesn't exist now; others when that can't be told.
    pub async fn lookup(&self, parent: u64, name: &OsStr) -> Result<Found, FsError> {
        let deadline = self.metadata_deadline();
        within(deadline, self.look_up(parent, name, deadline)).await
    }

    async fn look_up(
        &self,
        parent: u64,
        name: &OsStr,
        deadline: Instant,
    ) -> Result<Found, FsError> {
        let directory = self.inodes.get(parent).ok_or(FsError::Stale)?;
        if !directory.node.is_directory() {
            return Err(FsError::NotADirectory);
        }
        if name.len() > NAME_LIMIT {
            return Err(FsError::NameTooLong);
        }
        // All names that exist are ASCII.
        let Some(name) = name.to_str() else {
            return Ok(Found::Never);
        };
        let Some((mut inode, mut listed)) = self.leads_to(&directory.node, name, deadline).await?
        else {
            return Ok(Found::Never);
        };
        let mut size = self.sized(&inode, deadline).await;
        if size == Err(FsError::Stale)
            && let Node::Item(id) | Node::Text(id, _) = &inode.node
        {
            // There is a newer version in its place, and the name leads to that.
            self.interactions.reread(id.guid, deadline).await?;
            match self.leads_to(&directory.node, name, deadline).await? {
                Some(newer) => (inode, listed) = newer,
                None => return Ok(Found::Never),
            }
            size = self.sized(&inode, deadline).await;
        }
        let size = size?;
        if matches!(inode.node, Node::Item(_) | Node::Text(..)) {
            inode.size = Some(size);
        }
        let number = self.inodes.look_up(inode.clone());
        let mut attributes = attributes(&self.timed(&inode), number, Some(size), &self.options);
        if !listed {
            // Changes are announced under the listed name only.
            attributes.name_lifetime = Duration::ZERO;
        }
        Ok(Found::Entry(attributes))
    }

    /// What a name leads to, and whether it is listed; `None` if there never will be such a name.
    async fn leads_to(
        &self,
        directory: &Node,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<(Inode, bool)>, FsError> {
        let inode = match meaning(directory, name) {
            Meaning::Never => return Ok(None),
            Meaning::Always(node) => self.always(node),
            Meaning::Interaction(guid) => {
                let known = self.existing(guid, deadline).await?;
                Inode::plain(Node::Interaction(guid), known.interaction.start)
            }
            Meaning::UpperCase(guid) => {
                let known = self.existing(guid, deadline).await?;
                Inode::plain(Node::UpperCaseLink(guid), known.interaction.start)
            }
            // Names of items and metadata never begin like this; desktops ask for such names a lot.
            Meaning::InInteraction(_) if name.starts_with('.') => return Ok(None),
            Meaning::InInteraction(guid) => {
                let known = self.existing(guid, deadline).await?;
                return self.in_interaction(&known, name).map(Some);
            }
            Meaning::Agent => {
                let agent = self.agent_named(name, deadline).await?;
                self.always(Node::Agent(Some(agent)))
            }
            Meaning::InView(guid) => {
                let known = self.existing(guid, deadline).await?;
                self.in_view(directory, &known, name)
                    .ok_or(FsError::NotFound)?
            }
        };
        Ok(Some((inode, true)))
    }

    /// The size of what a name leads to, in bytes, found out if need be.
    async fn sized(&self, inode: &Inode, deadline: Instant) -> Result<u64, FsError> {
        if let Some(size) = self.size(inode, self.inodes.number(&inode.node)) {
            return Ok(size);
        }
        match (self.learn_size(inode, deadline).await, &inode.node) {
            // A name whose content is gone is a name that leads nowhere.
            (Err(FsError::Stale), Node::Item(id) | Node::Text(id, _))
                if self.announcer.gone_versions().contains(id) =>
            {
                Err(FsError::NotFound)
            }
            (learnt, _) => learnt,
        }
    }

    /// The attributes of an inode that was looked up.
    ///
    /// # Errors
    /// [`FsError::Stale`] when it was not; others when its size can't be learnt.
    pub async fn attributes(&self, number: u64) -> Result<Attributes, FsError> {
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        let size = match self.size(&inode, number) {
            Some(size) => size,
            None => {
                let deadline = self.metadata_deadline();
                let size = within(deadline, self.learn_size(&inode, deadline)).await?;
                self.inodes.set_size(number, size);
                size
            }
        };
        Ok(attributes(
            &self.timed(&inode),
            number,
            Some(size),
            &self.options,
        ))
    }

    /// The attributes of a row of a listing. If `count`, a lookup is counted, to be taken back by
    /// [`Self::forget`]; and the attributes of what has no known size are to be used for nothing.
    pub fn row_attributes(&self, row: &super::Row, count: bool) -> Attributes {
        let mut number = self.inodes.number(&row.inode.node);
        let size = self.size(&row.inode, number);
        if count {
            let mut inode = row.inode.clone();
            inode.size = size;
            number = self.inodes.look_up(inode);
        }
        attributes(&self.timed(&row.inode), number, size, &self.options)
    }

    /// Where a link leads.
    ///
    /// # Errors
    /// [`FsError::Invalid`] when it is no link, [`FsError::Stale`] when it was not looked up.
    pub fn link_target(&self, number: u64) -> Result<String, FsError> {
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        inode.node.link_target().ok_or(FsError::Invalid)
    }

    /// The names of the extended attributes. Never blocks.
    ///
    /// # Errors
    /// [`FsError::Stale`] when it was not looked up.
    pub fn extended_attribute_names(&self, number: u64) -> Result<Vec<&'static str>, FsError> {
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        Ok(match &inode.node {
            Node::Interaction(_) => xattr::INTERACTION_NAMES.to_vec(),
            _ => self
                .file_attributes(&inode, number, 0)
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        })
    }

    /// All extended attributes; what share is held is right only if it is wanted.
    async fn extended_attributes(
        &self,
        number: u64,
        wants_share: bool,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, FsError> {
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        let deadline = self.metadata_deadline();
        let guid = match &inode.node {
            Node::Interaction(guid) => guid,
            Node::Item(id) if wants_share => {
                let held = async { Ok(self.contents.held_bytes(id).await) };
                let held = within(deadline, held).await?;
                return Ok(self.file_attributes(&inode, number, held));
            }
            _ => return Ok(self.file_attributes(&inode, number, 0)),
        };
        let known = within(deadline, self.known(*guid, deadline)).await?;
        Ok(known.map_or_else(Vec::new, |known| xattr::of_interaction(&known)))
    }

    /// The extended attributes of what is no interaction's directory, and of which `held` bytes are held.
    fn file_attributes(
        &self,
        inode: &Inode,
        number: u64,
        held: u64,
    ) -> Vec<(&'static str, Vec<u8>)> {
        match (&inode.node, &inode.item) {
            (Node::Item(_), Some(item)) => xattr::of_item(item, held, self.size(inode, number)),
            (Node::Metadata(..), _) => xattr::of_media_type("application/json"),
            (Node::Text(_, form), _) => xattr::of_media_type(form.media_type()),
            _ => Vec::new(),
        }
    }

    /// One extended attribute.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`] when there is none of that name, [`FsError::Stale`] when it was not looked up; others when
    /// the disk can't be read.
    pub async fn extended_attribute(&self, number: u64, name: &OsStr) -> Result<Vec<u8>, FsError> {
        // Programs ask every file for security attributes and access lists: nothing is looked up for those.
        if !name.as_encoded_bytes().starts_with(b"user.") {
            return Err(FsError::NoAttribute);
        }
        self.extended_attributes(number, name == xattr::SHARE)
            .await?
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .ok_or(FsError::NoAttribute)
    }

    /// An interaction: from memory, from the database, or asked of the API.
    pub(super) async fn known(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> Result<Option<Arc<Known>>, FsError> {
        if let Some(known) = self.interactions.remembered(guid) {
            return Ok(Some(known));
        }
        match self.interactions.find(guid, deadline).await {
            Ok(found) => Ok(found),
            Err(error) => match error.into() {
                FsError::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn existing(&self, guid: Guid, deadline: Instant) -> Result<Arc<Known>, FsError> {
        self.known(guid, deadline).await?.ok_or(FsError::NotFound)
    }

    /// The inode of something that exists always.
    pub(super) fn always(&self, node: Node) -> Inode {
        let time = match &node {
            Node::Day(day) | Node::TextDay(day) => day.start(),
            _ => self.started,
        };
        Inode::plain(node, time)
    }

    /// The metadata or the item that `name` leads to in an interaction, and whether it is listed by it.
    fn in_interaction(&self, known: &Known, name: &str) -> Result<(Inode, bool), FsError> {
        if name == METADATA_NAME {
            return Ok((metadata_inode(known), true));
        }
        if let Some((_, inode)) = self
            .sidecars(known)
            .find(|(form, _)| form.sidecar_name() == name)
        {
            return Ok((inode, true));
        }
        let place = known.names.resolve(name).ok_or(FsError::NotFound)?;
        let guid = known.interaction.guid;
        let item = known
            .interaction
            .items
            .get(place)
            .filter(|item| self.shown.admits(guid, item))
            .ok_or(FsError::NotFound)?;
        let listed = known.names.name(place) == Some(name);
        Ok((item_inode(guid, item, known.interaction.start), listed))
    }

    /// The derived files beside an interaction's recording, if they are wanted: text where there is a transcript,
    /// subtitles where there is a call recording to show them with.
    pub(super) fn sidecars(
        &self,
        known: &Known,
    ) -> impl Iterator<Item = (TextForm, Inode)> + use<> {
        let interaction = &known.interaction;
        let transcript = self
            .options
            .sidecars
            .then(|| self.shown.transcript(known))
            .flatten();
        let is_recorded = interaction.items.iter().any(|item| {
            item.item_type.as_str() == "callRecording" && self.shown.admits(interaction.guid, item)
        });
        let inodes = transcript.map(|item| {
            TextForm::ALL.map(|form| {
                (
                    form,
                    text_inode(interaction.guid, item, interaction.start, form),
                )
            })
        });
        inodes
            .into_iter()
            .flatten()
            .filter(move |(form, _)| is_recorded || *form == TextForm::Plain)
    }

    /// What exactly `name` leads to in a view, for an interaction that it speaks of.
    fn in_view(&self, directory: &Node, known: &Known, name: &str) -> Option<Inode> {
        let interaction = &known.interaction;
        let (guid, start, direction) =
            (interaction.guid, interaction.start, &interaction.direction);
        match directory {
            Node::Day(day) => (Day::of(start) == *day
                && name == view_names::in_day(start, direction, guid))
            .then(|| Inode::plain(Node::DateLink(guid), start)),
            Node::Agent(agent) => {
                let handled = match agent {
                    Some(agent) => interaction.agents.contains(agent),
                    None => interaction.agents.is_empty(),
                };
                (handled && name == view_names::in_agent(start, direction, guid))
                    .then(|| Inode::plain(Node::AgentLink(agent.clone(), guid), start))
            }
            Node::TextDay(day) => {
                let here = Day::of(start) == *day
                    && name == view_names::text_in_day(start, direction, guid);
                let item = here.then(|| self.shown.transcript(known)).flatten()?;
                Some(text_inode(guid, item, start, TextForm::Plain))
            }
            _ => None,
        }
    }

    /// The agent whose directory is called `name`. While the window is being searched, waits until one is
    /// found or all are known.
    async fn agent_named(&self, name: &str, deadline: Instant) -> Result<AgentId, FsError> {
        let window = self.interactions.window();
        loop {
            let progress = self.interactions.progress(&window);
            let interactions = Arc::clone(&self.interactions);
            let agents =
                blocking(&lane::CATALOGUE, move || Ok(interactions.agents(&window)?)).await?;
            let found = agents
                .into_iter()
                .flatten()
                .find(|agent| view_names::agent_directory(Some(agent)) == name);
            if let Some(agent) = found {
                return Ok(agent);
            }
            match progress {
                Progress::Complete => return Err(FsError::NotFound),
                Progress::Failed(error) => return Err(failed(error)),
                Progress::Searching => self.progressed(deadline).await?,
            }
        }
    }

    /// Waits until there may be news of a search.
    pub(super) async fn progressed(&self, deadline: Instant) -> Result<(), FsError> {
        let now = Instant::now();
        if now >= deadline {
            return Err(FsError::TimedOut);
        }
        self.interactions
            .progressed(deadline.min(now + PATIENCE))
            .await;
        Ok(())
    }

    /// The size of an inode in bytes, as far as known without asking.
    pub(super) fn size(&self, inode: &Inode, number: u64) -> Option<u64> {
        match &inode.node {
            // What was told to the kernel counts, even if what told us has forgotten: a file that is being
            // read must not shrink to nothing.
            Node::Item(id) => self
                .contents
                .learnt_size(id)
                .or(inode.size)
                .or_else(|| self.held_size(number))
                // Listed as 0 is as good as not listed (design, section 2; API reference, 7).
                .or(id.version.length.filter(|length| *length > 0)),
            Node::Text(id, form) => self
                .texts
                .size(id, *form)
                .or(inode.size)
                .or_else(|| self.held_size(number)),
            Node::Special(file) => Some(self.special.read(*file).len() as u64),
            _ => inode.size,
        }
    }

    fn held_size(&self, number: u64) -> Option<u64> {
        self.inodes.get(number).and_then(|inode| inode.size)
    }

    /// Finds out the size of a file: one request, which also keeps the bytes.
    pub(super) async fn learn_size(
        &self,
        inode: &Inode,
        deadline: Instant,
    ) -> Result<u64, FsError> {
        self.walked(inode);
        match &inode.node {
            Node::Item(id) => {
                let object = self.contents.object(id, traits(inode));
                Ok(object.learn_size(reader_terms(deadline)).await?)
            }
            Node::Text(id, form) => {
                let text = self.text(id, *form, inode, deadline).await?;
                Ok(text.len() as u64)
            }
            _ => Err(FsError::Invalid),
        }
    }

    /// The inode with the time that it has now.
    fn timed<'a>(&self, inode: &'a Inode) -> std::borrow::Cow<'a, Inode> {
        if inode.node == Node::Root {
            return std::borrow::Cow::Owned(Inode {
                time: self.announcer.root_time(),
                ..inode.clone()
            });
        }
        if let (Node::Text(..), Some(item)) = (&inode.node, &inode.item) {
            // A text is as old as its transcript; the inode holds the start, by which it is rendered.
            return std::borrow::Cow::Owned(Inode {
                time: item.version.last_modified.unwrap_or(inode.time),
                ..inode.clone()
            });
        }
        std::borrow::Cow::Borrowed(inode)
    }
}

/// Why a listing or a search of names can't be completed. An absence can't be concluded from it, whatever
/// it is.
pub(super) fn failed(error: crate::remote::RemoteError) -> FsError {
    match error.into() {
        FsError::NotFound => FsError::Failed,
        error => error,
    }
}

/// What the read engine needs to know of an inode's content.
pub(super) fn traits(inode: &Inode) -> Traits {
    inode
        .item
        .as_ref()
        .map_or_else(Traits::default, |item| Traits::of(item))
}

/// The inode of an item.
pub(super) fn item_inode(guid: Guid, item: &Item, start: Timestamp) -> Inode {
    Inode {
        node: Node::Item(item.content_id(guid)),
        time: item.version.last_modified.unwrap_or(start),
        size: None,
        item: Some(Arc::new(item.clone())),
    }
}

/// The inode of `interaction.json`.
pub(super) fn metadata_inode(known: &Known) -> Inode {
    let interaction = &known.interaction;
    let text = metadata::pretty(interaction.json.reveal());
    Inode {
        node: Node::Metadata(interaction.guid, xxh3_64(text.as_bytes())),
        time: interaction.modified(),
        size: Some(text.len() as u64),
        item: None,
    }
}

/// The inode of a transcript as text. Its time is the interaction's start.
pub(super) fn text_inode(guid: Guid, item: &Item, start: Timestamp, form: TextForm) -> Inode {
    Inode {
        node: Node::Text(item.content_id(guid), form),
        time: start,
        size: None,
        item: Some(Arc::new(item.clone())),
    }
}

/// The views that `.interactionfs/views` lists.
pub(super) fn view_directories() -> impl Iterator<Item = (&'static str, Node)> {
    View::ALL
        .into_iter()
        .map(|view| (view.name(), Node::ViewDirectory(view)))
}
