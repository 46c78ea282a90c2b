//! Faults of all kinds, mixed.

use std::path::PathBuf;
use std::time::Duration;

use interactionfs::emulator::{ErrorBody, Fault, RetryAfter, Rule, RuleId, Running, Target, Times};

use crate::reader::Call;
use crate::world::Known;

/// errno values that the table of faults allows here: no more than this may a reader ever see of what is not unlucky.
const EXPLAINED: [(&str, i32); 15] = [
    ("open", libc::EIO),
    ("open", libc::ETIMEDOUT),
    ("read", libc::EIO),
    ("read", libc::ETIMEDOUT),
    // What EIO and ETIMEDOUT become behind a mapping.
    ("mapped read", libc::EFAULT),
    ("readdir", libc::EIO),
    ("readdir", libc::ETIMEDOUT),
    ("stat", libc::EIO),
    ("stat", libc::ETIMEDOUT),
    // An answer of another length under another ETag looks like another version.
    ("open", libc::ESTALE),
    ("read", libc::ESTALE),
    // A token that was refused twice running.
    ("readdir", libc::EACCES),
    ("stat", libc::EACCES),
    ("open", libc::EACCES),
    ("read", libc::EACCES),
];

/// What goes wrong at random, each with its name for the report.
pub(crate) struct Mixed {
    rules: Vec<(&'static str, RuleId)>,
    /// What happens to single interactions, by their directory: nothing else of them is told by errno alone.
    unlucky: Vec<(PathBuf, u16, RuleId)>,
}

impl Mixed {
    /// Lets this share of all requests go wrong. 403 and 404 happen to unlucky interactions only: the one is remembered
    /// for ten minutes, the other takes names away.
    pub(crate) fn add(api: &Running, share: f64, files: &[Known]) -> Self {
        let mut unlucky: Vec<(PathBuf, u16, RuleId)> = Vec::new();
        let mut denials = Vec::new();
        for known in files.iter().filter(|known| known.is_unlucky) {
            let directory = known.below.parent().unwrap();
            if unlucky.iter().any(|(known, ..)| known == directory) {
                continue;
            }
            let guid = directory.to_str().unwrap().parse().unwrap();
            for (name, target, code) in [
                ("403 for content", Target::Content, 403),
                ("404 for content", Target::Content, 404),
                ("403 for an interaction", Target::Interaction, 403),
                ("404 for an interaction", Target::Interaction, 404),
            ] {
                let rule = Rule::status(target, code).guid(guid);
                let id = api
                    .faults()
                    .add(rule.times(Times::Probability(share / 2.0)));
                unlucky.push((directory.to_owned(), code, id));
                denials.push((name, id));
            }
        }
        let content = content();
        let metadata = metadata();
        let token = token();
        let mut rules = denials;
        for (target, kinds) in [
            (Target::Content, content),
            (Target::Search, metadata.clone()),
            (Target::Interaction, metadata),
            (Target::Token, token),
        ] {
            let all: f64 = kinds.iter().map(|(name, _)| weight(name)).sum();
            for (name, fault) in kinds {
                let chance = share * weight(name) / all;
                let rule = Rule::new(target, fault).times(Times::Probability(chance));
                rules.push((name, api.faults().add(rule)));
            }
        }
        Self { rules, unlucky }
    }

    /// Whether a call that failed is explained by a fault that happened: to anybody, or to what it was about.
    pub(crate) fn explain(&self, api: &Running, call: &Call) -> bool {
        let happened = |code: u16| {
            self.unlucky.iter().any(|(directory, answered, rule)| {
                call.below.starts_with(directory)
                    && *answered == code
                    && api.faults().fired(*rule) > 0
            })
        };
        match call.errno {
            libc::EACCES if happened(403) => true,
            libc::ENOENT | libc::ESTALE if happened(404) => true,
            errno => EXPLAINED.contains(&(call.what, errno)),
        }
    }

    /// How often each kind has happened, and all together.
    pub(crate) fn fired(&self, api: &Running) -> (Vec<(&'static str, u64)>, u64) {
        let mut kinds: Vec<(&'static str, u64)> = Vec::new();
        for (name, id) in &self.rules {
            let fired = api.faults().fired(*id);
            match kinds.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += fired,
                None => kinds.push((name, fired)),
            }
        }
        let all = kinds.iter().map(|(_, fired)| fired).sum();
        (kinds, all)
    }
}

/// How often a kind of fault happens, beside the others. A 429 stops all requests for seconds, the more the more there are,
/// and whoever meets silence waits for his deadline while the others come to the same place: as often as the others, there
/// would be nothing else.
fn weight(name: &str) -> f64 {
    if name == "429 with nonsense" {
        0.02
    } else if name.starts_with("429") || name.starts_with("stall") || name == "silence" {
        0.1
    } else {
        1.0
    }
}

fn status(code: u16, body: ErrorBody, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        code,
        body,
        retry_after,
    }
}

/// What happens to any answer.
fn anywhere() -> Vec<(&'static str, Fault)> {
    let second = Some(RetryAfter::Seconds(1));
    let date = Some(RetryAfter::Date(Duration::from_secs(1)));
    vec![
        ("500", status(500, ErrorBody::Message, None)),
        ("502 as HTML", status(502, ErrorBody::Html, None)),
        ("503", status(503, ErrorBody::Empty, second)),
        ("429 in seconds", status(429, ErrorBody::Message, second)),
        ("429 as a date", status(429, ErrorBody::Message, date)),
        (
            "429 with nonsense",
            status(429, ErrorBody::Empty, Some(RetryAfter::Nonsense)),
        ),
        ("reset before the head", Fault::ResetBeforeHead),
        ("reset after 100 bytes", Fault::ResetAfter(100)),
        ("body short after 100 bytes", Fault::ShortBody(100)),
        ("closed after the answer", Fault::CloseAfter),
        ("stall after 100 bytes", Fault::Stall { after: 100 }),
        ("silence", Fault::Hold),
        (
            "late first byte",
            Fault::SlowFirstByte(Duration::from_millis(200)),
        ),
        ("slow body", Fault::SlowBody(1_000_000)),
        ("header of 1 MB", Fault::HugeHeader(1 << 20)),
        ("encoding unasked for", Fault::UnaskedEncoding),
        (
            "a clock that is ahead",
            Fault::DateAhead(Duration::from_secs(7200)),
        ),
    ]
}

fn content() -> Vec<(&'static str, Fault)> {
    let mut kinds = anywhere();
    kinds.extend([
        ("401", status(401, ErrorBody::Message, None)),
        ("reset in mid-body", Fault::ResetAfter(200_000)),
        ("body short in mid-body", Fault::ShortBody(150_001)),
        ("stall in mid-body", Fault::Stall { after: 300_000 }),
        ("range short of a byte", Fault::ShortRange(1)),
        ("range short of 5,000 bytes", Fault::ShortRange(5000)),
        ("body long by a byte", Fault::LongBody(1)),
        ("Content-Range wrong", Fault::WrongContentRange),
        ("Content-Range missing", Fault::NoContentRange),
        // Another one each time: what two answers running say is true.
        ("another total", Fault::AnyTotal(1 << 40)),
        ("range ignored", Fault::IgnoreRange),
        ("redirect", Fault::RedirectElsewhere),
        ("redirect loop", Fault::RedirectLoop),
        ("204", Fault::NoContent),
    ]);
    kinds
}

fn metadata() -> Vec<(&'static str, Fault)> {
    let mut kinds = anywhere();
    kinds.extend([
        ("401", status(401, ErrorBody::Message, None)),
        ("garbage for JSON", Fault::GarbageJson),
    ]);
    kinds
}

fn token() -> Vec<(&'static str, Fault)> {
    let mut kinds = anywhere();
    kinds.push(("garbage for JSON", Fault::GarbageJson));
    kinds
}
