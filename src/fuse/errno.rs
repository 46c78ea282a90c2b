//! Errors become errno values, here and nowhere else.

use fuser::Errno;

use crate::fs::FsError;

/// What a program sees.
pub(super) fn errno(error: FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::Denied => Errno::EACCES,
        FsError::Stale => Errno::ESTALE,
        FsError::TimedOut => Errno::ETIMEDOUT,
        FsError::Failed => Errno::EIO,
        FsError::TooLarge => Errno::EFBIG,
        FsError::ReadOnly => Errno::EROFS,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::IsADirectory => Errno::EISDIR,
        FsError::NoAttribute => Errno::ENODATA,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::Invalid => Errno::EINVAL,
        FsError::BadHandle => Errno::EBADF,
    }
}

/// Every write is answered with this.
pub(super) const READ_ONLY: Errno = Errno::EROFS;

/// The kernel asks once, and then does without.
pub(super) const NOT_NEEDED: Errno = Errno::ENOSYS;

/// No file here has controls of its own.
pub(super) const NO_CONTROLS: Errno = Errno::ENOTTY;

/// The buffer for an extended attribute is too small.
pub(super) const RANGE: Errno = Errno::ERANGE;
