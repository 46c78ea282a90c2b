//! Transcripts of calls that never took place, written on demand from a number.
//!
//! **The shapes are invented**: no public page shows what the API's transcripts look like (reference,
//! section 12). A transcript's length is chosen beforehand, because metadata must tell it without writing
//! the text: what the phrases leave over is white space, which JSON allows at its end.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::bytes::next_random;

/// No transcript is shorter, in bytes: the empty shapes have to fit.
pub(super) const SHORTEST: usize = 96;

/// What the text is made of; some are there to be searched for.
const SENTENCES: [&str; 16] = [
    "Good morning, how can I help you today?",
    "I would like a refund for the order that never came.",
    "Could you tell me the invoice number, please?",
    "The engineer did not turn up on Tuesday.",
    "I am sorry to hear that, let me look into it.",
    "My broadband has been down since yesterday evening.",
    "You should see the payment within five working days.",
    "Is there anything else that I can do for you?",
    "I was charged twice for the same subscription.",
    "Let me put you on hold for a moment.",
    "The parcel was left with a neighbour.",
    "Please cancel the contract at the end of the month.",
    "I can offer you a discount on the renewal.",
    "Thank you, that is very kind of you.",
    "We have changed the address on your account.",
    "The warranty covers the repair in full.",
];

/// How a transcript's JSON is shaped (reference, 12 and 12.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Shape {
    /// Phrases with speaker, times in seconds, confidence and words.
    #[default]
    Phrases,
    /// One string, turns separated by newlines.
    Text,
    /// A list for the agent and one for the customer.
    TwoLists,
    /// Words alone, times in milliseconds.
    Words,
    /// Messages with absolute times.
    Messages,
}

/// A transcript that can be written.
#[derive(Clone, Copy, Debug)]
pub struct Transcript {
    /// What the text depends on.
    pub seed: u64,
    /// A number that is spoken in the text, to search for: `case 0000042`.
    pub case: u64,
    /// When the call began; [`Shape::Messages`] has absolute times.
    pub start: Timestamp,
    /// Length in bytes; at least 96 are written.
    pub length: usize,
    /// Its shape.
    pub shape: Shape,
}

struct Phrase {
    agent: bool,
    /// From the call's start, in milliseconds.
    start: u64,
    end: u64,
    text: String,
}

impl Transcript {
    /// The file's bytes.
    pub(super) fn write(&self) -> Bytes {
        let mut state = self.seed;
        let mut clock = 600;
        let mut number = 0;
        let (open, close) = self.frame();
        let mut agent_part = String::new();
        let mut customer_part = String::new();
        let middle = if self.shape == Shape::TwoLists {
            TWO_LISTS_MIDDLE
        } else {
            ""
        };
        let mut used = open.len() + middle.len() + close.len();
        loop {
            let phrase = self.phrase(number, &mut clock, &mut state);
            let written = self.element(&phrase);
            // Two are for the separator, which may be an escaped newline.
            if used + written.len() + 2 > self.length.max(SHORTEST) {
                break;
            }
            used += written.len() + 2;
            let part = if phrase.agent || self.shape != Shape::TwoLists {
                &mut agent_part
            } else {
                &mut customer_part
            };
            if !part.is_empty() {
                part.push_str(self.separator());
            }
            part.push_str(&written);
            number += 1;
        }
        let mut file = String::with_capacity(self.length);
        file.push_str(open);
        file.push_str(&agent_part);
        file.push_str(middle);
        file.push_str(&customer_part);
        file.push_str(close);
        while file.len() + 1 < self.length {
            file.push(' ');
        }
        if file.len() < self.length {
            file.push('\n');
        }
        Bytes::from(file)
    }

    fn frame(&self) -> (&'static str, &'static str) {
        match self.shape {
            Shape::Phrases => (r#"{"language":"en-gb","phrases":["#, "]}"),
            Shape::Text => (r#"{"language":"en-gb","transcript":""#, "\"}"),
            Shape::TwoLists => (r#"{"agent":["#, "]}"),
            Shape::Words => (r#"{"words":["#, "]}"),
            Shape::Messages => (r#"{"messages":["#, "]}"),
        }
    }

    fn separator(&self) -> &'static str {
        if self.shape == Shape::Text {
            "\\n"
        } else {
            ","
        }
    }

    fn phrase(&self, number: usize, clock: &mut u64, state: &mut u64) -> Phrase {
        let random = next_random(state);
        let sentence = SENTENCES[(random % SENTENCES.len() as u64) as usize];
        let text = match number {
            1 => format!("It is about case {:07}, please.", self.case),
            _ => sentence.to_owned(),
        };
        let start = *clock;
        let end = start + 350 * text.split(' ').count() as u64;
        *clock = end + 200 + (random >> 32) % 900;
        Phrase {
            agent: number.is_multiple_of(2),
            start,
            end,
            text,
        }
    }

    fn element(&self, phrase: &Phrase) -> String {
        let speaker = if phrase.agent { "agent" } else { "customer" };
        let (start, end) = (phrase.start as f64 / 1e3, phrase.end as f64 / 1e3);
        let text = &phrase.text;
        match self.shape {
            Shape::Phrases => {
                let words = words(phrase, |word, start, end| {
                    format!(
                        r#"{{"text":"{word}","start":{:.2},"end":{:.2}}}"#,
                        start as f64 / 1e3,
                        end as f64 / 1e3
                    )
                });
                format!(
                    r#"{{"speaker":"{speaker}","start":{start:.2},"end":{end:.2},"text":"{text}","confidence":0.93,"words":[{words}]}}"#
                )
            }
            Shape::Text => text.clone(),
            Shape::TwoLists => format!(r#"{{"start":{start:.2},"end":{end:.2},"text":"{text}"}}"#),
            Shape::Words => words(phrase, |word, start, end| {
                format!(
                    r#"{{"word":"{word}","speaker":"{speaker}","startMs":{start},"endMs":{end}}}"#
                )
            }),
            Shape::Messages => {
                let offset = SignedDuration::from_millis(phrase.start as i64);
                let time = self.start.checked_add(offset).unwrap_or(self.start);
                format!(r#"{{"sender":"{speaker}","timestamp":"{time}","text":"{text}"}}"#)
            }
        }
    }
}

const TWO_LISTS_MIDDLE: &str = r#"],"customer":["#;

fn words(phrase: &Phrase, write: impl Fn(&str, u64, u64) -> String) -> String {
    let count = phrase.text.split(' ').count() as u64;
    let step = (phrase.end - phrase.start) / count.max(1);
    let mut at = phrase.start;
    let written: Vec<String> = phrase
        .text
        .split(' ')
        .map(|word| {
            let start = at;
            at += step;
            write(word, start, at)
        })
        .collect();
    written.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_json_of_the_promised_length() {
        for shape in [
            Shape::Phrases,
            Shape::Text,
            Shape::TwoLists,
            Shape::Words,
            Shape::Messages,
        ] {
            for length in [96, 97, 1_000, 20_000] {
                let transcript = Transcript {
                    seed: 3,
                    case: 42,
                    start: "2026-11-22T10:15:00Z".parse().unwrap(),
                    length,
                    shape,
                };
                let file = transcript.write();
                assert_eq!(file.len(), length, "{shape:?}");
                let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
                assert!(value.is_object());
                let text = String::from_utf8(file.to_vec()).unwrap();
                assert_eq!(text.contains("0000042"), length >= 1_000, "{shape:?}");
            }
        }
    }
}
