//! A disk that can stop answering: a FUSE filesystem over a directory, which passes everything through until it is
//! told to hold.
//!
//! Stronger than freezing a filesystem: reads and lookups stall too, beyond any signal, as on a disk whose controller hangs.
//! What nobody waits for on a local disk (the kernel writing back pages of a mapping, closing) is not held.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, Mode, OFlags};
use tempfile::TempDir;

/// Nobody else changes the directory.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A disk that is mounted. Dropping it lets go of what it holds, and unmounts.
pub(crate) struct Disk {
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
    place: TempDir,
}

/// Where requests wait.
#[derive(Default)]
struct Gate {
    holds: Mutex<bool>,
    news: Condvar,
    held: AtomicU64,
}

struct Through {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
}

/// Inodes are those of the directory below; a descriptor on each keeps its number from being used again.
struct Shared {
    nodes: Mutex<HashMap<u64, Arc<OwnedFd>>>,
    files: Mutex<HashMap<u64, Arc<File>>>,
    next: AtomicU64,
}

impl Disk {
    /// Makes and mounts one; says loudly why it could not be, if it could not.
    pub(crate) fn new() -> Option<Self> {
        let place = TempDir::new().unwrap();
        for name in ["below", "disk"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        let gate = Arc::new(Gate::default());
        let root = rustix::fs::open(place.path().join("below"), OFlags::PATH, Mode::empty());
        let through = Through {
            gate: Arc::clone(&gate),
            shared: Arc::new(Shared {
                nodes: Mutex::new(HashMap::from([(1, Arc::new(root.unwrap()))])),
                files: Mutex::default(),
                next: AtomicU64::new(1),
            }),
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::DefaultPermissions, MountOption::NoAtime];
        match fuser::spawn_mount(through, place.path().join("disk"), &config) {
            Ok(session) => Some(Self {
                gate,
                session: Some(session),
                place,
            }),
            Err(error) => {
                crate::common::skipped(&format!("a disk that gets stuck can't be made ({error})"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().join("disk")
    }

    /// From now on nothing is answered.
    pub(crate) fn hold(&self) {
        *self.gate.holds.lock().unwrap() = true;
    }

    /// Everything is answered again.
    pub(crate) fn release(&self) {
        *self.gate.holds.lock().unwrap() = false;
        self.gate.news.notify_all();
    }

    /// How many requests wait just now.
    pub(crate) fn held(&self) -> u64 {
        self.gate.held.load(Ordering::SeqCst)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.release();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

impl Gate {
    /// Does the work, when that is allowed. Never waits on the session's thread.
    fn pass(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        if !*self.holds.lock().unwrap() {
            work();
            return;
        }
        let gate = Arc::clone(self);
        gate.held.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let holds = gate.holds.lock().unwrap();
            drop(gate.news.wait_while(holds, |holds| *holds).unwrap());
            gate.held.fetch_sub(1, Ordering::SeqCst);
            work();
        });
    }
}

type Outcome<T> = Result<T, Errno>;

fn errno(error: impl Into<std::io::Error>) -> Errno {
    let error: std::io::Error = error.into();
    error.raw_os_error().map_or(Errno::EIO, Errno::from_i32)
}

impl Shared {
    fn node(&self, number: INodeNo) -> Outcome<Arc<OwnedFd>> {
        let nodes = self.nodes.lock().unwrap();
        nodes.get(&number.0).cloned().ok_or(Errno::ESTALE)
    }

    fn attributes(&self, number: INodeNo) -> Outcome<FileAttr> {
        attributes(&*self.node(number)?, number.0)
    }

    fn entry(&self, parent: INodeNo, name: &OsStr) -> Outcome<FileAttr> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let found = rustix::fs::openat(&*self.node(parent)?, name, flags, Mode::empty());
        let found = found.map_err(errno)?;
        let number = rustix::fs::fstat(&found).map_err(errno)?.st_ino;
        let attributes = attributes(&found, number)?;
        let mut nodes = self.nodes.lock().unwrap();
        nodes.entry(number).or_insert_with(|| Arc::new(found));
        Ok(attributes)
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.files.lock().unwrap().insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> Outcome<Arc<File>> {
        let files = self.files.lock().unwrap();
        files.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    /// Opens a node anew.
    fn open(&self, number: INodeNo, flags: OFlags) -> Outcome<File> {
        let path = format!("/proc/self/fd/{}", self.node(number)?.as_raw_fd());
        let opened = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        opened.map(File::from).map_err(errno)
    }
}

fn attributes(node: impl AsFd, number: u64) -> Outcome<FileAttr> {
    let stat = rustix::fs::statat(node, "", AtFlags::EMPTY_PATH).map_err(errno)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_mtime.unsigned_abs());
    Ok(FileAttr {
        ino: INodeNo(number),
        size: stat.st_size.unsigned_abs(),
        blocks: stat.st_blocks.unsigned_abs(),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

/// What is asked for of an open file, for one that is read and written at places of its own.
fn access(flags: i32) -> OFlags {
    OFlags::from_bits_truncate(flags.unsigned_abs())
        & (OFlags::RDONLY | OFlags::WRONLY | OFlags::RDWR)
}

macro_rules! answer {
    ($reply:ident, $outcome:expr, $with:expr) => {
        match $outcome {
            Ok(value) => $with($reply, value),
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Through {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.gate.pass(move || {
            answer!(
                reply,
                shared.entry(parent, &name),
                |reply: ReplyEntry, attr| {
                    reply.entry(&FOR_EVER, &attr, Generation(0));
                }
            );
        });
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let shared = Arc::clone(&self.shared);
        self.gate.pass(move || {
            answer!(
                reply,
                shared.attributes(number),
                |reply: ReplyAttr, attr| {
                    reply.attr(&FOR_EVER, &attr);
                }
            );
        });
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
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
        let shared = Arc::clone(&self.shared);
        self.gate.pass(move || {
            let set = || {
                if let Some(mode) = mode {
                    let file = shared.open(number, OFlags::RDONLY)?;
                    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(errno)?;
                }
                if let Some(size) = size {
                    shared
                        .open(number, OFlags::WRONLY)?
                        .set_len(size)
                        .map_err(errno)?;
                }
                shared.attributes(number)
            };
            answer!(reply, set(), |reply: ReplyAttr, attr| {
                reply.attr(&FOR_EVER, &attr);
            });
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.gate.pass(move || {
            let make = || {
                let mode = Mode::from_raw_mode(mode);
                rustix::fs::mkdirat(&*shared.node(parent)?, &name, mode).map_err(errno)?;
                shared.entry(parent, &name)
            };
            answer!(reply, make(), |reply: ReplyEntry, attr| {
                reply.entry(&FOR_EVER, &attr, Generation(0));
            });
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, AtFlags::empty(), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, AtFlags::REMOVEDIR, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        into: INodeNo,
        named: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let shared = Arc::clone(&self.shared);
        let (name, named) = (name.to_owned(), named.to_owned());
        self.gate.pass(move || {
            let rename = || {
                let (from, to) = (shared.node(parent)?, shared.node(into)?);
                rustix::fs::renameat(&*from, &name, &*to, &named).map_err(errno)
            };
            answer!(reply, rename(), |reply: ReplyEmpty, ()| reply.ok());
        });
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.gate.pass(move || {
            let create = || {
                let all = OFlags::CREATE | OFlags::CLOEXEC | access(flags);
                let mode = Mode::from_raw_mode(mode & 0o7777);
                let made = rustix::fs::openat(&*shared.node(parent)?, &name, all, mode);
                let file = File::from(made.map_err(errno)?);
                Ok((shared.entry(parent, &name)?, shared.keep(file)))
            };
            answer!(reply, create(), |reply: ReplyCreate, (attr, handle)| {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&FOR_EVER, &attr, Generation(0), handle, flags);
            });
        });
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let shared = Arc::clone(&self.shared);
        self.gate.pass(move || {
            let opened = shared.open(number, access(flags.0));
            answer!(reply, opened, |reply: ReplyOpen, file| {
                reply.opened(shared.keep(file), FopenFlags::FOPEN_KEEP_CACHE);
            });
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let shared = Arc::clone(&self.shared);
        self.gate.pass(move || {
            let read = || {
                let file = shared.file(handle)?;
                let mut bytes = vec![0; size as usize];
                let mut length = 0;
                while length < bytes.len() {
                    match file.read_at(&mut bytes[length..], offset + length as u64) {
                        Ok(0) => break,
                        Ok(more) => length += more,
                        Err(error) => return Err(errno(error)),
                    }
                }
                bytes.truncate(length);
                Ok(bytes)
            };
            answer!(reply, read(), |reply: ReplyData, bytes: Vec<u8>| reply
                .data(&bytes));
        });
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        how: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (shared, bytes) = (Arc::clone(&self.shared), data.to_owned());
        let is_written_back = how.contains(WriteFlags::FUSE_WRITE_CACHE);
        let work = move || {
            let write = || {
                // What is written back may come by a handle that was closed since.
                let file = match shared.file(handle) {
                    Ok(file) => file,
                    Err(_) => Arc::new(shared.open(number, OFlags::WRONLY)?),
                };
                file.write_all_at(&bytes, offset).map_err(errno)?;
                Ok(bytes.len() as u32)
            };
            answer!(reply, write(), |reply: ReplyWrite, length| reply
                .written(length));
        };
        if is_written_back {
            work();
        } else {
            self.gate.pass(work);
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.files.lock().unwrap().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.gate.pass(move || reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.gate.pass(move || reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let shared = Arc::clone(&self.shared);
        self.gate.pass(move || {
            let list = || {
                let directory = shared.open(number, OFlags::RDONLY | OFlags::DIRECTORY)?;
                let rows = rustix::fs::Dir::read_from(directory).map_err(errno)?;
                rows.collect::<Result<Vec<_>, _>>().map_err(errno)
            };
            match list() {
                Ok(rows) => {
                    for (place, row) in rows.iter().enumerate().skip(offset as usize) {
                        let kind = if row.file_type().is_dir() {
                            FileType::Directory
                        } else {
                            FileType::RegularFile
                        };
                        let name = OsStr::from_bytes(row.file_name().to_bytes());
                        if reply.add(INodeNo(row.ino()), place as u64 + 1, kind, name) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(error),
            }
        });
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

impl Through {
    fn remove(&self, parent: INodeNo, name: &OsStr, flags: AtFlags, reply: ReplyEmpty) {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.gate.pass(move || {
            let remove = || {
                let parent = shared.node(parent)?;
                rustix::fs::unlinkat(&*parent, Path::new(&name), flags).map_err(errno)
            };
            answer!(reply, remove(), |reply: ReplyEmpty, ()| reply.ok());
        });
    }
}
