//! `doctor`: checks all that a mount needs, one line each: ok, warn or fail, and what to do.

mod cache;
pub mod network;
mod report;
mod system;

use std::path::Path;

use crate::cli::Doctor;
use crate::config::{self, Config, Environment};
use crate::failure::Failure;

use network::Connect;
use report::{Finding, Report};

/// Makes the checks; those of the network with what `connect` gives, none of them without it.
///
/// # Errors
/// Something failed. The report, which says what, is printed before.
pub fn run(arguments: Doctor, connect: Option<Connect>) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let mut report = Report::default();
    system::check(&mut report);

    let mountpoint = arguments.mountpoint.clone();
    match &mountpoint {
        Some(mountpoint) => system::check_mountpoint(&mut report, mountpoint),
        None => report.add(
            "mountpoint",
            Finding::ok("not checked: name one to have it checked"),
        ),
    }
    system::check_indexers(&mut report, mountpoint.as_deref());

    match configured(arguments, &environment) {
        Ok(config) => {
            report.add("configuration", Finding::ok("complete"));
            if config.allow_other {
                system::check_allow_other(&mut report);
            }
            cache::check(&mut report, &config);
            match connect {
                Some(connect) if !config.offline => network::check(&mut report, &config, connect)?,
                _ => report.add(
                    "network",
                    Finding::ok("not checked, because nothing is asked of it"),
                ),
            }
        }
        Err(failure) => report.add("configuration", Finding::fail(failure.message)),
    }
    report.finish()
}

fn configured(arguments: Doctor, environment: &Environment) -> Result<Config, Failure> {
    let options = arguments.options;
    let given = config::gather(options.given, options.config.as_deref(), environment)?;
    let mountpoint = arguments.mountpoint.as_deref();
    Config::resolve(
        mountpoint.unwrap_or_else(|| Path::new("/")),
        &given,
        environment,
    )
}
