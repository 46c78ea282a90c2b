//! What the kernel is asked for when the mount begins.

use fuser::{InitFlags, KernelConfig};

/// The largest READ, in bytes. It is answered whole, so with a slow source a smaller one gives its first
/// bytes sooner; and a block of the read engine is as long, so that an aligned READ needs one block.
pub(super) const READ_BYTES: u32 = 128 * 1024;

/// Readahead requests in flight. fuser's 16 would throttle small READs.
const BACKGROUND: u16 = 64;

/// Asks for everything; returns whether passthrough was granted. `passthrough_depth` is how many
/// filesystems the cache's files may be stacked on; `None` asks for no passthrough.
pub(super) fn negotiate(config: &mut KernelConfig, passthrough_depth: Option<u32>) -> bool {
    // The kernel takes the larger of both for the size of a READ. Both are within the limits, and what the
    // kernel offers less of stays as offered.
    let _ = config.set_max_write(READ_BYTES);
    let _ = config.set_max_readahead(READ_BYTES);
    let _ = config.set_max_background(BACKGROUND);
    // One by one: a kernel that lacks one of several asked for together grants none of them.
    for (flag, name) in [
        (
            InitFlags::FUSE_PARALLEL_DIROPS,
            "parallel directory operations",
        ),
        (InitFlags::FUSE_CACHE_SYMLINKS, "cached links"),
        (InitFlags::FUSE_ASYNC_DIO, "asynchronous direct reads"),
        // Always, not when the kernel thinks fit: find and grep list first and stat later, which its
        // heuristic doesn't see, and attributes cost nothing here.
        (InitFlags::FUSE_DO_READDIRPLUS, "listings with attributes"),
        (
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
            "mapping of direct files",
        ),
    ] {
        if config.add_capabilities(flag).is_err() {
            tracing::debug!(capability = name, "the kernel does not offer this");
        }
    }
    let Some(depth) = passthrough_depth else {
        return false;
    };
    let granted = config.set_max_stack_depth(depth).is_ok()
        && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
    if !granted {
        tracing::info!(
            "the kernel offers no passthrough: cached files are read through the daemon"
        );
    }
    granted
}
