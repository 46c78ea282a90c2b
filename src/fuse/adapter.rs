//! fuser's callbacks: decode, ask the filesystem, encode.
//!
//! A callback begins the filesystem's future on the session thread: what memory can answer is answered there, and what has
//! to wait is answered by the thread that has what it waited for ([`crate::executor`]): each hand-over would cost a wake-up.
//! A panic anywhere is caught: a dead session thread would leave programs hanging beyond any signal.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use futures::FutureExt;
use tokio::runtime::Handle;

use crate::executor;
use crate::fs::{FileSystem, Found, FsError};

use super::encode::{
    GENERATION, NAME_BYTES, NEVER_LIFETIME, UNIT_BYTES, file_attributes, file_type, nothing,
    reply_extended,
};
use super::errno::{NO_CONTROLS, NOT_NEEDED, READ_ONLY, errno};
use super::passthrough::Passthrough;
use super::settings;

pub(super) struct Adapter {
    filesystem: Arc<FileSystem>,
    runtime: Handle,
    passthrough: Arc<Passthrough>,
    passthrough_depth: Option<u32>,
    on_panic: Arc<dyn Fn() + Send + Sync>,
}

impl Adapter {
    pub(super) fn new(
        filesystem: Arc<FileSystem>,
        runtime: Handle,
        passthrough: Arc<Passthrough>,
        passthrough_depth: Option<u32>,
        on_panic: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            filesystem,
            runtime,
            passthrough,
            passthrough_depth,
            on_panic,
        }
    }

    /// Does what can't wait. A reply that a panic leaves behind answers EIO when it is dropped.
    fn guard(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("a callback panicked");
            (self.on_panic)();
        }
    }

    /// Answers by `reply` what `operation` of the filesystem says: at once if it can, else from the thread that has it.
    fn answer<T, F>(
        &self,
        operation: impl FnOnce(Arc<FileSystem>) -> F + Send + 'static,
        reply: impl FnOnce(Result<T, FsError>) + Send + 'static,
    ) where
        F: Future<Output = Result<T, FsError>> + Send,
        T: Send,
    {
        let filesystem = Arc::clone(&self.filesystem);
        let on_panic = Arc::clone(&self.on_panic);
        executor::begin(&self.runtime, async move {
            let answered = async move { reply(operation(filesystem).await) };
            if AssertUnwindSafe(answered).catch_unwind().await.is_err() {
                tracing::error!("an operation panicked");
                on_panic();
            }
        });
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let granted = settings::negotiate(config, self.passthrough_depth);
        self.passthrough.set_granted(granted);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.answer(
            move |filesystem| async move { filesystem.lookup(parent.0, &name).await },
            |found| match found {
                Ok(Found::Entry(attributes)) => reply.entry_with_ttls(
                    &attributes.lifetime,
                    &attributes.name_lifetime,
                    &file_attributes(&attributes),
                    GENERATION,
                ),
                Ok(Found::Never) => reply.entry(&NEVER_LIFETIME, &nothing(), GENERATION),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn forget(&self, _request: &Request, number: INodeNo, lookups: u64) {
        self.guard(|| self.filesystem.forget(number.0, lookups));
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        self.answer(
            move |filesystem| async move { filesystem.attributes(number.0).await },
            |attributes| match attributes {
                Ok(attributes) => {
                    reply.attr(&attributes.lifetime, &file_attributes(&attributes));
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        self.guard(|| match self.filesystem.link_target(number.0) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let passthrough = Arc::clone(&self.passthrough);
        self.answer(
            move |filesystem| async move { filesystem.open(number.0, write).await },
            move |opened| match opened {
                Ok(opened) => passthrough.reply(number.0, &opened, reply),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut reply = Some(reply);
        self.guard(|| {
            let at_hand = self.filesystem.read_now(handle.0, offset, size);
            match (at_hand, reply.take()) {
                (Ok(Some(bytes)), Some(reply)) => reply.data(&bytes),
                (Err(error), Some(reply)) => reply.error(errno(error)),
                (Ok(None), taken) => reply = taken,
                (_, None) => {}
            }
        });
        let Some(reply) = reply else { return };
        self.answer(
            move |filesystem| async move { filesystem.read(handle.0, offset, size).await },
            |bytes| match bytes {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.guard(|| {
            let _inside = self.runtime.enter();
            self.passthrough.closed(handle.0);
            self.filesystem.close(handle.0);
            reply.ok();
        });
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.guard(|| match self.filesystem.open_directory(number.0) {
            Ok((handle, keep)) => {
                let flags = if keep {
                    fuser::FopenFlags::FOPEN_CACHE_DIR | fuser::FopenFlags::FOPEN_KEEP_CACHE
                } else {
                    fuser::FopenFlags::empty()
                };
                reply.opened(FileHandle(handle), flags);
            }
            Err(error) => reply.error(errno(error)),
        });
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let filesystem = Arc::clone(&self.filesystem);
        self.answer(
            move |filesystem| async move { filesystem.read_directory(handle.0, offset).await },
            move |batch| match batch {
                Ok(batch) => {
                    for row in batch.rows() {
                        let attributes = filesystem.row_attributes(row, false);
                        let (number, kind) =
                            (INodeNo(attributes.number), file_type(attributes.kind));
                        if reply.add(number, row.next, kind, &*row.name) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let filesystem = Arc::clone(&self.filesystem);
        self.answer(
            move |filesystem| async move { filesystem.read_directory(handle.0, offset).await },
            move |batch| match batch {
                Ok(batch) => {
                    for row in batch.rows() {
                        let count = !row.is_dot();
                        let attributes = filesystem.row_attributes(row, count);
                        // One lifetime for both. Zero where the size isn't known: the kernel then uses neither, and
                        // asks when somebody wants to know. (An entry without a node would say the same, but
                        // fuser 0.18 then leaves it without an inode number, and readdir(3) skips it.)
                        let lifetime = attributes.lifetime.min(attributes.name_lifetime);
                        let full = reply.add(
                            INodeNo(attributes.number),
                            row.next,
                            &*row.name,
                            &lifetime,
                            &file_attributes(&attributes),
                            GENERATION,
                        );
                        if full {
                            if count {
                                filesystem.forget(attributes.number, 1);
                            }
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.guard(|| {
            self.filesystem.close_directory(handle.0);
            reply.ok();
        });
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        self.guard(|| {
            // Nothing is stored here and nothing can be: figures of use would read as a full disk.
            reply.statfs(0, 0, 0, 0, 0, UNIT_BYTES, NAME_BYTES, UNIT_BYTES);
        });
    }

    fn getxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let name = name.to_owned();
        self.answer(
            move |filesystem| async move { filesystem.extended_attribute(number.0, &name).await },
            move |value| match value {
                Ok(value) => reply_extended(&value, size, reply),
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.guard(
            || match self.filesystem.extended_attribute_names(number.0) {
                Ok(known) => {
                    let mut names = Vec::new();
                    for name in known {
                        names.extend_from_slice(name.as_bytes());
                        names.push(0);
                    }
                    reply_extended(&names, size, reply);
                }
                Err(error) => reply.error(errno(error)),
            },
        );
    }

    // The kernel checks permissions itself (default_permissions), and there is nothing to flush.

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(NOT_NEEDED);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(NOT_NEEDED);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    // The kernel has its own for these.

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(NOT_NEEDED);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(NOT_NEEDED);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(NOT_NEEDED);
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        reply.error(NOT_NEEDED);
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.error(NOT_NEEDED);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(NOT_NEEDED);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(NO_CONTROLS);
    }

    // A read-only mount keeps most writes from coming here; a remount could let them.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(READ_ONLY);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(READ_ONLY);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(READ_ONLY);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(READ_ONLY);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(READ_ONLY);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(READ_ONLY);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(READ_ONLY);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(READ_ONLY);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(READ_ONLY);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(READ_ONLY);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(READ_ONLY);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(READ_ONLY);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(READ_ONLY);
    }
}
