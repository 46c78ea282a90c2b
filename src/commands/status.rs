//! `status`: what a running mount says of itself, for people or for programs.

mod screen;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Status;
use crate::control::{self, Request};
use crate::failure::Failure;

use super::{mount_table, requirements};

pub(super) fn run(arguments: &Status) -> Result<(), Failure> {
    let mountpoints = mountpoints(arguments)?;
    if arguments.json {
        let [mountpoint] = mountpoints.as_slice() else {
            return Err(Failure::typed(format!(
                "--json shows one mount and you have {}: name the mountpoint",
                mountpoints.len()
            )));
        };
        let status = ask(mountpoint)?;
        return super::print(&format!("{status:#}\n"));
    }
    let mut earlier: HashMap<&Path, (Value, Instant)> = HashMap::new();
    loop {
        let mut shown = Vec::new();
        // A dead mount must not hide those that live.
        let mut failure = None;
        for mountpoint in &mountpoints {
            let status = match ask(mountpoint) {
                Ok(status) => status,
                Err(silent) => {
                    failure.get_or_insert(silent);
                    continue;
                }
            };
            let now = Instant::now();
            let before = earlier
                .get(mountpoint.as_path())
                .map(|(status, then)| (status, now - *then));
            shown.push(screen::screen(mountpoint, &status, before));
            earlier.insert(mountpoint, (status, now));
        }
        let shown = shown.join("\n");
        if !arguments.watch || failure.is_some() {
            super::print(&shown)?;
            return failure.map_or(Ok(()), Err);
        }
        // Whoever read it has seen enough.
        if !super::print_to(&mut std::io::stdout().lock(), &over_the_last(&shown))? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The screen written over the one before: from the top left corner, each line and the rest cleared behind it, so
/// that nothing flickers.
fn over_the_last(shown: &str) -> String {
    format!("\x1b[H{}\x1b[J", shown.replace('\n', "\x1b[K\n"))
}

/// The mounts to show: the one that is named, or all of this user's.
fn mountpoints(arguments: &Status) -> Result<Vec<PathBuf>, Failure> {
    if let Some(mountpoint) = &arguments.mountpoint {
        return Ok(vec![mountpoint.clone()]);
    }
    let user = rustix::process::geteuid().as_raw();
    let mut own: Vec<_> = mount_table::read()
        .into_iter()
        .filter(|mounted| {
            mounted.is_ours()
                && mounted
                    .user
                    .map_or_else(requirements::is_root, |owner| owner == user)
        })
        .map(|mounted| mounted.mountpoint)
        .collect();
    own.dedup();
    if own.is_empty() {
        return Err(Failure::found(
            "you have no interactionfs mount: make one with 'interactionfs mount', or try 'interactionfs demo'",
        ));
    }
    Ok(own)
}

fn ask(mountpoint: &Path) -> Result<Value, Failure> {
    control::ask(mountpoint, Request::Status).map_err(|error| {
        let shown = mountpoint.display();
        let what_to_do = match mount_table::on(&control::canonical(mountpoint)) {
            Some(mounted) if mounted.is_ours() => {
                format!("if its daemon died, 'interactionfs unmount {shown}' cleans up")
            }
            _ => "'interactionfs status' without a mountpoint shows your mounts".to_owned(),
        };
        Failure::found(format!("{shown}: {error}; {what_to_do}"))
    })
}
