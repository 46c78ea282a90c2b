//! A corpus of any size, computed from each interaction's number: a million interactions take no memory,
//! and any byte of any of them can be foretold.
//!
//! Starts rise with the number, and the GUID holds start and number, so that order, window and look-up
//! are arithmetic.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::bytes::{Source, wav_header};
use super::record::{Body, Interaction, Item};
use super::transcript::{SHORTEST, Shape, Transcript};

/// Agents that took the calls: ids 1000 to 1199.
const AGENTS: u64 = 200;

/// What to generate. Every interaction has `callRecording`, `transcript` and `screenRecording`, each only
/// if its length here isn't 0.
#[derive(Clone, Debug)]
pub struct GeneratedSpec {
    /// How many interactions; at most 2^40.
    pub interactions: u64,
    /// Over how many days up to [`GeneratedSpec::end`] they are spread; at least 1.
    pub days: u32,
    /// The end of the spread; `None` for when the emulator starts.
    pub end: Option<Timestamp>,
    /// Items appear when the clock reaches their `lastModified`: the recording 6 minutes after the start,
    /// the transcript 12, the screen recording 20. Otherwise they are all there, and none is younger than
    /// the end.
    pub late_items: bool,
    /// Length of a call recording, in bytes.
    pub recording_bytes: u64,
    /// Lengths of the recordings of the newest interactions, the newest first.
    pub big_recordings: Vec<u64>,
    /// Length of a transcript, in bytes; from one to the next it varies by a quarter. At least 96.
    pub transcript_bytes: u64,
    /// Length of a screen recording, in bytes.
    pub screen_bytes: u64,
    /// How transcripts are shaped.
    pub transcript_shape: Shape,
    /// Another seed is another corpus.
    pub seed: u64,
}

impl Default for GeneratedSpec {
    fn default() -> Self {
        Self {
            interactions: 1_000,
            days: 7,
            end: None,
            late_items: false,
            recording_bytes: 1_920_044,
            big_recordings: Vec::new(),
            transcript_bytes: 20_000,
            screen_bytes: 5_000_000,
            transcript_shape: Shape::Phrases,
            seed: 1,
        }
    }
}

/// The generated corpus.
#[derive(Clone, Debug)]
pub struct GeneratedCorpus {
    spec: GeneratedSpec,
    /// The first possible start, in milliseconds since 1970.
    first: i64,
    /// Length of the spread in milliseconds.
    span: i64,
}

impl GeneratedCorpus {
    /// The corpus of a specification; `now` counts where it names no end.
    pub fn new(spec: GeneratedSpec, now: Timestamp) -> Self {
        let span = i64::from(spec.days.max(1)) * 86_400_000;
        let end = spec.end.unwrap_or(now).as_millisecond();
        Self {
            first: end - span,
            span,
            spec: GeneratedSpec {
                interactions: spec.interactions.min(1 << 40),
                ..spec
            },
        }
    }

    /// How many interactions there are.
    pub fn interactions(&self) -> u64 {
        self.spec.interactions
    }

    /// The GUID of the interaction with a number from 0, the oldest, to `interactions() - 1`.
    pub fn guid(&self, number: u64) -> Uuid {
        let time = self.start_millisecond(number) as u64 & 0xffff_ffff_ffff;
        let high = time << 16 | 0x7000 | (number >> 28 & 0xfff);
        let low = 1 << 63 | (number & 0xfff_ffff) << 34 | self.random(number, 0) >> 30;
        Uuid::from_u64_pair(high, low)
    }

    /// The number of the interaction with this GUID.
    pub fn number(&self, guid: Uuid) -> Option<u64> {
        let (high, low) = guid.as_u64_pair();
        let number = (high & 0xfff) << 28 | (low >> 34 & 0xfff_ffff);
        (number < self.spec.interactions && self.guid(number) == guid).then_some(number)
    }

    /// When an interaction starts: whole seconds, and never before that of a lower number.
    pub fn start(&self, number: u64) -> Timestamp {
        Timestamp::from_second(self.start_millisecond(number).div_euclid(1000))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The interaction with a number.
    pub fn interaction(&self, number: u64) -> Interaction {
        let start = self.start(number);
        let end = Timestamp::from_millisecond(self.first + self.span).unwrap_or(Timestamp::MAX);
        let later = |minutes| {
            let stored = start.checked_add(SignedDuration::from_mins(minutes));
            let stored = stored.unwrap_or(start);
            if self.spec.late_items {
                return stored;
            }
            let last = Timestamp::from_second(end.as_second()).unwrap_or(end);
            stored.min(last).max(start)
        };
        let mut made = Interaction {
            guid: self.guid(number),
            start,
            connect_from: Some(self.connect_from(number)),
            connect_to: Some("+442079460999".to_owned()),
            direction: self.direction(number).to_owned(),
            handling_agents: self.agents(number).map(|agent| agent.to_string()).collect(),
            content: Vec::with_capacity(3),
        };
        let mut add = |key: &str, media_type, minutes, body: Body| {
            made.content
                .push(Item::from_body(key, key, media_type, later(minutes), body));
        };
        let recording = self.recording_length(number);
        if recording > 0 {
            let body = Source::Computed {
                head: wav_header(recording),
                seed: self.random(number, 1),
                length: recording,
            };
            add("callRecording", "audio/wav", 6, Body::Source(body));
        }
        if self.spec.transcript_bytes > 0 {
            let body = self.transcript(number, start);
            add("transcript", "application/json", 12, Body::Transcript(body));
        }
        if self.spec.screen_bytes > 0 {
            let body = Source::Computed {
                head: bytes::Bytes::from_static(b"\x1a\x45\xdf\xa3"),
                seed: self.random(number, 2),
                length: self.spec.screen_bytes.max(4),
            };
            add("screenRecording", "video/webm", 20, Body::Source(body));
        }
        if self.spec.late_items {
            let now = Timestamp::now();
            made.content.retain(|item| item.last_modified <= now);
        }
        made
    }

    /// Whether an interaction has any item by now.
    pub(super) fn has_content(&self, number: u64) -> bool {
        if self.spec.late_items {
            return !self.interaction(number).content.is_empty();
        }
        self.spec.recording_bytes > 0
            || self.spec.transcript_bytes > 0
            || self.spec.screen_bytes > 0
    }

    /// `inbound` or `outbound`.
    pub(super) fn direction(&self, number: u64) -> &'static str {
        if self.random(number, 3).is_multiple_of(4) {
            "outbound"
        } else {
            "inbound"
        }
    }

    /// The calling number.
    pub(super) fn connect_from(&self, number: u64) -> String {
        format!("+4420794{:05}", self.random(number, 4) % 100_000)
    }

    /// None, one or two agents.
    pub(super) fn agents(&self, number: u64) -> impl Iterator<Item = u64> + use<> {
        let random = self.random(number, 5);
        let count = match random % 16 {
            0 => 0,
            1..=3 => 2,
            _ => 1,
        };
        let first = random >> 8 & 0xffff;
        (0..count).map(move |which| 1000 + (first + which * 7) % AGENTS)
    }

    /// The number of the first interaction for which `is_behind` holds; it must hold for all behind it.
    pub(super) fn first_where(&self, is_behind: impl Fn(u64) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.spec.interactions);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_behind(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn recording_length(&self, number: u64) -> u64 {
        let from_newest = self.spec.interactions - 1 - number;
        usize::try_from(from_newest)
            .ok()
            .and_then(|place| self.spec.big_recordings.get(place))
            .copied()
            .unwrap_or(self.spec.recording_bytes)
    }

    fn transcript(&self, number: u64, start: Timestamp) -> Transcript {
        let quarter = self.spec.transcript_bytes / 4;
        let length =
            self.spec.transcript_bytes - quarter / 2 + self.random(number, 6) % quarter.max(1);
        Transcript {
            seed: self.random(number, 7),
            case: number,
            start,
            length: usize::try_from(length).unwrap_or(usize::MAX).max(SHORTEST),
            shape: self.spec.transcript_shape,
        }
    }

    fn start_millisecond(&self, number: u64) -> i64 {
        // In 1/1024 of an interaction's share of the span, so that the jitter stays within the share.
        let place = i128::from(number) * 1024 + i128::from(self.random(number, 8) % 1024);
        let all = i128::from(self.spec.interactions.max(1)) * 1024;
        self.first + (i128::from(self.span) * place / all) as i64
    }

    fn random(&self, number: u64, what: u64) -> u64 {
        let mut state = self.spec.seed ^ number.wrapping_mul(0x9e6c_63d0_876a_46ad) ^ (what << 56);
        super::bytes::next_random(&mut state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(interactions: u64) -> GeneratedCorpus {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let spec = GeneratedSpec {
            interactions,
            ..GeneratedSpec::default()
        };
        GeneratedCorpus::new(spec, now)
    }

    #[test]
    fn a_number_and_its_guid_find_each_other() {
        let corpus = corpus(1 << 40);
        for number in [0, 1, 77, (1 << 28) - 1, 1 << 28, (1 << 40) - 1] {
            assert_eq!(corpus.number(corpus.guid(number)), Some(number));
        }
        assert_eq!(corpus.number(Uuid::from_u128(5)), None);
    }

    #[test]
    fn order_by_start_and_guid_is_order_by_number() {
        // 20 a millisecond: ties in the start, and in the time that GUIDs hold.
        let corpus = corpus(7 * 86_400_000 * 20);
        for number in (0..2_000).chain(1 << 28..(1 << 28) + 2_000) {
            let here = (corpus.start(number), corpus.guid(number));
            let next = (corpus.start(number + 1), corpus.guid(number + 1));
            assert!(here < next, "{number}");
        }
    }

    #[test]
    fn starts_are_spread_over_the_days_up_to_now() {
        let corpus = corpus(1_000);
        assert!(corpus.start(0) >= "2026-11-15T12:00:00Z".parse().unwrap());
        assert!(corpus.start(999) < "2026-11-22T12:00:00Z".parse().unwrap());
        assert!(corpus.start(999) > "2026-11-22T11:00:00Z".parse().unwrap());
    }

    #[test]
    fn late_items_appear_when_they_are_stored() {
        let minutes = |minutes| Timestamp::now() + SignedDuration::from_mins(minutes);
        let keys = |end, late_items| {
            let spec = GeneratedSpec {
                interactions: 1_000_000,
                end: Some(end),
                late_items,
                ..GeneratedSpec::default()
            };
            let corpus = GeneratedCorpus::new(spec, Timestamp::now());
            let last = corpus.interaction(999_999);
            assert!(late_items || last.content.iter().all(|item| item.last_modified <= end));
            last.content.len()
        };
        assert_eq!(keys(minutes(0), false), 3);
        assert_eq!(keys(minutes(0), true), 0);
        assert_eq!(keys(minutes(-9), true), 1);
        assert_eq!(keys(minutes(-15), true), 2);
        assert_eq!(keys(minutes(-30), true), 3);
    }

    #[test]
    fn named_big_recordings_are_the_newest() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let spec = GeneratedSpec {
            interactions: 3,
            big_recordings: vec![4 << 30],
            ..GeneratedSpec::default()
        };
        let corpus = GeneratedCorpus::new(spec, now);
        let length = |number| corpus.interaction(number).content[0].body.length();
        assert_eq!((length(2), length(1)), (4 << 30, 1_920_044));
    }
}
