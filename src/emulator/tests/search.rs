//! What a search may ask, and that its pages are the corpus.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::{
    Corpus, Endpoint, Interaction, Item, LastPage, Options, Order, Paging, Running, Switches, start,
};
use super::client::{Reply, api, bare, token};
use super::running;

/// The seven days up to now, as a query string.
fn week() -> String {
    let end = Timestamp::now();
    let start = end.checked_sub(SignedDuration::from_hours(168)).unwrap();
    format!("start={start:.3}&end={end:.3}")
}

async fn search(running: &Running, token: &str, query: &str) -> Reply {
    api(running, token, "GET", &format!("/interactions?{query}"), "").await
}

/// Walks all pages as a robust client does; at most 100.
async fn walk(running: &Running, query: &str) -> Vec<Value> {
    let token = token(running).await;
    let mut found = Vec::new();
    let mut page_query = query.to_owned();
    for _ in 0..100 {
        let reply = search(running, &token, &page_query).await;
        if reply.status == 204 {
            return found;
        }
        assert_eq!(reply.status, 200);
        let page = reply.json();
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["meta"]["nextContinuationToken"].as_str() {
            None | Some("") => return found,
            Some(next) => {
                let next =
                    percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
                page_query = format!("{query}&continuationToken={next}");
            }
        }
    }
    panic!("the walk did not end");
}

fn guids(found: &[Value]) -> Vec<String> {
    let guid = |item: &Value| item["guid"].as_str().unwrap().to_owned();
    found.iter().map(guid).collect()
}

fn expected(running: &Running) -> Vec<String> {
    let guids = running.account().guids();
    guids.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn strange_questions_are_refused() {
    let running = running(3, |_| {}).await;
    let token = token(&running).await;
    let good = "start=2026-11-01T00:00:00Z&end=2026-11-08T00:00:00.000Z";
    assert_eq!(
        search(&running, &token, good).await.status,
        200,
        "seven days exactly"
    );
    for bad in [
        "",
        "start=2026-11-01T00:00:00Z",
        "end=2026-11-01T00:00:00Z",
        "start=2026-11-01&end=2026-11-02",
        "start=2026-11-01T00:00:00&end=2026-11-02T00:00:00",
        "start=2026-11-01T00:00:00+01:00&end=2026-11-02T00:00:00Z",
        "start=yesterday&end=2026-11-02T00:00:00Z",
        "start=2026-11-01T00:00:00Z&end=2026-11-08T00:00:01Z",
        "start=2026-11-02T00:00:00Z&end=2026-11-01T00:00:00Z",
        "start=2026-11-02T00:00:00Z&end=2026-11-02T00:00:00Z",
    ] {
        let reply = search(&running, &token, bad).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert!(!reply.message().is_empty());
    }
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "page=1",
        "sort=start",
        "start=2026-11-01T00:00:00Z",
        "direction=internal",
        "handlingAgentId=me",
        "connectFrom=",
        "connectTo=123456789012345678901234567890123456789012345678901",
        "continuationToken=",
        "continuationToken=AAAA",
        "limit",
    ] {
        let reply = search(&running, &token, &format!("{good}&{bad}")).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    running.change_switches(|switches| {
        switches.refuse_unknown_parameters = false;
        switches.refuse_exactly_seven_days = true;
    });
    assert_eq!(search(&running, &token, good).await.status, 400);
    let shorter = "start=2026-11-01T00:00:01Z&end=2026-11-08T00:00:00Z&sort=start";
    assert_eq!(search(&running, &token, shorter).await.status, 200);
}

#[tokio::test]
async fn only_version_three_is_spoken() {
    let running = running(1, |_| {}).await;
    let token = token(&running).await;
    let path = format!("/interactions?{}", week());
    let ask = async |accept: &str| {
        let headers = format!("authorization: Bearer {token}\r\n{accept}");
        bare(&running, "GET", &path, &headers).await
    };
    for accept in ["", "accept: */*\r\n", "accept: application/json\r\n"] {
        let reply = ask(accept).await;
        assert_eq!(reply.status, 400);
        assert_eq!(
            reply.message(),
            "Invalid api-version! Valid values: 'application/vnd.newvoicemedia.v2+json', \
             'application/vnd.newvoicemedia.v3+json'"
        );
    }
    let wrong = ask("accept: application/vnd.newvoicemedia.v4+json\r\n").await;
    assert_eq!(
        wrong.message(),
        "Invalid api-version! Valid values: 'application/vnd.newvoicemedia.v3+json'"
    );
    let right = ask("accept: Application/vnd.newvoicemedia.V3+json; q=1\r\n").await;
    assert_eq!(right.status, 200);
}

#[tokio::test]
async fn paging_to_the_end_meets_the_corpus_whatever_the_order() {
    let running = running(57, |_| {}).await;
    let whole = expected(&running);
    for limit in [1, 10, 19, 57, 1000] {
        let found = walk(&running, &format!("{}&limit={limit}", week())).await;
        assert_eq!(guids(&found), whole, "limit {limit}");
    }
    running.change_switches(|switches| switches.order = Order::Descending);
    let mut found = guids(&walk(&running, &week()).await);
    found.reverse();
    assert_eq!(found, whole);
    running.change_switches(|switches| switches.order = Order::Shuffled);
    let mut found = guids(&walk(&running, &week()).await);
    assert_ne!(found, whole);
    found.sort_unstable();
    assert_eq!(found, whole, "these GUIDs begin with the time");
}

#[tokio::test]
async fn odd_pages_hold_the_corpus_too() {
    let running = running(40, |_| {}).await;
    let whole = expected(&running);
    let query = format!("{}&limit=10", week());
    for paging in [
        Paging::Short,
        Paging::EmptyBetween,
        Paging::EmptyLast,
        Paging::Overlapping,
        Paging::Repeated,
    ] {
        running.change_switches(|switches| switches.paging = paging);
        running.log().clear();
        let mut found = guids(&walk(&running, &query).await);
        let (pages, listed) = (running.log().count(Endpoint::Search), found.len());
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, whole, "{paging:?}");
        match paging {
            Paging::Short => assert!(pages > 4),
            Paging::EmptyBetween => assert_eq!(pages, 8),
            Paging::EmptyLast => assert_eq!(pages, 5),
            Paging::Overlapping => assert_eq!(listed, 43),
            _ => assert_eq!((pages, listed), (8, 80)),
        }
    }
}

#[tokio::test]
async fn the_two_lies_never_end() {
    let running = running(4, |_| {}).await;
    let token = token(&running).await;
    let next = async |query: &str| {
        let page = search(&running, &token, query).await.json();
        let next = page["meta"]["nextContinuationToken"].as_str().unwrap();
        percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let query = format!("{}&limit=3", week());
    for (paging, same) in [
        (Paging::SameTokenForEver, true),
        (Paging::NeverEnding, false),
    ] {
        running.change_switches(|switches| switches.paging = paging);
        let mut tokens = vec![next(&query).await];
        for _ in 0..5 {
            let last = tokens.last().unwrap();
            tokens.push(next(&format!("{query}&continuationToken={last}")).await);
        }
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), if same { 1 } else { 6 });
    }
}

#[tokio::test]
async fn a_continuation_belongs_to_its_query() {
    let running = running(4, |_| {}).await;
    let access = token(&running).await;
    let query = format!("{}&limit=1", week());
    let page = search(&running, &access, &query).await.json();
    let next = page["meta"]["nextContinuationToken"].as_str().unwrap();
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    let more = format!("{query}&continuationToken={next}");
    assert_eq!(search(&running, &access, &more).await.status, 200);
    let other = format!("{more}&direction=inbound");
    assert_eq!(search(&running, &access, &other).await.status, 400);
    let renewed = token(&running).await;
    assert_eq!(search(&running, &renewed, &more).await.status, 200);
    running.change_switches(|switches| switches.continuation_bound_to_token = true);
    assert_eq!(search(&running, &renewed, &more).await.status, 400);
}

#[tokio::test]
async fn the_last_page_is_marked_as_the_switch_says() {
    let running = running(1, |_| {}).await;
    let token = token(&running).await;
    for (last_page, meta) in [
        (LastPage::Null, Some(r#"{"nextContinuationToken":null}"#)),
        (LastPage::Absent, Some("{}")),
        (
            LastPage::EmptyString,
            Some(r#"{"nextContinuationToken":""}"#),
        ),
        (LastPage::NoMeta, None),
    ] {
        running.change_switches(|switches| switches.last_page = last_page);
        let page = search(&running, &token, &week()).await.json();
        let sent = page.get("meta").map(ToString::to_string);
        assert_eq!(sent.as_deref(), meta);
    }
    running.change_switches(|switches| switches.empty_search_is_204 = true);
    let nothing = "start=2020-01-01T00:00:00Z&end=2020-01-02T00:00:00Z";
    let reply = search(&running, &token, nothing).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(reply.header("content-length"), None);
}

#[tokio::test]
async fn changes_of_the_account_show_at_once() {
    let running = running(3, |_| {}).await;
    let guids = running.account().guids();
    assert!(running.account().remove_item(guids[0], "transcript"));
    let now = Timestamp::now();
    let late = Item::new("late", "conversationSummary", "application/json", now, "{}");
    assert!(running.account().put_item(guids[1], late));
    assert!(running.account().remove(guids[2]));
    let found = walk(&running, &week()).await;
    assert_eq!(found.len(), 2);
    let keys = |item: &Value| -> Vec<String> {
        let content = item["content"].as_array().unwrap();
        let key = |item: &Value| item["contentKey"].as_str().unwrap().to_owned();
        content.iter().map(key).collect()
    };
    assert_eq!(keys(&found[0]), ["callRecording", "screenRecording"]);
    assert_eq!(keys(&found[1])[3], "late");
    for key in ["callRecording", "screenRecording"] {
        running.account().remove_item(guids[0], key);
    }
    let found = walk(&running, &week()).await;
    assert_eq!(found.len(), 1, "without content it is not there");
}

#[tokio::test]
async fn one_interaction_is_the_same_object_as_in_a_search() {
    let running = running(2, |_| {}).await;
    let token = token(&running).await;
    let found = walk(&running, &week()).await;
    let guid = found[0]["guid"].as_str().unwrap();
    let get = async |guid: &str| {
        api(
            &running,
            &token,
            "GET",
            &format!("/interactions/{guid}"),
            "",
        )
        .await
    };
    assert_eq!(get(guid).await.json(), found[0]);
    let upper = guid.to_uppercase();
    assert_eq!(get(&upper).await.status, 404);
    running.change_switches(|switches| switches.guid_any_case = true);
    assert_eq!(get(&upper).await.status, 200);
    assert_eq!(
        get("00000000-0000-4000-8000-000000000000").await.status,
        404
    );
    let short = get("018c2f5e").await;
    assert_eq!(short.status, 400);
    assert_eq!(short.message(), "GUID must be 36 characters in length");
    let odd = get("zzzzzzzz-0000-4000-8000-000000000000").await;
    assert!(odd.message().ends_with("is not a valid UUID string"));
    let post = api(
        &running,
        &token,
        "POST",
        &format!("/interactions/{guid}"),
        "",
    )
    .await;
    assert_eq!(post.status, 405);
    let head = api(
        &running,
        &token,
        "HEAD",
        &format!("/interactions/{guid}"),
        "",
    )
    .await;
    assert_eq!(head.status, 405);
}

#[tokio::test]
async fn samples_and_curiosities_are_found_and_read() {
    let options = Options {
        corpus: Corpus::Samples,
        curiosities: true,
        switches: Switches {
            requests_per_minute: None,
            ..Switches::default()
        },
        ..Options::default()
    };
    let running = start(options).await.unwrap();
    let token = token(&running).await;
    let found = walk(&running, &week()).await;
    assert!(found.len() >= 5);
    assert!(found.iter().any(|item| item["connectFrom"].is_null()));
    for interaction in &found {
        let guid = interaction["guid"].as_str().unwrap();
        for item in interaction["content"].as_array().unwrap() {
            let key = item["contentKey"].as_str().unwrap();
            let path = format!("/interactions/{guid}/content/{key}");
            let reply = api(&running, &token, "GET", &path, "").await;
            if key == "forbidden" {
                assert_eq!(reply.status, 403);
                continue;
            }
            let guid = guid.parse().unwrap();
            let expected = running.account().expected(guid, key, 0..u64::MAX);
            assert_eq!(Some(reply.body), expected, "{key}");
        }
    }
}

#[tokio::test]
async fn a_page_of_a_thousand_out_of_a_million_is_whole() {
    let running = running(1_000_000, |_| {}).await;
    let token = token(&running).await;
    let page = search(&running, &token, &format!("{}&limit=1000", week()))
        .await
        .json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1000);
    let last = &page["items"][999];
    assert_eq!(last["content"].as_array().unwrap().len(), 3);
    assert!(page["meta"]["nextContinuationToken"].is_string());
    let added = Interaction::new(uuid::Uuid::from_u128(7), Timestamp::now());
    running.account().put(added);
    assert_eq!(running.account().count(), 1_000_001);
}
