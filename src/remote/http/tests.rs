//! The client against a server that misbehaves on demand.

mod content;
mod privacy;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use secrecy::SecretString;

use super::scripted::{Asked, Reply, Scripted, terms, terms_of};
use super::*;
use crate::model::{ContentKey, SearchFilter, TimeWindow};
use crate::remote::{Class, Urgency, Validator};

const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";

fn interaction_json() -> String {
    format!(
        r#"{{"guid":"{GUID}","start":"2024-03-05T09:14:02Z","direction":"inbound","content":[]}}"#
    )
}

fn guid() -> Guid {
    GUID.parse().unwrap()
}

fn content_of(start: u64, end: Option<u64>) -> ContentRequest {
    ContentRequest {
        guid: guid(),
        key: ContentKey::new("callRecording"),
        start,
        end,
        validator: None,
        urgency: Urgency::of(Class::Reader),
    }
}

fn search() -> SearchRequest {
    SearchRequest {
        window: TimeWindow {
            from: "2024-03-05T00:00:00Z".parse().unwrap(),
            to: "2024-03-06T00:00:00Z".parse().unwrap(),
        },
        filter: SearchFilter::default(),
        continuation: None,
    }
}

async fn collect(answer: ContentAnswer) -> Result<Vec<u8>, RemoteError> {
    let chunks: Vec<Result<Bytes, RemoteError>> = answer.body.collect().await;
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

fn bearer(asked: &Asked) -> &str {
    asked.header("authorization").unwrap()
}

#[tokio::test]
async fn every_request_carries_what_the_api_requires() {
    let server = Scripted::start(|_, n| match n {
        0 => Reply::json(r#"{"items":[],"meta":{"nextContinuationToken":null}}"#),
        1 => Reply::json(interaction_json()),
        _ => Reply::new(206, &["content-range: bytes 2-3/10"], "cd"),
    })
    .await;
    let remote = server.remote();
    let page = remote.search(&search(), terms()).await.unwrap();
    assert!(page.interactions.is_empty() && page.continuation.is_none());
    assert_eq!(
        remote.interaction(guid(), terms()).await.unwrap().guid,
        guid()
    );
    let answer = remote
        .content(content_of(2, Some(4)), terms())
        .await
        .unwrap();
    assert_eq!(
        (answer.start, answer.end, answer.total),
        (2, Some(4), Some(10))
    );
    assert_eq!(collect(answer).await.unwrap(), b"cd");

    let asked = server.asked();
    for request in &asked {
        assert_eq!(
            request.header("accept"),
            Some("application/vnd.newvoicemedia.v3+json")
        );
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("x-nvm-application"), Some("interactionfs"));
        assert_eq!(bearer(request), "Bearer token-1");
    }
    assert!(
        asked[0]
            .target
            .starts_with("/interaction-content/interactions?start=")
    );
    assert_eq!(
        asked[1].target,
        format!("/interaction-content/interactions/{GUID}")
    );
    assert_eq!(
        asked[2].target,
        format!("/interaction-content/interactions/{GUID}/content/callRecording")
    );
    assert_eq!(asked[2].header("range"), Some("bytes=2-3"));
    let counters = remote.counters();
    assert_eq!(counters.requests(), 4);
    assert_eq!(counters.content.answered, 1);
    assert_eq!(counters.pace.granted, 4);
    assert!(counters.bytes_received > 100);
}

#[tokio::test]
async fn a_429_is_waited_out_without_using_up_retries() {
    let server = Scripted::start(|_, n| match n {
        0 => Reply::new(429, &["retry-after: 0"], "{}"),
        1 => Reply::new(429, &["retry-after: Sun, 06 Nov 1994 08:49:37 GMT"], ""),
        _ => Reply::json(interaction_json()),
    })
    .await;
    let remote = server.remote();
    let no_retries = terms_of(Duration::from_secs(60), 0);
    remote.interaction(guid(), no_retries).await.unwrap();
    let counters = remote.counters();
    assert_eq!((counters.throttled, counters.retries), (2, 0));
    assert!(counters.pace.limit < counters.pace.configured);
}

#[tokio::test]
async fn a_429_that_lasts_past_the_deadline_fails_at_once_for_everyone() {
    let server = Scripted::start(|_, _| Reply::new(429, &["retry-after: 300"], "")).await;
    let remote = server.remote();
    for _ in 0..3 {
        let error = remote.interaction(guid(), terms()).await.unwrap_err();
        assert_eq!(error, RemoteError::NoBudget);
    }
    assert_eq!(server.asked().len(), 1, "nobody asks while it pauses");
}

#[tokio::test]
async fn gateways_and_broken_connections_are_tried_again() {
    let server = Scripted::start(|_, n| match n {
        0 => Reply::new(
            502,
            &["content-type: text/html"],
            "<html>Bad gateway</html>",
        ),
        1 => Reply::nothing(),
        2 => Reply::short(200, &["content-length: 1000"], b"{\"guid\":", false),
        3 => Reply::json(r#"{"guid":"#),
        _ => Reply::json(interaction_json()),
    })
    .await;
    let remote = server.remote();
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(server.asked().len(), 5);
    assert_eq!(remote.counters().retries, 4);
}

#[tokio::test]
async fn retries_end_with_what_went_wrong_last() {
    let server = Scripted::start(|_, _| Reply::new(503, &[], "")).await;
    let remote = server.remote();
    let error = remote
        .interaction(guid(), terms_of(Duration::from_secs(60), 1))
        .await
        .unwrap_err();
    assert_eq!(error, RemoteError::Status(503));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_refused_connection_is_told_in_a_word() {
    let server = Scripted::start(|_, _| Reply::nothing()).await;
    let mut settings = server.settings();
    let port = {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        unused.local_addr().unwrap().port()
    };
    settings.endpoints.api.set_port(Some(port)).unwrap();
    let remote = HttpRemote::new(settings).unwrap();
    let error = remote
        .interaction(guid(), terms_of(Duration::from_secs(60), 0))
        .await
        .unwrap_err();
    assert_eq!(error, RemoteError::Unreachable("refused"));
}

#[tokio::test]
async fn final_statuses_are_not_tried_again() {
    for (status, error) in [
        (404, RemoteError::Gone),
        (410, RemoteError::Gone),
        (400, RemoteError::Status(400)),
        (406, RemoteError::Status(406)),
    ] {
        let server = Scripted::start(move |_, _| Reply::new(status, &[], "{}")).await;
        let remote = server.remote();
        assert_eq!(
            remote.interaction(guid(), terms()).await.unwrap_err(),
            error
        );
        let answer = remote.content(content_of(0, None), terms()).await;
        assert_eq!(answer.unwrap_err(), error);
        assert_eq!(server.asked().len(), 2);
    }
    let server = Scripted::start(|_, _| Reply::bodiless(204)).await;
    let remote = server.remote();
    let gone = remote.interaction(guid(), terms()).await;
    assert_eq!(gone.unwrap_err(), RemoteError::Gone);
    let page = remote.search(&search(), terms()).await.unwrap();
    assert!(page.interactions.is_empty());
    let empty = remote.content(content_of(0, None), terms()).await.unwrap();
    assert_eq!((empty.end, empty.total), (Some(0), Some(0)));
    assert_eq!(collect(empty).await.unwrap(), b"");
}

#[tokio::test]
async fn another_interaction_than_asked_for_is_refused() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let other: Guid = "018c2f5e-77aa-4d10-9c51-000000000000".parse().unwrap();
    let error = server
        .remote()
        .interaction(other, terms_of(Duration::from_secs(60), 0))
        .await
        .unwrap_err();
    assert!(matches!(error, RemoteError::Protocol(_)));
}

#[tokio::test]
async fn pages_are_walked_with_the_token_and_a_large_page_is_read() {
    let server = Scripted::start(|asked, _| {
        if asked.target.contains("continuationToken=n%2B1") {
            return Reply::json(r#"{"items":[{"no":"guid"}]}"#);
        }
        let items: Vec<_> = (0..1000)
            .map(|n| format!(r#"{{"guid":"018c2f5e-77aa-4d10-9c51-{n:012x}","start":"2024-03-05T09:14:02Z","content":[{{"contentKey":"transcript","type":"transcript","contentLength":1}}]}}"#))
            .collect();
        Reply::json(format!(
            r#"{{"items":[{}],"meta":{{"nextContinuationToken":"n+1"}}}}"#,
            items.join(",")
        ))
    })
    .await;
    let remote = server.remote();
    let mut request = search();
    let first = remote.search(&request, terms()).await.unwrap();
    assert_eq!(first.interactions.len(), 1000);
    request.continuation = first.continuation;
    assert!(request.continuation.is_some());
    let second = remote.search(&request, terms()).await.unwrap();
    assert_eq!((second.unreadable, second.continuation), (1, None));
}

#[tokio::test]
async fn an_answer_that_does_not_begin_is_bounded_by_the_deadline() {
    let server = Scripted::start(|_, _| Reply::silence()).await;
    let remote = server.remote();
    remote.check_credentials(terms()).await.unwrap();
    let error = remote
        .interaction(guid(), terms_of(Duration::from_millis(50), 5))
        .await
        .unwrap_err();
    assert_eq!(error, RemoteError::DeadlinePassed);
}

#[tokio::test]
async fn without_budget_a_call_fails_at_once_and_asks_nothing() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let mut settings = server.settings();
    settings.requests_per_minute = 4;
    let remote = HttpRemote::new(settings).unwrap();
    let within = || terms_of(Duration::from_secs(10), 5);
    // One for the token, one for this; the next is due in a third of a minute.
    remote.interaction(guid(), within()).await.unwrap();
    let error = remote.interaction(guid(), within()).await.unwrap_err();
    assert_eq!(error, RemoteError::NoBudget);
    let mut background = within();
    background.class = Class::Prefetch;
    let error = remote.interaction(guid(), background).await.unwrap_err();
    assert_eq!(error, RemoteError::NoBudget);
    assert_eq!(server.asked().len(), 1);
    let conditions = remote.conditions();
    assert_eq!(conditions.budget_left, 2);
    assert!(!conditions.budget_is_idle);
}

#[test]
fn settings_that_cannot_work_are_refused_in_a_sentence() {
    let settings = |ca_file: Option<PathBuf>, id: &str| Settings {
        endpoints: Endpoints::of_region("nam").unwrap(),
        client_id: id.to_owned(),
        secret: SecretSlot::new("s".into()),
        auth_method: AuthMethod::Basic,
        ca_file,
        requests_per_minute: 150,
        ledger: None,
    };
    assert!(matches!(
        HttpRemote::new(settings(None, " ")),
        Err(SetupError::ClientId)
    ));
    let missing = HttpRemote::new(settings(Some("/nonexistent".into()), "id"));
    assert!(matches!(missing, Err(SetupError::CaFile { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate").unwrap();
    let empty = HttpRemote::new(settings(Some(file.path().to_owned()), "id"));
    assert!(matches!(empty, Err(SetupError::CaFormat { .. })));
}
