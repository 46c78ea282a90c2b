//! Who uses an account's directory in the cache: mounts share it, whoever deletes from it has it alone.
//!
//! An advisory lock on a file in the directory. It goes with the process that holds it, however that ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// The file's name; it holds nothing, and stays.
const NAME: &str = "in-use";

/// Held while the directory is used.
#[derive(Debug)]
pub struct AccountLock(#[allow(dead_code, reason = "the lock is held as long as it is open")] File);

impl AccountLock {
    /// For a mount; `None` while somebody deletes from the directory.
    ///
    /// # Errors
    /// When the lock's file can't be made or locked.
    pub fn share(directory: &Path) -> io::Result<Option<Self>> {
        Self::lock(directory, FlockOperation::NonBlockingLockShared)
    }

    /// For who deletes; `None` while a mount uses the directory.
    ///
    /// # Errors
    /// When the lock's file can't be made or locked.
    pub fn take(directory: &Path) -> io::Result<Option<Self>> {
        Self::lock(directory, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(directory: &Path, operation: FlockOperation) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed())
            .open(directory.join(NAME))?;
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_share_and_nobody_deletes_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let one = AccountLock::share(directory.path()).unwrap().unwrap();
        let two = AccountLock::share(directory.path()).unwrap().unwrap();
        drop(one);
        assert!(AccountLock::take(directory.path()).unwrap().is_none());
        drop(two);
        let alone = AccountLock::take(directory.path()).unwrap().unwrap();
        assert!(AccountLock::share(directory.path()).unwrap().is_none());
        drop(alone);
        assert!(AccountLock::share(directory.path()).unwrap().is_some());
    }
}
