//! The `Content-Range` header: what part of a file an answer says it is.

/// A parsed `Content-Range`, offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ContentRange {
    /// `bytes first-last/total`; the range is never empty, and lies within the total.
    Part {
        /// The first byte's offset.
        start: u64,
        /// The offset behind the last byte.
        end: u64,
        /// The file's length; `None` for `*`.
        total: Option<u64>,
    },
    /// `bytes */total`: no part, because the range asked for lies behind the end.
    None {
        /// The file's length.
        total: u64,
    },
}

impl ContentRange {
    /// Reads a header's value; `None` when it is not exactly of RFC 9110's form (section 14.4), or
    /// contradicts itself.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim_matches([' ', '\t']).split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim_start_matches(' ').split_once('/')?;
        if range == "*" {
            return Some(Self::None {
                total: number(total)?,
            });
        }
        let (first, last) = range.split_once('-')?;
        let start = number(first)?;
        let end = number(last)?.checked_add(1)?;
        let total = match total {
            "*" => None,
            digits => Some(number(digits)?),
        };
        (start < end && total.is_none_or(|total| end <= total)).then_some(Self::Part {
            start,
            end,
            total,
        })
    }
}

/// Digits only: `u64::from_str` would take a sign too.
pub(super) fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_of_the_form_is_nothing() {
        for bad in [
            "",
            "bytes",
            "bytes 0-1",
            "bytes 0-1/",
            "bytes /1",
            "bytes -1/1",
            "bytes 0-/1",
            "bytes 1-0/2",
            "bytes 0-2/2",
            "bytes +0-1/2",
            "bytes 0-1/2, 3-4/5",
            "items 0-1/2",
            "bytes */*",
            "bytes 0-18446744073709551615/*",
            "bytes=0-1/2",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
        assert_eq!(
            ContentRange::parse("Bytes 0-0/*"),
            Some(ContentRange::Part {
                start: 0,
                end: 1,
                total: None
            })
        );
        assert_eq!(
            ContentRange::parse("bytes */0"),
            Some(ContentRange::None { total: 0 })
        );
    }

    proptest! {
        #[test]
        fn every_part_is_read_back(start in 0u64..1 << 62, len in 1u64..1 << 40, more in 0u64..1 << 40) {
            let end = start + len;
            let total = end + more;
            let text = format!("bytes {start}-{}/{total}", end - 1);
            prop_assert_eq!(ContentRange::parse(&text), Some(ContentRange::Part { start, end, total: Some(total) }));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[bytes 0-9*/,-]{0,40}") {
            if let Some(ContentRange::Part { start, end, total }) = ContentRange::parse(&text) {
                prop_assert!(start < end);
                prop_assert!(total.is_none_or(|total| end <= total));
            }
        }
    }
}
