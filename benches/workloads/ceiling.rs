//! The FUSE ceiling: what a filesystem in this process gives that has the bytes already, and nothing else to do.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry,
    Request, Session,
};
use tempfile::TempDir;

use super::corpus::MIB;
use super::measure::unmount;

/// Where the bytes come from.
pub(crate) enum Source {
    /// A buffer larger than the processor's caches, over and over.
    Memory(Vec<u8>),
    File(File),
}

impl Source {
    pub(crate) fn memory() -> Self {
        Self::Memory(vec![1; usize::try_from(64 * MIB).unwrap()])
    }
}

/// A mount of files that are alike.
pub(crate) struct Ceiling {
    session: Option<BackgroundSession>,
    directory: TempDir,
    count: u64,
}

impl Ceiling {
    /// Mounts so many files of this size, as an ordinary user would: with the readahead window that the kernel gives.
    pub(crate) fn mount(source: Source, size: u64, count: u64) -> std::io::Result<Self> {
        let directory = TempDir::new()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO];
        config.n_threads = Some(2);
        let files = Alike {
            source,
            size,
            count,
        };
        let session = Session::new(files, directory.path(), &config)?.spawn()?;
        Ok(Self {
            session: Some(session),
            directory,
            count,
        })
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("0")
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        (0..self.count)
            .map(|number| self.directory.path().join(number.to_string()))
            .collect()
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        unmount(self.directory.path());
        if let Some(session) = self.session.take() {
            let _ = session.join();
        }
    }
}

/// Their names are numbers from 0, their inodes' numbers follow the root's.
struct Alike {
    source: Source,
    size: u64,
    count: u64,
}

const FOR_LONG: Duration = Duration::from_secs(3600);

impl Alike {
    fn attributes(&self, number: INodeNo) -> FileAttr {
        let is_root = number == INodeNo::ROOT;
        FileAttr {
            ino: number,
            size: if is_root { 0 } else { self.size },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_root {
                FileType::Directory
            } else {
                FileType::RegularFile
            },
            perm: 0o555,
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Alike {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // As large a READ, and as many in flight, as ours asks for.
        let _ = config.set_max_write(128 << 10);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
        match number.filter(|&number| number < self.count) {
            Some(number) => {
                let inode = INodeNo(INodeNo::ROOT.0 + 1 + number);
                reply.entry(&FOR_LONG, &self.attributes(inode), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_LONG, &self.attributes(number));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = u64::from(size).min(self.size.saturating_sub(offset));
        let length = usize::try_from(length).unwrap_or(0);
        match &self.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(0) % bytes.len();
                let end = (start + length).min(bytes.len());
                reply.data(&bytes[start..end]);
            }
            Source::File(file) => {
                let mut buffer = vec![0; length];
                match file.read_exact_at(&mut buffer, offset) {
                    Ok(()) => reply.data(&buffer),
                    Err(_) => reply.error(Errno::EIO),
                }
            }
        }
    }
}
