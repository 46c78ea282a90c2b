//! JSON from outside, read in little memory: a text of a few megabytes may take gigabytes as values.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// At most how many values `json` has. A comma or bracket within a string counts too: the count is never too low, even
/// for a text that is no JSON and is mended first.
pub fn most_values(json: &[u8]) -> usize {
    // Each value but the outermost stands behind one of these, with its key if it has one.
    let before_values = json
        .iter()
        .filter(|&&byte| matches!(byte, b',' | b'[' | b'{'));
    before_values.count().saturating_add(1)
}

/// Shows each element of a list, one by one, and holds none. `None` when `json` is no list.
pub fn for_each_element<'a>(json: &'a str, see: impl FnMut(&'a RawValue)) -> Option<()> {
    let mut list = serde_json::Deserializer::from_str(json);
    list.deserialize_seq(Elements(see)).ok()
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_shown_as_they_are_written() {
        let mut seen = Vec::new();
        let read = for_each_element(r#"[1e999, "a,b" ,[[2]],{"c":null}]"#, |element| {
            seen.push(element.get());
        });
        assert_eq!(read, Some(()));
        assert_eq!(seen, ["1e999", r#""a,b""#, "[[2]]", r#"{"c":null}"#]);
        for bad in ["{}", "7", "[1", "[1 2]"] {
            assert_eq!(for_each_element(bad, |_| ()), None, "{bad}");
        }
    }

    #[test]
    fn no_text_has_more_values_than_are_counted() {
        for (json, least) in [
            ("7", 1),
            ("[]", 1),
            ("[1,[2,3],{}]", 6),
            (r#"{"a":1,"b":{"c":null}}"#, 4),
            (r#"{"a":"1,[2{"}"#, 2),
            ("[[[[[[[[", 8),
        ] {
            assert!(most_values(json.as_bytes()) >= least, "{json}");
        }
        assert!(most_values(&b"0,".repeat(1000)) >= 1000);
    }
}
