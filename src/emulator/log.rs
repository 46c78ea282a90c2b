//! The request log: what came, in order, and what became of it. The request economy is measured here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// How many requests are kept; counts go on beyond.
const KEPT: usize = 20_000;

/// What a request asked of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// A search.
    Search,
    /// One interaction.
    Interaction,
    /// One content file.
    Content,
    /// A content file, where a redirect led to.
    Redirected,
    /// A deletion of one or many.
    Delete,
    /// Nothing that exists.
    Unknown,
}

const ENDPOINTS: usize = 7;

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is being made or sent.
    Pending,
    /// It was sent as it was meant to be, accidents included.
    Sent,
    /// The client left before its end.
    ClientLeft,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts from 1, and does not start over when the log is cleared.
    pub sequence: u64,
    /// When the request had been read, since the emulator started.
    pub time: Duration,
    /// Which connection it came on.
    pub connection: u64,
    /// What it asked of.
    pub endpoint: Endpoint,
    /// The method.
    pub method: String,
    /// The interaction, if the path has a valid GUID.
    pub guid: Option<Uuid>,
    /// The item, decoded.
    pub key: Option<String>,
    /// The query string as sent.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// What stands behind `Bearer` in `Authorization`.
    pub token: Option<String>,
    /// The answer's status, once it is known; stays `None` if no head was sent.
    pub status: Option<u16>,
    /// Body bytes given to the socket so far; what a client really read may be less.
    pub bytes_sent: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// All requests since the start or the last [`RequestLog::clear`].
#[derive(Debug)]
pub struct RequestLog {
    started: Instant,
    state: Mutex<State>,
    /// Changes with every change of the log.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    last_sequence: u64,
    counts: [u64; ENDPOINTS],
}

impl Default for RequestLog {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl RequestLog {
    /// The requests, oldest first; of more than 20,000 the newest.
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|state| state.entries.iter().cloned().collect())
    }

    /// The requests of one endpoint, oldest first.
    pub fn of(&self, endpoint: Endpoint) -> Vec<Entry> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.endpoint == endpoint);
        entries
    }

    /// How many requests there were.
    pub fn total(&self) -> u64 {
        self.with(|state| state.counts.iter().sum())
    }

    /// How many requests there were of one endpoint.
    pub fn count(&self, endpoint: Endpoint) -> u64 {
        self.with(|state| state.counts[endpoint as usize])
    }

    /// Forgets all requests and counts. Those still being answered are not seen again.
    pub fn clear(&self) {
        self.with(|state| {
            state.entries.clear();
            state.counts = [0; ENDPOINTS];
        });
        self.changed();
    }

    /// Waits until at least `requests` have come (not: been answered) since the start or `clear`.
    pub async fn wait_for(&self, requests: u64) {
        self.wait_until(|log| log.total() >= requests).await;
    }

    /// Waits until at least `requests` of one endpoint have come.
    pub async fn wait_for_of(&self, endpoint: Endpoint, requests: u64) {
        self.wait_until(|log| log.count(endpoint) >= requests).await;
    }

    /// Waits until no answer is being made or sent.
    pub async fn wait_idle(&self) {
        self.wait_until(|log| {
            log.with(|state| state.entries.iter().all(|e| e.outcome != Outcome::Pending))
        })
        .await;
    }

    /// Waits until something holds; looked at after every change of the log.
    pub async fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if holds(self) {
                return;
            }
            // The sender is owned by `self`, so it can't be gone.
            let _ = changes.changed().await;
        }
    }

    /// Enters a request; sequence and time are filled in here.
    pub(super) fn begin(&self, mut entry: Entry) -> u64 {
        let time = self.started.elapsed();
        let sequence = self.with(|state| {
            state.last_sequence += 1;
            entry.sequence = state.last_sequence;
            entry.time = time;
            state.counts[entry.endpoint as usize] += 1;
            if state.entries.len() == KEPT {
                state.entries.pop_front();
            }
            state.entries.push_back(entry);
            state.last_sequence
        });
        self.changed();
        sequence
    }

    /// Changes an entry, if it is still kept.
    pub(super) fn update(&self, sequence: u64, change: impl FnOnce(&mut Entry)) {
        self.with(|state| {
            let Ok(place) = state
                .entries
                .binary_search_by_key(&sequence, |entry| entry.sequence)
            else {
                return;
            };
            if let Some(entry) = state.entries.get_mut(place) {
                change(entry);
            }
        });
        self.changed();
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn changed(&self) {
        self.changes.send_modify(|change| *change += 1);
    }
}
