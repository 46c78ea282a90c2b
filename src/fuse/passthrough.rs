//! Which open files the kernel reads by itself.
//!
//! A version that is whole on disk is handed to the kernel, which then reads it without asking. The kernel
//! refuses to have one inode open both ways at once, and wants the same backing for all its handles. So the
//! first handle of an inode decides for all that are open beside it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};

use crate::fs::Opened;

#[derive(Debug, Default)]
pub(super) struct Passthrough {
    granted: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_inode: HashMap<u64, Inode>,
    /// The inode of every handle that counts.
    by_handle: HashMap<u64, u64>,
}

/// The open handles of one inode: all of them go one way.
#[derive(Debug)]
struct Inode {
    handles: usize,
    /// The file that the kernel reads; `None` if it asks us.
    backing: Option<Arc<BackingId>>,
}

impl Passthrough {
    /// Whether the kernel granted it.
    pub(super) fn set_granted(&self, granted: bool) {
        self.granted.store(granted, Ordering::Relaxed);
    }

    /// Answers an open.
    pub(super) fn reply(&self, number: u64, opened: &Opened, reply: ReplyOpen) {
        let handle = FileHandle(opened.handle);
        if opened.volatile {
            reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO);
            return;
        }
        match self.count(number, opened, &reply) {
            Some(backing) => {
                reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, &backing);
            }
            // The kernel drops all that it keeps.
            None if opened.replaced => reply.opened(handle, FopenFlags::FOPEN_NOFLUSH),
            None => reply.opened(
                handle,
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
            ),
        }
    }

    /// Forgets a handle that was closed.
    pub(super) fn closed(&self, handle: u64) {
        let mut open = self.lock();
        let Some(number) = open.by_handle.remove(&handle) else {
            return;
        };
        if let Some(inode) = open.by_inode.get_mut(&number) {
            inode.handles -= 1;
            if inode.handles == 0 {
                open.by_inode.remove(&number);
            }
        }
    }

    /// Counts a handle before the kernel is told of it, and decides which way it goes.
    fn count(&self, number: u64, opened: &Opened, reply: &ReplyOpen) -> Option<Arc<BackingId>> {
        let mut open = self.lock();
        open.by_handle.insert(opened.handle, number);
        if let Some(inode) = open.by_inode.get_mut(&number) {
            inode.handles += 1;
            return inode.backing.clone();
        }
        // Registering is a system call that only fills in a table; the lock makes sure that two opens of one
        // inode don't register it twice.
        let backing = self.register(opened, reply).map(Arc::new);
        open.by_inode.insert(
            number,
            Inode {
                handles: 1,
                backing: backing.clone(),
            },
        );
        backing
    }

    fn register(&self, opened: &Opened, reply: &ReplyOpen) -> Option<BackingId> {
        if !self.granted.load(Ordering::Relaxed) {
            return None;
        }
        let file = opened.complete.as_ref()?;
        match reply.open_backing(&**file) {
            Ok(backing) => Some(backing),
            Err(error) => {
                // It lacks a privilege, or the cache lies on too many filesystems: that won't change.
                self.set_granted(false);
                tracing::info!(%error, "passthrough is not possible: cached files are read through the daemon");
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
