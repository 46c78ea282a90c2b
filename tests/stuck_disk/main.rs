//! The disk of the cache stops answering, and nothing hangs.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod disk;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Mount, MountBuilder, PATIENCE, Server, can_mount, direct, eventually, is_mounted};
use disk::Disk;
use interactionfs::emulator::GeneratedSpec;
use rustix::process::Signal;

/// Not a multiple of anything.
const BIG: u64 = 12_000_003;

fn server() -> Server {
    Server::generated(GeneratedSpec {
        interactions: 6,
        days: 3,
        recording_bytes: 700_001,
        big_recordings: vec![BIG],
        transcript_bytes: 20_000,
        screen_bytes: 300_001,
        ..GeneratedSpec::default()
    })
}

fn builder<'a>(server: &'a Server, cache: &Path) -> MountBuilder<'a> {
    MountBuilder::new(server)
        .cache(cache)
        .option("--deadline=5s")
        .option("--metadata-deadline=3s")
}

/// Does something that must end, with whatever; how it ended.
fn ends<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> T {
    let began = Instant::now();
    let outcome = work();
    let took = began.elapsed();
    assert!(took < PATIENCE, "{what} took {took:?}");
    outcome
}

/// Reads the first piece of a file past the kernel's own pages.
fn direct_piece(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let mut piece = vec![0; 1 << 20];
    let length = file.read_at(&mut piece, 0)?;
    piece.truncate(length);
    Ok(piece)
}

/// The status as JSON, over the control socket.
fn status(mount: &Mount) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .args(["status", "--json"])
        .arg(mount.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn disk_works(mount: &Mount) -> bool {
    let text = std::fs::read_to_string(mount.path(".interactionfs/stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    let shown = status(mount);
    let by_socket = shown["cache"]["disk_works"].as_bool().unwrap();
    let by_file = stats["cache"]["disk_works"].as_bool().unwrap();
    by_file && by_socket
}

/// Whether a process has left, but for threads that the kernel keeps in calls to the disk.
fn has_left(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // "pid (name) state ..."
    let state = stat.rsplit(')').next().unwrap().trim_start();
    state.starts_with('Z') || state.starts_with('X')
}

#[test]
fn a_disk_that_stops_answering_holds_up_nothing() {
    if !can_mount() {
        return;
    }
    let Some(disk) = Disk::new() else { return };
    let server = server();
    let cache = disk.path().join("cache");
    let guids = server.api().account().guids();
    let big = guids
        .iter()
        .find(|guid| server.expected(&guid.to_string(), "callRecording").len() as u64 == BIG)
        .unwrap()
        .to_string();
    let others: Vec<String> = guids
        .iter()
        .map(ToString::to_string)
        .filter(|guid| *guid != big)
        .collect();
    let (held, warm, cold) = (&others[0], &others[1], &others[2]);
    let recording = |guid: &str| format!("{guid}/callRecording.wav");
    let expected = |guid: &str| server.expected(guid, "callRecording");

    // What an earlier mount left on the disk.
    let mount = builder(&server, &cache).mount();
    for guid in [&big, held, warm] {
        assert!(std::fs::read(mount.path(recording(guid))).unwrap() == expected(guid));
    }
    mount.unmount();

    let mount = builder(&server, &cache).mount();
    assert!(direct(&mount.path(recording(warm))).unwrap() == expected(warm));
    let listed = std::fs::read_dir(mount.root()).unwrap().count();
    assert!(disk_works(&mount));
    let right = |guid: &str| {
        let found = ends("a read", || direct(&mount.path(recording(guid))));
        found.is_ok_and(|bytes| {
            assert!(bytes == expected(guid), "wrong bytes");
            true
        })
    };

    let list = || {
        ends("a listing", || {
            std::fs::read_dir(mount.root()).map(|rows| rows.for_each(drop))
        })
    };

    disk.hold();
    // A crowd comes before anybody knows: more than there are threads for.
    let all = expected(&big);
    std::thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(|| {
                let read = ends("a read", || direct_piece(&mount.path(recording(&big))));
                if let Ok(piece) = read {
                    assert!(all.starts_with(&piece), "wrong bytes");
                }
            });
            scope.spawn(list);
        }
    });
    eventually("the status says so", || {
        ends("a status", || !disk_works(&mount))
    });
    // What an attribute says or a listing shows may fail; that it comes to an end is what counts.
    ends("an attribute", || {
        mount.shell_output(&format!(
            "getfattr -d {} {}",
            recording(warm),
            recording(held)
        ))
    });
    list().unwrap();
    // In memory; on the disk, and fetched instead; never read, and looked up at the API.
    for guid in [warm, held, cold] {
        eventually("the disk is done without", || right(guid));
    }
    let unknown = mount.path("00000000-0000-4000-8000-0000deadbeef");
    eventually("a name that doesn't exist is known not to", || {
        let found = ends("a stat", || std::fs::metadata(&unknown));
        found.unwrap_err().kind() == io::ErrorKind::NotFound
    });
    assert!(disk.held() > 0, "nothing ever waited for the disk");

    disk.release();
    eventually("the disk is of use again", || disk_works(&mount));
    for guid in [&big, held, warm, cold] {
        eventually("everything can be read", || right(guid));
    }
    eventually("everything is listed", || {
        std::fs::read_dir(mount.root()).is_ok_and(|rows| rows.flatten().count() == listed)
    });

    // It gets stuck again, and the mount is ended under readers. Not of what is whole on the disk: that the kernel reads
    // by itself, and such reads end with the disk only.
    disk.hold();
    let pid = mount.pid();
    std::thread::scope(|scope| {
        for guid in &others[3..] {
            scope.spawn(|| right(guid));
            scope.spawn(list);
        }
        eventually("something waits for the disk", || disk.held() > 0);
        let output = ends("unmounting", || {
            Command::new(env!("CARGO_BIN_EXE_interactionfs"))
                .arg("unmount")
                .arg(mount.root())
                .output()
                .unwrap()
        });
        assert!(output.status.success(), "{output:?}");
        assert!(!is_mounted(&mount.root()));
    });
    eventually("the daemon has left", || has_left(pid));
    disk.release();
    let mut mount = mount;
    assert!(mount.wait().success());
    let mount = builder(&server, &cache).mount();
    for guid in &others {
        assert!(std::fs::read(mount.path(recording(guid))).unwrap() == expected(guid));
    }
    mount.unmount();
}

#[test]
fn a_mount_that_waits_for_its_disk_can_be_called_off() {
    if !can_mount() {
        return;
    }
    let Some(disk) = Disk::new() else { return };
    let server = server();
    let cache = disk.path().join("cache");
    builder(&server, &cache).mount().unmount();
    let place = tempfile::TempDir::new().unwrap();
    disk.hold();
    let mut child = builder(&server, &cache)
        .command(place.path(), &cache)
        .arg("--foreground")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it waits for the disk", || disk.held() > 0);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    eventually("it has left", || has_left(child.id()));
    disk.release();
    let began = Instant::now();
    assert!(!child.wait().unwrap().success());
    assert!(began.elapsed() < PATIENCE);
    assert!(!is_mounted(place.path()));
}
