//! How it goes: what `prefetch --json` prints, and what the control socket carries. Numbers and words from fixed lists
//! only; no GUID, key or name.

use serde::{Deserialize, Serialize};

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// It is being found out what there is and what is held.
    Looking {
        /// Interactions found so far.
        interactions: u64,
    },
    /// What it will take.
    Plan(Planned),
    /// How far it is.
    Progress(Progress),
    /// A watch has fetched all there was, and waits for more.
    Round(Outcome),
    /// A watch waits.
    Waiting,
    /// It is over.
    End(Outcome),
}

/// What it will take.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Interactions looked at.
    pub interactions: u64,
    /// GUIDs that the API doesn't know.
    pub unknown: u64,
    /// Files that are wanted.
    pub files: u64,
    /// Of these, those that are held in full.
    pub held: u64,
    /// Requests to come.
    pub requests: u64,
    /// Bytes to come, as far as sizes are known.
    pub bytes: u64,
    /// Bytes of all files that are wanted, as far as sizes are known.
    pub bytes_wanted: u64,
    /// Files whose size nobody knows yet.
    pub sizes_unknown: u64,
    /// How long it will take at the present pace, in seconds.
    pub seconds: u64,
    /// Requests a minute that the pace was set to.
    pub requests_per_minute: u32,
    /// Bytes that the disk cache may hold.
    pub cache_bytes: u64,
    /// Whether what is wanted is more than the cache holds.
    pub too_large: bool,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Files done, whether they came or not.
    pub files: u64,
    /// Of so many.
    pub files_planned: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Of so many, as far as sizes are known.
    pub bytes_planned: u64,
    /// Requests of the plan that are behind.
    pub requests: u64,
    /// Of so many.
    pub requests_planned: u64,
    /// Files that could not be had.
    pub failed: u64,
    /// Requests that the present minute has left.
    pub budget_left: u32,
    /// Requests a minute that the pace allows just now.
    pub budget: u32,
    /// How long the rest will take at the present pace, in seconds.
    pub seconds_left: u64,
}

/// How it went.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Files that came.
    pub fetched: u64,
    /// Files that were held already.
    pub held: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Requests for what came; retries are not counted.
    pub requests: u64,
    /// Files that were replaced or deleted upstream meanwhile.
    pub gone: u64,
    /// Files that the credentials may not see.
    pub denied: u64,
    /// Files that could not be had.
    pub failed: u64,
    /// GUIDs that the API doesn't know.
    pub unknown: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Why it ended before all was tried.
    pub stopped: Option<String>,
    /// It ended because trying again is of no use until somebody does something.
    pub refused: bool,
}

impl Outcome {
    /// Whether all that was wanted and can be had is here.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.stopped.is_none()
    }
}
