//! A line a phrase: what `grep` prints, and what a person reads.

use std::fmt::Write as _;
use std::time::Duration;

use super::Transcript;
use super::safe::safe_line;

const HOUR: Duration = Duration::from_secs(3600);

/// The transcript as lines `[mm:ss] Agent: …`, or `[hh:mm:ss]` when it goes beyond an hour; without time or
/// speaker where they are not known. Empty only for a transcript without phrases.
pub fn plain(transcript: &Transcript) -> String {
    let is_long = transcript.phrases.iter().any(|phrase| {
        phrase
            .start
            .max(phrase.end)
            .is_some_and(|time| time >= HOUR)
    });
    let mut text = String::new();
    for phrase in &transcript.phrases {
        let words = safe_line(&phrase.text);
        if words.is_empty() {
            continue;
        }
        if let Some(start) = phrase.start {
            push_time(&mut text, start, is_long);
        }
        if let Some(speaker) = &phrase.speaker {
            let speaker = safe_line(speaker);
            if !speaker.is_empty() {
                text.push_str(&speaker);
                text.push_str(": ");
            }
        }
        text.push_str(&words);
        text.push('\n');
    }
    text
}

fn push_time(text: &mut String, time: Duration, is_long: bool) {
    let seconds = time.as_secs();
    // Writing to a string can't fail.
    let _ = if is_long {
        write!(
            text,
            "[{:02}:{:02}:{:02}] ",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    } else {
        write!(text, "[{:02}:{:02}] ", seconds / 60, seconds % 60)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Phrase;

    fn at(seconds: u64, text: &str) -> Phrase {
        Phrase {
            speaker: Some("Agent".to_owned()),
            start: Some(Duration::from_secs(seconds)),
            end: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn hours_are_shown_on_every_line_once_there_are_any() {
        let mut transcript = Transcript {
            phrases: vec![at(5, "a"), at(3599, "b")],
        };
        assert_eq!(plain(&transcript), "[00:05] Agent: a\n[59:59] Agent: b\n");
        transcript.phrases.push(at(3600, "c"));
        assert_eq!(
            plain(&transcript),
            "[00:00:05] Agent: a\n[00:59:59] Agent: b\n[01:00:00] Agent: c\n"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let phrases = vec![
            Phrase {
                start: None,
                ..at(0, "a")
            },
            Phrase {
                speaker: None,
                ..at(1, "b")
            },
            Phrase {
                text: "c\n\u{1b}d".to_owned(),
                ..Phrase::default()
            },
        ];
        assert_eq!(plain(&Transcript { phrases }), "Agent: a\n[00:01] b\nc d\n");
    }
}
