//! Directory listings: `opendir`, `readdir`, `releasedir`.
//!
//! Directories of interactions are listed in pages from the catalogue, and a position in one is the row's
//! sequence there, so that pages, `telldir` and changes in between agree. Small directories are listed
//! whole when their start is read. A listing ends only when it is complete: while its window is being
//! searched it waits for rows, and when the search fails it ends in an error.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::catalogue::{Listed, Listing, Progress};
use crate::lane;
use crate::model::{AgentId, Day, Guid};
use crate::tree::place::METADATA_NAME;
use crate::tree::{Node, SpecialFile, TextForm, View, view_names};

use super::inode::Inode;
use super::lookup::{failed, item_inode, metadata_inode, text_inode, view_directories};
use super::walk::LONGEST;
use super::{FileSystem, FsError, blocking, within};

/// Rows of the catalogue that are taken at once.
const PAGE: usize = 1024;

/// Positions below this belong to `.`, `..` and the links of the root; a row of the catalogue stands at its
/// sequence plus this.
const FIRST_ROW: u64 = 16;

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: Box<str>,
    /// The position behind it.
    pub next: u64,
    pub(super) inode: Inode,
}

/// Entries of a directory, in order. Empty at the end.
#[derive(Clone, Debug)]
pub struct Batch {
    rows: Arc<Vec<Row>>,
    from: usize,
}

impl Batch {
    /// The entries.
    pub fn rows(&self) -> &[Row] {
        &self.rows[self.from..]
    }
}

impl Row {
    /// Whether it is `.` or `..`, for which no lookup is counted.
    pub fn is_dot(&self) -> bool {
        matches!(&*self.name, "." | "..")
    }
}

/// An open directory.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    node: Node,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is listed: settled when the start is read, because windows slide.
    listing: Option<Listing>,
    part: Option<Part>,
    /// The agents listed so far, in the order in which they were found.
    agents: Vec<Option<AgentId>>,
    /// The interactions listed so far, if from the start and not too many.
    walked: Vec<Guid>,
}

/// A part of the listing that is at hand.
#[derive(Clone, Debug)]
struct Part {
    /// The position before its first row.
    begin: u64,
    /// The position up to which it is complete.
    end: u64,
    rows: Arc<Vec<Row>>,
    /// The interactions of its rows.
    guids: Vec<Guid>,
    /// How the listing ends behind it; `None` if more may follow.
    conclusion: Option<Result<(), FsError>>,
}

impl Part {
    /// The rows behind `position`, if this part holds them or knows that there are none.
    fn behind(&self, position: u64) -> Option<Result<Batch, FsError>> {
        if position < self.begin || position > self.end {
            return None;
        }
        let from = self.rows.partition_point(|row| row.next <= position);
        match self.conclusion {
            Some(Err(error)) if from == self.rows.len() => Some(Err(error)),
            None if from == self.rows.len() => None,
            _ => Some(Ok(Batch {
                rows: Arc::clone(&self.rows),
                from,
            })),
        }
    }
}

impl FileSystem {
    /// Opens a directory: its handle, and whether the kernel may keep its listing until it is told of a change.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], or [`FsError::Stale`] when it was not looked up.
    pub fn open_directory(&self, number: u64) -> Result<(u64, bool), FsError> {
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        if !inode.node.is_directory() {
            return Err(FsError::NotADirectory);
        }
        let keep = matches!(inode.node, Node::Interaction(guid) if self.shown.holds(guid));
        let handle = self.directories.insert(OpenDirectory {
            node: inode.node.clone(),
            state: Mutex::new(State::default()),
        });
        Ok((handle, keep))
    }

    /// The entries behind a position: 0, or a [`Row::next`].
    ///
    /// # Errors
    /// When the listing can't be completed, behind its last row.
    pub async fn read_directory(&self, handle: u64, position: u64) -> Result<Batch, FsError> {
        let directory = self.directories.get(handle).ok_or(FsError::BadHandle)?;
        if position > 0 {
            let state = directory
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(batch) = state.part.as_ref().and_then(|part| part.behind(position)) {
                return batch;
            }
        }
        let deadline = self.metadata_deadline();
        let part = within(deadline, self.part(&directory, position, deadline)).await?;
        // What was made for this position answers for it; an end is an empty batch.
        let batch = part.behind(position).unwrap_or_else(|| {
            Ok(Batch {
                rows: Arc::default(),
                from: 0,
            })
        });
        let complete = {
            let mut state = directory
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if position == 0 {
                state.walked.clear();
            }
            if state.walked.len() <= LONGEST {
                state.walked.extend_from_slice(&part.guids);
            }
            let complete = part.conclusion == Some(Ok(())) && !state.walked.is_empty();
            let walked = complete.then(|| std::mem::take(&mut state.walked));
            state.part = Some(part);
            walked
        };
        if let Some(walked) = complete {
            self.listed(walked);
        }
        batch
    }

    /// Closes a directory.
    pub fn close_directory(&self, handle: u64) {
        self.directories.remove(handle);
    }

    async fn part(
        &self,
        directory: &OpenDirectory,
        position: u64,
        deadline: Instant,
    ) -> Result<Part, FsError> {
        let node = &directory.node;
        if *node == Node::ViewDirectory(View::ByAgent) {
            return self.agents(directory, position, deadline).await;
        }
        if !matches!(
            node,
            Node::Root | Node::Day(_) | Node::Agent(_) | Node::TextDay(_)
        ) {
            return self.whole(node, deadline).await;
        }
        let listing = {
            let mut state = directory
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if position == 0 {
                state.listing = None;
            }
            state
                .listing
                .get_or_insert_with(|| self.listing(node))
                .clone()
        };
        let head = self.head(node);
        if position < head.len() as u64 {
            return Ok(Part {
                begin: 0,
                end: FIRST_ROW,
                rows: Arc::new(head),
                guids: Vec::new(),
                conclusion: None,
            });
        }
        self.page(node, listing, position, deadline).await
    }

    /// `.`, `..` and what a directory of interactions has beside them.
    fn head(&self, node: &Node) -> Vec<Row> {
        let mut rows = self.dots(node);
        if *node == Node::Root {
            for view in View::ALL {
                push(&mut rows, view.name(), self.always(Node::RootLink(view)));
            }
        }
        rows
    }

    fn dots(&self, node: &Node) -> Vec<Row> {
        let mut rows = Vec::new();
        push(&mut rows, ".", self.always(node.clone()));
        push(&mut rows, "..", self.always(node.parent()));
        rows
    }

    /// What a directory of interactions lists. A day that the window touches shows what of it is in the window;
    /// any other day is searched.
    fn listing(&self, node: &Node) -> Listing {
        let window = self.interactions.window();
        let day_window = |day: &Day| {
            let shared = day.window().intersection(&window);
            if shared.is_empty() {
                self.interactions.demand_day(*day);
                return day.window();
            }
            shared
        };
        match node {
            Node::Day(day) | Node::TextDay(day) => Listing {
                window: day_window(day),
                agent: None,
            },
            Node::Agent(agent) => Listing {
                window,
                agent: Some(agent.clone()),
            },
            _ => Listing {
                window,
                agent: None,
            },
        }
    }

    /// The next rows of a directory of interactions; waits for some while they may still come.
    async fn page(
        &self,
        node: &Node,
        listing: Listing,
        position: u64,
        deadline: Instant,
    ) -> Result<Part, FsError> {
        let mut after = position.saturating_sub(FIRST_ROW);
        loop {
            // Asked before the rows are: rows that came in between are then not missed.
            let progress = self.interactions.progress(&listing.window);
            let found = self.rows(node, &listing, after).await?;
            if !found.rows.is_empty() {
                return Ok(Part {
                    begin: position,
                    end: found.last + FIRST_ROW,
                    rows: Arc::new(found.rows),
                    guids: found.guids,
                    conclusion: None,
                });
            }
            // A page whose interactions have no text.
            if found.last > after {
                after = found.last;
                continue;
            }
            let conclusion = match progress {
                Progress::Complete => Ok(()),
                Progress::Failed(error) => Err(failed(error)),
                Progress::Searching => {
                    self.progressed(deadline).await?;
                    continue;
                }
            };
            return Ok(Part {
                begin: position,
                end: position,
                rows: Arc::default(),
                guids: Vec::new(),
                conclusion: Some(conclusion),
            });
        }
    }

    async fn rows(&self, node: &Node, listing: &Listing, after: u64) -> Result<Found, FsError> {
        let interactions = Arc::clone(&self.interactions);
        let shown = Arc::clone(&self.shown);
        let (node, listing) = (node.clone(), listing.clone());
        blocking(&lane::CATALOGUE, move || {
            let page = interactions.page(&listing, after, PAGE)?;
            let last = page.last().map_or(after, |row| row.sequence);
            let mut rows = Vec::with_capacity(page.len());
            let mut guids = Vec::with_capacity(page.len());
            for listed in page {
                let (name, inode) = match &node {
                    Node::TextDay(_) => {
                        let Some(known) = interactions.interaction(listed.guid)? else {
                            continue;
                        };
                        let Some(item) = shown.transcript(&known) else {
                            continue;
                        };
                        (
                            view_names::text_in_day(listed.start, &listed.direction, listed.guid),
                            text_inode(listed.guid, item, listed.start, TextForm::Plain),
                        )
                    }
                    node => link_or_directory(node, &listed),
                };
                guids.push(listed.guid);
                rows.push(Row {
                    name: name.into(),
                    next: listed.sequence + FIRST_ROW,
                    inode,
                });
            }
            Ok(Found { rows, guids, last })
        })
        .await
    }

    /// All of a small directory.
    async fn whole(&self, node: &Node, deadline: Instant) -> Result<Part, FsError> {
        let mut rows = self.dots(node);
        match node {
            Node::Interaction(guid) => {
                if let Some(known) = self.known(*guid, deadline).await? {
                    let start = known.interaction.start;
                    for (place, item) in known.interaction.items.iter().enumerate() {
                        if let Some(name) = known.names.name(place)
                            && self.shown.admits(*guid, item)
                        {
                            push(&mut rows, name, item_inode(*guid, item, start));
                        }
                    }
                    for (form, inode) in self.sidecars(&known) {
                        push(&mut rows, form.sidecar_name(), inode);
                    }
                    push(&mut rows, METADATA_NAME, metadata_inode(&known));
                }
            }
            Node::Private => {
                push(&mut rows, "views", self.always(Node::Views));
                for file in SpecialFile::ALL {
                    push(&mut rows, file.name(), self.always(Node::Special(file)));
                }
            }
            Node::Views => {
                for (name, node) in view_directories() {
                    push(&mut rows, name, self.always(node));
                }
            }
            Node::ViewDirectory(view) => {
                for day in self.interactions.window().days() {
                    let node = match view {
                        View::Text => Node::TextDay(day),
                        View::ByDate | View::ByAgent => Node::Day(day),
                    };
                    push(&mut rows, &day.to_string(), self.always(node));
                }
            }
            _ => {}
        }
        Ok(Part {
            begin: 0,
            end: u64::MAX,
            rows: Arc::new(rows),
            guids: Vec::new(),
            conclusion: Some(Ok(())),
        })
    }

    /// The agents' directories behind a position. Which there are is known when the window has been searched; those
    /// that later pages bring come behind those that were listed.
    async fn agents(
        &self,
        directory: &OpenDirectory,
        position: u64,
        deadline: Instant,
    ) -> Result<Part, FsError> {
        let state = || {
            directory
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut listed = if position == 0 {
            Vec::new()
        } else {
            state().agents.clone()
        };
        let window = self.interactions.window();
        loop {
            // Asked before the agents are: those that came in between are then not missed.
            let progress = self.interactions.progress(&window);
            let interactions = Arc::clone(&self.interactions);
            let found =
                blocking(&lane::CATALOGUE, move || Ok(interactions.agents(&window)?)).await?;
            let known: HashSet<_> = listed.iter().cloned().collect();
            listed.extend(found.into_iter().filter(|agent| !known.contains(agent)));
            let mut rows = self.dots(&directory.node);
            for agent in &listed {
                let name = view_names::agent_directory(agent.as_ref());
                push(&mut rows, &name, self.always(Node::Agent(agent.clone())));
            }
            let end = rows.len() as u64;
            let conclusion = match progress {
                Progress::Complete => Some(Ok(())),
                Progress::Failed(error) => Some(Err(failed(error))),
                Progress::Searching if end > position => None,
                Progress::Searching => {
                    self.progressed(deadline).await?;
                    continue;
                }
            };
            state().agents = listed;
            return Ok(Part {
                begin: 0,
                end: conclusion.map_or(end, |_| u64::MAX),
                rows: Arc::new(rows),
                guids: Vec::new(),
                conclusion,
            });
        }
    }
}

struct Found {
    rows: Vec<Row>,
    /// The interactions of the rows.
    guids: Vec<Guid>,
    /// The sequence of the last row looked at, which may have made no entry.
    last: u64,
}

fn link_or_directory(node: &Node, listed: &Listed) -> (String, Inode) {
    let Listed {
        guid,
        start,
        direction,
        ..
    } = listed;
    let (name, node) = match node {
        Node::Day(_) => (
            view_names::in_day(*start, direction, *guid),
            Node::DateLink(*guid),
        ),
        Node::Agent(agent) => (
            view_names::in_agent(*start, direction, *guid),
            Node::AgentLink(agent.clone(), *guid),
        ),
        _ => (guid.to_string(), Node::Interaction(*guid)),
    };
    (name, Inode::plain(node, *start))
}

fn push(rows: &mut Vec<Row>, name: &str, inode: Inode) {
    let next = rows.len() as u64 + 1;
    rows.push(Row {
        name: name.into(),
        next,
        inode,
    });
}
