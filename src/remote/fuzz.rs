//! Hostile answers: pages, heads of content answers, times to wait.

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;

use super::content_range::ContentRange;
use super::search::{self, PageGuard};
use super::{Class, ContentRequest, SearchRequest, Urgency, content, retry_after};
use crate::model::{ContentKey, SearchFilter, TimeWindow};
use crate::mutation::fuzz;

const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn search_answers() {
    let item = format!(
        r#"{{"guid":"{GUID}","start":"2024-03-05T09:14:07Z","connectFrom":"+4420","connectTo":null,"direction":"inbound",
        "handlingAgents":[{{"id":"7"}}],"content":[{{"contentKey":"callRecording","type":"callRecording",
        "contentType":"audio/wav","contentLength":12,"lastModified":"2024-03-05T09:20:31Z","properties":{{}}}}]}}"#
    );
    let pages = [
        format!(r#"{{"items":[{item},{item}],"meta":{{"nextContinuationToken":"abc"}}}}"#),
        format!(r#"{{"items":[{item}],"meta":{{"nextContinuationToken":null}}}}"#),
        r#"{"items":[],"meta":{"nextContinuationToken":7}}"#.to_owned(),
        r#"{"items":null}"#.to_owned(),
    ];
    let window = TimeWindow {
        from: "2024-03-05T00:00:00Z".parse().unwrap(),
        to: "2024-03-06T00:00:00Z".parse().unwrap(),
    };
    let now: Timestamp = "2024-03-06T12:00:00Z".parse().unwrap();
    let filter = SearchFilter::default();
    let first = SearchRequest {
        window,
        filter: filter.clone(),
        continuation: None,
    };
    let query = search::query(&first, now).unwrap();
    let mut inputs: Vec<Vec<u8>> = pages.map(String::into_bytes).into();
    inputs.push(format!(r#"{{"items":[{}{item}]}}"#, "0,".repeat(9000)).into_bytes());
    inputs.push(include_bytes!("../../assets/samples/manifest.json").to_vec());
    fuzz("search answers", inputs, 4000, |body| {
        let Ok(page) = query.read(body, &filter) else {
            return None;
        };
        let mut guard = PageGuard::default();
        guard.admit(&page).unwrap();
        if let Some(next) = &page.continuation {
            let next = SearchRequest {
                continuation: Some(next.clone()),
                ..first.clone()
            };
            let asked = search::query(&next, now).unwrap();
            // Nothing that comes back can add a parameter or a header of its own.
            assert!(asked.path.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(asked.path.matches('&').count(), 3);
            assert!(guard.admit(&page).is_err(), "a page that leads to itself");
        }
        let items: Vec<usize> = page
            .interactions
            .iter()
            .map(|one| one.items.len())
            .collect();
        Some((items, page.unreadable, page.continuation.is_some()))
    });
}

#[test]
fn heads_of_content_answers() {
    let inputs = seeds(&[
        "206\ncontent-range: bytes 100-199/1000\ncontent-length: 100\netag: \"a\"",
        "206\ncontent-range: bytes 100-199/*\nlast-modified: Sun, 22 Nov 2026 10:15:00 GMT",
        "200\ncontent-length: 1000\netag: W/\"a\"",
        "204\n",
        "416\ncontent-range: bytes */1000",
        "206\ncontent-type: multipart/byteranges; boundary=x\ncontent-range: bytes 100-199/1000",
        "200\ncontent-encoding: gzip\ncontent-length: 9223372036854775808",
    ]);
    let asked = [(0, None), (100, Some(200)), (100, None), (0, Some(1 << 40))];
    fuzz("heads of content answers", inputs, 8000, |input| {
        let mut lines = input.split(|&byte| byte == b'\n');
        let status = lines
            .next()
            .and_then(|line| StatusCode::from_bytes(line).ok())?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                continue;
            };
            let value = line[colon + 1..].trim_ascii();
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(&line[..colon]),
                HeaderValue::from_bytes(value),
            ) {
                headers.append(name, value);
            }
        }
        let _ = content::past_end(&headers);
        let outcomes = asked.map(|(start, end)| {
            let request = ContentRequest {
                guid: GUID.parse().unwrap(),
                key: ContentKey::new("callRecording"),
                start,
                end,
                validator: None,
                urgency: Urgency::of(Class::Reader),
            };
            let head = request.check(status, &headers).ok()?;
            assert!(head.start == start || head.start == 0);
            assert!(head.end.is_none_or(|end| head.start <= end));
            if status == StatusCode::PARTIAL_CONTENT {
                assert_eq!(head.start, start);
                let behind = head.end.unwrap();
                assert!(start < behind && end.is_none_or(|end| behind <= end));
                assert!(head.total.is_none_or(|total| behind <= total));
            }
            Some((
                head.end.is_some(),
                head.total.is_some(),
                head.validator.etag.is_some(),
            ))
        });
        Some((status.as_u16(), outcomes))
    });
}

#[test]
fn content_ranges() {
    let inputs = seeds(&[
        "bytes 0-9/10",
        "bytes 5-9/*",
        "bytes */10",
        "Bytes 1-1/2",
        "items 0-1/2",
    ]);
    fuzz("Content-Range", inputs, 20_000, |input| {
        let text = std::str::from_utf8(input).ok()?;
        match ContentRange::parse(text)? {
            ContentRange::Part { start, end, total } => {
                assert!(start < end && total.is_none_or(|total| end <= total));
                Some(total.is_some())
            }
            ContentRange::None { .. } => None,
        }
    });
}

#[test]
fn times_to_wait() {
    let inputs = seeds(&[
        "120",
        "0",
        "1.5",
        "Sun, 06 Nov 1994 08:49:47 GMT",
        "soon",
        "1e30",
        "-1",
    ]);
    fuzz("Retry-After", inputs, 20_000, |input| {
        let value = HeaderValue::from_bytes(input).ok()?;
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
        let wait = retry_after::retry_after(&headers)?;
        // Whoever adds it to a time must be able to.
        let _ = Instant::now().checked_add(wait);
        Some(wait.as_secs().checked_ilog2())
    });
}
