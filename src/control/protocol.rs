//! What is said over the socket.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest request, in bytes: an order can name some hundred thousand GUIDs.
pub(super) const REQUEST_LIMIT: u64 = 16 << 20;

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
    /// Fetch content before it is read. Answered by lines until it is done; ends with the connection.
    Prefetch,
}

/// A request as it is sent: `{"command":"status"}`, `{"command":"prefetch","order":{…}}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) command: Request,
    /// What [`Request::Prefetch`] is to fetch.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) order: Value,
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

/// Who answers. Called on runtime threads; must not block, but for [`Self::reload`].
pub trait Answers: Send + Sync + 'static {
    /// The statistics, equal to `stats.json`.
    fn status(&self) -> Value;
    /// Reads the credentials again. May block.
    ///
    /// # Errors
    /// Why they stay as they were.
    fn reload(&self) -> Result<(), String>;
    /// Begins to unmount and end.
    fn stop(&self);
    /// Begins to fetch what an order says, and tells how it goes; dropping that ends it.
    ///
    /// # Errors
    /// Why it is not begun.
    fn prefetch(&self, order: Value) -> Result<BoxStream<'static, Value>, String>;
}
