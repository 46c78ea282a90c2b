//! interactionfs mounts Vonage Contact Center's Interaction Content API as a read-only filesystem.
//!
//! `ARCHITECTURE.md` is the guide.

#[cfg(feature = "emulator")]
pub mod emulator;
pub mod model;
pub mod remote;
