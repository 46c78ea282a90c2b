//! What a reader gets when searches and single interactions misbehave, and what is never written down
//! (design, section 5; reference, section 19).

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Mount, MountBuilder, Server, can_mount, errno, eventually};
use interactionfs::emulator::{
    Corpus, Endpoint, ErrorBody, Fault, GeneratedSpec, Interaction, Item, LastPage, Options, Order,
    Paging, Rule, Switches, Target, Times,
};
use rustix::io::Errno;

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn server(interactions: u64, days: u32, change: impl FnOnce(&mut Switches)) -> Server {
    let mut switches = Switches {
        requests_per_minute: None,
        ..Switches::default()
    };
    change(&mut switches);
    Server::start(Options {
        corpus: Corpus::Generated(GeneratedSpec {
            interactions,
            days,
            recording_bytes: 1_000,
            transcript_bytes: 0,
            screen_bytes: 0,
            ..GeneratedSpec::default()
        }),
        switches,
        ..Options::default()
    })
}

/// Names of interactions in the root, sorted; the errno if the listing fails.
fn listing(mount: &Mount) -> Result<Vec<String>, i32> {
    let number = |error: std::io::Error| error.raw_os_error().unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(mount.root()).map_err(number)? {
        let name = entry.map_err(number)?.file_name().into_string().unwrap();
        if name.len() == 36 {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn guids(server: &Server) -> Vec<String> {
    let mut guids: Vec<String> = (server.api().account().guids().iter())
        .map(ToString::to_string)
        .collect();
    guids.sort();
    guids
}

fn always(target: Target, code: u16) -> Rule {
    Rule::status(target, code).times(Times::Forever)
}

#[test]
fn a_failing_search_is_an_error_and_never_a_short_listing() {
    if !can_mount() {
        return;
    }
    let server = server(1_500, 6, |_| {});
    // The first page comes, the second never does.
    server
        .api()
        .faults()
        .add(always(Target::Search, 500).skip(1));
    let mount = MountBuilder::new(&server)
        .option("--metadata-deadline=4s")
        .mount();
    let failed = listing(&mount).unwrap_err();
    assert!(
        [Errno::IO, Errno::TIMEDOUT]
            .map(Errno::raw_os_error)
            .contains(&failed),
        "{failed}"
    );
    server.api().faults().clear();
    eventually("the listing recovers", || {
        listing(&mount).is_ok_and(|names| names.len() == 1_500)
    });
    assert_eq!(listing(&mount).unwrap(), guids(&server));
}

#[test]
fn pages_of_every_honest_kind_list_everything_once() {
    if !can_mount() {
        return;
    }
    type Change = fn(&mut Switches);
    let kinds: [(&str, Change); 11] = [
        ("short pages", |s| s.paging = Paging::Short),
        ("empty pages between", |s| s.paging = Paging::EmptyBetween),
        ("an empty last page", |s| s.paging = Paging::EmptyLast),
        ("overlapping pages", |s| s.paging = Paging::Overlapping),
        ("repeated pages", |s| s.paging = Paging::Repeated),
        ("shuffled", |s| s.order = Order::Shuffled),
        ("newest first", |s| s.order = Order::Descending),
        ("exclusive end", |s| s.end_inclusive = false),
        ("no token field", |s| s.last_page = LastPage::Absent),
        ("an empty token", |s| s.last_page = LastPage::EmptyString),
        ("ids as numbers", |s| s.numeric_ids = true),
    ];
    for (what, change) in kinds {
        let server = server(1_200, 6, change);
        let mount = Mount::of(&server);
        let names = listing(&mount).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(names == guids(&server), "{what}: {} names", names.len());
        let made = server.requests(Endpoint::Search);
        assert!(made <= 12, "{what}: {made} searches");
    }
}

#[test]
fn pages_that_never_end_are_an_error_and_no_loop() {
    if !can_mount() {
        return;
    }
    for paging in [Paging::SameTokenForEver, Paging::NeverEnding] {
        let server = server(30, 6, |s| s.paging = paging);
        let mount = MountBuilder::new(&server)
            .option("--metadata-deadline=3s")
            .option("--refresh=1h")
            .mount();
        let failed = listing(&mount).unwrap_err();
        assert!(
            [Errno::IO, Errno::TIMEDOUT]
                .map(Errno::raw_os_error)
                .contains(&failed),
            "{paging:?}: {failed}"
        );
        server.block_on(server.api().log().wait_idle());
        let made = server.requests(Endpoint::Search);
        assert!(made <= 300, "{paging:?}: {made} searches");
        mount.unmount();
    }
}

#[test]
fn windows_of_exactly_seven_days_need_not_be_allowed() {
    if !can_mount() {
        return;
    }
    for since in ["7d", "30d"] {
        let server = server(200, 6, |s| {
            s.refuse_exactly_seven_days = true;
            s.refuse_future_end = true;
        });
        let mount = MountBuilder::new(&server)
            .option(format!("--since={since}"))
            .mount();
        assert_eq!(listing(&mount).unwrap(), guids(&server), "{since}");
        let refused = (server.api().log().of(Endpoint::Search).iter())
            .filter(|entry| entry.status == Some(400))
            .count();
        // Those that were under way when the first was refused.
        assert!(refused <= 2, "{since}\n{}", server.describe());
    }
}

#[test]
fn faults_of_one_page_are_cured() {
    if !can_mount() {
        return;
    }
    let html = Fault::Status {
        code: 502,
        body: ErrorBody::Html,
        retry_after: None,
    };
    for (what, fault) in [
        ("garbage", Fault::GarbageJson),
        ("502", html),
        ("reset in mid-page", Fault::ResetAfter(5_000)),
        ("short page", Fault::ShortBody(5_000)),
    ] {
        let server = server(1_200, 6, |_| {});
        server
            .api()
            .faults()
            .add(Rule::new(Target::Search, fault).skip(1));
        let mount = Mount::of(&server);
        assert!(listing(&mount).unwrap() == guids(&server), "{what}");
        assert_eq!(server.requests(Endpoint::Search), 3, "{what}");
    }
}

#[test]
fn tokens_that_end_amid_the_pages_are_renewed() {
    if !can_mount() {
        return;
    }
    let revoked = server(2_500, 6, |_| {});
    revoked
        .api()
        .faults()
        .add(Rule::status(Target::Search, 401).skip(1));
    let mount = Mount::of(&revoked);
    assert!(listing(&mount).unwrap() == guids(&revoked));
    assert_eq!(revoked.requests(Endpoint::Token), 2);
    assert_eq!(revoked.requests(Endpoint::Search), 4);

    let fleeting = server(2_500, 6, |s| {
        s.token_life = Duration::from_secs(2);
        s.one_token_at_a_time = true;
        s.latency = Duration::from_millis(300);
    });
    let mount = Mount::of(&fleeting);
    let names = listing(&mount).unwrap();
    assert!(names == guids(&fleeting));
    for guid in names.iter().take(5) {
        let bytes = std::fs::read(mount.path(guid).join("callRecording.wav")).unwrap();
        assert_eq!(bytes, fleeting.expected(guid, "callRecording"));
    }
    let refused = (fleeting.api().log().entries().iter())
        .filter(|entry| entry.status == Some(401))
        .count();
    assert!(refused <= 5, "{refused} refused\n{}", fleeting.describe());
}

#[test]
fn an_interaction_that_cannot_be_had_has_the_errno_of_its_reason() {
    if !can_mount() {
        return;
    }
    for (code, expected, most) in [
        (404, &[Errno::NOENT][..], 1),
        (403, &[Errno::ACCESS], 3),
        (500, &[Errno::IO, Errno::TIMEDOUT], 6),
    ] {
        let server = server(3, 6, |_| {});
        let mount = Mount::of(&server);
        listing(&mount).unwrap();
        server.api().faults().add(always(Target::Interaction, code));
        let got = errno(std::fs::metadata(mount.path(UNKNOWN)));
        assert!(
            expected.iter().any(|errno| errno.raw_os_error() == got),
            "{code}: errno {got}"
        );
        let made = server.requests(Endpoint::Interaction);
        assert!(made <= most, "{code}: {made}\n{}", server.describe());
        assert_eq!(listing(&mount).unwrap().len(), 3, "the rest stands");
    }
}

#[test]
fn nothing_personal_is_written_down() {
    if !can_mount() {
        return;
    }
    const PHONE: &str = "+449998887776";
    const NAME: &str = "confidential-diagnosis.pdf";
    const SECRET: &str = "marked+secret/of=the%41client";
    const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";
    let server = Server::start(Options {
        corpus: Corpus::Empty,
        client_secret: SECRET.to_owned(),
        switches: Switches {
            requests_per_minute: None,
            ..Switches::default()
        },
        ..Options::default()
    });
    let start = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600);
    let mut item = Item::new(
        "marked-key-4711",
        "attachment",
        "application/pdf",
        start,
        "%PDF",
    );
    item.properties = serde_json::json!({ "fileName": NAME });
    let mut interaction = Interaction::new(GUID.parse().unwrap(), start).with(item);
    interaction.connect_from = Some(PHONE.to_owned());
    server.api().account().put(interaction);

    let logs = tempfile::TempDir::new().unwrap();
    let log = logs.path().join("interactionfs.log");
    let mount = MountBuilder::new(&server)
        .option("--log-level=trace")
        .option(format!("--log-file={}", log.display()))
        .mount();
    mount.shell("find . > /dev/null; ls -lR . > /dev/null");
    server
        .api()
        .faults()
        .add(Rule::new(Target::Content, Fault::ResetAfter(1)));
    server.api().tokens().revoke_all();
    mount.shell(&format!("cat {GUID}/* > /dev/null"));
    server.api().faults().add(always(Target::Any, 500));
    let _ = std::fs::metadata(mount.path(UNKNOWN));
    let status = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .args(["status", "--json"])
        .arg(mount.root())
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");

    let mut marks = vec![PHONE.to_owned(), "9998887776".to_owned(), GUID.to_owned()];
    marks.extend([NAME, "marked-key-4711", SECRET, UNKNOWN].map(str::to_owned));
    marks.extend(
        server
            .api()
            .log()
            .entries()
            .into_iter()
            .filter_map(|e| e.token),
    );
    assert!(marks.len() > 8, "tokens were seen");
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.lines().count() > 3, "the log says something");
    let texts = [
        ("log", written),
        ("standard error", mount.log()),
        (
            "status",
            String::from_utf8_lossy(&status.stdout).into_owned(),
        ),
        ("names in the cache", names_below(mount.cache())),
    ];
    for (where_, text) in texts {
        for mark in &marks {
            // The text itself is not shown: it may be long.
            let line = text.lines().find(|line| line.contains(mark.as_str()));
            assert!(line.is_none(), "{where_} holds {mark}: {line:?}");
        }
    }
}

fn names_below(directory: &Path) -> String {
    let mut names = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        names.push_str(&entry.file_name().to_string_lossy());
        names.push('\n');
        if entry.file_type().unwrap().is_dir() {
            names.push_str(&names_below(&entry.path()));
        }
    }
    names
}
