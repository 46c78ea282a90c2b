//! interactionfs mounts Vonage Contact Center's Interaction Content API as a read-only filesystem.
//!
//! `ARCHITECTURE.md` is the guide.

pub mod catalogue;
pub mod content;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod fs;
pub mod fuse;
pub mod model;
pub mod remote;
pub mod text;
pub mod tree;
