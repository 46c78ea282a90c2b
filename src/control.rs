//! The control socket: how `status` and its like speak to a running mount.
//!
//! A Unix socket per mount, 0600 in a directory that only its user can enter, found by the mountpoint's
//! path. Requests and answers are JSON, one per line. The server answers from what [`Answers`] gives; it
//! knows nothing of what a mount is. An order to
//! prefetch is answered by many lines, and ends with its connection. A connection that asks nothing stays open as long as the mount lives,
//! so that its end can be waited for.

mod client;
mod directory;
mod protocol;
mod server;

pub use client::{Lifeline, Unanswered, ask, lifeline, prefetch, sweep};
pub use directory::canonical;
pub use protocol::{Answers, Request};
pub use server::Server;

#[cfg(test)]
mod tests;
