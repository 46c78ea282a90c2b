//! The limits, deletion, and connections that are used again.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::errors::V3;
use super::super::{Endpoint, Fault, RetryAfterForm, Rule, Running, Target};
use super::client::{Reply, api, ask_token, exchange, token};
use super::running;

#[tokio::test]
async fn the_limit_counts_every_endpoint() {
    let running = running(1, |switches| {
        switches.requests_per_minute = Some(4);
        switches.retry_after = RetryAfterForm::Seconds;
    })
    .await;
    let guid = running.account().guids()[0];
    let token = token(&running).await;
    let path = format!("/interactions/{guid}");
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 200);
    assert_eq!(api(&running, "bad", "GET", &path, "").await.status, 401);
    let content = format!("{path}/content/transcript");
    assert_eq!(api(&running, &token, "GET", &content, "").await.status, 200);
    let reply = api(&running, &token, "GET", &path, "").await;
    assert_eq!(reply.status, 429);
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(ask_token(&running, "", "a=b").await.status, 429);
    running.forget_pace();
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 200);
}

#[tokio::test]
async fn latency_and_bandwidth_take_their_time() {
    let running = running(1, |_| {}).await;
    let token = token(&running).await;
    let guid = running.account().guids()[0];
    let path = format!("/interactions/{guid}/content/callRecording");
    running.change_switches(|switches| {
        switches.latency = Duration::from_secs(3);
        switches.bandwidth = Some(20_000);
    });
    // From here on the clock goes as far as the next timer whenever nothing else is to be done.
    tokio::time::pause();
    let started = Instant::now();
    let reply = api(&running, &token, "GET", &path, "").await;
    assert_eq!(reply.body.len(), 200_044);
    assert!(started.elapsed() >= Duration::from_secs(13));
    running.change_switches(|switches| switches.bandwidth = None);
    let started = Instant::now();
    api(&running, &token, "GET", &path, "").await;
    assert!(started.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn the_limit_is_over_after_a_minute() {
    let running = running(1, |switches| switches.requests_per_minute = Some(2)).await;
    tokio::time::pause();
    let guid = running.account().guids()[0];
    let token = token(&running).await;
    let path = format!("/interactions/{guid}");
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 200);
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 429);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 200);
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 401);
}

async fn delete_batch(running: &Running, token: &str, body: &str) -> Reply {
    let length = body.len();
    let request = format!(
        "POST /interaction-content/interactions/delete-batch HTTP/1.1\r\nhost: h\r\n\
         connection: close\r\naccept: {V3}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    exchange(running.address(), &request).await
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_only_protected_ones_fail() {
    let running = running(4, |_| {}).await;
    let token = token(&running).await;
    let guids = running.account().guids();
    let path = format!("/interactions/{}", guids[0]);
    let reply = api(&running, &token, "DELETE", &path, "").await;
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    assert_eq!(api(&running, &token, "GET", &path, "").await.status, 404);
    assert_eq!(api(&running, &token, "DELETE", &path, "").await.status, 404);
    running.protect([guids[2]]);
    let body = json!({ "guids": guids.iter().map(ToString::to_string).collect::<Vec<_>>() });
    let reply = delete_batch(&running, &token, &body.to_string()).await;
    assert_eq!(reply.status, 200);
    let failures = reply.json()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), 1, "one that is gone is no failure");
    assert_eq!(failures[0]["guid"], guids[2].to_string());
    assert_eq!(failures[0]["statusCode"], 403);
    assert_eq!(running.account().guids(), [guids[2]]);
    for bad in ["", "{}", r#"{"guids":[]}"#, r#"{"guids":["x"]}"#] {
        assert_eq!(
            delete_batch(&running, &token, bad).await.status,
            400,
            "{bad}"
        );
    }
    let many = json!({ "guids": vec![guids[0].to_string(); 1001] }).to_string();
    assert_eq!(delete_batch(&running, &token, &many).await.status, 400);
}

#[tokio::test]
async fn deletions_have_a_limit_and_go_one_at_a_time() {
    let running = running(5, |switches| switches.deletes_per_minute = Some(2)).await;
    let token = token(&running).await;
    let guids = running.account().guids();
    let delete = async |number: usize| {
        let path = format!("/interactions/{}", guids[number]);
        api(&running, &token, "DELETE", &path, "").await.status
    };
    assert_eq!(delete(0).await, 200);
    running.faults().add(Rule::new(Target::Delete, Fault::Hold));
    running.log().clear();
    let second = async {
        running.log().wait_for_of(Endpoint::Delete, 1).await;
        running
            .log()
            .wait_until(|_| running.account().count() == 3)
            .await;
        let status = delete(2).await;
        running.faults().clear();
        status
    };
    let (held, refused) = tokio::join!(delete(1), second);
    assert_eq!((held, refused), (200, 429));
    assert_eq!(delete(3).await, 429);
}

#[tokio::test]
async fn a_connection_serves_many_requests_also_sent_at_once() {
    let running = running(1, |_| {}).await;
    let token = token(&running).await;
    let guid = running.account().guids()[0];
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let request = |last: &str| {
        format!(
            "GET /interaction-content/interactions/{guid} HTTP/1.1\r\nhost: h\r\naccept: {V3}\r\n\
             authorization: Bearer {token}\r\n{last}\r\n"
        )
    };
    let all = request("") + &request("") + &request("connection: close\r\n");
    stream.write_all(all.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    running.log().wait_idle().await;
    let entries = running.log().of(Endpoint::Interaction);
    assert_eq!(entries.len(), 3);
    assert!(
        entries
            .iter()
            .all(|entry| entry.connection == entries[0].connection)
    );
}

#[tokio::test]
async fn what_is_no_http_is_answered_400_and_ended() {
    let running = running(1, |_| {}).await;
    assert_eq!(
        exchange(running.address(), "\u{1}\u{2}\r\n\r\n")
            .await
            .status,
        400
    );
    let chunked = "POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(exchange(running.address(), chunked).await.status, 400);
}
