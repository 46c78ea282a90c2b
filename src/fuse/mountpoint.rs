//! Where a mount can stand, and what is mounted there.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why nothing could be mounted. Every text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no such directory.
    #[error("the mountpoint does not exist: make the directory {0:?}")]
    Missing(PathBuf),
    /// It is not a directory.
    #[error("the mountpoint {0:?} is not a directory")]
    NotADirectory(PathBuf),
    /// Something is in it.
    #[error("the mountpoint {0:?} is not empty: choose an empty directory")]
    NotEmpty(PathBuf),
    /// A FUSE filesystem is mounted there.
    #[error("the mountpoint {0:?} is busy: something is mounted there; unmount it first")]
    Busy(PathBuf),
    /// A mount whose daemon has died is there.
    #[error(
        "the mountpoint {0:?} holds a mount whose daemon has died: run fusermount3 -u on it first"
    )]
    Dead(PathBuf),
    /// The mountpoint can't be looked at.
    #[error("the mountpoint {path:?} can't be used: {source}")]
    Unusable {
        /// The mountpoint.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no FUSE.
    #[error("/dev/fuse is missing: load the kernel's fuse module (modprobe fuse)")]
    NoFuse,
    /// FUSE may not be used.
    #[error("/dev/fuse may not be opened: run as root, or have its permissions changed")]
    FuseDenied,
    /// Others may not be let in.
    #[error("--allow-other needs the line user_allow_other in /etc/fuse.conf")]
    AllowOther,
    /// The helper that mounts for ordinary users is missing.
    #[error("fusermount3 is missing: install the package fuse3")]
    NoFusermount,
    /// The system refuses.
    #[error("mounting failed: {0}")]
    Refused(String),
}

/// Checks that a mount can stand on `path`, and resolves it.
///
/// # Errors
/// [`MountError`] when it is missing, busy or not empty.
pub fn check_mountpoint(path: &Path) -> Result<PathBuf, MountError> {
    let owned = || path.to_owned();
    let classify = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => MountError::Missing(owned()),
        io::ErrorKind::NotADirectory => MountError::NotADirectory(owned()),
        // ENOTCONN: "Transport endpoint is not connected".
        io::ErrorKind::NotConnected => MountError::Dead(owned()),
        _ => MountError::Unusable {
            path: owned(),
            source,
        },
    };
    // Before anything touches it: a live mount of another user would refuse, and one that hangs would hang us.
    if let Ok(absolute) = std::path::absolute(path)
        && let Some(entry) = mounted_at(&absolute)
        && entry.is_fuse
    {
        return Err(match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => classify(error),
            _ => MountError::Busy(owned()),
        });
    }
    let resolved = path.canonicalize().map_err(classify)?;
    if mounted_at(&resolved).is_some_and(|entry| entry.is_fuse) {
        return Err(MountError::Busy(owned()));
    }
    if !fs::metadata(&resolved).map_err(classify)?.is_dir() {
        return Err(MountError::NotADirectory(owned()));
    }
    if fs::read_dir(&resolved).map_err(classify)?.next().is_some() {
        return Err(MountError::NotEmpty(owned()));
    }
    Ok(resolved)
}

/// What is mounted at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MountEntry {
    /// `major:minor` of its device.
    pub(super) device: String,
    /// Whether it is a FUSE filesystem.
    pub(super) is_fuse: bool,
}

/// The topmost mount at `path`. Never touches the mount itself: that could wait for ourselves.
pub(super) fn mounted_at(path: &Path) -> Option<MountEntry> {
    find_mount(&fs::read("/proc/self/mountinfo").ok()?, path)
}

fn find_mount(mountinfo: &[u8], path: &Path) -> Option<MountEntry> {
    let mut found = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        // 36 35 98:0 /root /mount/point options [optional fields] - type source options
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (Some(device), Some(point)) = (fields.get(2), fields.get(4)) else {
            continue;
        };
        if unescape(point) != path.as_os_str().as_bytes() {
            continue;
        }
        let kind = fields
            .iter()
            .position(|field| *field == b"-")
            .and_then(|dash| fields.get(dash + 1));
        found = Some(MountEntry {
            device: String::from_utf8_lossy(device).into_owned(),
            is_fuse: kind.is_some_and(|kind| kind.starts_with(b"fuse")),
        });
    }
    found
}

/// Spaces, tabs, newlines and backslashes stand as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_mount_of_a_path_is_found() {
        let mountinfo = b"22 1 0:20 / /mnt/a\\040b rw shared:1 - tmpfs tmpfs rw\n\
            40 22 0:51 / /mnt/a\\040b ro,nosuid - fuse.interactionfs src ro\n\
            41 22 0:52 / /mnt/a rw - ext4 /dev/x rw\n";
        let entry = find_mount(mountinfo, Path::new("/mnt/a b")).unwrap();
        assert_eq!((&*entry.device, entry.is_fuse), ("0:51", true));
        assert!(!find_mount(mountinfo, Path::new("/mnt/a")).unwrap().is_fuse);
        assert_eq!(find_mount(mountinfo, Path::new("/mnt")), None);
    }

    #[test]
    fn a_mountpoint_must_be_an_empty_directory() {
        let place = tempfile::tempdir().unwrap();
        assert!(check_mountpoint(place.path()).is_ok());
        let file = place.path().join("file");
        assert!(matches!(
            check_mountpoint(&file),
            Err(MountError::Missing(_))
        ));
        fs::write(&file, "x").unwrap();
        assert!(matches!(
            check_mountpoint(&file),
            Err(MountError::NotADirectory(_))
        ));
        assert!(matches!(
            check_mountpoint(place.path()),
            Err(MountError::NotEmpty(_))
        ));
    }
}
