//! What part of a file a `Range` header asks for (RFC 9110, 14).

use std::ops::Range;

/// The part to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The whole file: no range, several, or none that can be read.
    Whole,
    /// One range, within the file.
    Some(Range<u64>),
    /// A range that begins behind the end.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `total` bytes.
pub(super) fn parse(header: &str, total: u64) -> Part {
    read(header, total).unwrap_or(Part::Whole)
}

fn read(header: &str, total: u64) -> Option<Part> {
    let (unit, ranges) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    let range = match (first, last) {
        ("", length) => {
            let length = number(length)?;
            if length == 0 {
                return Some(Part::Unsatisfiable);
            }
            total.saturating_sub(length)..total
        }
        (first, "") => number(first)?..total,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(total)
        }
    };
    Some(if range.start < total {
        Part::Some(range)
    } else {
        Part::Unsatisfiable
    })
}

/// Digits alone, however many.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_defines_them() {
        for (header, part) in [
            ("bytes=0-0", Part::Some(0..1)),
            ("bytes=3-", Part::Some(3..10)),
            ("bytes=3-99", Part::Some(3..10)),
            ("Bytes=9-99999999999999999999999", Part::Some(9..10)),
            ("bytes=-3", Part::Some(7..10)),
            ("bytes=-30", Part::Some(0..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=10-11", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=4-3", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(parse(header, 10), part, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Part::Unsatisfiable);
    }
}
