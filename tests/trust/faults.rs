//! Faults of all kinds, mixed.

use std::time::Duration;

use interactionfs::emulator::{ErrorBody, Fault, RetryAfter, Rule, RuleId, Running, Target, Times};

/// What goes wrong at random, each with its name for the report.
pub(crate) struct Mixed {
    rules: Vec<(&'static str, RuleId)>,
}

impl Mixed {
    /// Lets this share of all requests go wrong.
    pub(crate) fn add(api: &Running, share: f64) -> Self {
        let content = content();
        let metadata = metadata();
        let token = token();
        let mut rules = Vec::new();
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
        Self { rules }
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

/// How often a kind of fault happens, beside the others. A 429 stops all requests for seconds, the more the more there are:
/// as often as the others, there would be nothing else.
fn weight(name: &str) -> f64 {
    if name == "429 with nonsense" {
        0.02
    } else if name.starts_with("429") {
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
