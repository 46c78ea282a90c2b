//! The kernel's side: FUSE requests decoded, the filesystem's answers encoded.
//!
//! The only place with fuser types, and the only one that makes errno values. It owns the session threads,
//! what the kernel is asked for at the start, passthrough, and the thread that tells the kernel of changes.
//! It promises that no callback blocks a session thread, and that a mistake in one ends the mount
//! rather than leaving programs hanging.

mod adapter;
mod encode;
mod errno;
mod mount;
mod mountpoint;
mod notify;
mod passthrough;
mod readahead;
mod settings;

#[cfg(test)]
mod tests;

pub use mount::{MountOptions, Mounted, mount};
pub use mountpoint::{MountError, check_mountpoint};
