//! `prefetch` against the emulator, counted by the server: what a dry run names is what a run makes, what is held
//! is not asked for again, and what was prefetched is read for nothing.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Mount, MountBuilder, Server, can_mount, wait_for_exit};
use interactionfs::emulator::{Endpoint, Fault, GeneratedSpec, Rule, Target, Times};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const FILES: u64 = 60;

/// A pace that lets some files come at once and all of them only after minutes, so that a run can be ended on
/// the way, however slow the machine is.
const SLOW: &str = "--requests-per-minute=40";

/// Files that come at once at that pace, fewer than do.
const BEGUN: u64 = 10;

fn server() -> Server {
    Server::generated(GeneratedSpec {
        interactions: FILES,
        recording_bytes: 5 << 20,
        days: 6,
        transcript_bytes: 4_000,
        screen_bytes: 100_000,
        ..GeneratedSpec::default()
    })
}

/// The command, without what it is to fetch.
fn command(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interactionfs"));
    command
        .arg("prefetch")
        .env("INTERACTIONFS_CLIENT_SECRET", server.api().client_secret())
        .stdin(Stdio::null());
    command
}

/// The command with the options of a mount.
fn alone(server: &Server, cache: &Path) -> Command {
    let api = server.api();
    let mut command = command(server);
    command
        .arg(format!("--api-url={}", api.api_url()))
        .arg(format!("--auth-url={}", api.auth_url()))
        .arg(format!("--client-id={}", api.client_id()))
        .arg(format!("--cache-dir={}", cache.display()))
        .arg("--requests-per-minute=100000");
    command
}

/// The command with a running mount.
fn by(server: &Server, mount: &Mount) -> Command {
    let mut command = command(server);
    command.arg(mount.root());
    command
}

/// What a command tells, its last event being of the kind `last`.
fn told(command: &mut Command, last: &str) -> Vec<Value> {
    let output = command.arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let events: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.last().unwrap()["event"], last, "{events:?}");
    events
}

/// How many requests a dry run names.
fn named(command: &mut Command) -> u64 {
    let events = told(command.arg("--dry-run"), "end");
    let plan = events.iter().find(|event| event["event"] == "plan");
    plan.unwrap()["requests"].as_u64().unwrap()
}

/// Starts a command that is to be ended, and reads what it tells until `files` are done.
fn until(command: &mut Command, files: u64) -> Child {
    let mut child = command
        .arg("--json")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let is_there = lines.any(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        event["event"] == "progress" && event["files"].as_u64() >= Some(files)
    });
    if !is_there {
        wait_for_exit(&mut child);
        panic!("it ended by itself");
    }
    child
}

fn files_below(directory: &Path) -> usize {
    std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                files_below(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn end(child: &mut Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    assert!(!wait_for_exit(child).success());
}

/// Reads all transcripts, in both forms, and says what that cost.
fn reading_costs(server: &Server, mount: &Mount) -> u64 {
    mount.shell("ls -R > /dev/null");
    let before = server.all_requests();
    let found = mount.shell("grep -r -l phrases --include='*.json' . | grep -c transcript");
    assert_eq!(found.trim(), FILES.to_string());
    mount.shell("grep -r -c : text/ > /dev/null");
    server.all_requests() - before
}

#[test]
fn without_a_mount_a_dry_run_names_what_a_run_makes_and_reading_then_costs_nothing() {
    if !can_mount() {
        return;
    }
    let server = server();
    let cache = tempfile::TempDir::new().unwrap();
    let requests = named(&mut alone(&server, cache.path()));
    assert_eq!(requests, FILES + 1, "and one for a token");
    assert_eq!(server.requests(Endpoint::Content), 0);

    let before = server.all_requests();
    let events = told(&mut alone(&server, cache.path()), "end");
    assert_eq!(
        server.all_requests() - before,
        requests,
        "{}",
        server.describe()
    );
    let outcome = events.last().unwrap();
    assert_eq!(
        (&outcome["fetched"], &outcome["held"]),
        (&FILES.into(), &0.into())
    );
    let only_transcripts = server.api().log().of(Endpoint::Content);
    assert!(
        only_transcripts
            .iter()
            .all(|entry| entry.key.as_deref() == Some("transcript"))
    );

    let before = server.all_requests();
    assert_eq!(named(&mut alone(&server, cache.path())), 0);
    told(&mut alone(&server, cache.path()), "end");
    assert_eq!(server.all_requests(), before, "nothing was missing");

    let mount = MountBuilder::new(&server).cache(cache.path()).mount();
    assert_eq!(reading_costs(&server, &mount), 0, "{}", server.describe());
}

#[test]
fn by_a_mount_a_dry_run_names_what_a_run_makes_and_reading_then_costs_nothing() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = Mount::of(&server);
    let requests = named(&mut by(&server, &mount));
    assert_eq!(requests, FILES, "the mount has its token");
    let before = server.all_requests();
    told(&mut by(&server, &mount), "end");
    assert_eq!(
        server.all_requests() - before,
        requests,
        "{}",
        server.describe()
    );
    assert_eq!(reading_costs(&server, &mount), 0, "{}", server.describe());

    // Named: audio, of two interactions; of more than 4 MiB each, and still one request.
    let listing = mount.shell("ls -d ????????-* | head -n 2");
    let mut guids: Vec<&str> = listing.lines().collect();
    let unknown = "00000000-0000-4000-8000-000000000000";
    guids.push(unknown);
    let list = mount.scratch().join("guids");
    std::fs::write(&list, guids.join("\n")).unwrap();
    let before = server.requests(Endpoint::Content);
    let events = told(
        by(&server, &mount)
            .arg("--guids")
            .arg(&list)
            .arg("--types=callRecording"),
        "end",
    );
    let outcome = events.last().unwrap();
    assert_eq!(
        (&outcome["fetched"], &outcome["unknown"]),
        (&2.into(), &1.into())
    );
    assert_eq!(server.requests(Endpoint::Content) - before, 2);
    let before = server.all_requests();
    mount.shell(&format!(
        "md5sum {}/callRecording.wav {}/callRecording.wav",
        guids[0], guids[1]
    ));
    assert_eq!(server.all_requests(), before);
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    if !can_mount() {
        return;
    }
    for signal in [Signal::KILL, Signal::INT, Signal::HUP] {
        if signal == Signal::HUP && interactionfs::daemon::ignores_hangups() {
            common::skipped("hangups are ignored here, so they end nothing");
            continue;
        }
        let server = server();
        let cache = tempfile::TempDir::new().unwrap();
        let mut child = until(alone(&server, cache.path()).arg(SLOW), BEGUN);
        // What only just came may still wait to be written, and a kill loses that.
        common::eventually("some of it is on disk", || files_below(cache.path()) > 10);
        end(&mut child, signal);
        server.block_on(server.api().log().wait_idle());

        let requests = named(&mut alone(&server, cache.path()));
        assert!(
            requests < FILES,
            "{requests} of {FILES} are left after {signal:?}"
        );
        let before = server.all_requests();
        told(&mut alone(&server, cache.path()), "end");
        assert_eq!(
            server.all_requests() - before,
            requests,
            "{}",
            server.describe()
        );

        let mount = MountBuilder::new(&server).cache(cache.path()).mount();
        assert_eq!(reading_costs(&server, &mount), 0, "{}", server.describe());
    }
}

#[test]
fn a_signal_ends_it_while_the_server_is_silent() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = server();
        let silence = Rule::new(Target::Any, Fault::Hold).times(Times::Forever);
        server.api().faults().add(silence);
        let cache = tempfile::TempDir::new().unwrap();
        let mut command = alone(&server, cache.path());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        server.block_on(server.api().log().wait_for(1));
        end(&mut child, signal);
        let mut said = String::new();
        let mut errors = child.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        // Else it ended because the server was silent for too long.
        assert!(said.contains("before it had begun"), "{said}");
    }
}

#[test]
fn a_mount_stops_when_its_command_is_killed() {
    if !can_mount() {
        return;
    }
    let server = server();
    let cache = tempfile::TempDir::new().unwrap();
    let builder = || MountBuilder::new(&server).cache(cache.path());
    let mount = builder().option(SLOW).mount();
    let mut child = until(&mut by(&server, &mount), BEGUN);
    end(&mut child, Signal::KILL);
    let status = || {
        let status = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
            .args(["status", "--json"])
            .arg(mount.root())
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&status.stdout).unwrap()
    };
    common::eventually("the work ends", || status()["reads"]["streams"] == 0);
    server.block_on(server.api().log().wait_idle());
    let made = server.requests(Endpoint::Content);
    assert!(made < FILES, "it went on to the end");

    mount.unmount();
    let mount = builder().mount();
    let requests = named(&mut by(&server, &mount));
    assert!(requests < FILES && requests >= FILES - made);
    told(&mut by(&server, &mount), "end");
    assert_eq!(server.requests(Endpoint::Content) - made, requests);
}

#[test]
fn a_day_outside_the_window_is_searched_and_fetched() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = MountBuilder::new(&server).option("--since=1d").mount();
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
    let day = day.to_string()[..10].to_owned();
    let events = told(by(&server, &mount).arg(&day), "end");
    let fetched = events.last().unwrap()["fetched"].as_u64().unwrap();
    assert!((1..FILES).contains(&fetched), "{fetched} of {day}");
    let before = server.all_requests();
    mount.shell(&format!("cat text/{day}/*.txt > /dev/null"));
    let searches = server.all_requests() - before;
    assert_eq!(searches, 0, "{}", server.describe());

    let cache = tempfile::TempDir::new().unwrap();
    let events = told(alone(&server, cache.path()).arg(&day), "end");
    assert_eq!(events.last().unwrap()["fetched"], fetched);
}

#[test]
fn a_watch_fetches_what_comes() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = MountBuilder::new(&server).option("--refresh=1s").mount();
    let mut child = by(&server, &mount)
        .args(["--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let guid = "2480fc2c-bbd7-427c-9439-02f76583aef5";
    let mut fetched = 0;
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["event"] != "round" {
            continue;
        }
        let before = fetched;
        fetched += event["fetched"].as_u64().unwrap();
        if before < FILES && fetched == FILES {
            server.add_interaction(guid, b"{\"phrases\":[]}");
        }
        if fetched > FILES {
            break;
        }
    }
    assert_eq!(fetched, FILES + 1);
    end(&mut child, Signal::INT);
    let before = server.requests(Endpoint::Content);
    assert_eq!(
        std::fs::read(mount.path(guid).join("transcript.json")).unwrap(),
        b"{\"phrases\":[]}"
    );
    assert_eq!(server.requests(Endpoint::Content), before);
}

/// Runs a command that must fail, quietly but for one line; its exit code and that line.
fn refused(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let server = Server::generated(GeneratedSpec {
        interactions: 1,
        ..GeneratedSpec::default()
    });
    let cache = tempfile::TempDir::new().unwrap();
    let somewhere = cache.path().join("nothing");
    for (arguments, code, part) in [
        (&["--no-disk-cache"][..], 2, "--no-disk-cache"),
        (&["--offline"], 2, "--offline"),
        (&["2026-11-22", "--since=2d"], 2, "a window"),
        (&["2026-11-22", "--watch"], 2, "--watch"),
        (&["--dry-run", "--watch"], 2, "--watch"),
        (&["one", "two"], 2, "mountpoint"),
        (&["--guids=/nonexistent"], 1, "--guids"),
        (&[somewhere.to_str().unwrap()], 2, "--api-url"),
    ] {
        let (found, said) = refused(alone(&server, cache.path()).args(arguments));
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let (code, said) = refused(command(&server).arg(&somewhere));
    assert!(code == 1 && said.contains("no running mount"), "{said}");
    assert_eq!(server.all_requests(), 0);
}

#[test]
fn it_is_quiet_where_nobody_looks_and_warns_of_a_cache_that_is_too_small() {
    let server = server();
    let cache = tempfile::TempDir::new().unwrap();
    let quiet = alone(&server, cache.path()).output().unwrap();
    assert!(quiet.status.success());
    assert!(
        quiet.stdout.is_empty() && quiet.stderr.is_empty(),
        "{quiet:?}"
    );

    let mut small = alone(&server, cache.path());
    let small = small.args(["--cache-size=1MiB", "--types=callRecording", "--dry-run"]);
    let said = String::from_utf8(small.output().unwrap().stdout).unwrap();
    assert!(said.contains("the cache is too small"), "{said}");
    assert!(said.contains(&format!("requests  {}", FILES + 1)), "{said}");
}

/// What a command writes to a terminal.
fn on_a_terminal(command: &mut Command) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = rustix::termios::Winsize {
        ws_row: 24,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&ours, size).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = std::fs::File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut child = command
        .env("TERM", "xterm")
        .stdout(theirs.try_clone().unwrap())
        .stderr(theirs)
        .spawn()
        .unwrap();
    // The command's copies of the other side are the last once this one lets go of its own.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut screen = Vec::new();
    // A terminal whose other side is closed ends in an error, not in an end.
    let _ = std::fs::File::from(ours).read_to_end(&mut screen);
    let screen = String::from_utf8_lossy(&screen).into_owned();
    assert!(wait_for_exit(&mut child).success(), "{screen}");
    screen
}

#[test]
fn a_terminal_is_shown_files_bytes_budget_and_time() {
    let server = server();
    let cache = tempfile::TempDir::new().unwrap();
    let screen = on_a_terminal(&mut alone(&server, cache.path()));
    for part in [
        "of 60",
        "bytes",
        "budget",
        "left",
        "60 files fetched",
        "0 were held",
    ] {
        assert!(screen.contains(part), "no {part} in {screen:?}");
    }
}
