//! Going to the background: the program starts itself anew, and waits until the new process says that the
//! mount answers, or why it does not.
//!
//! A new process instead of a fork, because a fork of a process with threads is a trap. It reports one line
//! on its standard output, a pipe to the one who waits: `ready`, or the exit code and the failure's text.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Failure, FailureKind};

const READY: &str = "ready";

/// Starts the process that serves, and waits for its report.
pub(super) fn start() -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::found(format!(
            "the background process can't be started ({error}): try --foreground"
        ))
    };
    let mut child = Command::new(own_program())
        .arg0("interactionfs")
        .args(arguments(std::env::args_os()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let mut report = String::new();
    if let Some(output) = child.stdout.take() {
        // A pipe that breaks has no report in it, which is handled below.
        let _ = BufReader::new(output).read_line(&mut report);
    }
    match understood(&report) {
        Some(outcome) => outcome,
        None => {
            let status = child.wait().map_err(cannot)?;
            let how = status
                .signal()
                .map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            Err(Failure::found(format!(
                "the background process ended without a word ({how}): try --foreground"
            )))
        }
    }
}

/// Runs `serve` as the process in the background, which tells the one who waits how it goes.
pub(super) fn reporting(
    serve: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Out of the terminal's reach. Can fail only for a group's leader, who needs it least.
    let _ = rustix::process::setsid();
    let ready = Box::new(|| {
        // Paths are absolute by now; a daemon must not keep a directory busy.
        let _ = std::env::set_current_dir("/");
        if report(READY).is_err() {
            // The one who waited is gone, by Ctrl-C most likely: nobody wants this mount.
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::TERM,
            );
        }
    });
    serve(ready).inspect_err(|failure| {
        // Nobody listens any more when a mount fails that was ready once.
        let _ = report(&format!("{} {}", failure.kind.code(), failure.message));
    })
}

fn report(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn understood(report: &str) -> Option<Result<(), Failure>> {
    let report = report.trim_end();
    if report == READY {
        return Some(Ok(()));
    }
    let (code, message) = report.split_once(' ')?;
    let kind = match code {
        "1" => FailureKind::Found,
        "2" => FailureKind::Typed,
        _ => return None,
    };
    Some(Err(Failure::new(kind, message)))
}

/// The same command line, with the flag that makes the process report. It comes right behind the command,
/// because behind a `--` it would be taken for a mountpoint.
fn arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = own.skip(1).collect();
    arguments.insert(arguments.len().min(1), "--reports".into());
    arguments
}

/// This program's path, or the kernel's handle on it when the file was replaced since.
fn own_program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_apart() {
        assert_eq!(understood("ready\n"), Some(Ok(())));
        assert_eq!(
            understood("2 --since: no\n"),
            Some(Err(Failure::typed("--since: no")))
        );
        assert_eq!(
            understood("1 no such host\n"),
            Some(Err(Failure::found("no such host")))
        );
        for nothing in ["", "\n", "read", "7 x"] {
            assert_eq!(understood(nothing), None);
        }
    }

    #[test]
    fn the_reporting_flag_stands_before_anything_that_ends_flags() {
        let own = ["interactionfs", "mount", "--", "/mnt"].map(OsString::from);
        assert_eq!(
            arguments(own.into_iter()),
            ["mount", "--reports", "--", "/mnt"].map(OsString::from)
        );
    }
}
