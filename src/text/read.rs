//! From the bytes of a file to its phrases (API reference, 12.7 rules 1, 2 and 8).

use jiff::Timestamp;
use serde_json::Value;

use super::fields::{clean, is_text_key, normal_key};
use super::mend::mend;
use super::safe::{safe, safe_line};
use super::{Phrase, Transcript, json_shapes};
use crate::model::most_values;

/// A document of more values than this would take many times its size. No call lasts that long: it is shown
/// as text.
const VALUE_LIMIT: usize = 1_000_000;

/// Lines of plain text that become a phrase each; the rest becomes one, because each costs memory. Among lines of JSON, more
/// of them make all of it plain text.
const LINE_LIMIT: usize = 200_000;

/// What stands for a file that has bytes but says nothing.
const NOTHING_SAID: &str = "(no text)";

/// Reads a transcript or chat file of any shape. `start` is the interaction's, for files that give the time
/// of day. Never fails, and never gives nothing for a file that isn't empty. The caller caps the size.
pub fn read(bytes: &[u8], start: Timestamp) -> Transcript {
    if bytes.is_empty() {
        return Transcript::default();
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut phrases = match parse(text) {
        Some(root @ (Value::Array(_) | Value::Object(_))) => of_document(&root, start),
        Some(Value::String(said)) => of_text(&said),
        Some(_) | None => of_text(text),
    };
    if phrases.is_empty() {
        phrases.push(Phrase {
            text: NOTHING_SAID.to_owned(),
            ..Phrase::default()
        });
    }
    Transcript { phrases }
}

fn parse(text: &str) -> Option<Value> {
    if most_values(text.as_bytes()) > VALUE_LIMIT {
        return None;
    }
    serde_json::from_str(text)
        .ok()
        .or_else(|| parse_lines(text))
        .or_else(|| {
            let root: Value = serde_json::from_str(&mend(text)?).ok()?;
            let is_empty = match &root {
                Value::Object(fields) => fields.is_empty(),
                Value::Array(elements) => elements.is_empty(),
                _ => false,
            };
            // Nothing could be saved: the text says more.
            (!is_empty).then_some(root)
        })
}

/// A JSON object per line. A line that is none is kept as it is.
fn parse_lines(text: &str) -> Option<Value> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first: Value = serde_json::from_str(lines.next()?).ok()?;
    if !first.is_object() {
        return None;
    }
    let mut elements = vec![first];
    let mut others = 0;
    for line in lines {
        let element = serde_json::from_str(line).ok().filter(Value::is_object);
        others += usize::from(element.is_none());
        if others > LINE_LIMIT {
            return None;
        }
        elements.push(element.unwrap_or_else(|| serde_json::json!({ "text": line })));
    }
    Some(Value::Array(elements))
}

fn of_document(root: &Value, start: Timestamp) -> Vec<Phrase> {
    let phrases = json_shapes::phrases(root, start);
    if let Some(whole) = whole_text(root) {
        // A document may hold both the whole as one string and its phrases, which say more about it; but a
        // list that has only a part of the words is something else.
        let listed: usize = phrases
            .iter()
            .map(|phrase| phrase.text.split_whitespace().count())
            .sum();
        if listed * 2 < whole.split_whitespace().count() {
            return of_text(whole);
        }
    }
    if !phrases.is_empty() {
        return phrases;
    }
    json_shapes::loose_texts(root)
        .iter()
        .flat_map(|text| of_text(text))
        .collect()
}

/// The longest string under a text-like key at the top.
fn whole_text(root: &Value) -> Option<&str> {
    root.as_object()?
        .iter()
        .filter(|(key, _)| is_text_key(&normal_key(key)))
        .filter_map(|(_, value)| value.as_str())
        .filter(|text| clean(text).is_some())
        .max_by_key(|text| text.len())
}

/// A phrase a line, without speaker and time.
fn of_text(text: &str) -> Vec<Phrase> {
    // Markup alone still says something to whoever looks for it.
    let text = clean(text).unwrap_or_else(|| safe(text));
    let mut lines = text.lines().map(safe_line).filter(|line| !line.is_empty());
    let mut texts: Vec<String> = lines.by_ref().take(LINE_LIMIT).collect();
    let rest = lines.fold(String::new(), |mut rest, line| {
        if !rest.is_empty() {
            rest.push(' ');
        }
        rest.push_str(&line);
        rest
    });
    if !rest.is_empty() {
        texts.push(rest);
    }
    texts
        .into_iter()
        .map(|text| Phrase {
            text,
            ..Phrase::default()
        })
        .collect()
}
