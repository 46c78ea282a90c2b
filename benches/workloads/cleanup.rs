//! What is left behind: nothing, also after Ctrl-C.
//!
//! Everything that is made lies in one directory: mounts in it are taken out of the tree, the processes that we
//! started are ended, and then it is removed.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::measure::unmount;

/// Makes the directory that temporary files go to from now on, and watches for Ctrl-C.
pub(crate) fn prepare() -> TempDir {
    let place = TempDir::with_prefix("interactionfs-bench-").unwrap();
    tempfile::env::override_temp_dir(place.path()).unwrap();
    let path = place.path().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut interrupted = signal(SignalKind::interrupt()).unwrap();
            let mut terminated = signal(SignalKind::terminate()).unwrap();
            let mut hung_up = signal(SignalKind::hangup()).unwrap();
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                _ = hung_up.recv() => {}
            }
        });
        clear(&path);
        std::process::exit(130);
    });
    place
}

fn clear(place: &Path) {
    for mountpoint in mounts_in(place) {
        unmount(Path::new(&mountpoint));
    }
    for child in children() {
        let _ = kill_process(child, Signal::KILL);
    }
    // A process that is about to end may still write here.
    for _ in 0..100 {
        if std::fs::remove_dir_all(place).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn mounts_in(place: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mountpoint| Path::new(mountpoint).starts_with(place))
        .map(str::to_owned)
        .collect()
}

/// The processes that this one started.
fn children() -> Vec<Pid> {
    let ours = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            // Behind the command's closing parenthesis: the state, and the parent.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
            (parent == ours).then(|| Pid::from_raw(pid)).flatten()
        })
        .collect()
}
