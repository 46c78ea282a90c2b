//! Makes a broken JSON document whole enough to be read: cut short, or written by careless hands.

/// The document with open strings, lists and objects dropped or closed, and with what JSON forbids within
/// strings replaced; `None` if it doesn't begin like a document at all. Linear.
pub(super) fn mend(text: &str) -> Option<String> {
    let text = text.trim_start();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut mended = String::with_capacity(text.len() + 16);
    let mut open: Vec<char> = Vec::new();
    // Where the document could end, if it is cut: its length, and how many brackets are then open.
    let mut end = (0, 0);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let behind = &rest[character.len_utf8()..];
        match character {
            '"' => {
                let Some(length) = string(rest, &mut mended) else {
                    break;
                };
                rest = &rest[length..];
                continue;
            }
            '{' | '[' => {
                open.push(if character == '{' { '}' } else { ']' });
                mended.push(character);
                end = (mended.len(), open.len());
            }
            '}' | ']' => {
                if open.pop() != Some(character) {
                    break;
                }
                if mended.ends_with(',') {
                    mended.pop();
                }
                mended.push(character);
                end = (mended.len(), open.len());
                if open.is_empty() {
                    break;
                }
            }
            ',' => {
                end = (mended.len(), open.len());
                mended.push(',');
            }
            word if word.is_alphabetic() => {
                let length = rest
                    .find(|c: char| !c.is_alphanumeric())
                    .unwrap_or(rest.len());
                let known = match &rest[..length] {
                    known @ ("true" | "false" | "null") => known,
                    _ => "null",
                };
                mended.push_str(known);
                rest = &rest[length..];
                continue;
            }
            // An exponent is part of its number, not a word.
            digit if digit.is_ascii_digit() => {
                let is_part =
                    |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                mended.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            }
            space if space.is_whitespace() => {}
            other => mended.push(other),
        }
        rest = behind;
    }
    let (length, still_open) = end;
    // Behind the last safe end nothing was closed, so the brackets open there are the outermost ones. After
    // a mismatch one more is gone than should be; then the reader falls back to plain text.
    mended.truncate(length);
    open.truncate(still_open);
    mended.extend(open.into_iter().rev());
    Some(mended)
}

/// Copies the string at the beginning; how many bytes it takes, or `None` if it never ends.
fn string(rest: &str, mended: &mut String) -> Option<usize> {
    mended.push('"');
    let mut at = 1;
    loop {
        let tail = rest.get(at..)?;
        let plain = tail.find(|c: char| matches!(c, '"' | '\\') || c < ' ')?;
        mended.push_str(&tail[..plain]);
        at += plain;
        match rest.as_bytes()[at] {
            b'"' => {
                mended.push('"');
                return Some(at + 1);
            }
            b'\\' => at += escape(&rest[at..], mended)?,
            _ => {
                mended.push(' ');
                at += 1;
            }
        }
    }
}

/// Copies the escape at the beginning if JSON knows it; how many bytes it takes.
fn escape(rest: &str, mended: &mut String) -> Option<usize> {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    match *rest.as_bytes().get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
            mended.push_str(&rest[..2]);
            Some(2)
        }
        b'u' => match (unit(0), unit(6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
                mended.push_str(&rest[..12]);
                Some(12)
            }
            (Some(0xd800..=0xdfff), _) => {
                mended.push('\u{fffd}');
                Some(6)
            }
            (Some(_), _) => {
                mended.push_str(&rest[..6]);
                Some(6)
            }
            (None, _) => {
                mended.push_str("\\\\");
                Some(1)
            }
        },
        _ => {
            mended.push_str("\\\\");
            Some(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_ends_behind_its_last_whole_value() {
        for (cut, whole) in [
            (
                r#"{"a": [{"b": "x"}, {"c": "y", "d"#,
                r#"{"a":[{"b":"x"},{"c":"y"}]}"#,
            ),
            (r#"{"a": [{"b": "x"}, {"c": "#, r#"{"a":[{"b":"x"},{}]}"#),
            (r#"[1, {"b": "never ends"#, "[1,{}]"),
            ("{", "{}"),
        ] {
            assert_eq!(mend(cut).as_deref(), Some(whole));
        }
    }

    #[test]
    fn what_json_forbids_is_replaced() {
        let careless = "[\"a\tb\\ud83d\\x\", NaN, 1.5e-3, True,] trailing";
        let value: serde_json::Value = serde_json::from_str(&mend(careless).unwrap()).unwrap();
        assert_eq!(
            value,
            serde_json::json!(["a b\u{fffd}\\x", null, 0.0015, null])
        );
        assert_eq!(mend("Hello"), None);
    }
}
