//! interactionfs mounts Vonage Contact Center's Interaction Content API as a read-only filesystem.
//!
//! This is the map; `ARCHITECTURE.md` is the guide. Arrows point down only, and `tests/architecture.rs`
//! holds them to it.
//!
//! | layer | module | what it is for |
//! | --- | --- | --- |
//! | the person | [`cli`], [`commands`] | what is typed; what is done about it |
//! | assembly | [`daemon`] | puts the parts together: mount, serve, unmount |
//! | the kernel | [`fuse`] | the kernel's language, the only place with `fuser` types and errno |
//! | behaviour | [`fs`] | inodes, handles, attributes, what a path means |
//! | by order | [`prefetch`] | content is here before anybody reads it |
//! | pure rules | [`tree`], [`text`] | names in a directory; transcripts as plain text |
//! | knowledge | [`catalogue`], [`content`] | what exists, kept fresh; bytes, through memory and disk |
//! | the API | [`remote`] | token, pace, retries, wire, the only place with `reqwest` types |
//! | words | [`model`] | plain values and pure rules |
//!
//! Beside them: [`config`] turns flags, environment and file into validated data; [`control`] is the socket
//! over which a running mount is asked; [`metrics`] says the same to Prometheus; [`seal`] encrypts what is cached, if there is a key; [`account_lock`] keeps `cache purge` and mounts apart; [`executor`] says on which thread an operation goes on; [`telemetry`] is the
//! log; [`failure`] is how a command ends badly; [`lane`] and [`disk_watch`] see to it that a disk that is stuck holds up nobody who can do without it;
//! `emulator` (a feature) is the API's other side, for `demo` and the tests, and shares no type with the
//! client.

pub mod account_lock;
pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod disk_watch;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod executor;
pub mod failure;
pub mod fs;
pub mod fuse;
pub mod lane;
pub mod metrics;
pub mod model;
#[cfg(test)]
mod mutation;
pub mod prefetch;
pub mod remote;
pub mod seal;
pub mod telemetry;
pub mod text;
pub mod tree;
