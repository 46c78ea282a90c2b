//! Content and its ranges: every byte as the account says it is.

use jiff::Timestamp;
use uuid::Uuid;

use super::super::{Endpoint, Etag, Interaction, Item, Outcome, Redirect, Running};
use super::client::{Reply, api, exchange, token};
use super::running;

const LENGTH: u64 = 200_044;

async fn get(running: &Running, guid: Uuid, key: &str, headers: &str) -> Reply {
    let token = token(running).await;
    let path = format!("/interactions/{guid}/content/{key}");
    api(running, &token, "GET", &path, headers).await
}

#[tokio::test]
async fn served_bytes_are_the_expected_ones_for_all_items() {
    let running = running(3, |_| {}).await;
    for guid in running.account().guids() {
        for key in ["callRecording", "transcript", "screenRecording"] {
            let reply = get(&running, guid, key, "").await;
            assert_eq!(reply.status, 200);
            let expected = running.account().expected(guid, key, 0..u64::MAX).unwrap();
            assert_eq!(reply.body, expected);
            let listed = running.account().get(guid).unwrap();
            let item = listed.item(key).unwrap();
            assert_eq!(item.body.length(), expected.len() as u64);
            assert_eq!(reply.header("content-type"), Some(&*item.media_type));
            assert_eq!(reply.header("etag"), None);
            assert_eq!(reply.header("last-modified"), None);
        }
    }
}

#[tokio::test]
async fn a_single_range_is_answered_with_exactly_its_bytes() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    for (range, first, end) in [
        ("0-0", 0, 1),
        ("0-1023", 0, 1024),
        ("65530-65545", 65_530, 65_546),
        ("200000-", 200_000, LENGTH),
        ("200000-999999", 200_000, LENGTH),
        ("-100", LENGTH - 100, LENGTH),
    ] {
        let reply = get(
            &running,
            guid,
            "callRecording",
            &format!("range: bytes={range}\r\n"),
        )
        .await;
        assert_eq!(reply.status, 206, "{range}");
        let named = format!("bytes {first}-{}/{LENGTH}", end - 1);
        assert_eq!(reply.header("content-range"), Some(&*named));
        let expected = running
            .account()
            .expected(guid, "callRecording", first..end);
        assert_eq!(Some(reply.body), expected, "{range}");
    }
    let behind = get(&running, guid, "callRecording", "range: bytes=200044-\r\n").await;
    assert_eq!(behind.status, 416);
    assert_eq!(behind.header("content-range"), Some("bytes */200044"));
    let several = get(&running, guid, "callRecording", "range: bytes=0-1,5-6\r\n").await;
    assert_eq!((several.status, several.body.len() as u64), (200, LENGTH));
}

#[tokio::test]
async fn validators_follow_the_switches_and_guard_ranges() {
    let running = running(1, |switches| switches.etag = Etag::Strong).await;
    let guid = running.account().guids()[0];
    let etag = async || {
        let reply = get(&running, guid, "callRecording", "range: bytes=0-9\r\n").await;
        reply.header("etag").map(str::to_owned)
    };
    let strong = etag().await.unwrap();
    assert_eq!(etag().await.as_deref(), Some(&*strong));
    let with = async |validator: &str| {
        let headers = format!("range: bytes=0-9\r\nif-range: {validator}\r\n");
        get(&running, guid, "callRecording", &headers).await.status
    };
    assert_eq!(with(&strong).await, 206);
    assert_eq!(with("\"other\"").await, 200);
    assert_eq!(with("Sat, 01 Jan 2000 00:00:00 GMT").await, 200);
    assert_eq!(with(&format!("W/{strong}")).await, 200);
    let replaced = Item::recording(Timestamp::now(), LENGTH, 99);
    running.account().put_item(guid, replaced);
    assert_ne!(etag().await.unwrap(), strong, "another version");
    assert_eq!(with(&strong).await, 200);
    running.change_switches(|switches| switches.etag = Etag::Weak);
    let weak = etag().await.unwrap();
    assert!(weak.starts_with("W/"));
    assert_eq!(with(&weak).await, 200, "weak ones never match a range");
    running.change_switches(|switches| switches.etag = Etag::Unstable);
    assert_ne!(etag().await, etag().await);
    running.change_switches(|switches| switches.etag = Etag::Sometimes);
    assert_ne!(etag().await.is_some(), etag().await.is_some());
    running.change_switches(|switches| {
        switches.etag = Etag::Absent;
        switches.last_modified = true;
    });
    let reply = get(&running, guid, "callRecording", "").await;
    assert_eq!(with(reply.header("last-modified").unwrap()).await, 206);
}

#[tokio::test]
async fn ranges_can_be_ignored_or_shortened_and_bodies_chunked() {
    let running = running(1, |switches| switches.ignore_ranges = true).await;
    let guid = running.account().guids()[0];
    let whole = running
        .account()
        .expected(guid, "callRecording", 0..LENGTH)
        .unwrap();
    let range = "range: bytes=10-109\r\n";
    let ignored = get(&running, guid, "callRecording", range).await;
    assert_eq!((ignored.status, &ignored.body), (200, &whole));
    running.change_switches(|switches| {
        switches.ignore_ranges = false;
        switches.longest_range = Some(30);
        switches.chunked = true;
    });
    let shorter = get(&running, guid, "callRecording", range).await;
    assert_eq!(shorter.header("content-range"), Some("bytes 10-39/200044"));
    assert_eq!(shorter.body, whole[10..40]);
    let chunked = get(&running, guid, "callRecording", "").await;
    assert_eq!(chunked.header("content-length"), None);
    assert_eq!(chunked.body, whole);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_keys_match_exactly() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    assert_eq!(get(&running, guid, "nothing", "").await.status, 404);
    assert_eq!(
        get(&running, Uuid::from_u128(4), "transcript", "")
            .await
            .status,
        404
    );
    assert_eq!(get(&running, guid, "callrecording", "").await.status, 404);
    running.change_switches(|switches| switches.key_any_case = true);
    assert_eq!(get(&running, guid, "callrecording", "").await.status, 200);
    running.account().remove(guid);
    assert_eq!(get(&running, guid, "callRecording", "").await.status, 404);
}

#[tokio::test]
async fn an_empty_file_is_200_or_204() {
    let running = running(1, |_| {}).await;
    let now = Timestamp::now();
    let guid = Uuid::from_u128(5);
    let empty = Item::new("empty", "attachment", "text/plain", now, "");
    running
        .account()
        .put(Interaction::new(guid, now).with(empty));
    let reply = get(&running, guid, "empty", "").await;
    assert_eq!(
        (reply.status, reply.header("content-length")),
        (200, Some("0"))
    );
    let range = get(&running, guid, "empty", "range: bytes=0-\r\n").await;
    assert_eq!(range.header("content-range"), Some("bytes */0"));
    running.change_switches(|switches| switches.empty_content_is_204 = true);
    let reply = get(&running, guid, "empty", "").await;
    assert_eq!((reply.status, reply.header("content-length")), (204, None));
}

#[tokio::test]
async fn a_redirect_to_another_origin_serves_who_leaves_the_token_behind() {
    let running = running(1, |switches| switches.redirect = Redirect::OtherHost).await;
    let guid = running.account().guids()[0];
    let reply = get(&running, guid, "callRecording", "range: bytes=5-9\r\n").await;
    assert_eq!(reply.status, 302);
    let location = reply.header("location").unwrap().to_owned();
    let (host, path) = location
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let address = host.parse().unwrap();
    assert_ne!(address, running.address());
    let request = |headers: &str| {
        format!("GET /{path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n")
    };
    let reply = exchange(address, &request("range: bytes=5-9\r\n")).await;
    assert_eq!(reply.status, 206);
    let expected = running.account().expected(guid, "callRecording", 5..10);
    assert_eq!(Some(reply.body), expected);
    let leaked = exchange(address, &request("authorization: Bearer x\r\n")).await;
    assert_eq!(leaked.status, 400);
    let entries = running.log().of(Endpoint::Redirected);
    assert_eq!(entries[0].key.as_deref(), Some("callRecording"));
    assert_eq!(entries[1].token.as_deref(), Some("x"));
    running.change_switches(|switches| switches.redirect = Redirect::SameHost);
    let reply = get(&running, guid, "callRecording", "").await;
    let location = reply.header("location").unwrap();
    let path = location.strip_prefix(&running.api_url()).unwrap();
    let token = token(&running).await;
    assert_eq!(api(&running, &token, "GET", path, "").await.status, 200);
}

#[tokio::test]
async fn the_log_tells_what_was_asked_and_what_was_sent() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    get(
        &running,
        guid,
        "transcript",
        "range: bytes=0-99\r\nif-range: \"x\"\r\n",
    )
    .await;
    running.log().wait_idle().await;
    let entry = running.log().of(Endpoint::Content).pop().unwrap();
    assert_eq!(
        (entry.guid, entry.key.as_deref()),
        (Some(guid), Some("transcript"))
    );
    assert_eq!(entry.range.as_deref(), Some("bytes=0-99"));
    assert_eq!(entry.if_range.as_deref(), Some("\"x\""));
    let length = running
        .account()
        .expected(guid, "transcript", 0..u64::MAX)
        .unwrap()
        .len();
    assert_eq!((entry.status, entry.bytes_sent), (Some(200), length as u64));
    assert_eq!(entry.outcome, Outcome::Sent);
    running.log().clear();
    assert_eq!(running.log().total(), 0);
}
