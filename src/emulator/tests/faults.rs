//! Every fault, as a client sees it.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::super::errors::V3;
use super::super::{Endpoint, ErrorBody, Fault, Outcome, RetryAfter, Rule, Running, Target};
use super::client::{Reply, api, ask_token, basic, parse, token};
use super::running;

/// One read of bytes 10 to 1009 of the only interaction's recording, after a rule was added.
async fn spoilt(running: &Running, fault: Fault) -> (Reply, Vec<u8>) {
    running.faults().clear();
    let guid = running.account().guids()[0];
    let token = token(running).await;
    let id = running
        .faults()
        .add(Rule::new(Target::Content, fault).guid(guid));
    let path = format!("/interactions/{guid}/content/callRecording");
    let range = "range: bytes=10-1009\r\n";
    let reply = api(running, &token, "GET", &path, range).await;
    assert_eq!(running.faults().fired(id), 1);
    let after = api(running, &token, "GET", &path, range).await;
    assert_eq!(after.status, 206, "the rule applies once");
    (reply, after.body)
}

#[tokio::test]
async fn statuses_come_with_the_body_and_the_wait_that_were_asked_for() {
    let running = running(1, |_| {}).await;
    let fault = |code, body, retry_after| Fault::Status {
        code,
        body,
        retry_after,
    };
    let (reply, _) = spoilt(&running, fault(503, ErrorBody::Message, None)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, None));
    assert!(!reply.message().is_empty());
    let wait = Some(RetryAfter::Seconds(3));
    let (reply, _) = spoilt(&running, fault(502, ErrorBody::Html, wait)).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (502, Some("3"))
    );
    assert!(reply.body.starts_with(b"<html>"));
    let wait = Some(RetryAfter::Date(Duration::from_secs(60)));
    let (reply, _) = spoilt(&running, fault(429, ErrorBody::Empty, wait)).await;
    assert!(reply.body.is_empty());
    assert!(httpdate::parse_http_date(reply.header("retry-after").unwrap()).is_ok());
    let (reply, _) = spoilt(&running, Fault::NoContent).await;
    assert_eq!(reply.status, 204);
    let invalid = fault(401, ErrorBody::OAuth("invalid_client"), None);
    running.faults().add(Rule::new(Target::Token, invalid));
    let good = basic(running.client_id(), running.client_secret());
    let body = "grant_type=client_credentials&scope=interaction-content:read";
    let reply = ask_token(&running, &good, body).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (401, &"invalid_client".into())
    );
}

#[tokio::test]
async fn connections_break_where_they_are_told_to() {
    let running = running(1, |_| {}).await;
    let (reply, _) = spoilt(&running, Fault::ResetBeforeHead).await;
    assert_eq!(
        (reply.status, reply.broken),
        (0, Some(ErrorKind::ConnectionReset))
    );
    let (reply, _) = spoilt(&running, Fault::ResetAfter(400)).await;
    assert_eq!(reply.broken, Some(ErrorKind::ConnectionReset));
    assert!(reply.body.len() <= 400, "a reset may take bytes back");
    let (reply, whole) = spoilt(&running, Fault::ShortBody(400)).await;
    assert_eq!(reply.broken, None);
    assert!(reply.is_short());
    assert_eq!(reply.body, whole[..400]);
}

#[tokio::test]
async fn a_connection_can_end_though_it_was_to_be_kept() {
    let running = running(1, |_| {}).await;
    running
        .faults()
        .add(Rule::new(Target::Any, Fault::CloseAfter));
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let request = b"GET /interaction-content/interactions HTTP/1.1\r\nhost: h\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let reply = parse(&bytes, None);
    assert_eq!((reply.status, reply.header("connection")), (401, None));
    assert!(!reply.is_short());
}

#[tokio::test]
async fn heads_lie_as_they_are_told_to() {
    let running = running(1, |_| {}).await;
    let (reply, whole) = spoilt(&running, Fault::ShortRange(10)).await;
    assert_eq!(reply.header("content-range"), Some("bytes 10-1009/200044"));
    assert_eq!(
        (reply.header("content-length"), &*reply.body),
        (Some("990"), &whole[..990])
    );
    let (reply, _) = spoilt(&running, Fault::LongBody(10)).await;
    assert_eq!(reply.header("content-range"), Some("bytes 10-1009/200044"));
    assert_eq!(reply.body.len(), 1010);
    let (reply, whole) = spoilt(&running, Fault::WrongContentRange).await;
    assert_eq!(reply.header("content-range"), Some("bytes 11-1010/200045"));
    assert_eq!(reply.body, whole);
    let (reply, _) = spoilt(&running, Fault::WrongTotal(5)).await;
    assert_eq!(reply.header("content-range"), Some("bytes 10-1009/200049"));
    let (reply, _) = spoilt(&running, Fault::NoContentRange).await;
    assert_eq!((reply.status, reply.header("content-range")), (206, None));
    let (reply, _) = spoilt(&running, Fault::IgnoreRange).await;
    assert_eq!((reply.status, reply.body.len()), (200, 200_044));
    let (reply, _) = spoilt(&running, Fault::HugeHeader(40_000)).await;
    assert_eq!(reply.header("x-huge").unwrap().len(), 40_000);
    let (reply, _) = spoilt(&running, Fault::UnaskedEncoding).await;
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let (reply, _) = spoilt(&running, Fault::RedirectElsewhere).await;
    assert!(
        !reply
            .header("location")
            .unwrap()
            .starts_with(&running.api_url())
    );
    let (reply, _) = spoilt(&running, Fault::RedirectLoop).await;
    assert!(reply.header("location").unwrap().contains("callRecording"));
    let (reply, whole) = spoilt(&running, Fault::SlowFirstByte(Duration::from_millis(5))).await;
    assert_eq!(reply.body, whole);
    let (reply, whole) = spoilt(&running, Fault::SlowBody(100_000)).await;
    assert_eq!(reply.body, whole);
}

#[tokio::test]
async fn garbage_is_no_json() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    let token = token(&running).await;
    running
        .faults()
        .add(Rule::new(Target::Interaction, Fault::GarbageJson));
    let path = format!("/interactions/{guid}");
    let reply = api(&running, &token, "GET", &path, "").await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
}

/// Asks for the recording and leaves the answer to be read.
async fn begin(running: &Running, token: &str, guid: Uuid) -> TcpStream {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let request = format!(
        "GET /interaction-content/interactions/{guid}/content/callRecording HTTP/1.1\r\nhost: h\r\n\
         accept: {V3}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_stalled_body_goes_on_when_released() {
    let running = running(1, |_| {}).await;
    let (token, guid) = (token(&running).await, running.account().guids()[0]);
    let rule = Rule::new(Target::Content, Fault::Stall { after: 100_000 });
    running.faults().add(rule);
    let mut stream = begin(&running, &token, guid).await;
    let mut bytes = vec![0; 100_000];
    stream.read_exact(&mut bytes).await.unwrap();
    let sent = |log: &super::super::RequestLog| log.of(Endpoint::Content)[0].bytes_sent;
    running.log().wait_until(|log| sent(log) == 100_000).await;
    assert_eq!(
        running.log().of(Endpoint::Content)[0].outcome,
        Outcome::Pending
    );
    running.faults().release();
    stream.read_to_end(&mut bytes).await.unwrap();
    let reply = parse(&bytes, None);
    let expected = running
        .account()
        .expected(guid, "callRecording", 0..u64::MAX);
    assert_eq!(Some(reply.body), expected);
}

#[tokio::test]
async fn a_held_answer_comes_when_its_logged_request_is_released() {
    let running = running(1, |_| {}).await;
    let (token, guid) = (token(&running).await, running.account().guids()[0]);
    running
        .faults()
        .add(Rule::new(Target::Content, Fault::Hold));
    let mut stream = begin(&running, &token, guid).await;
    running.log().wait_for_of(Endpoint::Content, 1).await;
    assert_eq!(running.log().of(Endpoint::Content)[0].status, None);
    running.faults().release();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(parse(&bytes, None).status, 200);
}

#[tokio::test]
async fn a_held_answer_is_forgotten_when_the_client_leaves() {
    let running = running(1, |_| {}).await;
    let (token, guid) = (token(&running).await, running.account().guids()[0]);
    running
        .faults()
        .add(Rule::new(Target::Content, Fault::Hold));
    let stream = begin(&running, &token, guid).await;
    running.log().wait_for_of(Endpoint::Content, 1).await;
    drop(stream);
    running.log().wait_idle().await;
    let entry = running.log().of(Endpoint::Content).pop().unwrap();
    assert_eq!((entry.status, entry.outcome), (None, Outcome::ClientLeft));
}

#[tokio::test]
async fn stopping_cuts_what_is_held() {
    let running = running(1, |_| {}).await;
    let (token, guid) = (token(&running).await, running.account().guids()[0]);
    running
        .faults()
        .add(Rule::new(Target::Content, Fault::Hold));
    let mut stream = begin(&running, &token, guid).await;
    running.log().wait_for_of(Endpoint::Content, 1).await;
    let address = running.address();
    running.stop().await;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty(), "{read:?}");
    assert!(TcpStream::connect(address).await.is_err());
}
