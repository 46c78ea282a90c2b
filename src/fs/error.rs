//! What can go wrong in the filesystem, in its own words; [`crate::fuse`] turns them into errno values.

use crate::catalogue::CatalogueError;
use crate::content::ContentError;
use crate::remote::RemoteError;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// There is no such name.
    #[error("no such file or directory")]
    NotFound,
    /// The credentials don't allow it.
    #[error("the credentials don't allow it")]
    Denied,
    /// What was open or looked up no longer exists in this version.
    #[error("this version no longer exists")]
    Stale,
    /// The deadline passed.
    #[error("the deadline passed")]
    TimedOut,
    /// It could not be had: the server, the connection or the catalogue failed.
    #[error("it could not be had")]
    Failed,
    /// The file is too large for what was asked of it.
    #[error("the file is too large")]
    TooLarge,
    /// The filesystem is read-only.
    #[error("the filesystem is read-only")]
    ReadOnly,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("a directory")]
    IsADirectory,
    /// There is no such extended attribute.
    #[error("no such extended attribute")]
    NoAttribute,
    /// The name is longer than 255 bytes.
    #[error("the name is too long")]
    NameTooLong,
    /// The request makes no sense for what it was asked of.
    #[error("not possible here")]
    Invalid,
    /// There is no such handle.
    #[error("no such handle")]
    BadHandle,
}

impl From<RemoteError> for FsError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Gone => Self::NotFound,
            RemoteError::Forbidden | RemoteError::Unauthorized { .. } => Self::Denied,
            RemoteError::NoBudget | RemoteError::DeadlinePassed => Self::TimedOut,
            RemoteError::PastEnd { .. }
            | RemoteError::Unreachable(_)
            | RemoteError::Connection(_)
            | RemoteError::Interrupted
            | RemoteError::Status(_)
            | RemoteError::Protocol(_)
            | RemoteError::Offline => Self::Failed,
        }
    }
}

impl From<ContentError> for FsError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Stale | ContentError::Remote(RemoteError::Gone) => Self::Stale,
            ContentError::DeadlinePassed => Self::TimedOut,
            ContentError::Remote(error) => error.into(),
        }
    }
}

impl From<CatalogueError> for FsError {
    fn from(error: CatalogueError) -> Self {
        tracing::warn!(%error, "an operation failed");
        Self::Failed
    }
}
