//! Content: parts, bodies, redirects.

use super::*;

#[tokio::test]
async fn a_wrong_part_is_tried_again_and_never_served() {
    let server = Scripted::start(|_, n| match n {
        0 => Reply::new(206, &["content-range: bytes 0-3/10"], "abcd"),
        1 => Reply::new(206, &[], "efgh"),
        _ => Reply::new(206, &["content-range: bytes 4-7/10"], "efgh"),
    })
    .await;
    let answer = server
        .remote()
        .content(content_of(4, Some(8)), terms())
        .await;
    assert_eq!(collect(answer.unwrap()).await.unwrap(), b"efgh");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_file_that_is_shorter_than_known_tells_its_length() {
    let server = Scripted::start(|_, _| Reply::new(416, &["content-range: bytes */3"], "")).await;
    let answer = server
        .remote()
        .content(content_of(4, Some(8)), terms())
        .await;
    assert_eq!(answer.unwrap_err(), RemoteError::PastEnd { total: Some(3) });
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_seen_to() {
    let server = Scripted::start(|_, _| Reply::new(200, &["etag: \"v2\""], "0123456789")).await;
    let mut request = content_of(4, Some(8));
    request.validator = Some(Validator {
        etag: Some("\"v1\"".into()),
        last_modified: None,
    });
    let answer = server.remote().content(request, terms()).await.unwrap();
    assert_eq!(
        (answer.start, answer.end, answer.total),
        (0, Some(10), Some(10))
    );
    assert_eq!(answer.validator.etag.as_deref(), Some("\"v2\""));
    assert_eq!(collect(answer).await.unwrap(), b"0123456789");
    assert_eq!(server.asked()[0].header("if-range"), Some("\"v1\""));
}

#[tokio::test]
async fn a_body_ends_in_an_error_unless_it_is_what_was_promised() {
    let range = "content-range: bytes 4-7/10";
    let server = Scripted::start(move |_, n| match n {
        0 => Reply::short(206, &[range, "content-length: 4"], b"ef", false),
        1 => Reply::chunked(206, &[range], &[b"ef"], true),
        2 => Reply::chunked(206, &[range], &[b"ef"], false),
        3 => Reply::chunked(206, &[range], &[b"ef", b"ghi"], true),
        4 => Reply::chunked(206, &[range], &[b"ef", b"gh"], true),
        _ => Reply::chunked(200, &[], &[b"abcdef", b"gh"], true),
    })
    .await;
    let remote = server.remote();
    let mut results = Vec::new();
    for _ in 0..6 {
        let answer = remote
            .content(content_of(4, Some(8)), terms())
            .await
            .unwrap();
        results.push((answer.end, collect(answer).await));
    }
    for (end, result) in &results[..3] {
        assert_eq!((*end, result), (Some(8), &Err(RemoteError::Interrupted)));
    }
    assert!(matches!(results[3].1, Err(RemoteError::Protocol(_))));
    assert_eq!(results[4].1.as_deref(), Ok(&b"efgh"[..]));
    assert_eq!(results[5], (None, Ok(b"abcdefgh".to_vec())));
}

/// The clock is stopped once the head and the first bytes are there; with nothing else to do, it jumps to
/// the end of the client's patience.
#[tokio::test]
async fn a_body_that_stalls_ends_in_an_error() {
    let server =
        Scripted::start(|_, _| Reply::short(200, &["content-length: 10"], b"abc", true)).await;
    let answer = server.remote().content(content_of(0, None), terms()).await;
    let mut body = answer.unwrap().body;
    assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"abc"))));
    tokio::time::pause();
    assert_eq!(body.next().await, Some(Err(RemoteError::Interrupted)));
    assert_eq!(body.next().await, None);
}

#[tokio::test]
async fn a_redirect_to_another_host_keeps_the_range_and_drops_the_credentials() {
    let store =
        Scripted::start(|_, _| Reply::new(206, &["content-range: bytes 4-7/10"], "efgh")).await;
    let target = format!("location: http://127.0.0.1:{}/signed?secret=1", store.port);
    let server = Scripted::start(move |_, _| Reply::new(302, &[&target], "")).await;
    let remote = server.remote();
    let answer = remote
        .content(content_of(4, Some(8)), terms())
        .await
        .unwrap();
    assert_eq!(collect(answer).await.unwrap(), b"efgh");
    let asked = store.asked();
    assert_eq!(asked[0].target, "/signed?secret=1");
    assert_eq!(asked[0].header("range"), Some("bytes=4-7"));
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(asked[0].header("x-nvm-application"), None);
    assert_eq!(asked[0].header("referer"), None);
    assert_eq!(remote.counters().requests(), 2, "the store is not the API");
}

#[tokio::test]
async fn redirects_within_the_origin_keep_the_token_and_come_to_an_end() {
    let server = Scripted::start(|asked, _| {
        let depth = asked.target.matches('x').count();
        if depth == 3 {
            Reply::json(interaction_json())
        } else {
            let target = format!("location: /{}", "x".repeat(depth + 1));
            Reply::new(307, &[&target], "")
        }
    })
    .await;
    let remote = server.remote();
    // The first path holds no x.
    remote.interaction(guid(), terms()).await.unwrap();
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| bearer(asked) == "Bearer token-1")
    );
    let endless = Scripted::start(|_, _| Reply::new(302, &["location: /again"], "")).await;
    let error = endless.remote().interaction(guid(), terms()).await;
    assert!(matches!(error, Err(RemoteError::Protocol(_))));
    assert_eq!(endless.asked().len(), 4);
}

#[tokio::test]
async fn keys_that_no_url_can_carry_cost_no_request() {
    let server = Scripted::start(|_, _| Reply::nothing()).await;
    let mut request = content_of(0, None);
    request.key = ContentKey::new("..");
    let answer = server.remote().content(request, terms()).await;
    assert!(matches!(answer, Err(RemoteError::Protocol(_))));
    assert!(server.asked().is_empty() && server.tokens().is_empty());
}
