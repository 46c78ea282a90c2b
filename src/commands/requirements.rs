//! What must be there before anything can be mounted. `mount` stops at the first thing that is missing,
//! `doctor` names them all.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::control;
use crate::failure::Failure;

use super::mount_table;

/// Whether an empty directory is there to be mounted on; its canonical path.
///
/// # Errors
/// What is wrong with it and what to do.
pub(super) fn mountpoint(path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display();
    // The table first: what is mounted there may be dead or stuck, and asking it would tell less or nothing.
    let canonical = control::canonical(path);
    if let Some(mounted) = mount_table::on(&canonical) {
        return Err(Failure::found(if mounted.is_ours() {
            format!(
                "the mountpoint {shown} is already mounted: unmount it first with 'interactionfs unmount {shown}', or \
                 choose another directory"
            )
        } else {
            format!(
                "the mountpoint {shown} is already mounted with {}: choose another directory",
                mounted.file_system
            )
        }));
    }
    let metadata = std::fs::metadata(&canonical).map_err(|error| {
        Failure::found(match error.kind() {
            ErrorKind::NotFound => {
                format!("the mountpoint {shown} does not exist: make it with 'mkdir -p {shown}'")
            }
            _ => {
                format!("the mountpoint {shown} can't be used ({error}): choose another directory")
            }
        })
    })?;
    if !metadata.is_dir() {
        return Err(Failure::found(format!(
            "the mountpoint {shown} is not a directory: choose an empty directory"
        )));
    }
    let is_empty = std::fs::read_dir(&canonical)
        .map_err(|error| {
            Failure::found(format!(
                "the mountpoint {shown} can't be read ({error}): choose a directory of your own"
            ))
        })?
        .next()
        .is_none();
    if !is_empty {
        return Err(Failure::found(format!(
            "the mountpoint {shown} is not empty: choose an empty directory, so that nothing is hidden"
        )));
    }
    // fusermount3 demands it; root needs no fusermount3.
    if !is_root() && rustix::fs::access(&canonical, Access::WRITE_OK).is_err() {
        return Err(Failure::found(format!(
            "the mountpoint {shown} is not writable for you, as fusermount3 demands: choose a directory of your own"
        )));
    }
    Ok(canonical)
}

/// Whether the kernel's side of FUSE can be opened.
///
/// # Errors
/// What is missing and what to do.
pub(super) fn device() -> Result<(), Failure> {
    let device = Path::new("/dev/fuse");
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(device);
    match opened {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Failure::found(
            "/dev/fuse can't be opened by you: run 'chmod 666 /dev/fuse' as root, or mount as root",
        )),
        Err(_) => Err(Failure::found(
            "there is no usable /dev/fuse: run 'modprobe fuse' as root; a container must be started with \
             --device /dev/fuse --cap-add SYS_ADMIN",
        )),
    }
}

/// Whether other users than root have the program that mounts for them; where it is.
///
/// # Errors
/// That it is missing, and how to install it.
pub(super) fn fusermount() -> Result<PathBuf, Failure> {
    find_program("fusermount3").ok_or_else(|| {
        Failure::found(
            "fusermount3 is not installed: install the package fuse3 ('apt-get install fuse3'), or mount as root",
        )
    })
}

/// Whether other users may be let in.
///
/// # Errors
/// That /etc/fuse.conf does not allow it.
pub(super) fn allow_other() -> Result<(), Failure> {
    let configuration = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if is_root() || allows_other(&configuration) {
        Ok(())
    } else {
        Err(Failure::found(
            "--allow-other is not allowed here: put a line 'user_allow_other' into /etc/fuse.conf, or leave the \
             option out",
        ))
    }
}

/// All of it, as `mount` needs it; the mountpoint's canonical path.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn all(path: &Path, wants_others: bool) -> Result<PathBuf, Failure> {
    let canonical = mountpoint(path)?;
    device()?;
    if !is_root() {
        fusermount()?;
    }
    if wants_others {
        allow_other()?;
    }
    Ok(canonical)
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn allows_other(configuration: &str) -> bool {
    configuration
        .lines()
        .any(|line| line.trim() == "user_allow_other")
}

/// A program in PATH, or where such programs lie even if PATH (of a service, say) does not name it.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file() && rustix::fs::access(program, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_allows_nothing() {
        assert!(!allows_other("#user_allow_other\n# user_allow_other\n"));
        assert!(allows_other("# comment\n user_allow_other \n"));
    }

    #[test]
    fn only_an_empty_directory_can_be_mounted_on() {
        let directory = tempfile::tempdir().unwrap();
        assert!(mountpoint(directory.path()).is_ok());
        let file = directory.path().join("file");
        for (path, words) in [
            (file.as_path(), "does not exist"),
            (Path::new("/proc"), "already mounted with proc"),
        ] {
            assert!(mountpoint(path).unwrap_err().message.contains(words));
        }
        std::fs::write(&file, "").unwrap();
        for (path, words) in [
            (file.as_path(), "not a directory"),
            (directory.path(), "not empty"),
        ] {
            assert!(mountpoint(path).unwrap_err().message.contains(words));
        }
    }
}
