//! What a mount does when the API is not there or will not have the credentials: without a catalogue nothing is
//! mounted, with one the tree stands and says what is wrong (design, sections 4, 5 and 8).

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use common::{MountBuilder, Server, can_mount, errno, eventually};
use interactionfs::emulator::{Endpoint, Rule, Target, Times};
use rustix::io::Errno;
use serde_json::Value;

const CALL: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

/// The one line that a mount ends with which is not made.
fn complaint(builder: MountBuilder<'_>) -> String {
    let Err(output) = builder.try_mount() else {
        panic!("it was mounted");
    };
    let text = String::from_utf8(output).unwrap();
    let complaints: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("interactionfs: "))
        .collect();
    assert_eq!(complaints.len(), 1, "{text}");
    assert!(!text.contains("not the secret"), "{text}");
    complaints[0].to_owned()
}

/// What `status --json` says of the mount at `root`.
fn status(root: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .arg("status")
        .arg(root)
        .arg("--json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_a_catalogue_wrong_credentials_are_one_clear_line() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let line = complaint(MountBuilder::new(&server).secret("not the secret"));
    assert!(line.contains("the credentials are refused"), "{line}");
    assert_eq!(server.all_requests(), 1, "{}", server.describe());
}

#[test]
fn without_a_catalogue_an_api_that_is_not_there_is_one_clear_line() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    // Nobody listens at a port that was just given back.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let line = complaint(
        MountBuilder::new(&server).api_url(format!("http://{closed}/interaction-content")),
    );
    assert!(
        line.contains("the API can't be reached (refused)"),
        "{line}"
    );

    let wrong_path = server
        .api()
        .api_url()
        .replace("/interaction-content", "/interactions");
    let line = complaint(MountBuilder::new(&server).api_url(wrong_path));
    assert!(line.contains("--api-url"), "{line}");
}

#[test]
fn without_a_catalogue_a_search_that_is_refused_is_one_clear_line() {
    if !can_mount() {
        return;
    }
    for (code, words) in [
        (401, "the API refuses the credentials"),
        (403, "the credentials may not search"),
    ] {
        let server = Server::samples();
        let rule = Rule::status(Target::Search, code).times(Times::Forever);
        server.api().faults().add(rule);
        let line = complaint(MountBuilder::new(&server));
        assert!(line.contains(words), "{code}: {line}");
        // One token renewal, and no more.
        assert!(server.all_requests() <= 4, "{}", server.describe());
    }
}

#[test]
fn a_server_in_trouble_is_mounted_nevertheless() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let rule = Rule::status(Target::Search, 501).times(Times::Forever);
    server.api().faults().add(rule);
    let mount = MountBuilder::new(&server).mount();
    assert!(
        server.requests(Endpoint::Search) > 1,
        "501 is one of the 5xx that are tried again"
    );
    server.api().faults().clear();
    eventually("the tree comes", || mount.path(CALL).is_dir());
}

#[test]
fn with_a_catalogue_the_tree_stands_when_the_credentials_are_refused() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let cache = tempfile::TempDir::new().unwrap();
    let mount = MountBuilder::new(&server).cache(cache.path()).mount();
    let transcript = std::fs::read(mount.path(CALL).join("transcript.json")).unwrap();
    let tree = mount.shell("find . | sort");
    mount.unmount();

    let mount = MountBuilder::new(&server)
        .cache(cache.path())
        .secret("not the secret")
        .mount();
    assert_eq!(mount.shell("find . | sort"), tree);
    // What is not here can't be had, and the open says so; what is here needs nobody.
    let recording = mount.path(CALL).join("callRecording.wav");
    let denied = Errno::ACCESS.raw_os_error();
    assert_eq!(errno(std::fs::File::open(&recording)), denied);
    let status = status(&mount.root());
    assert_eq!(status["state"], "stale");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("the credentials are refused"), "{reason}");
    assert_eq!(
        status["tree"]["interactions_known"].to_string(),
        mount.shell("ls | grep -c -E '^.{36}$'").trim()
    );
    let held = std::fs::read(mount.path(CALL).join("transcript.json")).unwrap();
    assert_eq!(held, transcript);
}

#[test]
fn an_item_that_was_refused_is_refused_at_open() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = MountBuilder::new(&server).mount();
    let rule = Rule::status(Target::Content, 403).times(Times::Forever);
    server.api().faults().add(rule);
    let recording = mount.path(CALL).join("callRecording.wav");
    let denied = Errno::ACCESS.raw_os_error();
    // Kept open, so that nothing forgets the refusal.
    let file = std::fs::File::open(&recording).unwrap();
    assert_eq!(errno(std::io::Read::read(&mut &file, &mut [0; 16])), denied);
    let made = server.all_requests();
    assert_eq!(errno(std::fs::File::open(&recording)), denied);
    assert_eq!(server.all_requests(), made, "{}", server.describe());
}

#[test]
fn doctor_asks_in_the_pace_of_the_accounts_mounts() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let directory = tempfile::TempDir::new().unwrap();
    let (cache, mountpoint) = (directory.path().join("cache"), directory.path().join("mnt"));
    std::fs::create_dir(&mountpoint).unwrap();
    let builder = MountBuilder::new(&server).cache(&cache);
    let command = builder.command(&mountpoint, &cache);
    builder.mount().unmount();
    let ledgers = || {
        let accounts = std::fs::read_dir(&cache).unwrap();
        accounts
            .map(|account| account.unwrap().path().join("pace"))
            .filter(|path| path.exists())
            .collect::<Vec<_>>()
    };
    let ledger = ledgers().pop().unwrap();
    std::fs::remove_file(&ledger).unwrap();
    // The same options, for the other command.
    let arguments: Vec<_> = command.get_args().skip(1).map(ToOwned::to_owned).collect();
    let output = Command::new(command.get_program())
        .arg("doctor")
        .args(arguments)
        .env("INTERACTIONFS_CLIENT_SECRET", server.api().client_secret())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ledgers(), [ledger], "it is written when requests are made");
}
