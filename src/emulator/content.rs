//! `GET /interactions/{guid}/content/{contentKey}`: bytes, whole or a range of them.

use jiff::Timestamp;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bytes::Source;
use super::errors;
use super::http::{Answer, Framing, Request};
use super::range::{self, Part};
use super::record::{Interaction, Item};
use super::switches::{Etag, Switches};

/// The item that a key in a path means.
pub(super) fn find<'a>(
    interaction: &'a Interaction,
    key: &str,
    switches: &Switches,
) -> Option<&'a Item> {
    interaction.content.iter().find(|item| {
        item.key == key || (switches.key_any_case && item.key.eq_ignore_ascii_case(key))
    })
}

/// Answers a request for an item. `count` differs from one answer to the next.
pub(super) fn answer(
    request: &Request,
    guid: Uuid,
    item: &Item,
    switches: &Switches,
    count: u64,
) -> Answer {
    if item.forbidden {
        return errors::message(403, "Access to this content is denied");
    }
    let source = item.body.open();
    let total = source.length();
    if total == 0 && switches.empty_content_is_204 {
        return Answer::empty(204);
    }
    let etag = etag(guid, item, &source, switches.etag, count);
    let last_modified = switches
        .last_modified
        .then(|| httpdate::fmt_http_date(system_time(item.last_modified)));
    let part = match request.header("range") {
        Some(_) if switches.ignore_ranges => Part::Whole,
        Some(range) if is_same(request, etag.as_deref(), last_modified.as_deref()) => {
            range::parse(range, total)
        }
        _ => Part::Whole,
    };
    let mut answer = match part {
        Part::Unsatisfiable => {
            return errors::message(416, "The range is not satisfiable")
                .with("content-range", format!("bytes */{total}"));
        }
        Part::Whole => Answer::new(200, source),
        Part::Some(range) => {
            let longest = switches.longest_range.unwrap_or(u64::MAX).max(1);
            let end = range.end.min(range.start.saturating_add(longest));
            let mut answer = Answer::new(206, source).with(
                "content-range",
                format!("bytes {}-{}/{total}", range.start, end - 1),
            );
            answer.body.start = range.start;
            answer.body.end = end;
            answer
        }
    };
    if switches.chunked {
        answer.delivery.framing = Framing::Chunked;
    }
    answer.set("content-type", item.media_type.clone());
    if let Some(etag) = etag {
        answer.set("etag", etag);
    }
    if let Some(last_modified) = last_modified {
        answer.set("last-modified", last_modified);
    }
    answer
}

/// Whether `If-Range` allows a range: it isn't there, or names this version strongly.
fn is_same(request: &Request, etag: Option<&str>, last_modified: Option<&str>) -> bool {
    match request.header("if-range") {
        None => true,
        Some(wanted) if wanted.starts_with('"') => etag == Some(wanted),
        Some(wanted) => last_modified == Some(wanted),
    }
}

fn etag(guid: Uuid, item: &Item, source: &Source, form: Etag, count: u64) -> Option<String> {
    let stable = || {
        let mut what = guid.as_bytes().to_vec();
        what.extend_from_slice(item.key.as_bytes());
        what.extend_from_slice(&item.last_modified.as_nanosecond().to_le_bytes());
        what.extend_from_slice(&source.read(0..65_536));
        xxh3_64_with_seed(&what, source.length())
    };
    match form {
        Etag::Absent => None,
        Etag::Strong => Some(format!("\"{:016x}\"", stable())),
        Etag::Weak => Some(format!("W/\"{:016x}\"", stable())),
        Etag::Unstable => Some(format!("\"{:016x}\"", stable() ^ count)),
        Etag::Sometimes => count
            .is_multiple_of(2)
            .then(|| format!("\"{:016x}\"", stable())),
    }
}

fn system_time(time: Timestamp) -> std::time::SystemTime {
    // HTTP dates begin in 1970.
    let seconds = u64::try_from(time.as_second()).unwrap_or(0);
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}
