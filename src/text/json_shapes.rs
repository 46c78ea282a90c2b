//! Finds the phrases in a JSON document of unknown shape (API reference, 12.7 rules 3 to 5).
//!
//! All lists of objects are collected, and those that stand at the same place of the shape (the `words` of
//! every phrase, the lists under `agent` and `customer`) are taken together as one candidate. The candidate
//! that says most in phrases is the transcript.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Phrase;
use super::fields::{RawTimes, clean, is_text_key, normal_key, text_of, times_of};
use super::safe::safe_line;
use super::time_unit::Clock;
use super::{speaker, words};

/// How deep lists are looked for.
const DEPTH_LIMIT: usize = 16;

/// With more words than this to an element, by the mean, a list is one of phrases.
const PHRASE_MEAN: f64 = 1.5;

/// The transcript's phrases in order of time; empty if the document has no list that says anything.
pub(super) fn phrases(root: &Value, start: Timestamp) -> Vec<Phrase> {
    let mut search = Search::default();
    search.visit(root, Place::ROOT, DEPTH_LIMIT, None);
    let Some((candidate, is_phrases)) = search.best() else {
        return Vec::new();
    };
    build(candidate, is_phrases, start)
}

/// The values of text-like keys in document order; if there are none, all strings with a space in them.
/// As they stand there: what HTML escapes must not be read twice.
pub(super) fn loose_texts(root: &Value) -> Vec<&str> {
    let mut texts = Vec::new();
    collect_strings(root, matches!(root, Value::Array(_)), &mut texts);
    let mut found: Vec<&str> = texts
        .iter()
        .filter(|(is_text, text)| *is_text && clean(text).is_some())
        .map(|(_, text)| *text)
        .collect();
    if found.is_empty() {
        found = texts
            .iter()
            .map(|(_, text)| *text)
            .filter(|text| clean(text).is_some_and(|text| text.contains(' ')))
            .collect();
    }
    found
}

/// All strings that are values, and whether each is under a text-like key or in a list under one. The
/// recursion is as deep as the parser let the document be.
fn collect_strings<'a>(value: &'a Value, is_text: bool, into: &mut Vec<(bool, &'a str)>) {
    match value {
        Value::String(text) => into.push((is_text, text)),
        Value::Array(items) => {
            for item in items {
                collect_strings(item, is_text && item.is_string(), into);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                collect_strings(value, is_text_key(&normal_key(key)), into);
            }
        }
        _ => {}
    }
}

/// A place in the document's shape: the way to it, without the numbers of list elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place(usize);

impl Place {
    const ROOT: Self = Self(0);
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step<'a> {
    Element,
    /// Under a key that names a speaker; all such keys of an object are the same place.
    Speaker,
    Key(&'a str),
}

/// One list of objects, and whose words it holds and when, if what is around it says so.
struct List<'a> {
    speaker: Option<String>,
    times: RawTimes,
    elements: &'a [Value],
}

/// All lists at one place.
struct Candidate<'a> {
    place: Place,
    lists: Vec<List<'a>>,
}

#[derive(Default)]
struct Search<'a> {
    /// Interned, so that a long key or a deep way costs nothing at each list below it.
    places: HashMap<(Place, Step<'a>), Place>,
    /// The place around each place, by number; the root's is missing.
    parents: Vec<Place>,
    /// In document order.
    candidates: Vec<Candidate<'a>>,
    candidate_at: HashMap<Place, usize>,
}

impl<'a> Search<'a> {
    fn place(&mut self, around: Place, step: Step<'a>) -> Place {
        let next = Place(self.places.len() + 1);
        let place = *self.places.entry((around, step)).or_insert(next);
        if place == next {
            self.parents.push(around);
        }
        place
    }

    fn parent(&self, place: Place) -> Option<Place> {
        self.parents.get(place.0.checked_sub(1)?).copied()
    }

    fn visit(&mut self, value: &'a Value, place: Place, depth: usize, speaker: Option<&str>) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        match value {
            Value::Array(elements) => {
                self.visit_list(elements, place, depth, speaker, RawTimes::default());
            }
            Value::Object(fields) => self.visit_object(fields, place, depth, speaker),
            _ => {}
        }
    }

    fn visit_list(
        &mut self,
        elements: &'a [Value],
        place: Place,
        depth: usize,
        speaker: Option<&str>,
        times: RawTimes,
    ) {
        if elements.iter().any(Value::is_object) {
            let next = self.candidates.len();
            let at = *self.candidate_at.entry(place).or_insert(next);
            if at == next {
                self.candidates.push(Candidate {
                    place,
                    lists: Vec::new(),
                });
            }
            self.candidates[at].lists.push(List {
                speaker: speaker.map(str::to_owned),
                times,
                elements,
            });
        }
        let inside = self.place(place, Step::Element);
        for element in elements {
            // A turn or a channel tells whose the words in it are. A single one does so only by a role:
            // `"channel": "voice"` on the only element is no speaker.
            let own = element
                .as_object()
                .and_then(speaker::of)
                .filter(|name| elements.len() > 1 || speaker::is_role(name));
            self.visit(element, inside, depth, own.as_deref().or(speaker));
        }
    }

    fn visit_object(
        &mut self,
        fields: &'a Map<String, Value>,
        place: Place,
        depth: usize,
        speaker: Option<&str>,
    ) {
        let holds_lists = |value: &Value| value.is_array() || value.is_object();
        let roles: HashSet<_> = fields
            .iter()
            .filter(|(_, value)| holds_lists(value))
            .filter_map(|(key, _)| speaker::role(key))
            .collect();
        for (key, value) in fields.iter().filter(|(_, value)| holds_lists(value)) {
            let of_key = speaker::of_key(key, roles.len() > 1);
            let step = if of_key.is_some() {
                Step::Speaker
            } else {
                Step::Key(key)
            };
            let inside = self.place(place, step);
            let speaker = of_key.as_deref().or(speaker);
            // Recognisers offer several hearings of the same words, the likeliest first; when they were said
            // stands beside the list.
            match value {
                Value::Array(hearings) if matches!(&*normal_key(key), "alternatives" | "nbest") => {
                    let likeliest = &hearings[..hearings.len().min(1)];
                    self.visit_list(likeliest, inside, depth, speaker, times_of(fields));
                }
                value => self.visit(value, inside, depth, speaker),
            }
        }
    }

    /// The candidate with the most text of phrase granularity, else that with the most words; and whether
    /// it is one of phrases.
    fn best(&self) -> Option<(&Candidate<'a>, bool)> {
        let measures: Vec<Measure> = self.candidates.iter().map(Measure::of).collect();
        // What has lists of words in it is a list of phrases, even if most say "Yes".
        let mut holds_words = HashSet::new();
        for (candidate, measure) in self.candidates.iter().zip(&measures) {
            let mut place = candidate.place;
            while let Some(around) = self.parent(place).filter(|_| measure.texts > 0) {
                holds_words.insert(around);
                place = around;
            }
        }
        let mut best: Option<(usize, bool)> = None;
        for (at, measure) in measures.iter().enumerate() {
            if measure.texts == 0 {
                continue;
            }
            let mean = measure.words as f64 / measure.texts as f64;
            let is_phrases = mean > PHRASE_MEAN || holds_words.contains(&self.candidates[at].place);
            let rank = (is_phrases, measure.bytes);
            if best.is_none_or(|(best, was_phrases)| rank > (was_phrases, measures[best].bytes)) {
                best = Some((at, is_phrases));
            }
        }
        best.map(|(at, is_phrases)| (&self.candidates[at], is_phrases))
    }
}

/// How much a candidate says.
#[derive(Default)]
struct Measure {
    texts: usize,
    words: usize,
    bytes: usize,
}

impl Measure {
    fn of(candidate: &Candidate<'_>) -> Self {
        let mut measure = Self::default();
        for fields in candidate.lists.iter().flat_map(List::objects) {
            if let Some(text) = text_of(fields) {
                measure.texts += 1;
                measure.words += text.split_whitespace().count();
                measure.bytes += text.len();
            }
        }
        measure
    }
}

impl<'a> List<'a> {
    fn objects(&self) -> impl Iterator<Item = &'a Map<String, Value>> {
        self.elements.iter().filter_map(Value::as_object)
    }
}

fn build(candidate: &Candidate<'_>, is_phrases: bool, start: Timestamp) -> Vec<Phrase> {
    let mut lists: Vec<Vec<(Phrase, RawTimes)>> = Vec::new();
    let mut elements: Vec<(RawTimes, usize)> = Vec::new();
    for list in &candidate.lists {
        let mut said = Vec::new();
        for fields in list.objects() {
            let Some(text) = text_of(fields) else {
                continue;
            };
            let own = times_of(fields);
            let times = if own.start.is_some() { own } else { list.times };
            elements.push((times, text.split_whitespace().count()));
            let speaker = speaker::of(fields).or_else(|| list.speaker.clone());
            said.push((
                Phrase {
                    speaker,
                    text,
                    ..Phrase::default()
                },
                times,
            ));
        }
        lists.push(said);
    }
    let clock = Clock::of(&elements, start);
    let mut placed: Vec<(Duration, Phrase)> = Vec::new();
    for said in lists {
        let timed = said.into_iter().map(|(mut phrase, times)| {
            (phrase.start, phrase.end) = clock.read(times);
            phrase
        });
        let phrases: Vec<Phrase> = if is_phrases {
            timed.collect()
        } else {
            words::join(timed)
        };
        // What has no time stays behind what it followed.
        let mut last = Duration::ZERO;
        for phrase in phrases {
            last = phrase.start.unwrap_or(last);
            placed.push((last, phrase));
        }
    }
    placed.sort_by_key(|(time, _)| *time);
    placed
        .into_iter()
        .flat_map(|(_, phrase)| lines(phrase))
        .collect()
}

/// A phrase on one line. A text of many lines without speaker and time is a transcript of its own.
fn lines(phrase: Phrase) -> Vec<Phrase> {
    if !phrase.text.contains('\n') {
        return vec![phrase];
    }
    if phrase.speaker.is_some() || phrase.start.is_some() {
        let text = safe_line(&phrase.text);
        return vec![Phrase { text, ..phrase }];
    }
    phrase
        .text
        .lines()
        .map(safe_line)
        .filter(|line| !line.is_empty())
        .map(|text| Phrase {
            text,
            ..Phrase::default()
        })
        .collect()
}
