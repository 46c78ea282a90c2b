//! Starting and stopping: signals, unmounts, crashes, remounts, offline.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use common::{
    Mount, MountBuilder, Server, can_mount, errno, eventually, is_mounted, skipped, wait_for_exit,
};
use interactionfs::emulator::GeneratedSpec;
use rustix::process::Signal;

const CALL: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

#[test]
fn signals_unmount_and_exit_with_zero_whatever_is_open() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    for signal in [Signal::INT, Signal::TERM] {
        let mut mount = Mount::of(&server);
        let mut open = File::open(mount.path(CALL).join("callRecording.wav")).unwrap();
        let mut some = [0; 100];
        open.read_exact(&mut some).unwrap();
        mount.signal(signal);
        assert_eq!(mount.wait().code(), Some(0));
        assert!(!is_mounted(&mount.root()));
    }
}

#[test]
fn many_mounts_in_a_row_leave_nothing_behind() {
    if !can_mount() {
        return;
    }
    let rounds = std::env::var("INTERACTIONFS_MOUNTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let server = Server::samples();
    let cache = tempfile::TempDir::new().unwrap();
    for _ in 0..rounds {
        let mount = MountBuilder::new(&server).cache(cache.path()).mount();
        assert!(mount.path(CALL).is_dir());
        mount.unmount();
    }
}

#[test]
fn after_kill_the_mountpoint_can_be_unmounted_and_used_again() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let cache = tempfile::TempDir::new().unwrap();
    let mut mount = MountBuilder::new(&server).cache(cache.path()).mount();
    let bytes = std::fs::read(mount.path(CALL).join("callRecording.wav")).unwrap();
    mount.signal(Signal::KILL);
    mount.wait();
    assert!(
        is_mounted(&mount.root()),
        "a killed daemon leaves its mount"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("unmount")
        .arg(mount.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!is_mounted(&mount.root()));
    let mount = MountBuilder::new(&server).cache(cache.path()).mount();
    assert_eq!(
        std::fs::read(mount.path(CALL).join("callRecording.wav")).unwrap(),
        bytes
    );
}

#[test]
fn the_background_command_returns_when_the_mount_answers() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let directory = tempfile::TempDir::new().unwrap();
    let mountpoint = directory.path().join("mnt");
    std::fs::create_dir(&mountpoint).unwrap();
    let mut child = MountBuilder::new(&server)
        .command(&mountpoint, &directory.path().join("cache"))
        .spawn()
        .unwrap();
    let status = wait_for_exit(&mut child);
    let answered = mountpoint.join(CALL).is_dir();
    let unmounted = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("unmount")
        .arg(&mountpoint)
        .status()
        .unwrap();
    assert!(status.success() && answered && unmounted.success());
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn a_watched_status_ends_when_nobody_reads_it() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let mut child = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("status")
        .arg(mount.root())
        .arg("--watch")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    drop(output);
    assert!(wait_for_exit(&mut child).success());
}

#[test]
fn a_dead_mount_hides_no_other_from_the_status() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mut dead = Mount::of(&server);
    let alive = Mount::of(&server);
    dead.signal(Signal::KILL);
    dead.wait();
    let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("status")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(alive.root().to_str().unwrap()), "{shown}");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("'interactionfs unmount "), "{complaint}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_demo_ends_with_its_terminal() {
    if !can_mount() {
        return;
    }
    if interactionfs::daemon::ignores_hangups() {
        skipped("hangups are ignored here, so they end nothing");
        return;
    }
    assert_demo_ends(Signal::HUP, |_| {});
}

/// Runs a demo, changed a little, until it says that it is mounted; a signal then ends it in order.
fn assert_demo_ends(signal: Signal, change: impl FnOnce(&mut Command)) {
    let directory = tempfile::TempDir::new().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_interactionfs"));
    demo.arg("demo")
        .arg(directory.path())
        .stdout(Stdio::piped());
    change(&mut demo);
    let mut child = demo.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mounted = is_mounted(directory.path());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let status = wait_for_exit(&mut child);
    assert!(mounted && status.success(), "{line}");
    assert!(!is_mounted(directory.path()));
}

#[test]
fn an_ordinary_users_mount_ends_also_where_the_helper_is_not_in_the_path() {
    if !can_mount() {
        return;
    }
    assert_demo_ends(Signal::TERM, |demo| {
        demo.env("PATH", "/nonexistent");
    });
}

#[test]
fn a_catalogue_stands_at_once_also_when_the_api_is_gone() {
    if !can_mount() {
        return;
    }
    let cache = tempfile::TempDir::new().unwrap();
    let server = Server::samples();
    let tree = {
        let mount = MountBuilder::new(&server).cache(cache.path()).mount();
        std::fs::read(mount.path(CALL).join("transcript.json")).unwrap();
        let tree = mount.shell("find . | sort");
        mount.unmount();
        tree
    };
    let before = server.all_requests();
    let mount = MountBuilder::new(&server)
        .cache(cache.path())
        .option("--offline")
        .mount();
    assert_eq!(mount.shell("find . | sort"), tree);
    // What was never searched is not taken for empty, and who is not known is not there.
    let unsearched = std::fs::read_dir(mount.path("by-date/2019-03-17"));
    assert!(unsearched.unwrap().any(|entry| entry.is_err()));
    let unknown = mount.path("00000000-0000-4000-8000-000000000000");
    assert_eq!(
        errno(std::fs::metadata(unknown)),
        rustix::io::Errno::NOENT.raw_os_error()
    );
    std::fs::read(mount.path(CALL).join("transcript.json")).unwrap();
    assert!(std::fs::read(mount.path(CALL).join("callRecording.wav")).is_err());
    assert_eq!(
        server.all_requests(),
        before,
        "offline makes no request at all"
    );
    mount.unmount();
}

#[test]
fn new_and_deleted_interactions_are_seen() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(GeneratedSpec {
        interactions: 5,
        days: 6,
        recording_bytes: 50_000,
        ..GeneratedSpec::default()
    });
    let mount = MountBuilder::new(&server).option("--refresh=1s").mount();
    assert_eq!(mount.shell("ls | grep -c -E '^.{36}$'").trim(), "5");
    let new = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";
    server.add_interaction(new, b"the new transcript");
    eventually("the new interaction is listed", || {
        mount.shell("ls").contains(new)
    });
    assert_eq!(
        std::fs::read(mount.path(new).join("transcript.json")).unwrap(),
        b"the new transcript"
    );
    server.replace_item(new, "transcript", b"another text of another length");
    eventually("the new version is read", || {
        std::fs::read(mount.path(new).join("transcript.json"))
            .is_ok_and(|bytes| bytes == b"another text of another length")
    });
}

#[test]
fn the_service_manager_hears_of_a_mount_that_answers() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let directory = tempfile::tempdir().unwrap();
    let mountpoint = directory.path().join("mnt");
    std::fs::create_dir(&mountpoint).unwrap();
    let manager = std::os::unix::net::UnixDatagram::bind(directory.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut daemon = MountBuilder::new(&server)
        .command(&mountpoint, &directory.path().join("cache"))
        .arg("--foreground")
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .env("WATCHDOG_USEC", "300000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = Vec::new();
    while heard.iter().filter(|word| *word == "WATCHDOG=1").count() < 3 {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).unwrap();
        let message = String::from_utf8_lossy(&message[..length]);
        heard.extend(message.lines().map(ToOwned::to_owned));
    }
    assert_eq!(heard[0], "READY=1", "{heard:?}");
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(common::wait_for_exit(&mut daemon).success());
    assert!(!common::is_mounted(&mountpoint));
}

#[test]
fn an_encrypted_cache_serves_its_key_and_shows_nothing() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let directory = tempfile::TempDir::new().unwrap();
    let cache = directory.path().join("cache");
    let with_key = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("{name}: thirty-two digits or so\n")).unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).unwrap();
        MountBuilder::new(&server)
            .cache(&cache)
            .option(format!("--cache-key-file={}", path.display()))
    };
    let mount = with_key("one").mount();
    let recording = std::fs::read(mount.path(CALL).join("callRecording.wav")).unwrap();
    let transcript = std::fs::read(mount.path(CALL).join("transcript.json")).unwrap();
    assert!(String::from_utf8_lossy(&transcript).contains("refund"));
    mount.unmount();

    let written = Command::new("grep")
        .args(["-r", "-l", "-a", "-i", "-e", "refund", "-e", CALL])
        .arg(&cache)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&written.stdout), "");

    let before = server.all_requests();
    let mount = with_key("one").option("--offline").mount();
    let again = std::fs::read(mount.path(CALL).join("callRecording.wav")).unwrap();
    assert!(again == recording);
    assert_eq!(
        mount
            .shell("grep -ric refund text/ | grep -vc ':0$'")
            .trim(),
        "1"
    );
    mount.unmount();
    let mount = with_key("two").option("--offline").mount();
    assert_eq!(
        errno(std::fs::metadata(mount.path(CALL))),
        rustix::io::Errno::NOENT.raw_os_error()
    );
    assert_eq!(server.all_requests(), before);
}
