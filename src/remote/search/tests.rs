//! Queries and pages.

use super::*;
use crate::model::TimeWindow;

const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";

fn request(from: &str, to: &str) -> SearchRequest {
    SearchRequest {
        window: TimeWindow {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        },
        filter: SearchFilter::default(),
        continuation: None,
    }
}

fn now() -> Timestamp {
    "2024-03-06T12:00:00Z".parse().unwrap()
}

fn item(start: &str, from: &str) -> String {
    format!(
        r#"{{"guid":"{GUID}","start":"{start}","connectFrom":"{from}","direction":"inbound","handlingAgents":[],"content":[]}}"#
    )
}

#[test]
fn times_are_utc_and_what_is_finer_than_they_are_is_rounded_outwards() {
    let plain = query(
        &request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z"),
        now(),
    )
    .unwrap();
    assert_eq!(
        plain.path,
        "interactions?start=2024-03-05T00%3A00%3A00Z&end=2024-03-06T00%3A00%3A00Z&limit=1000"
    );
    let fine = query(
        &request("2024-03-05T01:02:03.0456Z", "2024-03-05T01:02:03.9991Z"),
        now(),
    )
    .unwrap();
    assert_eq!(
        fine.path,
        "interactions?start=2024-03-05T01%3A02%3A03.045Z&end=2024-03-05T01%3A02%3A04Z&limit=1000"
    );
}

#[test]
fn nothing_is_asked_of_the_future_and_every_page_sends_the_same_end() {
    let mut asked = request("2024-03-06T00:00:00Z", "2024-03-07T00:00:00Z");
    let first = query(&asked, now()).unwrap();
    assert!(first.path.contains("end=2024-03-06T12%3A01%3A00Z"));
    let page = first
        .read(
            br#"{"items":[],"meta":{"nextContinuationToken":"a+/=\n"}}"#,
            &asked.filter,
        )
        .unwrap();
    asked.continuation = page.continuation;
    let later: Timestamp = "2024-03-06T12:30:00Z".parse().unwrap();
    let second = query(&asked, later).unwrap();
    assert!(second.path.contains("end=2024-03-06T12%3A01%3A00Z"));
    assert!(second.path.ends_with("&continuationToken=a%2B%2F%3D%0A"));

    for (from, to) in [
        ("2024-03-06T12:02:00Z", "2024-03-07T00:00:00Z"),
        ("2024-03-05T00:00:00Z", "2024-03-05T00:00:00Z"),
        ("2024-03-05T00:00:01Z", "2024-03-05T00:00:00Z"),
    ] {
        assert!(query(&request(from, to), now()).is_none());
    }
}

#[test]
fn filters_are_sent_encoded_and_applied_again() {
    let mut asked = request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z");
    asked.filter = SearchFilter {
        agent: None,
        direction: Some(Direction::Inbound),
        connect_from: Some(Personal::new("+44 2".into())),
        connect_to: None,
    };
    let sent = query(&asked, now()).unwrap();
    assert!(
        sent.path
            .ends_with("&direction=inbound&connectFrom=%2B44%202")
    );
    let page = format!(
        r#"{{"items":[{},{}]}}"#,
        item("2024-03-05T09:14:02Z", "+44 2079"),
        item("2024-03-05T09:14:02Z", "+49")
    );
    let page = sent.read(page.as_bytes(), &asked.filter).unwrap();
    assert_eq!(page.interactions.len(), 1);
    assert_eq!(page.unreadable, 0);
    asked.filter.agent = Some(AgentId::new("7&x"));
    assert!(
        query(&asked, now())
            .unwrap()
            .path
            .contains("&handlingAgentId=7%26x&")
    );
}

#[test]
fn an_absent_null_or_empty_token_ends_the_walk() {
    let asked = request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z");
    let sent = query(&asked, now()).unwrap();
    for end in [
        r#"{"items":[]}"#,
        r#"{"items":[],"meta":null}"#,
        r#"{"items":[],"meta":{}}"#,
        r#"{"items":[],"meta":{"nextContinuationToken":null,"x":1}}"#,
        r#"{"items":[],"meta":{"nextContinuationToken":""}}"#,
    ] {
        let page = sent.read(end.as_bytes(), &asked.filter).unwrap();
        assert_eq!(page.continuation, None, "{end}");
    }
}

#[test]
fn what_is_no_interaction_is_counted_and_what_is_no_page_is_an_error() {
    let asked = request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z");
    let sent = query(&asked, now()).unwrap();
    let page = format!(
        r#"{{"items":[{{"guid":"x"}}, 7, {}], "new": 1}}"#,
        item("2024-03-05T09:14:02Z", "")
    );
    let page = sent.read(page.as_bytes(), &asked.filter).unwrap();
    assert_eq!((page.interactions.len(), page.unreadable), (1, 2));
    for bad in [
        "",
        "<html>502</html>",
        "{}",
        r#"{"items":null}"#,
        r#"{"items":[{"guid":"#,
        r#"{"items":[],"meta":{"nextContinuationToken":{}}}"#,
    ] {
        assert!(sent.read(bad.as_bytes(), &asked.filter).is_err(), "{bad}");
    }
}

#[test]
fn a_page_that_would_take_the_memory_is_an_error() {
    let asked = request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z");
    let sent = query(&asked, now()).unwrap();
    let agents = r#""handlingAgents":["#.to_owned() + &"7,".repeat(39_999) + "7]";
    let crowded = item("2024-03-05T09:14:02Z", "").replace(r#""handlingAgents":[]"#, &agents);
    for (items, token) in [
        (vec!["0"; 8_000_000], "null"),
        (vec!["{}"; OBJECTS_MAX + 1], "null"),
        (vec![&*crowded; 6], "null"),
        (vec![], &*("[".to_owned() + &"0,".repeat(8_000_000) + "0]")),
        (vec![], &*format!("\"{}\"", "x".repeat(TOKEN_MAX))),
    ] {
        let page = format!(
            r#"{{"items":[{}],"meta":{{"nextContinuationToken":{token}}}}}"#,
            items.join(",")
        );
        let read = sent.read(page.as_bytes(), &asked.filter);
        assert!(matches!(read, Err(RemoteError::Protocol(_))));
    }
}

#[test]
fn an_object_that_would_take_the_memory_costs_its_page_nothing_else() {
    let asked = request("2024-03-05T00:00:00Z", "2024-03-06T00:00:00Z");
    let sent = query(&asked, now()).unwrap();
    let good = item("2024-03-05T09:14:02Z", "");
    let content = r#""content":["#.to_owned() + &"{},".repeat(1_000_000) + "{}]";
    let giant = good.replace(r#""content":[]"#, &content);
    let page = format!(r#"{{"items":[{good},{giant},{good}]}}"#);
    let page = sent.read(page.as_bytes(), &asked.filter).unwrap();
    assert_eq!((page.interactions.len(), page.unreadable), (2, 1));
}

#[test]
fn a_walk_that_goes_in_circles_is_ended() {
    let page = |token: Option<&str>| SearchPage {
        continuation: token.map(|token| Continuation(Personal::new(token.into()))),
        ..SearchPage::empty()
    };
    let mut guard = PageGuard::default();
    assert!(guard.admit(&page(Some("a"))).is_ok());
    assert!(guard.admit(&page(Some("b"))).is_ok());
    assert!(guard.admit(&page(Some("b"))).is_err());
    let mut guard = PageGuard::default();
    let endless = (0..10_000).map(|n| guard.admit(&page(Some(&n.to_string()))));
    assert!(endless.into_iter().any(|admitted| admitted.is_err()));
    let mut guard = PageGuard::default();
    assert!(guard.admit(&page(None)).is_ok());
    assert!(guard.admit(&page(None)).is_ok());
}

#[test]
fn a_key_is_one_path_segment() {
    let guid: Guid = GUID.parse().unwrap();
    let path = |key: &str| content_path(guid, &ContentKey::new(key));
    assert_eq!(
        path("a'b(c)*/../é").unwrap(),
        format!("interactions/{GUID}/content/a%27b%28c%29%2A%2F..%2F%C3%A9")
    );
    assert_eq!(
        path("%2e%2e").unwrap(),
        format!("interactions/{GUID}/content/%252e%252e")
    );
    for unusable in ["", ".", ".."] {
        assert_eq!(path(unusable), None);
    }
}
