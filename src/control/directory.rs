//! Where sockets lie, and who may have made that place.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// The places to look for this user's sockets, best first. A mount made by a service has no
/// XDG_RUNTIME_DIR while its user's shell has one, so all are looked at.
pub(super) fn candidates() -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let mut candidates = Vec::new();
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && runtime.is_absolute()
    {
        candidates.push(runtime.join("interactionfs"));
    }
    candidates.push(format!("/run/user/{uid}/interactionfs").into());
    candidates.push(format!("/run/interactionfs-{uid}").into());
    candidates.push(format!("/tmp/interactionfs-{uid}").into());
    candidates
}

/// Makes `directory` if it is missing, and sees to it that it is this user's alone: in /tmp, anybody may
/// have made it first.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_trusted(directory) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory belongs to somebody else or is open to others",
        ))
    }
}

/// Whether `directory` is a real directory of this user's that nobody else can enter.
pub(super) fn is_trusted(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory).is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o077 == 0
    })
}

/// The name of a mountpoint's socket: its canonical path may be longer than a socket's name can be.
pub(super) fn socket_name(mountpoint: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let canonical = canonical(mountpoint);
    format!("{:016x}.sock", xxh3_64(canonical.as_os_str().as_bytes()))
}

/// The canonical path, also of a mountpoint whose daemon is dead and answers no stat.
pub fn canonical(mountpoint: &Path) -> PathBuf {
    std::fs::canonicalize(mountpoint).unwrap_or_else(|_| {
        let absolute = std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
        match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => std::fs::canonicalize(parent)
                .unwrap_or_else(|_| parent.to_owned())
                .join(name),
            _ => absolute,
        }
    })
}
