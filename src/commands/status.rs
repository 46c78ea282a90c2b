//! `status`: what a running mount says of itself, for people or for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    loop {
        let mut screen = String::new();
        for mountpoint in &mountpoints {
            let status = ask(mountpoint)?;
            if !screen.is_empty() {
                screen.push('\n');
            }
            screen.push_str(&shown(mountpoint, &status));
        }
        if !arguments.watch {
            return super::print(&screen);
        }
        // From the top left corner, clearing what was there before.
        super::print(&format!("\x1b[H\x1b[2J{screen}"))?;
        std::thread::sleep(Duration::from_secs(1));
    }
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
        let canonical = std::fs::canonicalize(mountpoint);
        let what_to_do = match mount_table::on(canonical.as_deref().unwrap_or(mountpoint)) {
            Some(mounted) if mounted.is_ours() => {
                format!("if its daemon died, 'interactionfs unmount {shown}' cleans up")
            }
            _ => "'interactionfs status' without a mountpoint shows your mounts".to_owned(),
        };
        Failure::found(format!("{shown}: {error}; {what_to_do}"))
    })
}

/// The statistics as a table: whatever keys there are, each group under its name.
fn shown(mountpoint: &Path, status: &Value) -> String {
    let mut text = format!("{}\n", mountpoint.display());
    group(&mut text, status, 1);
    text
}

fn group(text: &mut String, value: &Value, depth: usize) {
    let Value::Object(fields) = value else {
        return;
    };
    let indent = "  ".repeat(depth);
    let width = fields
        .iter()
        .filter(|(_, value)| !value.is_object())
        .map(|(key, _)| label(key).len())
        .max()
        .unwrap_or_default();
    for (key, value) in fields {
        // Writing to a String can't fail.
        let _ = match value {
            Value::Object(_) => {
                let written = writeln!(text, "{indent}{}", label(key));
                group(text, value, depth + 1);
                written
            }
            _ => writeln!(
                text,
                "{indent}{:<width$}  {}",
                label(key),
                in_words(key, value)
            ),
        };
    }
}

/// `bytes_from_disk` as it is read; the unit is said by the value.
fn label(key: &str) -> String {
    key.trim_end_matches("_bytes")
        .trim_end_matches("_seconds")
        .replace('_', " ")
}

fn in_words(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(bytes), _) if key.contains("bytes") => {
                bytesize::ByteSize(bytes).display().iec().to_string()
            }
            (Some(seconds), _) if key.ends_with("_seconds") => {
                humantime::format_duration(Duration::from_secs(seconds)).to_string()
            }
            (None, Some(seconds)) if key.ends_with("_seconds") && seconds >= 0.0 => {
                let whole = Duration::try_from_secs_f64(seconds.round()).unwrap_or_default();
                humantime::format_duration(whole).to_string()
            }
            (None, Some(share)) if key.ends_with("_ratio") => format!("{:.1} %", share * 100.0),
            _ => number.to_string(),
        },
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| in_words(key, value)).collect();
            values.join(", ")
        }
        Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statistics_become_a_table_that_reads() {
        let status = json!({
            "state": "serving",
            "uptime_seconds": 3725,
            "cache": {"disk_bytes": 3_u64 << 30, "hit_ratio": 0.975, "verified": true},
            "errors": [],
        });
        assert_eq!(
            shown(Path::new("/mnt"), &status),
            "/mnt\n  state   serving\n  uptime  1h 2m 5s\n  cache\n    disk       3.0 GiB\n    \
             hit ratio  97.5 %\n    verified   yes\n  errors  none\n"
        );
    }
}
