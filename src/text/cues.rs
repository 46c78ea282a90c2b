//! Subtitles: the transcript as cues that can be read while the call plays.

use std::fmt::Write as _;
use std::time::Duration;

use super::safe::safe_line;
use super::{Phrase, Transcript};

/// Characters of a line, and lines of a cue, that can be read at a glance.
const LINE_WIDTH: usize = 42;
const LINES: usize = 2;

/// A cue stays no longer than this.
const LONGEST: Duration = Duration::from_secs(7);

/// A phrase without a known end stays as long as it takes to say it, about.
const SHORTEST: Duration = Duration::from_millis(1500);
const PER_WORD: Duration = Duration::from_millis(400);

struct Cue<'a> {
    start: Duration,
    end: Duration,
    speaker: Option<&'a str>,
    lines: Vec<String>,
}

/// Subtitles in the SubRip format: `Agent: ` before what is said. Empty if no times are known.
pub fn srt(transcript: &Transcript) -> String {
    let speakers = speakers(transcript);
    let mut text = String::new();
    for (at, cue) in cues(transcript, &speakers).iter().enumerate() {
        let _ = writeln!(text, "{}", at + 1);
        let _ = writeln!(text, "{} --> {}", time(cue.start, ','), time(cue.end, ','));
        if let Some(speaker) = cue.speaker {
            let _ = write!(text, "{}: ", speaker.replace("-->", "→"));
        }
        for line in &cue.lines {
            let _ = writeln!(text, "{}", line.replace("-->", "→"));
        }
        text.push('\n');
    }
    text
}

/// Subtitles in the WebVTT format: `<v Agent>` before what is said. Only the header if no times are known.
pub fn vtt(transcript: &Transcript) -> String {
    let speakers = speakers(transcript);
    let mut text = "WEBVTT\n\n".to_owned();
    for cue in cues(transcript, &speakers) {
        let _ = writeln!(text, "{} --> {}", time(cue.start, '.'), time(cue.end, '.'));
        if let Some(speaker) = cue.speaker {
            let _ = write!(text, "<v {}>", escaped(speaker));
        }
        for line in &cue.lines {
            let _ = writeln!(text, "{}", escaped(line));
        }
        text.push('\n');
    }
    text
}

/// The names of the speakers, safe, a place for every phrase.
fn speakers(transcript: &Transcript) -> Vec<Option<String>> {
    let name =
        |phrase: &Phrase| Some(safe_line(phrase.speaker.as_deref()?)).filter(|n| !n.is_empty());
    transcript.phrases.iter().map(name).collect()
}

fn cues<'a>(transcript: &Transcript, speakers: &'a [Option<String>]) -> Vec<Cue<'a>> {
    let mut cues = Vec::new();
    let phrases = &transcript.phrases;
    for (at, phrase) in phrases.iter().enumerate() {
        // A file without times is one phrase of all its words, perhaps: they are not looked at.
        let Some(start) = phrase.start else {
            continue;
        };
        let line = safe_line(&phrase.text);
        let words = broken_words(&line);
        if words.is_empty() {
            continue;
        }
        let end = phrase.end.filter(|end| *end > start).unwrap_or_else(|| {
            let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
            let said = start.saturating_add(PER_WORD.saturating_mul(count).max(SHORTEST));
            let next = phrases[at + 1..].first().and_then(|next| next.start);
            next.filter(|next| *next > start)
                .map_or(said, |next| next.min(said))
        });
        split(&words, start, end, speakers[at].as_deref(), &mut cues);
    }
    // A long phrase's later cues may come after the other speaker has broken in.
    cues.sort_by_key(|cue| cue.start);
    cues
}

/// Splits what is said from `start` to `end` into cues, each with the share of the time that its characters
/// are of all.
fn split<'a>(
    words: &[&str],
    start: Duration,
    end: Duration,
    speaker: Option<&'a str>,
    cues: &mut Vec<Cue<'a>>,
) {
    // Behind `Agent: ` there is less room on the first line.
    let first_width = LINE_WIDTH
        - speaker
            .map_or(0, |name| name.chars().count() + 2)
            .min(LINE_WIDTH / 2);
    let total: usize = words.iter().map(|word| word.chars().count() + 1).sum();
    let length = (end - start).as_secs_f64();
    let by_time = (total as f64 * LONGEST.as_secs_f64() / length.max(0.001)).min(1e6) as usize;
    let most = (first_width + LINE_WIDTH * (LINES - 1)).min(by_time).max(1);
    // Cues of about the same length read better than full ones with a last word left over. Where lines
    // break may ask for one more than their length does.
    let fewest = total.div_ceil(most);
    let pieces = [fewest, fewest + 1, fewest + 2]
        .into_iter()
        .map(|count| {
            (
                count,
                pieces(words, first_width, most, total.div_ceil(count)),
            )
        })
        .find(|(count, pieces)| pieces.len() <= *count)
        .map_or_else(
            || pieces(words, first_width, most, most),
            |(_, pieces)| pieces,
        );

    let share = |said: usize| start + (end - start).mul_f64(said as f64 / total as f64);
    let mut said = 0;
    let last = pieces.len() - 1;
    for (at, piece) in pieces.into_iter().enumerate() {
        let from = share(said);
        said += piece.characters;
        let to = if at == last { end } else { share(said) };
        cues.push(Cue {
            start: from,
            end: to.min(from.saturating_add(LONGEST)),
            speaker,
            lines: piece.lines,
        });
    }
}

/// The words of one cue.
struct Piece {
    lines: Vec<String>,
    words: usize,
    /// With a space behind each word.
    characters: usize,
}

fn pieces(words: &[&str], first_width: usize, most: usize, enough: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = words;
    while !rest.is_empty() {
        let piece = fill(rest, first_width, most, enough);
        rest = &rest[piece.words..];
        pieces.push(piece);
    }
    pieces
}

/// Takes words for one cue, at least one, at `most` so many characters, and no more once there are `enough`.
fn fill(words: &[&str], first_width: usize, most: usize, enough: usize) -> Piece {
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    let (mut taken, mut characters) = (0, 0);
    for word in words {
        let width = word.chars().count();
        if taken > 0 && (characters + width > most || characters >= enough) {
            break;
        }
        let is_full = lines.len() == LINES;
        match lines.last_mut() {
            Some(line) if width < room => {
                line.push(' ');
                line.push_str(word);
                room -= width + 1;
            }
            _ if is_full => break,
            _ => {
                room = if lines.is_empty() {
                    first_width
                } else {
                    LINE_WIDTH
                }
                .saturating_sub(width);
                lines.push((*word).to_owned());
            }
        }
        taken += 1;
        characters += width + 1;
    }
    Piece {
        lines,
        words: taken,
        characters,
    }
}

/// The words of a line; what is longer than half a line is broken.
fn broken_words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut word in line.split_whitespace() {
        while let Some((at, _)) = word.char_indices().nth(LINE_WIDTH / 2) {
            let (piece, rest) = word.split_at(at);
            words.push(piece);
            word = rest;
        }
        words.push(word);
    }
    words
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn time(time: Duration, point: char) -> String {
    let millis = time.saturating_add(Duration::from_micros(500)).as_millis();
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{millis:03}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(start: u64, end: Option<u64>, text: &str) -> Transcript {
        Transcript {
            phrases: vec![Phrase {
                speaker: Some("Agent".to_owned()),
                start: Some(Duration::from_millis(start)),
                end: end.map(Duration::from_millis),
                text: text.to_owned(),
            }],
        }
    }

    #[test]
    fn a_phrase_that_fits_is_one_cue_with_its_own_times() {
        let transcript = one(1200, Some(3450), "That is <fine> & good.");
        assert_eq!(
            srt(&transcript),
            "1\n00:00:01,200 --> 00:00:03,450\nAgent: That is <fine> & good.\n\n"
        );
        assert_eq!(
            vtt(&transcript),
            "WEBVTT\n\n00:00:01.200 --> 00:00:03.450\n<v Agent>That is &lt;fine&gt; &amp; good.\n\n"
        );
    }

    #[test]
    fn a_phrase_without_end_stays_until_it_is_said_or_the_next_begins() {
        let mut transcript = one(0, None, "One two three four five");
        assert!(srt(&transcript).contains("00:00:00,000 --> 00:00:02,000"));
        transcript.phrases.extend(one(1000, None, "six").phrases);
        assert!(srt(&transcript).contains("00:00:00,000 --> 00:00:01,000"));
    }

    #[test]
    fn without_times_there_are_no_cues() {
        let mut transcript = one(0, None, "One");
        transcript.phrases[0].start = None;
        assert_eq!(srt(&transcript), "");
        assert_eq!(vtt(&transcript), "WEBVTT\n\n");
    }

    #[test]
    fn a_phrase_that_is_split_leaves_no_word_alone() {
        let text = "Please don't read out your full card number, because this call is recorded.";
        let srt = srt(&one(0, Some(4000), text));
        let words: Vec<_> = srt
            .split("-->")
            .skip(1)
            .map(|cue| cue.split_whitespace().count())
            .collect();
        assert_eq!(words.len(), 2);
        assert!(words.iter().all(|count| *count > 5), "{srt}");
    }

    #[test]
    fn a_long_phrase_without_break_is_shown_seven_seconds() {
        assert!(srt(&one(0, Some(60_000), "Yes.")).contains("00:00:00,000 --> 00:00:07,000"));
    }

    proptest! {
        #[test]
        fn cues_can_be_read_and_lose_nothing(
            text in "[a-z]{1,50}( [a-z]{1,12}){0,60}",
            length in 1_u64..60_000,
        ) {
            let transcript = one(5000, Some(5000 + length), &text);
            let speakers = speakers(&transcript);
            let cues = cues(&transcript, &speakers);
            let mut said = String::new();
            let mut before = Duration::from_millis(5000);
            prop_assert_eq!(cues[0].start, before);
            for cue in &cues {
                prop_assert!(cue.start >= before && cue.start <= cue.end);
                prop_assert!(cue.end - cue.start <= LONGEST);
                prop_assert!(cue.lines.len() <= LINES);
                for (at, line) in cue.lines.iter().enumerate() {
                    let prefix = if at == 0 { "Agent: ".len() } else { 0 };
                    prop_assert!(prefix + line.len() <= LINE_WIDTH, "{}", line);
                    said.push_str(line);
                }
                before = cue.end;
            }
            prop_assert_eq!(said.replace(' ', ""), text.replace(' ', ""));
            prop_assert!(before <= Duration::from_millis(5000 + length));
        }
    }
}
