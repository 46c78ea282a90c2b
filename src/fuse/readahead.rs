//! The kernel's readahead window.
//!
//! At the default of 128 KiB the kernel asks for little at a time; the one way past it is in sysfs, which
//! only root may write. An ordinary user's mount does with the default.

use std::fs;
use std::path::Path;

use super::mountpoint::mounted_at;

/// The window in KiB: wider ones measured no better where the daemon reads ahead itself.
const WINDOW_KIB: u32 = 1024;

/// Widens the window of the mount at `mountpoint`.
pub(super) fn widen(mountpoint: &Path) {
    // From the list of mounts, never by looking at the mount: that could wait for ourselves.
    let Some(entry) = mounted_at(mountpoint) else {
        return;
    };
    let file = format!("/sys/class/bdi/{}/read_ahead_kb", entry.device);
    if let Err(error) = fs::write(file, WINDOW_KIB.to_string()) {
        tracing::debug!(%error, "the readahead window stays at the kernel's default");
    }
}
