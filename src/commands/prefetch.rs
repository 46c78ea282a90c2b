//! `prefetch`: content is here before anybody reads it, by way of a running mount or without one.

mod show;
mod typed;

use std::path::Path;

use jiff::Timestamp;
use rustix::fs::Mode;

use crate::catalogue::WindowSpec;
use crate::cli::Prefetch;
use crate::config::{self, Config, Environment, Given, OPTIONS};
use crate::control;
use crate::daemon;
use crate::failure::Failure;
use crate::model::Day;
use crate::prefetch::{Order, Span, What};
use crate::telemetry;

use show::Show;
use typed::Named;

/// The options that say what to fetch; the others make a mount.
const WHAT: [&str; 4] = ["since", "from", "to", "types"];

pub(super) fn run(arguments: Prefetch) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let named = Named::read(&arguments.what, arguments.guids.as_deref())?;
    let flags = &arguments.options.given;
    let window = config::typed_window(flags, environment.now)?;
    if !named.is_empty() && window.is_some() {
        return Err(Failure::typed(
            "days and GUIDs are named, and a window too: leave out --since, --from and --to, or the names",
        ));
    }
    if !named.is_empty() && arguments.watch {
        return Err(Failure::typed(
            "--watch keeps a window here: leave out the days and GUIDs, or --watch",
        ));
    }
    let types = config::typed_types(flags)?.map(|types| {
        types
            .iter()
            .map(|named| named.as_str().to_owned())
            .collect()
    });
    let order = |what| Order {
        what,
        types,
        dry_run: arguments.dry_run,
        watch: arguments.watch,
    };
    let mut show = Show::new(arguments.json, arguments.dry_run);
    if let Some(mountpoint) = &named.mountpoint {
        refuse_mount_options(flags, arguments.options.config.as_deref())?;
        let order = order(if named.is_empty() {
            What::Window(window.as_ref().map_or(Span::Listed, Span::of))
        } else {
            named.what()
        });
        ask(mountpoint, &order, &mut show)?;
        return show.end("the mount ended");
    }
    let (config, log_level) = configured(arguments.options, &named, &environment)?;
    let order = order(if named.is_empty() {
        What::Window(Span::Listed)
    } else {
        named.what()
    });
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    telemetry::start(&log_level, config.log_file.as_deref())?;
    daemon::prefetch(config, order, |event| show.tell(event))?;
    show.end("it was stopped")
}

/// Has a running mount do it.
fn ask(mountpoint: &Path, order: &Order, show: &mut Show) -> Result<(), Failure> {
    let shown = mountpoint.display();
    let order = serde_json::to_value(order)
        .map_err(|error| Failure::found(format!("the order can't be sent ({error})")))?;
    let asked = control::prefetch(mountpoint, order, |value| {
        // One that this version doesn't know is of a mount of another version.
        if let Ok(event) = serde_json::from_value(value) {
            show.tell(event);
        }
    });
    asked.map_err(|error| {
        show.clear();
        match error {
            control::Unanswered::Refused(reason) => Failure::found(format!("{shown}: {reason}")),
            other => Failure::found(format!(
                "{shown}: {other}; 'interactionfs status' shows your mounts, and with a mount's options in the \
                 mountpoint's place prefetch needs none"
            )),
        }
    })
}

/// A running mount has its options already.
fn refuse_mount_options(flags: &Given, config: Option<&Path>) -> Result<(), Failure> {
    let stray = OPTIONS
        .iter()
        .map(|option| option.name)
        .find(|name| !WHAT.contains(name) && flags.get(name).is_some())
        .or(config.map(|_| "config"));
    match stray {
        Some(name) => Err(Failure::typed(format!(
            "--{name} is an option of a mount, and the mount at the mountpoint has its own: leave one of the two out"
        ))),
        None => Ok(()),
    }
}

/// A mount's configuration without a mount, and how much is logged.
fn configured(
    options: crate::cli::Options,
    named: &Named,
    environment: &Environment,
) -> Result<(Config, String), Failure> {
    let given = config::gather(options.given, options.config.as_deref(), environment)?;
    let mut config = Config::resolve(Path::new("/"), &given, environment)?;
    if config.offline {
        return Err(Failure::typed(
            "--offline makes no request, and prefetch is there to make them: leave it out",
        ));
    }
    if config.disk.is_none() {
        return Err(Failure::typed(
            "--no-disk-cache keeps nothing, so there is nothing to prefetch into: leave it out",
        ));
    }
    if !named.is_empty() {
        // The newest day is searched as a window is; the others are searched by the day, and GUIDs not at all.
        config.window = named.days.last().map_or(NOTHING, |day: &Day| {
            let window = day.window();
            WindowSpec::Fixed {
                from: window.from,
                to: Some(window.to),
            }
        });
    }
    // Bars and what is merely worth knowing don't go together on one screen.
    let log_level = if config.log_file.is_none() && given.get("log-level").is_none() {
        "warn".to_owned()
    } else {
        config.log_level.clone()
    };
    Ok((config, log_level))
}

/// A window without any time in it.
const NOTHING: WindowSpec = WindowSpec::Fixed {
    from: Timestamp::UNIX_EPOCH,
    to: Some(Timestamp::UNIX_EPOCH),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounts_options_and_its_mountpoint_exclude_each_other() {
        let what = Given::default()
            .with_flag("since", "2d")
            .with_flag("types", "transcript");
        assert!(refuse_mount_options(&what, None).is_ok());
        let stray = what.clone().with_flag("cache-dir", "/x");
        let refused = refuse_mount_options(&stray, None).unwrap_err();
        assert!(refused.message.starts_with("--cache-dir "), "{refused}");
        assert!(refuse_mount_options(&what, Some(Path::new("vcc.toml"))).is_err());
    }
}
