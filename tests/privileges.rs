//! What a mount that root made may still do, and that this is enough for all it does.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use common::{Mount, MountBuilder, Server, can_mount, eventually, is_mounted, skipped};
use interactionfs::emulator::GeneratedSpec;

const SYS_ADMIN: u64 = 1 << 21;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SETPCAP: u64 = 1 << 8;

/// The capability sets of a thread, as /proc shows them, and whether it can gain any.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Privileges {
    inheritable: u64,
    permitted: u64,
    effective: u64,
    bounding: u64,
    ambient: u64,
    no_new: u64,
}

impl Privileges {
    fn only(kept: u64) -> Self {
        Self {
            inheritable: 0,
            permitted: kept,
            effective: kept,
            bounding: kept,
            ambient: 0,
            no_new: 1,
        }
    }

    fn of(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        Self {
            inheritable: field("CapInh:"),
            permitted: field("CapPrm:"),
            effective: field("CapEff:"),
            bounding: field("CapBnd:"),
            ambient: field("CapAmb:"),
            no_new: field("NoNewPrivs:"),
        }
    }
}

/// Asserts what every thread of a process may do.
fn assert_threads(pid: u64, expected: &Privileges) {
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // A thread may have ended since.
        let Ok(status) = std::fs::read_to_string(thread.unwrap().path().join("status")) else {
            continue;
        };
        assert_eq!(Privileges::of(&status), *expected, "{status}");
        threads += 1;
    }
    assert!(threads > 4, "only {threads} threads were looked at");
}

fn is_privileged() -> bool {
    let own = Privileges::of(&std::fs::read_to_string("/proc/self/status").unwrap());
    let needed = SYS_ADMIN | SETPCAP | DAC_READ_SEARCH;
    let is_privileged = rustix::process::geteuid().is_root() && own.effective & needed == needed;
    if !is_privileged {
        skipped("not root, so there were no capabilities to give up");
    }
    is_privileged
}

fn server() -> Server {
    Server::generated(GeneratedSpec {
        interactions: 3,
        days: 2,
        recording_bytes: 700_001,
        transcript_bytes: 20_000,
        ..GeneratedSpec::default()
    })
}

fn stats(root: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(root.join(".interactionfs/stats.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Reads all of a file, of which the kernel keeps no pages of its own.
fn anew(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Everything that a mount does after it stands.
fn assert_all_works(mount: &Mount, server: &Server) {
    let guid = server.api().account().guids()[0].to_string();
    let path = mount.path(format!("{guid}/callRecording.wav"));
    let expected = server.expected(&guid, "callRecording");
    assert!(anew(&path) == expected);
    let answered = |reads: serde_json::Value| {
        ["memory_bytes", "disk_bytes", "wire_bytes"].map(|key| reads[key].as_u64().unwrap())
    };
    let is_offered = !mount.log().contains("passthrough is not possible");
    assert!(is_offered, "{}", mount.log());
    if mount.log().contains("the kernel offers no passthrough") {
        skipped("no passthrough here, so nobody saw whether it is allowed");
    } else {
        eventually("the kernel reads a whole file by itself", || {
            let before = answered(stats(&mount.root())["reads"].clone());
            assert!(anew(&path) == expected);
            answered(stats(&mount.root())["reads"].clone()) == before
        });
    }
    server.add_interaction("00000000-0000-4000-8000-00000000abcd", b"{}");
    eventually("a new interaction is seen", || {
        let name = "00000000-0000-4000-8000-00000000abcd";
        std::fs::read_dir(mount.root())
            .unwrap()
            .flatten()
            .any(|row| row.file_name() == name)
    });
}

#[test]
fn a_mount_keeps_one_capability_and_needs_no_other() {
    if !can_mount() || !is_privileged() {
        return;
    }
    let server = server();
    let mount = MountBuilder::new(&server)
        .option("--refresh=1s")
        .option("--log-level=info")
        .mount();
    let expected = Privileges::only(SYS_ADMIN);
    assert_threads(u64::from(mount.pid()), &expected);
    assert_all_works(&mount, &server);
    assert_threads(u64::from(mount.pid()), &expected);
    mount.signal(rustix::process::Signal::TERM);
    let mut mount = mount;
    let root = mount.root();
    assert!(mount.wait().success());
    assert!(!is_mounted(&root));
}

#[test]
fn a_mount_in_the_background_keeps_no_more() {
    if !can_mount() || !is_privileged() {
        return;
    }
    let server = server();
    let place = tempfile::TempDir::new().unwrap();
    let root = place.path().join("mnt");
    std::fs::create_dir(&root).unwrap();
    // As mount(8) has it done.
    let mounted = MountBuilder::new(&server)
        .command(&root, &place.path().join("cache"))
        .status()
        .unwrap();
    assert!(mounted.success());
    let pid = stats(&root)["pid"].as_u64().unwrap();
    assert_threads(pid, &Privileges::only(SYS_ADMIN));
    let unmounted = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("unmount")
        .arg(&root)
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert!(!is_mounted(&root));
    eventually("the daemon has ended", || {
        !Path::new(&format!("/proc/{pid}/task")).exists()
    });
}

#[test]
fn what_lies_in_somebody_elses_closed_directory_is_reached() {
    if !can_mount() || !is_privileged() {
        return;
    }
    let server = server();
    let place = tempfile::TempDir::new().unwrap();
    let closed = place.path().join("home");
    let root = closed.join("mnt");
    std::fs::create_dir_all(&root).unwrap();
    chown(&root, Some(65534), Some(65534)).unwrap();
    chown(&closed, Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mounted = MountBuilder::new(&server)
        .command(&root, &closed.join("cache"))
        .status()
        .unwrap();
    assert!(mounted.success());
    let pid = stats(&root)["pid"].as_u64().unwrap();
    let kept = SYS_ADMIN | DAC_READ_SEARCH;
    assert_threads(pid, &Privileges::only(kept));
    let guid = server.api().account().guids()[0].to_string();
    let bytes = std::fs::read(root.join(format!("{guid}/callRecording.wav"))).unwrap();
    assert!(bytes == server.expected(&guid, "callRecording"));
    assert!(
        stats(&root)["cache"]["disk_works"].as_bool().unwrap(),
        "the cache is used"
    );
    let status = std::process::Command::new("kill")
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success());
    eventually("it unmounts itself", || !is_mounted(&root));
    eventually("the daemon has ended", || {
        !Path::new(&format!("/proc/{pid}/task")).exists()
    });
}
