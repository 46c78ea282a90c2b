//! Words put together to phrases (API reference, 12.7 rules 3 and 4).

use std::time::Duration;

use super::Phrase;

/// A longer silence ends a phrase.
const PAUSE: Duration = Duration::from_millis(800);

/// The most words of a phrase.
const WORD_LIMIT: usize = 20;

/// Adds a word, with a space before it unless it is punctuation.
pub(super) fn append(text: &mut String, word: &str) {
    if !text.is_empty() && !word.starts_with(['.', ',', '!', '?', ';', ':']) {
        text.push(' ');
    }
    text.push_str(word);
}

/// Joins the words of one list, in their order.
pub(super) fn join(words: impl IntoIterator<Item = Phrase>) -> Vec<Phrase> {
    let mut phrases: Vec<Phrase> = Vec::new();
    let mut count = 0;
    for word in words {
        let is_punctuation = word.text.chars().all(|c| c.is_ascii_punctuation());
        match phrases.last_mut() {
            Some(phrase)
                if phrase.speaker == word.speaker
                    && (is_punctuation || (count < WORD_LIMIT && !ends_sentence(&phrase.text)))
                    && !is_after_pause(phrase, &word) =>
            {
                append(&mut phrase.text, &word.text);
                phrase.end = word.end.or(word.start).or(phrase.end);
                count += usize::from(!is_punctuation);
            }
            _ => {
                phrases.push(word);
                count = 1;
            }
        }
    }
    phrases
}

fn ends_sentence(text: &str) -> bool {
    text.ends_with(['.', '!', '?', '…'])
}

fn is_after_pause(phrase: &Phrase, word: &Phrase) -> bool {
    match (phrase.end.or(phrase.start), word.start) {
        (Some(end), Some(start)) => start.saturating_sub(end) > PAUSE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(speaker: &str, millis: u64, text: &str) -> Phrase {
        Phrase {
            speaker: Some(speaker.to_owned()),
            start: Some(Duration::from_millis(millis)),
            end: Some(Duration::from_millis(millis + 200)),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_pause_a_sentence_end_and_another_speaker_end_a_phrase() {
        let joined = join([
            word("a", 0, "Well"),
            word("a", 200, ","),
            word("a", 300, "yes."),
            word("a", 600, "And"),
            word("a", 1601, "then"),
            word("b", 1700, "what"),
            word("b", 1900, "?"),
        ]);
        let texts: Vec<_> = joined.iter().map(|phrase| phrase.text.as_str()).collect();
        assert_eq!(texts, ["Well, yes.", "And", "then", "what?"]);
        assert_eq!(joined[0].start, Some(Duration::ZERO));
        assert_eq!(joined[0].end, Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_phrase_has_twenty_words_at_most() {
        let joined = join((0..45).map(|at| word("a", at * 250, "la")));
        let counts: Vec<_> = joined.iter().map(|p| p.text.split(' ').count()).collect();
        assert_eq!(counts, [20, 20, 5]);
    }
}
