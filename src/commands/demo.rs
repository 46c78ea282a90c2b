//! `demo`: the bundled server with its sample interactions, mounted, until Ctrl-C ends both.

mod place;

use crate::cli::Demo;
use crate::config::{Config, Environment, Given};
use crate::daemon::{self, Hangup};
use crate::emulator::{self, Running};
use crate::failure::Failure;
use crate::telemetry;

use super::{emulate, requirements};
use place::Place;

pub(super) fn run(arguments: &Demo) -> Result<(), Failure> {
    let place = Place::make(arguments.mountpoint.as_deref())?;
    let mountpoint = requirements::all(place.mountpoint(), false)?;
    telemetry::start("warn", None)?;
    let runtime = emulate::runtime()?;
    let started = runtime.block_on(async {
        let asked_to_stop = emulate::asked_to_stop()?;
        tokio::select! {
            started = emulator::start(emulator::Options::default()) => started.map(Some).map_err(|error| {
                Failure::found(format!("the bundled server can't be started ({error})"))
            }),
            () = asked_to_stop => Ok(None),
        }
    })?;
    let Some(running) = started else {
        return Ok(());
    };
    let served = configuration(&mountpoint, &place, &running).and_then(|config| {
        let hints = hints(&mountpoint.display().to_string(), &program());
        daemon::serve(config, Hangup::Ends, move || {
            // The mount is what matters, not whether anybody reads this.
            let _ = super::print(&hints);
        })
    });
    runtime.block_on(running.stop());
    served
}

fn configuration(
    mountpoint: &std::path::Path,
    place: &Place,
    running: &Running,
) -> Result<Config, Failure> {
    // Nothing of the user's own configuration takes part: a demo is a demo everywhere.
    let environment = Environment::new([("INTERACTIONFS_CLIENT_SECRET", running.client_secret())]);
    let given = Given::default()
        .with_flag("api-url", running.api_url())
        .with_flag("auth-url", running.auth_url())
        .with_flag("client-id", running.client_id())
        .with_flag("sidecars", "yes")
        .with_flag("source", "interactionfs-demo")
        .with_flag("cache-dir", place.cache().to_string_lossy());
    Config::resolve(mountpoint, &given, &environment)
}

/// How this program is called: a demo is mostly run before anything is installed.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else {
        return "interactionfs".to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("interactionfs"))
        .find(|candidate| candidate.is_file());
    let is_installed = found
        .and_then(|found| found.canonicalize().ok())
        .is_some_and(|found| found == this);
    if is_installed {
        "interactionfs".to_owned()
    } else {
        this.display().to_string()
    }
}

fn hints(mountpoint: &str, program: &str) -> String {
    format!(
        "Sample interactions are mounted on {mountpoint}\n\nTry in another terminal:\n  \
         cd {mountpoint}\n  \
         ls by-date/*                          # the calls and chats of each day\n  \
         ls -l by-date/*/*/                    # what belongs to each of them\n  \
         grep -r refund text/                  # who said it, and when\n  \
         ffplay 2480*/callRecording.wav        # or mpv, vlc: any player, and seek in it\n  \
         getfattr -d by-date/*/*               # what is known of each\n\n\
         Requests made, and bytes from the cache:\n  \
         {program} status {mountpoint}\n\n\
         Ctrl-C unmounts and leaves nothing behind.\n"
    )
}
