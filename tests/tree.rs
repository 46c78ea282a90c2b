//! The tree and its attributes (design sections 2 and 3), seen by ordinary programs on a real mount.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::{Mount, MountBuilder, Server, can_mount, errno};
use interactionfs::emulator::Endpoint;

const CALL: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

#[test]
fn a_walk_meets_every_interaction_once_and_nothing_derived() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let names = mount.shell("ls -A");
    let directories: Vec<&str> = names.lines().filter(|name| name.len() == 36).collect();
    assert!(directories.len() >= 8, "{names}");
    assert!(!names.contains(".interactionfs"), "{names}");
    for link in ["by-date", "by-agent", "text"] {
        assert_eq!(
            std::fs::read_link(mount.path(link))
                .unwrap()
                .to_str()
                .unwrap(),
            format!(".interactionfs/views/{link}")
        );
    }
    let found = mount.shell("find . -name interaction.json | wc -l");
    assert_eq!(found.trim(), directories.len().to_string());
    let followed = mount.shell("find . -type d | wc -l");
    assert_eq!(followed.trim(), (directories.len() + 1).to_string());
}

#[test]
fn views_lead_to_the_interactions() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let by_date = mount.shell(&format!("ls -d by-date/*/101500Z_inbound_{CALL}"));
    let link = mount.path(by_date.trim());
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(std::fs::read_link(&link).unwrap().is_relative());
    assert_eq!(
        link.canonicalize().unwrap(),
        mount.path(CALL).canonicalize().unwrap()
    );
    let by_agent = mount.shell(&format!("ls -d by-agent/1342/*_101500Z_inbound_{CALL}"));
    assert_eq!(
        mount.path(by_agent.trim()).canonicalize().unwrap(),
        mount.path(CALL).canonicalize().unwrap()
    );
    assert!(
        mount.path("by-agent/none").is_dir(),
        "the voicemail has no agent"
    );
    let days = mount.shell("ls by-date");
    assert_eq!(days.lines().count(), 7, "the window's days: {days}");
    let before = server.requests(Endpoint::Search);
    assert_eq!(mount.shell("ls by-date/2025-03-17 | wc -l").trim(), "0");
    assert_eq!(
        server.requests(Endpoint::Search),
        before + 1,
        "any other day is searched when entered"
    );
}

#[test]
fn names_types_and_upper_case_guids() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let names = mount.shell(&format!("ls {CALL}"));
    for name in [
        "callRecording.wav",
        "transcript.json",
        "screenRecording.webm",
        "interaction.json",
    ] {
        assert!(names.lines().any(|known| known == name), "{names}");
    }
    let upper = mount.path(CALL.to_uppercase());
    assert_eq!(std::fs::read_link(&upper).unwrap().to_str().unwrap(), CALL);
    assert!(upper.join("transcript.json").exists());
    assert!(
        mount.path(CALL).join("callRecording").exists(),
        "the key is an alias"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(mount.path(CALL).join("interaction.json")).unwrap())
            .unwrap();
    assert_eq!(json["guid"], CALL);
}

#[test]
fn attributes_tell_the_truth() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let directory = mount.path(CALL);
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.join("interaction.json")).unwrap())
            .unwrap();
    let start: jiff::Timestamp = json["start"].as_str().unwrap().parse().unwrap();
    let metadata = directory.metadata().unwrap();
    assert_eq!(metadata.mtime(), start.as_second());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o500);
    for item in json["content"].as_array().unwrap() {
        let path = directory.join(item["contentKey"].as_str().unwrap());
        let metadata = path.metadata().unwrap();
        let modified: jiff::Timestamp = item["lastModified"].as_str().unwrap().parse().unwrap();
        assert_eq!(metadata.len(), item["contentLength"].as_u64().unwrap());
        assert_eq!(metadata.mtime(), modified.as_second());
        assert_eq!(metadata.blocks(), metadata.len().div_ceil(512));
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o400);
        assert_eq!(metadata.uid(), rustix::process::getuid().as_raw());
    }
    let xattrs = mount.shell(&format!("getfattr -d {CALL}/callRecording.wav {CALL}"));
    for line in [
        "user.mime_type=\"audio/wav\"",
        "user.vcc.content_key=\"callRecording\"",
        "user.vcc.type=\"callRecording\"",
        "user.vcc.direction=\"inbound\"",
        "user.vcc.agents=\"1342\"",
    ] {
        assert!(xattrs.contains(line), "{xattrs}");
    }
    let date = start.to_string()[..10].to_owned();
    let newer = mount.shell(&format!(
        "find . -maxdepth 1 -newermt '{date} 10:14:59' ! -newermt '{date} 10:15:00'"
    ));
    assert!(newer.contains(CALL), "{newer}");
}

#[test]
fn inode_numbers_survive_a_remount() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let list = "find . -printf '%i %p\\n' | sort -k 2";
    let first = Mount::of(&server).shell(list);
    let second = Mount::of(&server).shell(list);
    assert_eq!(first, second);
    let mut numbers: Vec<&str> = first.lines().filter_map(|l| l.split(' ').next()).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "no number twice");
}

#[test]
fn every_write_is_refused() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let file = mount.path(CALL).join("transcript.json");
    let erofs = rustix::io::Errno::ROFS.raw_os_error();
    assert_eq!(errno(std::fs::write(mount.path("new"), "x")), erofs);
    assert_eq!(
        errno(std::fs::OpenOptions::new().append(true).open(&file)),
        erofs
    );
    assert_eq!(errno(std::fs::create_dir(mount.path("new"))), erofs);
    assert_eq!(errno(std::fs::rename(&file, mount.path("new"))), erofs);
    assert_eq!(errno(std::fs::remove_file(&file)), erofs);
    assert_eq!(errno(std::fs::remove_dir(mount.path(CALL))), erofs);
    assert_eq!(
        errno(std::fs::set_permissions(
            &file,
            std::fs::Permissions::from_mode(0o600)
        )),
        erofs
    );
    assert_eq!(
        errno(std::os::unix::fs::symlink("a", mount.path("link"))),
        erofs
    );
    assert_eq!(errno(std::fs::hard_link(&file, mount.path("link"))), erofs);
    let output = mount.shell_output(&format!(
        "setfattr -n user.x -v y {CALL}; truncate -s 1 {CALL}/transcript.json"
    ));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        complaint.matches("Read-only file system").count(),
        2,
        "{complaint}"
    );
}

#[test]
fn mount_options_and_type_are_as_promised() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = MountBuilder::new(&server)
        .option("--uid=12345")
        .option("--gid=54321")
        .option("--file-mode=0440")
        .option("--dir-mode=0550")
        .mount();
    let table = std::fs::read_to_string("/proc/mounts").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(mount.root().to_str().unwrap()))
        .unwrap();
    assert!(line.starts_with("interactionfs "), "{line}");
    assert!(line.contains(" fuse.interactionfs "), "{line}");
    for option in [
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "noatime",
        "default_permissions",
    ] {
        assert!(
            line.split([' ', ',']).any(|known| known == option),
            "{option} in {line}"
        );
    }
    if !rustix::process::geteuid().is_root() {
        // By these modes it is somebody else's.
        return;
    }
    let metadata = mount.path(CALL).join("transcript.json").metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o440);
    assert_eq!(
        mount.path(CALL).metadata().unwrap().permissions().mode() & 0o7777,
        0o550
    );
}

#[test]
fn another_user_is_kept_out() {
    if !can_mount() || !rustix::process::getuid().is_root() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let output = mount.shell_output(&format!(
        "chmod 755 .. ; setpriv --reuid 65534 --clear-groups ls {}",
        mount.root().display()
    ));
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains("Permission denied"), "{complaint}");
}

#[test]
fn types_narrow_what_is_shown() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = MountBuilder::new(&server)
        .option("--types=transcript")
        .mount();
    let names = mount.shell(&format!("ls {CALL}"));
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["interaction.json", "transcript.json"]
    );
}

#[test]
fn sidecars_stand_beside_the_recording_when_they_are_wanted() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let plain = Mount::of(&server).shell(&format!("ls {CALL}"));
    assert!(!plain.contains("transcript.txt"), "{plain}");
    let mount = MountBuilder::new(&server).option("--sidecars").mount();
    let names = mount.shell(&format!("ls {CALL}"));
    for name in ["transcript.txt", "callRecording.srt", "callRecording.vtt"] {
        assert!(names.lines().any(|known| known == name), "{names}");
        let path = mount.path(CALL).join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(path.metadata().unwrap().len(), text.len() as u64);
    }
    let before = server.all_requests();
    mount.shell("ls -lR . > /dev/null");
    let listed = mount.shell("find . -name transcript.txt | wc -l");
    let view = mount.shell("find text/ -name '*.txt' | wc -l");
    assert!(listed.trim().parse::<u32>().unwrap() > 1, "{listed}");
    assert!(view.trim().parse::<u32>().unwrap() >= listed.trim().parse().unwrap());
    let asked = server.all_requests() - before;
    assert!(
        asked <= 12,
        "one request for each transcript at the most, not {asked}"
    );
    let subtitles = std::fs::read_to_string(mount.path(CALL).join("callRecording.srt")).unwrap();
    assert!(subtitles.starts_with("1\n00:00:"), "{subtitles}");
    let text = std::fs::read_to_string(mount.path(CALL).join("transcript.txt")).unwrap();
    assert!(text.starts_with("[00:0"), "{text}");
    assert!(
        std::fs::read_to_string(mount.path(CALL).join("callRecording.vtt"))
            .unwrap()
            .starts_with("WEBVTT")
    );
}

#[test]
fn grep_over_text_prints_time_speaker_and_sentence_and_costs_nothing_again() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let found = mount.shell("grep -rhi 'card number' text");
    assert!(
        found
            .lines()
            .all(|line| line.starts_with('[') && line.contains(": ")),
        "{found}"
    );
    let before = server.all_requests();
    assert_eq!(mount.shell("grep -rhi 'card number' text"), found);
    mount.shell("ls -lR text/ > /dev/null");
    assert_eq!(server.all_requests(), before);
}
