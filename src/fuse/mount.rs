//! Mounting and unmounting.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use fuser::{Config, MountOption, Session, SessionACL};
use rustix::mount::UnmountFlags;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::fs::FileSystem;

use super::adapter::Adapter;
use super::mountpoint::{MountError, check_mountpoint, mounted_at};
use super::notify::Notices;
use super::passthrough::Passthrough;
use super::readahead;

/// The type that /proc/mounts shows behind `fuse.`, and the source where none is given.
const NAME: &str = "interactionfs";

/// `statfs`'s type of overlayfs.
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// The helper of ordinary users' mounts, and where fuser finds it when PATH doesn't name its place.
const HELPERS: [&str; 3] = ["fusermount3", "/sbin/fusermount3", "/bin/fusermount3"];

/// How the filesystem is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// What /proc/mounts shows as source, e.g. the first field of fstab.
    pub source: Option<String>,
    /// Whether others than the mounting user may enter, as far as the modes let them.
    pub allow_other: bool,
    /// Where files lie that may be handed to the kernel; `None` hands over none.
    pub cache_directory: Option<PathBuf>,
}

/// A mount that stands. Dropping this leaves it standing: [`Self::unmount`] ends it, as does anybody's umount.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    ended: watch::Receiver<bool>,
}

/// Mounts `filesystem`. The mount answers when this returns. `on_panic` is called, from any thread, when a
/// mistake in the program was caught: the mount should then be ended.
///
/// Blocks for as long as mounting takes.
///
/// # Errors
/// [`MountError`]; nothing is mounted then.
pub fn mount(
    filesystem: &Arc<FileSystem>,
    mountpoint: &Path,
    options: &MountOptions,
    runtime: Handle,
    on_panic: Arc<dyn Fn() + Send + Sync>,
) -> Result<Mounted, MountError> {
    let mountpoint = check_mountpoint(mountpoint)?;
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoFuse);
    }
    let passthrough = Arc::new(Passthrough::default());
    let adapter = Adapter::new(
        Arc::clone(filesystem),
        runtime,
        passthrough,
        passthrough_depth(options),
        on_panic,
    );
    let refused = |error: io::Error| classify(&error);
    let session = Session::new(adapter, &mountpoint, &config(options)).map_err(refused)?;
    // The session unmounts when it is dropped, until it is running.
    let notices = Notices::start(session.notifier()).map_err(refused)?;
    let mut session = session.spawn().map_err(refused)?;
    filesystem.connect(Arc::clone(&notices) as _);
    look_at_root(mountpoint.clone(), Arc::clone(&notices)).map_err(refused)?;

    let (sender, ended) = watch::channel(false);
    let idle = thread::Builder::new().spawn(|| Ok(())).map_err(refused)?;
    let running = mem::replace(&mut session.guard, idle);
    // Dropping it would unmount the path once more after the session has ended (fuser 0.18 takes an ended mount
    // for a standing one), and with that perhaps a new mount in the same place. What leaks is one descriptor.
    mem::forget(session);
    thread::Builder::new()
        .name("session-end".to_owned())
        .spawn(move || {
            match running.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the session ended with an error"),
                Err(_) => tracing::error!("a session thread panicked"),
            }
            notices.close();
            sender.send_replace(true);
        })
        .map_err(refused)?;
    readahead::widen(&mountpoint);
    Ok(Mounted { mountpoint, ended })
}

/// Has the kernel ask for the root's attributes: until it has them, notices about the root wait. On a thread of its own, because
/// this process is the one that answers.
fn look_at_root(mountpoint: PathBuf, notices: Arc<Notices>) -> io::Result<()> {
    thread::Builder::new()
        .name("first-look".to_owned())
        .spawn(move || {
            // A mount that is ended meanwhile has no use for notices.
            let _ = rustix::fs::stat(&mountpoint);
            notices.root_is_known();
        })
        .map(drop)
}

impl Mounted {
    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Waits until it is unmounted, by whomever, and the last open file is closed.
    pub async fn wait_until_unmounted(&self) {
        // An error means that the thread which would tell is gone: then so is the session.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Whether it is unmounted and the last open file is closed.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Takes it out of the tree at once. Files that are open go on being served until they are closed.
    /// May block for a moment.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn unmount(&self) -> io::Result<()> {
        if self.has_ended() || mounted_at(&self.mountpoint).is_none_or(|entry| !entry.is_fuse) {
            return Ok(());
        }
        // Lazily: an open file would make it EBUSY otherwise.
        match rustix::mount::unmount(&self.mountpoint, UnmountFlags::DETACH) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::PERM) => unmount_as_user(&self.mountpoint),
            Err(error) => Err(error.into()),
        }
    }
}

/// An ordinary user's mounts are ended by the helper that made them.
fn unmount_as_user(mountpoint: &Path) -> io::Result<()> {
    let unmounted_by = |helper: &&str| {
        Command::new(helper)
            .args(["-u", "-q", "-z", "--"])
            .arg(mountpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    };
    let is_missing = |status: &io::Result<_>| matches!(status, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let status = HELPERS
        .iter()
        .map(unmounted_by)
        .find(|status| !is_missing(status));
    match status {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(_)) => Err(io::Error::other("fusermount3 could not unmount it")),
        Some(Err(error)) => Err(error),
        None => Err(io::Error::other("there is no fusermount3")),
    }
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName(source(options.source.as_deref())),
        // Not `Subtype`, which fuser 0.18 drops where it mounts by itself.
        MountOption::CUSTOM(format!("subtype={NAME}")),
    ];
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    // So that one callback doesn't stop all; more than cores measured slower.
    let cores = thread::available_parallelism().map_or(2, usize::from);
    config.n_threads = Some(cores.clamp(2, 4));
    config
}

/// The source, without what would be read as a further mount option: fuser 0.18 does not escape it.
fn source(given: Option<&str>) -> String {
    let given = given.filter(|given| !given.is_empty()).unwrap_or(NAME);
    given
        .chars()
        .map(|c| {
            if c == ',' || c == '\\' || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect()
}

/// How many filesystems the cache's files are stacked on, plus one; `None` if there is no passthrough.
fn passthrough_depth(options: &MountOptions) -> Option<u32> {
    let directory = options.cache_directory.as_deref()?;
    // The kernel demands CAP_SYS_ADMIN of who registers a file.
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let is_overlay =
        rustix::fs::statfs(directory).is_ok_and(|stat| stat.f_type as u64 == OVERLAY_MAGIC);
    Some(if is_overlay { 2 } else { 1 })
}

fn classify(error: &io::Error) -> MountError {
    let text = error.to_string();
    if text.contains("user_allow_other") {
        return MountError::AllowOther;
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => MountError::FuseDenied,
        io::ErrorKind::NotFound => MountError::NoFusermount,
        _ => MountError::Refused(text.trim().replace('\n', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_adds_no_mount_option() {
        assert_eq!(source(None), "interactionfs");
        assert_eq!(source(Some("")), "interactionfs");
        assert_eq!(source(Some("a b,suid\\\n")), "a b_suid__");
    }
}
