//! The name server stops answering, and nothing hangs.
//!
//! In a program of its own, because mounts that stand while a namespace is made live as long as that.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod namespace;

use std::time::{Duration, Instant};

use common::{MountBuilder, Server, can_mount, direct, eventually, is_mounted, wait_for_exit};
use interactionfs::emulator::GeneratedSpec;
use namespace::Names;
use rustix::process::Signal;

/// Far beyond the deadlines that are set here, and far below what a lookup takes.
const HUNG: Duration = Duration::from_secs(60);

#[test]
fn a_name_server_that_never_answers_holds_up_nothing() {
    if !can_mount() {
        return;
    }
    let Some(names) = Names::new() else { return };
    let server = Server::generated(GeneratedSpec {
        interactions: 6,
        days: 3,
        recording_bytes: 700_001,
        ..GeneratedSpec::default()
    });
    let caches = tempfile::TempDir::new().unwrap();
    let cache = caches.path().join("cache");
    let api = server.api().api_url();
    let by_name = |option: String| option.replace("127.0.0.1", "localhost");
    let builder = MountBuilder::new(&server)
        .option("--deadline=3s")
        .option("--metadata-deadline=3s")
        .option(format!("--auth-url={}", by_name(server.api().auth_url())))
        .api_url(by_name(api));
    let guids = server.api().account().guids();
    let path = |place: usize| {
        names
            .root()
            .join(format!("{}/callRecording.wav", guids[place]))
    };
    let expected = |place: usize| server.expected(&guids[place].to_string(), "callRecording");
    let list = || {
        let rows = std::fs::read_dir(names.root()).ok()?;
        rows.collect::<Result<Vec<_>, _>>()
            .ok()
            .map(|rows| rows.len())
    };

    // A first mount has nothing to show, so it waits for the API; and can be called off.
    names.die();
    let mut daemon = names.start(&builder, &cache);
    names.wait_for_a_question();
    daemon.signal(Signal::INT);
    assert!(!wait_for_exit(&mut daemon.child).success());
    drop(daemon);

    names.work();
    let mut daemon = names.start(&builder, &cache);
    eventually("it is mounted", || is_mounted(&names.root()));
    let held_is_read = || direct(&path(0)).is_ok_and(|bytes| bytes == expected(0));
    eventually("it is read", held_is_read);
    eventually("it is listed", || list().is_some());
    let listed = list();
    daemon.signal(Signal::INT);
    assert!(wait_for_exit(&mut daemon.child).success());
    drop(daemon);

    names.die();
    let mut daemon = names.start(&builder, &cache);
    eventually("it is mounted all the same", || is_mounted(&names.root()));
    eventually("it is listed", || list() == listed);
    for guid in &guids {
        eventually("it is found", || {
            std::fs::metadata(names.root().join(guid.to_string())).is_ok()
        });
    }
    // More than there are threads for, were each to look the name up by itself.
    std::thread::scope(|scope| {
        let cold: Vec<_> = (0..60)
            .map(|place| {
                let path = path(1 + place % (guids.len() - 1));
                scope.spawn(move || {
                    let began = Instant::now();
                    let outcome = direct(&path);
                    assert!(began.elapsed() < HUNG, "a read took {:?}", began.elapsed());
                    outcome
                })
            })
            .collect();
        names.wait_for_a_question();
        eventually("what is held is read", held_is_read);
        eventually("it is listed", || list() == listed);
        for reader in cold {
            reader.join().unwrap().unwrap_err();
        }
    });
    daemon.signal(Signal::TERM);
    assert!(wait_for_exit(&mut daemon.child).success());
    assert!(!is_mounted(&names.root()));
}
