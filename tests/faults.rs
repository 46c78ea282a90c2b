//! What a reader gets when the content endpoint misbehaves: bytes, errno and the number of requests, through
//! real mounts (design, section 5; reference, section 19).

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use common::{Mount, MountBuilder, Server, can_mount, errno, eventually};
use interactionfs::emulator::{
    Corpus, DeclaredLength, Endpoint, ErrorBody, Etag, Fault, GeneratedSpec, Options, Redirect,
    RetryAfter, RetryAfterForm, Rule, Switches, Target, Times,
};
use rustix::io::Errno;
use uuid::Uuid;

/// Read with one request.
const SMALL: u64 = 1_500_001;
/// Read with a first request for the beginning, and more where a program seeks.
const LARGE: u64 = 10 << 20;

const RECORDING: &str = "callRecording";

/// Three calls on a server, and a mount whose listing has been made.
struct Stage {
    mount: Mount,
    server: Server,
}

fn server(recording_bytes: u64, change: impl FnOnce(&mut Switches)) -> Server {
    let mut switches = Switches {
        requests_per_minute: None,
        ..Switches::default()
    };
    change(&mut switches);
    Server::start(Options {
        corpus: Corpus::Generated(GeneratedSpec {
            interactions: 3,
            days: 6,
            recording_bytes,
            transcript_bytes: 2_000,
            screen_bytes: 0,
            ..GeneratedSpec::default()
        }),
        switches,
        ..Options::default()
    })
}

impl Stage {
    fn new(recording_bytes: u64, change: impl FnOnce(&mut Switches)) -> Self {
        Self::with_options(recording_bytes, change, &[])
    }

    fn plain() -> Self {
        Self::new(SMALL, |_| {})
    }

    fn with_options(
        recording_bytes: u64,
        change: impl FnOnce(&mut Switches),
        options: &[&str],
    ) -> Self {
        let server = server(recording_bytes, change);
        let builder = MountBuilder::new(&server);
        let builder = options.iter().fold(builder, |b, option| b.option(*option));
        let mount = builder.mount();
        mount.shell("ls > /dev/null");
        Self { mount, server }
    }

    fn guid(&self, number: usize) -> Uuid {
        self.server.api().account().guids()[number]
    }

    fn recording(&self, number: usize) -> PathBuf {
        let guid = self.guid(number).to_string();
        self.mount.path(guid).join("callRecording.wav")
    }

    fn transcript(&self, number: usize) -> PathBuf {
        let guid = self.guid(number).to_string();
        self.mount.path(guid).join("transcript.json")
    }

    fn expected(&self, number: usize) -> Vec<u8> {
        self.server
            .expected(&self.guid(number).to_string(), RECORDING)
    }

    fn expected_transcript(&self, number: usize) -> Vec<u8> {
        self.server
            .expected(&self.guid(number).to_string(), "transcript")
    }

    fn fault(&self, fault: Fault, times: Times) {
        self.rule(Rule::new(Target::Content, fault).times(times));
    }

    fn rule(&self, rule: Rule) {
        self.server.api().faults().add(rule);
    }

    fn contents(&self) -> u64 {
        self.server.requests(Endpoint::Content)
    }

    /// Reads the first recording whole, and says how many content requests that cost.
    fn read_right(&self, what: &str) -> u64 {
        let before = self.contents();
        let bytes = std::fs::read(self.recording(0))
            .unwrap_or_else(|error| panic!("{what}: {error}\n{}", self.server.describe()));
        assert!(
            bytes == self.expected(0),
            "{what}: other bytes\n{}",
            self.server.describe()
        );
        self.contents() - before
    }
}

fn status(code: u16, body: ErrorBody) -> Fault {
    Fault::Status {
        code,
        body,
        retry_after: None,
    }
}

#[track_caller]
fn fails_with<T: std::fmt::Debug>(result: std::io::Result<T>, expected: &[Errno]) {
    let got = errno(result);
    assert!(
        expected.iter().any(|errno| errno.raw_os_error() == got),
        "errno {got}, not one of {expected:?}"
    );
}

#[test]
fn what_happens_once_is_cured_by_one_more_request() {
    if !can_mount() {
        return;
    }
    let cured = [
        ("503", status(503, ErrorBody::Message)),
        ("502 as a page", status(502, ErrorBody::Html)),
        ("500 without a body", status(500, ErrorBody::Empty)),
        ("reset before the head", Fault::ResetBeforeHead),
        ("reset before the body", Fault::ResetAfter(0)),
        ("reset in mid-body", Fault::ResetAfter(700_000)),
        ("reset at the last byte", Fault::ResetAfter(SMALL - 1)),
        ("short body", Fault::ShortBody(900_000)),
        ("an encoding nobody asked for", Fault::UnaskedEncoding),
    ];
    for (what, fault) in cured {
        let stage = Stage::plain();
        stage.fault(fault, Times::Count(1));
        assert_eq!(stage.read_right(what), 2, "{what}");
        let entries = stage.server.api().log().of(Endpoint::Content);
        let resumed = entries[1].range.as_deref().unwrap_or("bytes=0-");
        if what.contains("last byte") || what.contains("mid-body") || what.contains("short") {
            assert_ne!(resumed, "bytes=0-", "{what}: begins again");
        }
        assert_eq!(stage.read_right(what), 0, "{what}: held now");
    }
}

#[test]
fn what_is_only_odd_costs_nothing_more() {
    if !can_mount() {
        return;
    }
    for (what, fault) in [
        ("closed behind the answer", Fault::CloseAfter),
        (
            "a slow first byte",
            Fault::SlowFirstByte(Duration::from_millis(200)),
        ),
        ("a slow body", Fault::SlowBody(6_000_000)),
        ("a redirect", Fault::RedirectElsewhere),
        ("the range ignored", Fault::IgnoreRange),
    ] {
        let stage = Stage::plain();
        stage.fault(fault, Times::Count(1));
        assert_eq!(stage.read_right(what), 1, "{what}");
    }
}

#[test]
fn a_server_that_is_broken_for_good_is_an_i_o_error_after_the_retries() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    stage.fault(status(503, ErrorBody::Message), Times::Forever);
    fails_with(std::fs::read(stage.recording(0)), &[Errno::IO]);
    assert_eq!(stage.contents(), 6, "{}", stage.server.describe());
    assert!(stage.recording(0).exists(), "the name stays");
    stage.server.api().faults().clear();
    eventually("the file is read again", || {
        std::fs::read(stage.recording(0)).is_ok()
    });
    assert_eq!(stage.read_right("afterwards"), 0);
}

#[test]
fn bytes_that_are_not_what_was_asked_for_are_never_served() {
    if !can_mount() {
        return;
    }
    for (what, fault) in [
        ("wrong Content-Range", Fault::WrongContentRange),
        ("no Content-Range", Fault::NoContentRange),
        ("fewer than the range", Fault::ShortRange(1_000)),
        ("more than the range", Fault::LongBody(1_000)),
        ("another total", Fault::WrongTotal(5)),
    ] {
        let stage = Stage::new(LARGE, |_| {});
        let file = File::open(stage.recording(0)).unwrap();
        let place = 7_000_003_u64;
        let expected = stage.expected(0);
        let start = usize::try_from(place).unwrap();
        stage.fault(fault, Times::Count(1));
        let mut bytes = vec![0; 100_000];
        match file.read_exact_at(&mut bytes, place) {
            Ok(()) => assert!(
                bytes == expected[start..start + bytes.len()],
                "{what}: other bytes"
            ),
            Err(error) => panic!("{what}: {error}\n{}", stage.server.describe()),
        }
        eventually(&format!("whole again after {what}"), || {
            std::fs::read(stage.recording(0)).is_ok_and(|bytes| bytes == expected)
        });
        let length = std::fs::metadata(stage.recording(0)).unwrap().len();
        assert_eq!(length, LARGE, "{what}");
    }
}

#[test]
fn ranges_that_are_never_right_end_in_an_i_o_error() {
    if !can_mount() {
        return;
    }
    let stage = Stage::new(LARGE, |_| {});
    stage.fault(Fault::WrongContentRange, Times::Forever);
    let file = File::open(stage.recording(0)).unwrap();
    let mut bytes = [0; 4096];
    fails_with(file.read_exact_at(&mut bytes, 8 << 20), &[Errno::IO]);
    assert!(stage.contents() <= 6, "{}", stage.server.describe());
}

#[test]
fn a_stalled_file_times_out_and_strands_nobody_else() {
    if !can_mount() {
        return;
    }
    let stage = Stage::with_options(SMALL, |_| {}, &["--deadline=3s"]);
    stage.rule(
        Rule::new(Target::Content, Fault::Stall { after: 400_000 })
            .guid(stage.guid(0))
            .times(Times::Forever),
    );
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| std::fs::read(stage.recording(0)));
        stage
            .server
            .block_on(stage.server.api().log().wait_for_of(Endpoint::Content, 1));
        let other = std::fs::read(stage.recording(1)).unwrap();
        assert!(other == stage.expected(1));
        fails_with(stalled.join().unwrap(), &[Errno::TIMEDOUT, Errno::IO]);
    });
    assert_eq!(
        std::fs::read(stage.transcript(2)).unwrap(),
        stage.expected_transcript(2)
    );
    let Stage { mount, .. } = stage;
    mount.unmount();
}

#[test]
fn a_server_that_never_answers_times_out_and_unmounts() {
    if !can_mount() {
        return;
    }
    let stage = Stage::with_options(SMALL, |_| {}, &["--deadline=2s"]);
    stage.fault(Fault::Hold, Times::Forever);
    fails_with(std::fs::read(stage.recording(0)), &[Errno::TIMEDOUT]);
    let Stage { mount, .. } = stage;
    mount.unmount();
}

#[test]
fn a_far_seek_is_right_on_a_server_that_ignores_ranges() {
    if !can_mount() {
        return;
    }
    let stage = Stage::new(LARGE, |switches| switches.ignore_ranges = true);
    let expected = stage.expected(0);
    let file = File::open(stage.recording(0)).unwrap();
    for place in [9_000_001_usize, 3, 5_000_000] {
        let mut bytes = vec![0; 70_000];
        file.read_exact_at(&mut bytes, place as u64).unwrap();
        assert!(bytes == expected[place..place + 70_000], "at {place}");
    }
    stage.read_right("whole");
    let made = stage.contents();
    assert!(made <= 5, "{made} requests\n{}", stage.server.describe());
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept_and_then_served() {
    if !can_mount() {
        return;
    }
    for retry_after in [
        Some(RetryAfter::Seconds(1)),
        Some(RetryAfter::Date(Duration::from_secs(2))),
        Some(RetryAfter::Nonsense),
        None,
    ] {
        let stage = Stage::plain();
        let fault = Fault::Status {
            code: 429,
            body: ErrorBody::Message,
            retry_after,
        };
        stage.fault(fault, Times::Count(1));
        assert_eq!(stage.read_right("429"), 2);
        if retry_after == Some(RetryAfter::Seconds(1)) {
            let entries = stage.server.api().log().of(Endpoint::Content);
            let pause = entries[1].time - entries[0].time;
            assert!(pause >= Duration::from_secs(1), "came back too soon");
        }
    }
}

#[test]
fn a_storm_of_429_ends_within_the_deadline_and_few_requests() {
    if !can_mount() {
        return;
    }
    let stage = Stage::with_options(SMALL, |_| {}, &["--deadline=3s"]);
    let fault = Fault::Status {
        code: 429,
        body: ErrorBody::Message,
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    stage.fault(fault, Times::Forever);
    fails_with(
        std::fs::read(stage.recording(0)),
        &[Errno::TIMEDOUT, Errno::IO],
    );
    assert!(stage.contents() <= 6, "{}", stage.server.describe());
    assert!(stage.recording(0).exists());
}

#[test]
fn the_servers_own_limit_is_waited_for() {
    if !can_mount() {
        return;
    }
    let stage = Stage::with_options(
        SMALL,
        |switches| {
            switches.requests_per_minute = Some(3);
            switches.retry_after = RetryAfterForm::Seconds;
        },
        &["--deadline=2s"],
    );
    // A token and a page are made: one is left.
    stage.read_right("within the limit");
    fails_with(std::fs::read(stage.recording(1)), &[Errno::TIMEDOUT]);
    let made = stage.server.all_requests();
    assert!(made <= 5, "{}", stage.server.describe());
}

#[test]
fn a_token_revoked_while_a_file_is_open_is_renewed_once() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    let file = File::open(stage.recording(0)).unwrap();
    stage.server.api().tokens().revoke_all();
    let mut bytes = vec![0; usize::try_from(SMALL).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == stage.expected(0));
    assert_eq!(stage.server.requests(Endpoint::Token), 2);
    assert_eq!(stage.contents(), 2, "the refused one and the right one");
}

#[test]
fn many_readers_renew_a_revoked_token_once() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    stage.server.api().tokens().revoke_all();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let stage = &stage;
            scope.spawn(move || {
                let bytes = std::fs::read(stage.recording(number)).unwrap();
                assert!(bytes == stage.expected(number));
            });
        }
    });
    assert_eq!(stage.server.requests(Endpoint::Token), 2);
}

#[test]
fn credentials_refused_for_good_are_a_permission_error() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    stage.fault(status(401, ErrorBody::Message), Times::Forever);
    fails_with(std::fs::read(stage.recording(0)), &[Errno::ACCESS]);
    assert!(
        stage.server.requests(Endpoint::Token) <= 2,
        "{}",
        stage.server.describe()
    );
}

#[test]
fn a_forbidden_item_is_a_permission_error_and_asked_for_once() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    stage.rule(
        Rule::new(Target::Content, status(403, ErrorBody::Message))
            .guid(stage.guid(0))
            .times(Times::Forever),
    );
    fails_with(std::fs::read(stage.recording(0)), &[Errno::ACCESS]);
    let made = stage.server.all_requests();
    for _ in 0..3 {
        fails_with(std::fs::read(stage.recording(0)), &[Errno::ACCESS]);
    }
    assert_eq!(
        stage.server.all_requests(),
        made,
        "{}",
        stage.server.describe()
    );
    assert!(
        stage.server.requests(Endpoint::Token) <= 2,
        "one renewal at most"
    );
    assert!(std::fs::read(stage.recording(1)).unwrap() == stage.expected(1));
}

#[test]
fn a_deleted_item_is_stale_where_it_is_open_and_its_name_goes() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    let path = stage.recording(0);
    let file = File::open(&path).unwrap();
    assert!(
        stage
            .server
            .api()
            .account()
            .remove_item(stage.guid(0), RECORDING)
    );
    let mut bytes = [0; 4096];
    fails_with(file.read_at(&mut bytes, 0), &[Errno::STALE]);
    eventually("the name goes", || !path.exists());
    fails_with(std::fs::read(&path), &[Errno::NOENT]);
    assert_eq!(
        std::fs::read(stage.transcript(0)).unwrap(),
        stage.expected_transcript(0),
        "its sibling stays"
    );
}

#[test]
fn a_replaced_item_is_stale_where_it_is_open_and_new_where_it_is_opened() {
    if !can_mount() {
        return;
    }
    let server = server(SMALL, |_| {});
    let mount = MountBuilder::new(&server).option("--refresh=1s").mount();
    let stage = Stage { mount, server };
    let path = stage.recording(0);
    let file = File::open(&path).unwrap();
    let new = b"RIFF another recording, and another length".to_vec();
    let guid = stage.guid(0).to_string();
    stage.server.replace_item(&guid, RECORDING, &new);
    let mut bytes = [0; 4096];
    fails_with(file.read_at(&mut bytes, 0), &[Errno::STALE]);
    eventually("a new open reads the new bytes", || {
        std::fs::read(&path).is_ok_and(|bytes| bytes == new)
    });
    assert_eq!(std::fs::metadata(&path).unwrap().len(), new.len() as u64);
    fails_with(file.read_at(&mut bytes, 0), &[Errno::STALE]);
}

/// The catalogue doesn't know yet, and a text's size is found out when its name is looked up.
#[test]
fn a_text_whose_transcript_was_replaced_is_that_of_the_new_one() {
    if !can_mount() {
        return;
    }
    let stage = Stage::plain();
    let guid = stage.guid(0).to_string();
    let new = br#"{"phrases":[{"text":"a word that was not there before"}]}"#;
    stage.server.replace_item(&guid, "transcript", new);
    let text = stage.mount.shell(&format!("cat text/*/*{guid}.txt"));
    assert!(text.contains("a word that was not there before"), "{text}");
    let size = stage
        .mount
        .shell(&format!("stat -L -c %s text/*/*{guid}.txt"));
    assert_eq!(size.trim(), text.len().to_string());
}

#[test]
fn wrong_lengths_in_the_metadata_end_in_whole_files_of_the_right_size() {
    if !can_mount() {
        return;
    }
    for declared in [
        DeclaredLength::Absent,
        DeclaredLength::Zero,
        DeclaredLength::TooShort,
        DeclaredLength::TooLong,
    ] {
        for length in [300_001, LARGE] {
            let stage = Stage::new(length, |switches| switches.content_length = declared);
            let made = stage.read_right(&format!("{declared:?} of {length}"));
            // Another length than the listed one counts when three answers say so.
            let is_listed = matches!(declared, DeclaredLength::TooShort | DeclaredLength::TooLong);
            let most = if is_listed { 5 } else { 3 };
            assert!(made <= most, "{declared:?}\n{}", stage.server.describe());
            let size = std::fs::metadata(stage.recording(0)).unwrap().len();
            assert_eq!(size, length, "{declared:?}");
            assert_eq!(stage.read_right("again"), 0, "{declared:?} of {length}");
            let by_cat = stage
                .mount
                .shell(&format!("cat {} | wc -c", stage.recording(1).display()));
            assert_eq!(by_cat.trim(), length.to_string(), "{declared:?}");
        }
    }
}

/// Nothing but the end of the body says then how long a file is.
#[test]
fn a_file_listed_as_shorter_is_whole_where_no_answer_gives_a_length() {
    if !can_mount() {
        return;
    }
    let length = 300_001;
    let stage = Stage::new(length, |switches| {
        switches.content_length = DeclaredLength::TooShort;
        switches.chunked = true;
    });
    let made = stage.read_right("chunked");
    assert!(made <= 7, "{}", stage.server.describe());
    // What came before the length was known was let go.
    assert!(stage.read_right("again") <= 1);
    assert_eq!(stage.read_right("once more"), 0);
}

#[test]
fn validators_of_every_kind_leave_broken_reads_right() {
    if !can_mount() {
        return;
    }
    for etag in [
        Etag::Absent,
        Etag::Strong,
        Etag::Weak,
        Etag::Unstable,
        Etag::Sometimes,
    ] {
        for last_modified in [false, true] {
            let stage = Stage::new(LARGE, |switches| {
                switches.etag = etag;
                switches.last_modified = last_modified;
            });
            stage.fault(Fault::ResetAfter(1_000_000), Times::Count(2));
            let what = format!("{etag:?} {last_modified}");
            let made = stage.read_right(&what);
            assert!(made <= 4, "{what}\n{}", stage.server.describe());
            if etag == Etag::Strong {
                let asked = stage.server.requests(Endpoint::Interaction);
                assert_eq!(asked, 0, "a strong ETag vouches for the rest");
            }
        }
    }
}

#[test]
fn wires_of_every_kind_give_the_same_bytes() {
    if !can_mount() {
        return;
    }
    type Change = fn(&mut Switches);
    let kinds: [(&str, Change, u64); 5] = [
        ("other origin", |s| s.redirect = Redirect::OtherHost, 2),
        ("same origin", |s| s.redirect = Redirect::SameHost, 2),
        ("chunked", |s| s.chunked = true, 2),
        ("short ranges", |s| s.longest_range = Some(2_000_000), 12),
        (
            "chunked without ranges or length",
            |s| {
                s.chunked = true;
                s.ignore_ranges = true;
                s.content_length = DeclaredLength::Absent;
            },
            2,
        ),
    ];
    for (what, change, most) in kinds {
        let stage = Stage::new(LARGE, change);
        let made = stage.read_right(what);
        assert!(made <= most, "{what}: {made}\n{}", stage.server.describe());
        assert_eq!(
            std::fs::metadata(stage.recording(0)).unwrap().len(),
            LARGE,
            "{what}"
        );
    }
}

#[test]
fn odd_items_are_read_or_refused_and_never_hang() {
    if !can_mount() {
        return;
    }
    for empty_content_is_204 in [false, true] {
        let server = Server::start(Options {
            corpus: Corpus::Empty,
            curiosities: true,
            switches: Switches {
                requests_per_minute: None,
                empty_content_is_204,
                ..Switches::default()
            },
            ..Options::default()
        });
        let mount = Mount::of(&server);
        let files = mount.shell("find . -mindepth 2 -type f ! -name interaction.json");
        let mut seen = 0;
        for line in files.lines() {
            let path = mount.path(&line[2..]);
            let guid = &line[2..38];
            let mut key = [0; 1024];
            let length = rustix::fs::getxattr(&path, "user.vcc.content_key", &mut key[..]).unwrap();
            let key = std::str::from_utf8(&key[..length]).unwrap();
            let read = std::fs::read(&path);
            match key {
                "." | ".." => fails_with(read, &[Errno::IO, Errno::INVAL]),
                "forbidden" => fails_with(read, &[Errno::ACCESS]),
                _ => {
                    let bytes = read.unwrap_or_else(|error| panic!("{key}: {error}"));
                    assert!(bytes == server.expected(guid, key), "{key}");
                    let size = std::fs::metadata(&path).unwrap().len();
                    assert_eq!(size, bytes.len() as u64, "{key}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 18, "{seen} of\n{files}");
    }
}

#[test]
fn reads_beyond_the_budget_time_out_at_once_and_cost_nothing() {
    if !can_mount() {
        return;
    }
    let server = Server::generated(GeneratedSpec {
        interactions: 20,
        days: 6,
        recording_bytes: 10_000,
        transcript_bytes: 2_000,
        screen_bytes: 0,
        ..GeneratedSpec::default()
    });
    let mount = MountBuilder::new(&server)
        .option("--requests-per-minute=10")
        .option("--deadline=2s")
        .mount();
    let stage = Stage { mount, server };
    let (mut right, mut late) = (0, 0);
    for number in 0..20 {
        match std::fs::read(stage.recording(number)) {
            Ok(bytes) => {
                assert!(bytes == stage.expected(number));
                right += 1;
            }
            Err(error) => {
                let got = error.raw_os_error().unwrap();
                assert_eq!(got, Errno::TIMEDOUT.raw_os_error());
                late += 1;
            }
        }
    }
    assert!(right >= 1 && late >= 10, "{right} right, {late} late");
    let made = stage.server.all_requests();
    assert!(made <= 10, "{made} requests\n{}", stage.server.describe());
}
