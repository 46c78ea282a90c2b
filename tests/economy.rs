//! The request economy of design section 6, counted by the server through real mounts.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};

use common::{Mount, MountBuilder, Server, can_mount};
use interactionfs::emulator::{Endpoint, GeneratedSpec};

const MIB: usize = 1 << 20;

fn spec(interactions: u64, recording_bytes: u64) -> GeneratedSpec {
    GeneratedSpec {
        interactions,
        recording_bytes,
        days: 6,
        transcript_bytes: 4_000,
        screen_bytes: 100_000,
        ..GeneratedSpec::default()
    }
}

fn first_recording(mount: &Mount) -> std::path::PathBuf {
    let listing = mount.shell("ls -d ????????-*/callRecording.wav | head -n 1");
    mount.path(listing.trim())
}

#[test]
fn a_listing_of_all_costs_a_token_and_a_page_per_thousand() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(1500, 100_000));
    let mount = Mount::of(&server);
    let files = mount.shell("ls -lR . | grep -c '^-r'");
    assert_eq!(files.trim(), "6000", "three items and the metadata of each");
    assert_eq!(server.requests(Endpoint::Token), 1);
    assert_eq!(server.requests(Endpoint::Search), 2);
    assert_eq!(server.all_requests(), 3);
    mount.shell("ls -lR . > /dev/null; du -s . > /dev/null; find . -name '*.wav' > /dev/null");
    assert_eq!(server.all_requests(), 3, "looking again costs nothing");
}

#[test]
fn names_that_are_no_guids_cost_nothing() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(3, 100_000));
    let mount = Mount::of(&server);
    mount.shell("ls > /dev/null");
    let before = server.all_requests();
    for number in 0..10_000 {
        assert!(!mount.path(format!("no-guid-{number}")).exists());
    }
    for name in [
        ".Trash",
        ".Trash-1000",
        "autorun.inf",
        ".hidden",
        "2480fc2c-bbd7-427c-9439-02f76583aef",
        "2480fc2c-bbd7-427c-9439-02f76583aefg",
        &"x".repeat(255),
        "by-date/yesterday",
        "by-agent/..nobody",
    ] {
        assert!(!mount.path(name).exists(), "{name}");
    }
    let guid = mount.shell("ls | grep -m 1 -E '^.{36}$'");
    assert!(!mount.path(guid.trim()).join("nothing.wav").exists());
    assert_eq!(server.all_requests(), before);
}

#[test]
fn an_unknown_guid_is_asked_for_once() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(3, 100_000));
    let mount = Mount::of(&server);
    mount.shell("ls > /dev/null");
    let before = server.all_requests();
    let unknown = mount.path("00000000-0000-4000-8000-000000000000");
    for _ in 0..5 {
        assert!(!unknown.exists());
    }
    assert_eq!(server.all_requests(), before + 1);
}

#[test]
fn the_first_bytes_of_a_recording_cost_one_request() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(3, 10 << 20));
    let mount = Mount::of(&server);
    let path = first_recording(&mount);
    let before = server.all_requests();
    let mut start = [0; 4096];
    File::open(path).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start[..4], b"RIFF");
    assert_eq!(server.all_requests(), before + 1);
}

#[test]
fn a_file_is_read_front_to_end_in_two_requests_and_again_in_none() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(2, 40 << 20));
    let cache = tempfile::TempDir::new().unwrap();
    let sum = {
        // A machine that is busy looks like a slow connection, which a scarce budget is not spent on.
        let mount = MountBuilder::new(&server)
            .cache(cache.path())
            .option("--requests-per-minute=60")
            .mount();
        let path = first_recording(&mount);
        let before = server.all_requests();
        let first = mount.shell(&format!("md5sum < {}", path.display()));
        assert!(server.all_requests() <= before + 2, "{}", server.describe());
        let now = server.all_requests();
        assert_eq!(mount.shell(&format!("md5sum < {}", path.display())), first);
        assert_eq!(server.all_requests(), now);
        mount.unmount();
        first
    };
    let before = server.all_requests();
    let mount = MountBuilder::new(&server).cache(cache.path()).mount();
    let path = first_recording(&mount);
    assert_eq!(mount.shell(&format!("md5sum < {}", path.display())), sum);
    assert_eq!(server.all_requests(), before, "{}", server.describe());
}

#[test]
fn a_small_file_costs_one_request() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(2, 4 << 20));
    let mount = Mount::of(&server);
    let path = first_recording(&mount);
    let before = server.all_requests();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len(), 4 << 20);
    assert_eq!(server.all_requests(), before + 1);
}

#[test]
fn far_seeks_cost_a_request_each() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(2, 100 << 20));
    let mount = Mount::of(&server);
    let file = File::open(first_recording(&mount)).unwrap();
    let before = server.all_requests();
    let mut buffer = vec![0; MIB];
    file.read_exact_at(&mut buffer[..4096], 0).unwrap();
    for percent in [10, 30, 50, 70, 90] {
        file.read_exact_at(&mut buffer, percent * MIB as u64)
            .unwrap();
    }
    let made = server.all_requests() - before;
    assert!(made <= 6, "{made} requests\n{}", server.describe());
}

#[test]
fn many_readers_of_one_cold_file_cost_as_one() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(2, 3 << 20));
    let mount = Mount::of(&server);
    let path = first_recording(&mount);
    let before = server.all_requests();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| std::fs::read(&path).unwrap()))
            .collect();
        let mut contents = readers.into_iter().map(|reader| reader.join().unwrap());
        let first = contents.next().unwrap();
        assert!(contents.all(|bytes| bytes == first));
    });
    assert_eq!(server.all_requests(), before + 1);
}

#[test]
fn grep_over_transcripts_costs_one_request_each() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(60, 100_000));
    let mount = Mount::of(&server);
    mount.shell("ls -R > /dev/null");
    let before = server.all_requests();
    mount.shell("grep -r -c phrases --include=transcript.json . > /dev/null");
    assert_eq!(server.all_requests(), before + 60, "{}", server.describe());
    mount.shell("cat */transcript.json > /dev/null");
    assert_eq!(server.all_requests(), before + 60);
}

#[test]
fn all_that_is_read_is_kept_where_few_files_may_be_open() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(spec(120, 20_000));
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("few");
    let ours = env!("CARGO_BIN_EXE_interactionfs");
    std::fs::write(
        &program,
        format!("#!/bin/sh\nulimit -n 256\nexec {ours} \"$@\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let requests = [(); 2].map(|()| {
        let mount = MountBuilder::new(&server)
            .program(&program)
            .cache(&place.path().join("cache"))
            .mount();
        mount.shell("cat */transcript.json > /dev/null");
        mount.unmount();
        server.requests(Endpoint::Content)
    });
    assert_eq!(requests, [120, 120], "{}", server.describe());
}
