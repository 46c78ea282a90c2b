//! `interaction.json`: the API's object, laid out for people.
//!
//! Only white space between tokens changes. Every token is kept byte for byte: a number of thirty digits
//! or an escape that a JSON library would rewrite comes out as the server sent it, and so do fields that
//! nobody has heard of, in their order.

/// Lines are indented for so many levels; for deeper ones, which nobody reads, indentation would grow with the
/// square of the text.
const DEEPEST: usize = 10;

/// Lays out `raw`, which is valid JSON, with two spaces a level and a newline at the end.
pub fn pretty(raw: &str) -> String {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 2 + 16);
    let bytes = raw.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        match byte {
            b'"' => {
                let end = string_end(bytes, at);
                out.extend_from_slice(&bytes[at..end]);
                at = end;
                continue;
            }
            b'{' | b'[' => {
                out.push(byte);
                let next = next_token(bytes, at + 1);
                if matches!(bytes.get(next), Some(b'}' | b']')) {
                    out.push(bytes[next]);
                    at = next + 1;
                    continue;
                }
                depth += 1;
                break_line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                break_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\t' | b'\n' | b'\r' => {}
            other => out.push(other),
        }
        at += 1;
    }
    out.push(b'\n');
    // Whole strings and ASCII were copied, so this is UTF-8; lossy only for the type's sake.
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The offset behind the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn next_token(bytes: &[u8], start: usize) -> usize {
    bytes[start..]
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .map_or(bytes.len(), |skipped| start + skipped)
}

fn break_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth.min(DEEPEST), b' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_kept_byte_for_byte() {
        let raw = "{\"b\" :1e400,\"a\":123456789012345678901234567890.10,\r\n \"s\":\"a\\\"\\u00e9{,: é\",\"e\":[ ],\"o\":{},\"l\":[1,{\"x\":null}]}";
        let wanted = "{\n  \"b\": 1e400,\n  \"a\": 123456789012345678901234567890.10,\n  \"s\": \"a\\\"\\u00e9{,: é\",\n  \"e\": [],\n  \"o\": {},\n  \"l\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}\n";
        assert_eq!(pretty(raw), wanted);
        assert_eq!(pretty(wanted), wanted, "laying out twice changes nothing");
    }

    #[test]
    fn what_is_deep_does_not_grow_with_the_square_of_its_depth() {
        let deep = "[".repeat(100_000) + "0" + &"]".repeat(100_000);
        assert!(pretty(&deep).len() < 40 * deep.len());
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same_and_nothing_panics(text in ".{0,40}", number in any::<i64>(), junk in ".{0,60}") {
            let value = serde_json::json!({"t": text, "n": [number, {"t": text}, [], {}]});
            let printed = pretty(&value.to_string());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
            pretty(&junk);
        }
    }
}
