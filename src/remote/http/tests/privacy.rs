//! What must never be seen.

use super::*;

/// Secrets, tokens, numbers and bodies that the test below must not find in the log, in errors or in Debug.
const MARKED: [&str; 7] = [
    "client-marked",
    "s3cr3t-marked",
    "token-marked",
    "4479460",
    "body-marked",
    "target-marked",
    GUID,
];

#[tokio::test]
async fn nothing_personal_or_secret_reaches_a_log_an_error_or_a_debug_text() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // With a single subscriber, tracing asks only the thread that first comes by a log statement whether
    // anybody listens to it; with two it asks both, whatever thread it is (another test's, here).
    let _second = tracing::Dispatch::new(
        tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish(),
    );
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Scripted::with_tokens(
        |_, n| match n {
            0 => Reply::new(500, &[], r#"{"message":"body-marked"}"#),
            1 => Reply::new(401, &[], "body-marked"),
            2 => Reply::new(429, &["retry-after: 0"], "body-marked"),
            3 => Reply::json("body-marked"),
            4 => Reply::new(302, &["location: http://127.0.0.1:1/target-marked"], ""),
            _ => Reply::new(400, &[], "body-marked"),
        },
        |_, n| match n {
            0 => Reply::new(503, &[], "body-marked"),
            1 | 2 => Reply::json(r#"{"access_token":"token-marked","expires_in":7200}"#),
            _ => Reply::new(400, &[], r#"{"error":"body-marked"}"#),
        },
    )
    .await;
    let mut settings = server.settings();
    settings.secret = SecretSlot::new("s3cr3t-marked".into());
    settings.client_id = "client-marked".to_owned();
    let secret = settings.secret.clone();
    let mut shown = format!("{settings:?}");
    let remote = HttpRemote::new(settings).unwrap();
    let mut request = search();
    request.filter.connect_from = Some(crate::model::Personal::new("+4479460".into()));
    let error = remote.search(&request, terms()).await.unwrap_err();
    shown += &format!("{request:?} {error} {error:?} {remote:?}");
    let error = remote
        .content(content_of(1, None), terms())
        .await
        .unwrap_err();
    shown += &format!("{error} {error:?}");
    secret.replace("s3cr3t-marked-2".into());
    let error = remote.interaction(guid(), terms()).await.unwrap_err();
    shown += &format!("{error} {error:?} {:?}", remote.counters());

    let logged = log.text();
    assert!(logged.contains("the request is made again"), "{logged}");
    assert!(logged.contains("a new token is tried"));
    assert!(logged.contains("slower pace"));
    for marked in MARKED {
        assert!(!logged.contains(marked), "{marked} in the log");
        assert!(!shown.contains(marked), "{marked} in a text");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
