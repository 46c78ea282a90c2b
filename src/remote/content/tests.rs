//! The rules of reference section 8, one by one.

use super::*;
use crate::model::ContentKey;
use crate::remote::{Class, Urgency};

fn request(start: u64, end: Option<u64>) -> ContentRequest {
    ContentRequest {
        guid: "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44".parse().unwrap(),
        key: ContentKey::new("callRecording"),
        start,
        end,
        validator: None,
        urgency: Urgency::of(Class::Reader),
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn check(
    request: &ContentRequest,
    status: u16,
    lines: &[(&'static str, &'static str)],
) -> Result<Head, RemoteError> {
    request.check(StatusCode::from_u16(status).unwrap(), &headers(lines))
}

#[test]
fn a_part_is_taken_when_it_is_what_was_asked_for() {
    let asked = request(100, Some(200));
    for (lines, end, total) in [
        (
            &[
                ("content-range", "bytes 100-199/1000"),
                ("content-length", "100"),
            ][..],
            200,
            Some(1000),
        ),
        (&[("content-range", "bytes 100-199/*")], 200, None),
        (&[("content-range", "bytes 100-149/150")], 150, Some(150)),
        (
            &[
                ("content-range", "bytes 100-149/1000"),
                ("content-encoding", "identity"),
            ],
            150,
            Some(1000),
        ),
    ] {
        let head = check(&asked, 206, lines).unwrap();
        assert_eq!((head.start, head.end, head.total), (100, Some(end), total));
    }
}

#[test]
fn what_was_compressed_on_its_way_is_refused() {
    let all = request(0, None);
    for (coding, is_taken) in [
        ("chunked", true),
        ("Chunked", true),
        ("gzip, chunked", false),
        ("gzip", false),
    ] {
        let answer = check(&all, 200, &[("transfer-encoding", coding)]);
        assert_eq!(answer.is_ok(), is_taken, "{coding}");
    }
}

#[test]
fn any_other_part_is_refused() {
    let asked = request(100, Some(200));
    for lines in [
        &[][..],
        &[("content-range", "bytes 0-99/1000")],
        &[("content-range", "bytes 101-199/1000")],
        &[("content-range", "bytes 100-200/1000")],
        &[("content-range", "bytes 100-199/150")],
        &[("content-range", "bytes */1000")],
        &[
            ("content-range", "bytes 100-199/1000"),
            ("content-range", "bytes 100-199/1000"),
        ],
        &[
            ("content-range", "bytes 100-199/1000"),
            ("content-length", "99"),
        ],
        &[
            ("content-range", "bytes 100-199/1000"),
            ("content-length", "x"),
        ],
        &[
            ("content-range", "bytes 100-199/1000"),
            ("content-encoding", "gzip"),
        ],
        &[
            ("content-range", "bytes 100-199/1000"),
            ("content-type", "Multipart/byteranges; boundary=x"),
        ],
    ] {
        let answer = check(&asked, 206, lines);
        assert!(matches!(answer, Err(RemoteError::Protocol(_))), "{lines:?}");
    }
    let whole = request(0, None);
    assert!(check(&whole, 206, &[("content-range", "bytes 0-9/10")]).is_err());
}

#[test]
fn a_200_is_the_file_from_its_beginning_whatever_was_asked() {
    let head = check(&request(100, Some(200)), 200, &[("content-length", "1000")]).unwrap();
    assert_eq!(
        (head.start, head.end, head.total),
        (0, Some(1000), Some(1000))
    );
    let head = check(&request(0, None), 200, &[]).unwrap();
    assert_eq!((head.start, head.end, head.total), (0, None, None));
    assert!(check(&request(0, None), 200, &[("content-encoding", "gzip")]).is_err());
}

#[test]
fn a_204_is_an_empty_file_and_a_416_tells_the_length() {
    let head = check(&request(0, None), 204, &[]).unwrap();
    assert_eq!((head.start, head.end, head.total), (0, Some(0), Some(0)));
    assert_eq!(
        past_end(&headers(&[("content-range", "bytes */77")])),
        RemoteError::PastEnd { total: Some(77) }
    );
    assert_eq!(
        past_end(&headers(&[])),
        RemoteError::PastEnd { total: None }
    );
}

#[test]
fn only_strong_etags_are_kept_and_sent() {
    let strong = check(
        &request(0, None),
        200,
        &[("etag", "\"a\""), ("last-modified", "then")],
    );
    let validator = strong.unwrap().validator;
    assert_eq!(validator.etag.as_deref(), Some("\"a\""));
    assert_eq!(validator.last_modified.as_deref(), Some("then"));
    let weak = check(&request(0, None), 200, &[("etag", "W/\"a\"")]).unwrap();
    assert_eq!(weak.validator.etag, None);

    let mut asked = request(5, None);
    asked.validator = Some(validator);
    let sent = asked.headers().unwrap();
    assert_eq!(sent[header::RANGE], "bytes=5-");
    assert_eq!(sent[header::IF_RANGE], "\"a\"");
    asked.validator = Some(Validator {
        etag: Some("W/\"a\"".into()),
        last_modified: Some("then".into()),
    });
    assert!(!asked.headers().unwrap().contains_key(header::IF_RANGE));
}

#[test]
fn the_whole_file_is_asked_for_without_a_range_and_an_empty_range_not_at_all() {
    assert!(request(0, None).headers().unwrap().is_empty());
    assert_eq!(
        request(0, Some(1)).headers().unwrap()[header::RANGE],
        "bytes=0-0"
    );
    assert!(request(9, Some(9)).headers().is_err());
}
