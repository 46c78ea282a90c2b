use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use futures::stream::{self, BoxStream, StreamExt};

use super::client::{ask_in, prefetch_in, sweep_in};
use super::*;

#[derive(Default)]
struct Mount {
    stopped: AtomicBool,
    /// Dropped with the events of an order.
    at_work: Arc<()>,
}

impl Answers for Mount {
    fn status(&self) -> Value {
        json!({"state": "serving"})
    }

    fn reload(&self) -> Result<(), String> {
        Err("the secret file is gone".to_owned())
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn prefetch(&self, order: Value) -> Result<BoxStream<'static, Value>, String> {
        let at_work = Arc::clone(&self.at_work);
        match order.as_u64() {
            Some(count) => Ok(stream::iter(0..count).map(|number| json!(number)).boxed()),
            None if order == "for ever" => Ok(stream::once(async { json!("begun") })
                .chain(stream::pending())
                .inspect(move |_| {
                    let _ = &at_work;
                })
                .boxed()),
            None => Err("nothing is kept here".to_owned()),
        }
    }
}

fn place(directory: &tempfile::TempDir) -> Vec<PathBuf> {
    vec![
        directory.path().join("missing/deep"),
        directory.path().join("sockets"),
    ]
}

async fn asked(
    place: &[PathBuf],
    mountpoint: &Path,
    request: Request,
) -> Result<Value, Unanswered> {
    let (place, mountpoint) = (place.to_vec(), mountpoint.to_owned());
    tokio::task::spawn_blocking(move || ask_in(&place, &mountpoint, request))
        .await
        .unwrap()
}

#[tokio::test]
async fn every_request_is_answered_by_the_mount() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let mount = Arc::new(Mount::default());
    let server = Server::bind_in(&place, directory.path()).unwrap();
    let serving = tokio::spawn(server.serve(Arc::<Mount>::clone(&mount)));

    let mountpoint = directory.path();
    let status = asked(&place, mountpoint, Request::Status).await.unwrap();
    assert_eq!(status, json!({"state": "serving"}));
    let reload = asked(&place, mountpoint, Request::Reload).await;
    assert!(matches!(reload, Err(Unanswered::Refused(reason)) if reason.contains("secret file")));
    assert!(
        asked(&place, mountpoint, Request::Stop)
            .await
            .unwrap()
            .is_null()
    );
    assert!(mount.stopped.load(Ordering::SeqCst));

    let other = asked(&place, Path::new("/"), Request::Status).await;
    assert!(matches!(other, Err(Unanswered::NotRunning)));

    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(std::fs::read_dir(&place[1]).unwrap().count(), 0);
}

#[tokio::test]
async fn an_order_is_answered_line_by_line_and_ends_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let mount = Arc::new(Mount::default());
    let server = Server::bind_in(&place, directory.path()).unwrap();
    let serving = tokio::spawn(server.serve(Arc::<Mount>::clone(&mount)));
    let ordered = |order: Value| {
        let (place, mountpoint) = (place.clone(), directory.path().to_owned());
        tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            let outcome = prefetch_in(&place, &mountpoint, order, |value| told.push(value));
            (outcome, told)
        })
    };

    let (outcome, told) = ordered(json!(3)).await.unwrap();
    outcome.unwrap();
    assert_eq!(told, [json!(0), json!(1), json!(2)]);
    let (outcome, told) = ordered(json!("much")).await.unwrap();
    assert!(matches!(outcome, Err(Unanswered::Refused(reason)) if reason.contains("kept")));
    assert!(told.is_empty());

    let socket = std::fs::read_dir(&place[1])
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let mut stream = tokio::io::BufReader::new(stream);
    tokio::io::AsyncWriteExt::write_all(
        &mut stream,
        b"{\"command\":\"prefetch\",\"order\":\"for ever\"}\n",
    )
    .await
    .unwrap();
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stream, &mut line)
        .await
        .unwrap();
    assert_eq!(line, "{\"ok\":\"begun\"}\n");
    assert_eq!(Arc::strong_count(&mount.at_work), 2);
    drop(stream);
    while Arc::strong_count(&mount.at_work) > 1 {
        tokio::task::yield_now().await;
    }
    serving.abort();
}

#[tokio::test]
async fn only_the_user_can_reach_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let _server = Server::bind_in(&place, directory.path()).unwrap();
    let socket = std::fs::read_dir(&place[1])
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(socket.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&place[1]).unwrap().mode() & 0o777, 0o700);

    std::fs::set_permissions(&place[1], std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Server::bind_in(&place, Path::new("/")).is_err());
    let asked = asked(&place, directory.path(), Request::Status).await;
    assert!(matches!(asked, Err(Unanswered::NotRunning)));
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let server = Server::bind_in(&place, directory.path()).unwrap();
    let socket = std::fs::read_dir(&place[1])
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    sweep_in(&place, directory.path());
    assert!(socket.exists());
    drop(server);
    assert!(!socket.exists());

    let kill = || drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    kill();
    assert!(socket.exists());
    drop(Server::bind_in(&place, directory.path()).unwrap());
    kill();
    sweep_in(&place, directory.path());
    assert!(!socket.exists());
}

#[tokio::test]
async fn the_mount_that_stands_now_answers_while_the_one_before_it_still_ends() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let (before, now) = (Arc::new(Mount::default()), Arc::new(Mount::default()));
    let ending = Server::bind_in(&place, directory.path()).unwrap();
    let ending = tokio::spawn(ending.serve(Arc::<Mount>::clone(&before)));
    let server = Server::bind_in(&place, directory.path()).unwrap();
    let serving = tokio::spawn(server.serve(Arc::<Mount>::clone(&now)));

    ending.abort();
    assert!(ending.await.unwrap_err().is_cancelled());
    asked(&place, directory.path(), Request::Stop)
        .await
        .unwrap();
    assert!(now.stopped.load(Ordering::SeqCst));
    assert!(!before.stopped.load(Ordering::SeqCst));
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(std::fs::read_dir(&place[1]).unwrap().count(), 0);
}

#[test]
fn a_mountpoint_that_can_not_be_looked_at_is_found_through_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(".", &link).unwrap();
    let real = std::fs::canonicalize(directory.path()).unwrap();
    // As with a dead mount, nothing is learnt of the last name itself. Shells complete it with a slash.
    for name in ["dead", "dead/"] {
        assert_eq!(canonical(&link.join(name)), real.join("dead"));
    }
}

#[tokio::test]
async fn nonsense_is_answered_and_does_not_end_the_conversation() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory);
    let server = Server::bind_in(&place, directory.path()).unwrap();
    let socket = std::fs::read_dir(&place[1])
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let serving = tokio::spawn(server.serve(Arc::new(Mount::default())));
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut answers = Vec::new();
    for request in [
        "nonsense\n",
        "{\"command\":\"fly\"}\n",
        "{\"command\":\"status\"}\n",
    ] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        answers.push(line);
    }
    assert!(answers[0].starts_with("{\"error\":"), "{answers:?}");
    assert!(answers[1].starts_with("{\"error\":"), "{answers:?}");
    assert_eq!(answers[2], "{\"ok\":{\"state\":\"serving\"}}\n");
    serving.abort();
}
