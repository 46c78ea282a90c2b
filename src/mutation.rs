//! Fuzzing that needs no toolchain of its own: inputs are made from seeds and from what they led to, and run through what
//! reads them.
//!
//! Not led by the code's coverage, but by what the target says of its outcome: an input with an outcome that is new joins
//! the seeds. Runs some thousand cases in a test; `INTERACTIONFS_FUZZ_SECONDS` makes it run for a time, and say how often
//! it ran. An input that fails is printed, and is repeatable by `INTERACTIONFS_FUZZ_SEED`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The longest input, in bytes.
const LONGEST: usize = 1 << 16;

/// So much of an input that fails is shown, in bytes.
const SHOWN: usize = 2000;

/// The most inputs that are kept to make others of.
const KEPT: usize = 2000;

/// Bytes that parsers stumble over.
const BYTES: &[u8] = b"\0\n\r\t \"\\/{}[]:,-+.0129eE%\x1b\x7f\x80\xc0\xe2\xf0\xff";

/// Pieces that parsers stumble over.
const PIECES: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "{\"a\":",
    "[[[[[[[[",
    "}]",
    "0",
    "-1",
    "1e999",
    "-0",
    "0.1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "999999999999999999999999999999",
    "\\u0000",
    "\\ud800",
    "\\u202e",
    "\u{202e}",
    "\u{feff}",
    "../",
    "..",
    "%00",
    "-262143-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2026-02-30T25:61:61Z",
    "00:00:00,000 --> ",
    "NaN",
];

/// What a failed case was, printed when the target panics.
struct Failed<'a> {
    name: &'static str,
    seed: u64,
    case: u64,
    input: &'a [u8],
}

impl Drop for Failed<'_> {
    #[allow(clippy::print_stderr, reason = "what failed must be told")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}: case {} of seed {} failed: b\"{}\"",
                self.name,
                self.case,
                self.seed,
                self.input[..self.input.len().min(SHOWN)].escape_ascii()
            );
        }
    }
}

/// Runs `target` on the seeds, and then on `cases` inputs made from them. The target panics at what must not be, and
/// returns its outcome, coarsely.
#[allow(clippy::print_stderr, reason = "a run by hand says what it did")]
pub(crate) fn fuzz<O: Hash>(
    name: &'static str,
    seeds: impl IntoIterator<Item = Vec<u8>>,
    cases: u64,
    mut target: impl FnMut(&[u8]) -> O,
) {
    let number = |variable| {
        std::env::var(variable)
            .ok()
            .and_then(|text: String| text.parse().ok())
    };
    let time: Option<u64> = number("INTERACTIONFS_FUZZ_SECONDS");
    let seed: u64 = number("INTERACTIONFS_FUZZ_SEED").unwrap_or(1);
    let mut random = Random(seed);
    let mut corpus: Vec<Vec<u8>> = seeds.into_iter().collect();
    let mut outcomes = HashSet::new();
    let mut run = |case, input: &[u8]| {
        let _failed = Failed {
            name,
            seed,
            case,
            input,
        };
        let mut hasher = DefaultHasher::new();
        target(input).hash(&mut hasher);
        outcomes.insert(hasher.finish())
    };
    for (case, input) in (0..).zip(&corpus) {
        run(case, input);
    }
    let began = Instant::now();
    let mut case = corpus.len() as u64;
    let most = case + cases;
    let goes_on = |case| match time {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => case < most,
    };
    while goes_on(case) {
        let input = mutated(&corpus, &mut random);
        if run(case, &input) {
            if corpus.len() < KEPT {
                corpus.push(input);
            } else {
                let place = random.below(KEPT);
                corpus[place] = input;
            }
        }
        case += 1;
    }
    if time.is_some() {
        eprintln!(
            "{name}: {case} executions in {} s, seed {seed}, {} outcomes, no finding",
            began.elapsed().as_secs(),
            outcomes.len()
        );
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// One of the corpus, changed in one to eight places.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(3) * random.below(4) {
        change(&mut input, corpus, random);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let length = input.len();
    let at = random.below(length + 1);
    let some = at..(at + 1 + random.below(32)).min(length).max(at);
    match random.below(12) {
        0 | 1 if at < length => input[at] ^= 1 << random.below(8),
        2 if at < length => input[at] = BYTES[random.below(BYTES.len())],
        3 if at < length => input[at] = random.byte(),
        4 => input.insert(at, BYTES[random.below(BYTES.len())]),
        5 => drop(input.drain(some)),
        6 => {
            // Again, and sometimes very often.
            let piece = input[some].to_vec();
            let times = if random.below(20) == 0 { 300 } else { 1 };
            input.splice(at..at, piece.repeat(times));
        }
        7 | 8 => {
            let piece = PIECES[random.below(PIECES.len())].bytes();
            let behind = if random.below(2) == 0 { at } else { some.end };
            input.splice(at..behind, piece);
        }
        9 => {
            // A number in place of another.
            let digit = |byte: &u8| byte.is_ascii_digit();
            if let Some(start) = input[at..].iter().position(digit).map(|ahead| at + ahead) {
                let end = input[start..]
                    .iter()
                    .position(|byte| !digit(byte))
                    .map_or(length, |behind| start + behind);
                let number = random.next() >> random.below(64);
                input.splice(start..end, number.to_string().into_bytes());
            }
        }
        10 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            input.splice(at.., other[from..].iter().copied());
        }
        _ if random.below(8) == 0 => input.truncate(at),
        _ => {
            let from = random.below(length + 1);
            let piece = input[from..(from + some.len()).min(length)].to_vec();
            input.splice(some, piece);
        }
    }
}
