//! A mount's life: put the parts together, mount, serve, unmount.
//!
//! The only module that knows every layer. It owns the runtime and the order of starting and ending: whatever can
//! be wrong is found before the mount stands, and once it stands, SIGINT, SIGTERM, an unmount or a panic
//! in a callback all end in the same few steps.

mod descriptors;
mod ending;
mod first_contact;
mod parts;
mod prefetch;
mod privileges;
mod snapshots;
mod special;
mod status;
mod sweep;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::config::Config;
use crate::control;
use crate::failure::Failure;
use crate::fuse::{self, MountOptions};
use crate::lane;
use crate::metrics;
use ending::{Ending, Endings};
pub use ending::{Hangup, ignores_hangups};
pub(crate) use parts::http_remote;
use parts::{Parts, Purpose};
pub use prefetch::prefetch;
pub use sweep::Sweep;
use watchdog::Watchdog;

/// How long the end waits for what is still to be written: a signal is answered within two seconds,
/// whatever is open or in flight.
const LAST_WRITES: Duration = Duration::from_millis(1000);

/// Mounts and serves until unmounted or told to end; calls `ready` once the mount answers. Blocks.
///
/// # Errors
/// Why it could not be mounted; nothing is mounted then.
pub fn serve(config: Config, hangup: Hangup, ready: impl FnOnce() + Send) -> Result<(), Failure> {
    forbid_core_dumps();
    descriptors::take_all();
    // Before there are threads that serve it, which begin with what this one may do.
    privileges::give_up(&config, true);
    let runtime = runtime()?;
    let result = runtime.block_on(run(config, hangup, ready));
    // What still waits for a disk or a server must not keep the process.
    runtime.shutdown_background();
    result
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)))
        .max_blocking_threads(lane::THREADS)
        .thread_name("interactionfs")
        .enable_all()
        .build()
        .map_err(|error| Failure::found(format!("no threads can be started ({error})")))
}

async fn run(config: Config, hangup: Hangup, ready: impl FnOnce() + Send) -> Result<(), Failure> {
    let config = Arc::new(config);
    let mut endings = Endings::new(hangup)
        .map_err(|error| Failure::found(format!("signals can't be received ({error})")))?;
    // Before anything is asked of the API: an address in use is said at once, and costs nothing.
    let metrics = match config.metrics_listen {
        Some(address) => Some(metrics::Listener::bind(address).await?),
        None => None,
    };
    let parts = assembled(&config, Purpose::Mount);
    let parts = endings.unless_signalled(parts).await?;
    let mounted = match mount(&parts, &config, endings.trigger(Ending::Panic)).await {
        Ok(mounted) => mounted,
        Err(failure) => {
            parts.end(LAST_WRITES).await;
            return Err(failure);
        }
    };
    let answers = parts.answers(endings.trigger(Ending::Asked));
    let control = match control::Server::bind(&config.mountpoint) {
        Ok(server) => Some(tokio::spawn(server.serve(answers))),
        Err(error) => {
            warn!(%error, "'interactionfs status' will not reach this mount");
            None
        }
    };
    if let Some(metrics) = metrics {
        tokio::spawn(metrics.serve(parts.tell()));
    }
    info!("mounted");
    tell_supervisor(&[NotifyState::Ready]);
    let _watchdog = Watchdog::start(&config.mountpoint);
    ready();

    let ending = tokio::select! {
        () = mounted.wait_until_unmounted() => Ending::Unmounted,
        ending = endings.wait(|| parts.reload()) => ending,
    };
    info!(?ending, "ending");
    tell_supervisor(&[NotifyState::Stopping]);
    if let Err(error) = mounted.unmount() {
        warn!(%error, "it could not be unmounted: 'interactionfs unmount' may");
    }
    parts.end(LAST_WRITES).await;
    if let Some(control) = control {
        // Its socket is removed as it is dropped.
        control.abort();
        let _ = tokio::time::timeout(LAST_WRITES, control).await;
    }
    match ending {
        Ending::Panic => Err(Failure::found(
            "a defect in interactionfs ended the mount; please report it with the log",
        )),
        Ending::Signal | Ending::Asked | Ending::Unmounted => Ok(()),
    }
}

/// Puts the parts together on a task of its own: parts of it wait for the disk, and signals are heeded meanwhile.
async fn assembled(config: &Arc<Config>, purpose: Purpose) -> Result<Parts, Failure> {
    let config = Arc::clone(config);
    tokio::spawn(async move { Parts::assemble(&config, purpose).await })
        .await
        .map_err(|_| Failure::found("a defect in interactionfs kept it from beginning"))?
}

/// Mounting waits for the kernel and perhaps for fusermount3, so it is done beside the runtime's workers.
async fn mount(
    parts: &Parts,
    config: &Config,
    on_panic: Arc<dyn Fn() + Send + Sync>,
) -> Result<fuse::Mounted, Failure> {
    let filesystem = parts.filesystem();
    let mountpoint = config.mountpoint.clone();
    let options = MountOptions {
        source: Some(config.source.clone()),
        allow_other: config.allow_other,
        cache_directory: config.account_directory(),
    };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        fuse::mount(&filesystem, &mountpoint, &options, runtime, on_panic)
    })
    .await
    .map_err(|_| Failure::found("a defect in interactionfs prevented the mount"))?
    .map_err(|error| Failure::found(error.to_string()))
}

/// Content must reach no core file, and no other process by way of ptrace.
fn forbid_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "core dumps could not be switched off");
    }
}

fn tell_supervisor(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager could not be told");
    }
}
