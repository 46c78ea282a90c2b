//! What root may do beyond its files is given up before there is a second thread.
//!
//! Capabilities belong to threads, and each begins with those of the one that starts it: so this is done first, for what
//! mounting will need, and holds for all. What stays as long as the mount:
//!
//! - CAP_SYS_ADMIN: to mount, to hand files to the kernel (passthrough) while mounted, and to unmount at the end;
//! - CAP_DAC_READ_SEARCH, only where a path leads through a directory that is closed to root without it;
//! - CAP_NET_BIND_SERVICE, only for metrics at a port below 1024.
//!
//! The server that `demo` brings has threads already: they keep what they had, and serve samples to this machine only.
//!
//! Nothing is ever gained again (`no_new_privs`), unless an ordinary user's mount needs fusermount3 to be ended.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use tracing::{debug, warn};

use crate::config::{Config, SecretSource};
use crate::content;

/// Ports below this are root's.
const ORDINARY_PORTS: u16 = 1024;

/// Gives up what `config` doesn't need. An ordinary user has nothing to give up. To be called while there is one thread
/// that the mount is served by.
pub(super) fn give_up(config: &Config, mounts: bool) {
    let held = match capabilities(None) {
        Ok(held) => held,
        Err(error) => {
            warn!(%error, "whether there are capabilities to give up can't be told");
            return;
        }
    };
    if held.permitted.is_empty() && held.inheritable.is_empty() {
        return;
    }
    // In a directory that only its owner may write to, root needs a capability to make one; then no more. Whatever is wrong
    // with it is said later.
    if let Some(directory) = config.account_directory()
        && enter(&directory) == Err(Errno::NOENT)
    {
        let _ = content::disk::own_directory(&directory);
    }
    if let Err(error) = limit(config, mounts, &held) {
        warn!(%error, "root's capabilities could not all be given up");
    }
}

fn limit(config: &Config, mounts: bool, held: &CapabilitySets) -> Result<(), Errno> {
    let mut kept = CapabilitySet::empty();
    if mounts {
        kept |= CapabilitySet::SYS_ADMIN;
    }
    if config
        .metrics_listen
        .is_some_and(|address| (1..ORDINARY_PORTS).contains(&address.port()))
    {
        kept |= CapabilitySet::NET_BIND_SERVICE;
    }
    // The kernel itself says which paths are closed without the others.
    let trial = kept | CapabilitySet::SETPCAP;
    set_capabilities(
        None,
        CapabilitySets {
            effective: held.permitted & trial,
            permitted: held.permitted,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    if has_closed_path(config) {
        kept |= CapabilitySet::DAC_READ_SEARCH;
    }
    // What can't be had back is given up first, but if that is refused, the rest goes all the same.
    // An ordinary user, whose session may have a capability or two, can't do that and has no need to.
    let for_good = if held.permitted.contains(CapabilitySet::SETPCAP) {
        give_up_for_good(kept)
    } else {
        clear_ambient_capability_set()
    };
    let kept = held.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    if !mounts || kept.contains(CapabilitySet::SYS_ADMIN) {
        set_no_new_privs(true)?;
    }
    debug!(?kept, "all other capabilities are given up");
    for_good
}

/// Sees to it that no program that is started can have more than `kept`.
fn give_up_for_good(kept: CapabilitySet) -> Result<(), Errno> {
    clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().difference(kept).iter() {
        // A kernel need not know all of them.
        if capability_is_in_bounding_set(capability) == Ok(true) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

/// Whether a path that is used later, if only to read the secret again, can't be reached.
fn has_closed_path(config: &Config) -> bool {
    let is_closed = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    let secret = match &config.secret_source {
        Some(SecretSource::File(path) | SecretSource::Credential(path)) => Some(path),
        Some(SecretSource::Environment(_)) | None => None,
    };
    let directory = config.account_directory();
    let files = secret.into_iter().chain(&config.ca_file);
    std::fs::read_dir(&config.mountpoint).is_err_and(is_closed)
        || directory.is_some_and(|directory| enter(&directory) == Err(Errno::ACCESS))
        || files
            .map(std::fs::File::open)
            .any(|opened| opened.is_err_and(is_closed))
}

/// Tries to enter a directory. Its disk is not asked for more than its name: it may be stuck, and signals are not heeded yet.
fn enter(directory: &Path) -> Result<(), Errno> {
    let inside = directory.join(".");
    rustix::fs::open(inside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, Given};

    #[test]
    fn a_capability_of_an_ordinary_users_session_is_given_up_without_complaint() {
        let given = Given::default()
            .with_flag("region", "emea")
            .with_flag("client-id", "id")
            .with_flag("no-disk-cache", "yes");
        let environment = Environment::new([("INTERACTIONFS_CLIENT_SECRET", "secret")]);
        let config = Config::resolve(Path::new("/"), &given, &environment).unwrap();
        // Capabilities are a thread's own.
        let outcome = std::thread::spawn(move || {
            let session = CapabilitySet::WAKE_ALARM & capabilities(None).unwrap().permitted;
            let held = CapabilitySets {
                effective: session,
                permitted: session,
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, held).unwrap();
            let outcome = limit(&config, true, &held);
            (outcome, capabilities(None).unwrap().permitted)
        });
        assert_eq!(outcome.join().unwrap(), (Ok(()), CapabilitySet::empty()));
    }
}
