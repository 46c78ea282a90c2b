//! `mount`: checks everything that can be checked, then serves, in the background unless told otherwise.

mod background;

use rustix::fs::Mode;

use crate::cli::Mount;
use crate::config::{self, Config, Environment};
use crate::daemon::{self, Hangup};
use crate::failure::Failure;
use crate::telemetry;

use super::requirements;

pub(super) fn run(arguments: Mount) -> Result<(), Failure> {
    if arguments.reports {
        return background::reporting(|ready| serve(prepare(arguments)?, ready));
    }
    let config = prepare(arguments)?;
    if config.foreground {
        serve(config, || {})
    } else {
        background::start()
    }
}

/// What is to be mounted, once nothing is known to stand in the way.
fn prepare(arguments: Mount) -> Result<Config, Failure> {
    let environment = Environment::of_process();
    let options = arguments.options;
    let given = config::gather(options.given, options.config.as_deref(), &environment)?;
    let mut config = Config::resolve(&arguments.mountpoint, &given, &environment)?;
    config.mountpoint = requirements::all(&config.mountpoint, config.allow_other)?;
    Ok(config)
}

fn serve(config: Config, ready: impl FnOnce() + Send) -> Result<(), Failure> {
    // Whatever is written from here on is the user's alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    telemetry::start(&config.log_level, config.log_file.as_deref())?;
    daemon::serve(config, Hangup::Reloads, ready)
}
