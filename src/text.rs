//! Transcripts and chats as plain text and as subtitles.
//!
//! The API's transcript files have no documented shape, so they are read tolerantly (API reference, 12.7):
//! what looks like phrases is taken as phrases, and what doesn't still gives its text. Owns that reading and
//! the two ways of writing: lines for `text/`, cues for the sidecars. Pure: no I/O, no clock. Promises that
//! nothing it writes can steer a terminal, that it never fails, and that its work is linear in its input.

use std::time::Duration;

use jiff::Timestamp;

mod cues;
mod fields;
#[cfg(test)]
mod fuzz;
mod html;
mod json_shapes;
mod mend;
mod plain;
mod read;
mod safe;
mod speaker;
mod time_unit;
mod words;

pub use cues::{srt, vtt};
pub use plain::plain;
pub use read::read;

/// What was said or written, in order of time as far as times are known.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// The phrases of a call, or the messages of a chat.
    pub phrases: Vec<Phrase>,
}

/// One phrase of a call, or one message of a chat.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Phrase {
    /// Who spoke: `Agent`, `Customer`, or the name that the file has.
    pub speaker: Option<String>,
    /// When the phrase begins, counted from the interaction's start.
    pub start: Option<Duration>,
    /// When it ends, counted likewise.
    pub end: Option<Duration>,
    /// The words, without markup or control characters; never blank.
    pub text: String,
}

/// A transcript or chat file as text, a line a phrase: [`plain`] of [`read`].
pub fn render(bytes: &[u8], start: Timestamp) -> String {
    plain(&read(bytes, start))
}

// What was said is personal: neither type shows it to a log.
impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transcript({} phrases)", self.phrases.len())
    }
}

impl std::fmt::Debug for Phrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phrase")
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
