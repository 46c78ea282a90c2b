//! How many threads that may block are in calls of one kind at once.
//!
//! Nothing calls off a system call that waits for a disk, so on a disk that stopped answering every such call keeps its
//! thread. The runtime has so many of them; each kind of call has a lane of its own, so that one that is stuck
//! can't take the threads of all others (parsing, names, the other disk) as well.

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::executor;

/// Reads of cached content.
pub static CONTENT: Lane = Lane::shared(16);

/// Listings and writes of the catalogue.
pub static CATALOGUE: Lane = Lane::shared(12);

/// Single interactions of the catalogue: apart from its listings, because most calls need one.
pub static INTERACTIONS: Lane = Lane::shared(8);

/// Threads for all lanes, and for what has none: parsing, mounting, a few tasks of which there is one each.
pub const THREADS: usize = 16 + 12 + 8 + 28;

/// A kind of call, and how many of it may be under way in this process.
#[derive(Debug)]
pub struct Lane(Semaphore);

impl Lane {
    pub(crate) const fn new(threads: usize) -> Self {
        Self(Semaphore::const_new(threads))
    }

    /// One that all of this process share. Tests have runtimes of their own, which must not wait for each other: paused time
    /// passes while they do.
    const fn shared(threads: usize) -> Self {
        Self::new(if cfg!(test) { 1000 } else { threads })
    }

    /// Runs `work` on a thread that may block, when there is one for it. Whoever stops waiting leaves the queue; work that was
    /// begun goes on, and keeps its place in the lane until it ends.
    ///
    /// `None` if the runtime ends, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = self.0.acquire().await.ok()?;
        let in_lane = move || {
            let _place = place;
            work()
        };
        executor::blocking(&Handle::current(), in_lane).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_is_stuck_keeps_its_place_and_no_other_lane_waits_for_it() {
        static SLOW: Lane = Lane::new(1);
        static OTHER: Lane = Lane::new(1);
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let stuck = tokio::spawn(SLOW.run(move || {
            begun.send(()).unwrap();
            released.recv().unwrap();
        }));
        tokio::task::block_in_place(|| has_begun.recv().unwrap());
        // Whoever waited for it has gone: the thread is taken all the same.
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        assert_eq!(SLOW.0.available_permits(), 0);
        assert_eq!(OTHER.run(|| 7).await, Some(7));
        release.send(()).unwrap();
        assert_eq!(SLOW.run(|| 8).await, Some(8));
    }
}
