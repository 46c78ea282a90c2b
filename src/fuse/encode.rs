//! The filesystem's answers in fuser's types.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, Generation, INodeNo, ReplyXattr};

use crate::fs::{Attributes, Kind};

use super::errno::RANGE;
use super::settings;

/// Inode numbers are never used again, so there is one generation.
pub(super) const GENERATION: Generation = Generation(0);

/// How long the kernel may remember that a name which can't exist does not.
pub(super) const NEVER_LIFETIME: Duration = Duration::from_secs(3600);

/// The longest name, in bytes.
pub(super) const NAME_BYTES: u32 = 255;

/// The unit of `statfs`, in bytes.
pub(super) const UNIT_BYTES: u32 = 4096;

/// What reads like the best size for a read, in bytes: what the kernel asks for at most.
const BLOCK_BYTES: u32 = settings::READ_BYTES;

/// What `stat` shows.
pub(super) fn file_attributes(attributes: &Attributes) -> FileAttr {
    let time = system_time(attributes.time);
    FileAttr {
        ino: INodeNo(attributes.number),
        size: attributes.size,
        // The whole file, not the part that is cached: cp takes missing blocks for holes.
        blocks: attributes.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attributes.kind),
        perm: attributes.mode,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn system_time(time: jiff::Timestamp) -> SystemTime {
    let since = time.as_duration().unsigned_abs();
    if time < jiff::Timestamp::UNIX_EPOCH {
        SystemTime::UNIX_EPOCH - since
    } else {
        SystemTime::UNIX_EPOCH + since
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

/// An entry with inode number 0: the kernel remembers that there is none.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// Answers with the value of an extended attribute, or its length where `size` is 0.
pub(super) fn reply_extended(value: &[u8], size: u32, reply: ReplyXattr) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    if size == 0 {
        reply.size(length);
    } else if length > size {
        reply.error(RANGE);
    } else {
        reply.data(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_kept() {
        let time = jiff::Timestamp::new(-2, -500_000_000).unwrap();
        let shown = SystemTime::UNIX_EPOCH - Duration::from_millis(2500);
        assert_eq!(system_time(time), shown);
    }
}
