//! What is said over the socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What can be asked of a running mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// How it does.
    Status,
    /// Read the credentials again.
    Reload,
    /// Unmount and end.
    Stop,
}

/// A request as it is sent: `{"command":"status"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) command: Request,
}

/// An answer as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// What was asked for; null when there is nothing to say but yes.
    Ok(Value),
    /// Why not, in words for the user.
    Error(String),
}

/// Who answers. Called on runtime threads; must not block.
pub trait Answers: Send + Sync + 'static {
    /// The statistics, equal to `stats.json`.
    fn status(&self) -> Value;
    /// Reads the credentials again.
    ///
    /// # Errors
    /// Why they stay as they were.
    fn reload(&self) -> Result<(), String>;
    /// Begins to unmount and end.
    fn stop(&self);
}
