//! `unmount`: takes a mount away, whether its daemon lives or not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::cli::Unmount;
use crate::control;
use crate::failure::Failure;

use super::{mount_table, requirements};

/// How long the daemon may take to end once its mount is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it went.
enum Outcome {
    Gone,
    /// Programs have files open in it: it is out of sight, and ends when they do.
    Detached,
}

pub(super) fn run(arguments: &Unmount) -> Result<(), Failure> {
    let mountpoint = mounted(&arguments.mountpoint)?;
    // Taken before the mount goes, because the socket goes with it.
    let lifeline = control::lifeline(&mountpoint);
    let outcome = if requirements::is_root() {
        by_system_call(&mountpoint)
    } else {
        by_fusermount(&mountpoint)
    }?;
    if lifeline.is_none() {
        control::sweep(&mountpoint);
    }
    match outcome {
        Outcome::Gone => {
            // Whoever unmounts in order to mount again, or to delete the cache, needs the daemon gone too.
            if lifeline.is_some_and(|lifeline| !lifeline.wait(PATIENCE)) {
                return super::print("unmounted; its process is still finishing its work\n");
            }
            Ok(())
        }
        Outcome::Detached => super::print(
            "the mount was busy: it is detached now, and ends when the last program closes its files in it\n",
        ),
    }
}

/// The canonical path, if one of our mounts is there.
fn mounted(path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display();
    let canonical = control::canonical(path);
    match mount_table::on(&canonical) {
        Some(mounted) if mounted.is_ours() => Ok(canonical),
        Some(mounted) => Err(Failure::found(format!(
            "what is mounted on {shown} is not interactionfs but {}: use umount for it",
            mounted.file_system
        ))),
        None => Err(Failure::found(format!(
            "nothing is mounted on {shown}: 'interactionfs status' names your mounts"
        ))),
    }
}

fn by_system_call(mountpoint: &Path) -> Result<Outcome, Failure> {
    match rustix::mount::unmount(mountpoint, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(Outcome::Gone),
        Err(Errno::BUSY) => {
            rustix::mount::unmount(mountpoint, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
                .map(|()| Outcome::Detached)
                .map_err(|error| refused(mountpoint, &error.to_string()))
        }
        Err(error) => Err(refused(mountpoint, &error.to_string())),
    }
}

fn by_fusermount(mountpoint: &Path) -> Result<Outcome, Failure> {
    let program = requirements::fusermount()?;
    let run = |lazily: bool| {
        Command::new(&program)
            .arg("-u")
            .args(lazily.then_some("-z"))
            .arg("--")
            .arg(mountpoint)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| refused(mountpoint, &error.to_string()))
    };
    if run(false)?.status.success() {
        return Ok(Outcome::Gone);
    }
    // It says "busy" in words only; where that was not the reason, the second try says what was.
    let lazily = run(true)?;
    if lazily.status.success() {
        return Ok(Outcome::Detached);
    }
    Err(refused(
        mountpoint,
        String::from_utf8_lossy(&lazily.stderr).trim(),
    ))
}

fn refused(mountpoint: &Path, why: &str) -> Failure {
    Failure::found(format!(
        "{} can't be unmounted ({why}): only the user who mounted it, or root, can",
        mountpoint.display()
    ))
}
