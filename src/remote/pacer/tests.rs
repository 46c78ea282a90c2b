//! The pacer as its callers see it. Nothing here waits for time to pass: what is granted is granted at
//! once, what isn't is refused at once because its deadline is too near.

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Takes what goes at once: how many.
async fn burst(pacer: &Pacer, class: Class) -> usize {
    let mut granted = 0;
    // The one behind the burst is due in 15 s; nobody waits for it, so it is refused at once.
    while let Ok(permit) = pacer
        .acquire(class, Instant::now() + Duration::from_secs(8))
        .await
    {
        let _ = permit;
        granted += 1;
    }
    granted
}

#[tokio::test]
async fn a_burst_takes_half_and_the_next_is_refused_when_it_would_come_too_late() {
    // 6 a minute: after three at once, one each 15 s.
    let pacer = Pacer::new(6, None).unwrap();
    assert_eq!(burst(&pacer, Class::Reader).await, 3);
    let refused = pacer
        .acquire(Class::Reader, Instant::now() + Duration::from_secs(8))
        .await;
    assert_eq!(refused.unwrap_err(), RemoteError::NoBudget);
    assert_eq!(pacer.counters().granted, 3);
}

#[tokio::test]
async fn two_pacers_with_one_ledger_share_one_budget() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pace");
    let one = Pacer::new(6, Some(path.clone())).unwrap();
    let other = Pacer::new(6, Some(path)).unwrap();
    let mut granted = 0;
    for pacer in [&one, &other].into_iter().cycle().take(2) {
        assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
        granted += 1;
    }
    assert_eq!(granted + burst(&other, Class::Reader).await, 3);
    assert_eq!(burst(&one, Class::Reader).await, 0);
    assert!(one.counters().shared);
}

#[tokio::test]
async fn a_429_of_one_process_pauses_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pace");
    let one = Pacer::new(150, Some(path.clone())).unwrap();
    let other = Pacer::new(150, Some(path)).unwrap();
    let permit = one.acquire(Class::Reader, soon()).await.unwrap();
    one.throttled(permit, Some(Duration::from_micros(rules::PAUSE_MAX)));
    // Served by the same thread after the 429 was taken note of.
    let refused = one.acquire(Class::Reader, soon()).await;
    assert_eq!(refused.unwrap_err(), RemoteError::NoBudget);
    let refused = other.acquire(Class::Reader, soon()).await;
    assert_eq!(refused.unwrap_err(), RemoteError::NoBudget);
    one.paused_past(soon()).await;
    assert!(one.counters().limit < 150);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let pacer = Pacer::new(150, Some(directory.path().to_owned())).unwrap();
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(!pacer.counters().shared);
}

/// A pacer that was granted one request, and then another process holds the ledger's lock, as on a disk that hangs.
struct Hung {
    pacer: Pacer,
    directory: tempfile::TempDir,
    held: std::fs::File,
}

impl Hung {
    async fn at(limit: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pace");
        let pacer = Pacer::new(limit, Some(path.clone())).unwrap();
        assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
        let held = std::fs::File::open(path).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        Self {
            pacer,
            directory,
            held,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("pace")
    }

    fn answers(&self) {
        rustix::fs::flock(&self.held, rustix::fs::FlockOperation::Unlock).unwrap();
    }
}

async fn taken_up_again(pacer: &Pacer) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !pacer.counters().shared {
        assert!(Instant::now() < give_up, "the ledger is not taken up again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_ledger_that_hangs_holds_up_nobody() {
    let hung = Hung::at(150).await;
    let pacer = &hung.pacer;
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(!pacer.counters().shared);
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    hung.answers();
    taken_up_again(pacer).await;
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(pacer.counters().shared);
}

#[tokio::test]
async fn a_pause_that_began_while_the_ledger_hung_holds_when_it_answers() {
    let hung = Hung::at(150).await;
    let pacer = &hung.pacer;
    let permit = pacer.acquire(Class::Reader, soon()).await.unwrap();
    assert!(!pacer.counters().shared);
    pacer.throttled(permit, Some(Duration::from_secs(3600)));
    hung.answers();
    taken_up_again(pacer).await;
    let refused = pacer.acquire(Class::Reader, soon()).await;
    assert_eq!(refused.unwrap_err(), RemoteError::NoBudget);
    let other = Pacer::new(150, Some(hung.path())).unwrap();
    let refused = other.acquire(Class::Reader, soon()).await;
    assert_eq!(refused.unwrap_err(), RemoteError::NoBudget);
}

#[tokio::test]
async fn what_was_granted_while_the_ledger_hung_counts_when_it_answers() {
    let hung = Hung::at(6).await;
    let pacer = &hung.pacer;
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    hung.answers();
    taken_up_again(pacer).await;
    assert_eq!(burst(pacer, Class::Reader).await, 0);
}

#[tokio::test]
async fn a_ledger_that_failed_is_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pace");
    let pacer = Pacer::new(150, Some(path.clone())).unwrap();
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(!pacer.counters().shared);
    std::fs::remove_dir(&path).unwrap();
    taken_up_again(&pacer).await;
    assert!(pacer.acquire(Class::Reader, soon()).await.is_ok());
    assert!(pacer.counters().shared);
}

#[tokio::test]
async fn who_leaves_the_queue_costs_nothing() {
    let pacer = Pacer::new(6, None).unwrap();
    assert_eq!(burst(&pacer, Class::Reader).await, 3);
    let leaving = pacer.acquire(Class::Reader, soon());
    assert!(futures::FutureExt::now_or_never(leaving).is_none());
    assert_eq!(pacer.counters().waiting, 0);
    assert_eq!(pacer.counters().granted, 3);
}
