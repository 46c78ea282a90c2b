//! Where an operation runs: on the thread that has what it waited for.
//!
//! Waking a thread costs tens of microseconds, often more than all else that an operation of the kernel's needs.
//! So an operation is begun by the thread that brought it; work that [`blocking`] does for it takes one hand-over, to a thread
//! that may block, and that thread goes on with the operation instead of handing it back. So may whoever calls [`waking`].
//! Whatever else it waits for, a timer or the network, it goes on with on the runtime.
//!
//! Knows nothing of what it runs. A panic in an operation is the operation's to catch.

use std::cell::RefCell;
use std::future::Future;

use async_task::Runnable;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

thread_local! {
    /// The operations that were woken by work done on this thread, while it is about to go on with them.
    static WOKEN: RefCell<Option<Vec<Runnable>>> = const { RefCell::new(None) };
}

/// Begins `operation` on the calling thread, which it never blocks, and goes on with it wherever it gets what it waits for.
///
/// It is dropped when the runtime ends.
pub fn begin(runtime: &Handle, operation: impl Future<Output = ()> + Send + 'static) {
    let elsewhere = runtime.clone();
    let (runnable, task) = async_task::spawn(operation, move |runnable| {
        if let Some(runnable) = kept_here(runnable) {
            elsewhere.spawn(async move {
                runnable.run();
            });
        }
    });
    task.detach();
    let _inside = runtime.enter();
    runnable.run();
}

/// Does `work`, which may block, on a thread of the runtime's that may. `None` if it panicked, or the runtime ends.
pub async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    // Whoever waits no longer takes the result with it; the work itself can't be called off.
    runtime.spawn_blocking(move || {
        let value = work();
        waking(|| drop(done.send(value)));
    });
    result.await.ok()
}

/// Takes an operation that was just woken, if this thread is to go on with it; else gives it back.
fn kept_here(runnable: Runnable) -> Option<Runnable> {
    WOKEN.with_borrow_mut(|woken| match woken {
        Some(woken) => {
            woken.push(runnable);
            None
        }
        None => Some(runnable),
    })
}

/// Calls `work`, then goes on here with an operation that it woke. Others that it woke go on elsewhere, side by side. To be called
/// where operations may be polled: without a lock.
pub fn waking<T>(work: impl FnOnce() -> T) -> T {
    let keeping = Keeping::begin();
    let done = work();
    let mut woken = keeping.end().into_iter();
    let first = woken.next();
    woken.for_each(Runnable::schedule);
    if let Some(first) = first {
        first.run();
    }
    done
}

/// While it lives, what is woken on this thread is kept. A panic gives it to the runtime: what is kept and never polled would
/// leave a program hanging.
struct Keeping;

impl Keeping {
    fn begin() -> Self {
        WOKEN.set(Some(Vec::new()));
        Self
    }

    fn end(self) -> Vec<Runnable> {
        WOKEN.take().unwrap_or_default()
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let woken = WOKEN.take().unwrap_or_default();
        woken.into_iter().for_each(Runnable::schedule);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::Runtime;

    use super::*;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    /// What `operation` says of the thread that it ends on.
    fn ends<T: Send + 'static>(
        runtime: &Runtime,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> (T, thread::ThreadId) {
        let (told, end) = mpsc::channel();
        begin(runtime.handle(), async move {
            let value = operation.await;
            told.send((value, thread::current().id())).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn what_needs_nothing_ends_on_the_thread_that_brought_it() {
        let runtime = runtime();
        let (_, last) = ends(&runtime, async {});
        assert_eq!(last, thread::current().id());
    }

    #[test]
    fn what_needed_blocking_work_ends_on_the_thread_that_did_it() {
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let (go, begun) = mpsc::channel::<()>();
        let (told, end) = mpsc::channel();
        begin(runtime.handle(), async move {
            // Not before the thread that brought it is through with it.
            let work = blocking(&handle, move || {
                begun.recv().unwrap();
                thread::current().id()
            });
            let worker = work.await;
            told.send((worker, thread::current().id())).unwrap();
        });
        go.send(()).unwrap();
        let (worker, last) = end.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(worker, Some(last));
        assert_ne!(last, thread::current().id());
    }

    #[test]
    fn two_pieces_of_blocking_work_follow_each_other() {
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let (sum, _) = ends(&runtime, async move {
            let one = blocking(&handle, || 1).await.unwrap();
            one + blocking(&handle, || 2).await.unwrap()
        });
        assert_eq!(sum, 3);
    }

    #[test]
    fn a_timer_goes_on_while_the_work_is_stuck() {
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let (release, stuck) = mpsc::channel::<()>();
        let (late, _) = ends(&runtime, async move {
            let work = blocking(&handle, move || _ = stuck.recv());
            tokio::time::timeout(Duration::from_millis(10), work)
                .await
                .is_err()
        });
        assert!(late);
        drop(release);
    }

    #[test]
    fn work_that_panics_is_no_result_and_no_end_of_others() {
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let (results, _) = ends(&runtime, async move {
            let lost: Option<()> = blocking(&handle, || panic!("on purpose")).await;
            (lost, blocking(&handle, || 1).await)
        });
        assert_eq!(results, (None, Some(1)));
    }

    #[test]
    fn of_several_that_are_woken_together_none_is_lost() {
        let runtime = runtime();
        let (wake, _) = tokio::sync::broadcast::channel(1);
        let (told, ends) = mpsc::channel();
        for _ in 0..5 {
            let (mut woken, told) = (wake.subscribe(), told.clone());
            begin(runtime.handle(), async move {
                woken.recv().await.unwrap();
                told.send(thread::current().id()).unwrap();
            });
        }
        waking(|| wake.send(()).unwrap());
        let last: Vec<_> = (0..5)
            .map(|_| ends.recv_timeout(Duration::from_secs(60)).unwrap())
            .collect();
        let here = last.iter().filter(|&&id| id == thread::current().id());
        assert_eq!(here.count(), 1);
    }

    #[test]
    fn a_panic_while_waking_strands_nobody() {
        let runtime = runtime();
        let (wake, woken) = oneshot::channel();
        let (told, end) = mpsc::channel();
        begin(runtime.handle(), async move {
            woken.await.unwrap();
            told.send(()).unwrap();
        });
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            waking(|| {
                wake.send(()).unwrap();
                panic!("on purpose");
            });
        }));
        assert!(panicked.is_err());
        end.recv_timeout(Duration::from_secs(60)).unwrap();
        let (_, last) = ends(&runtime, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        assert_ne!(last, thread::current().id());
    }

    #[test]
    fn an_operation_that_waits_is_dropped_with_the_runtime() {
        let runtime = runtime();
        let (kept, dropped) = mpsc::channel::<()>();
        begin(runtime.handle(), async move {
            let _kept = kept;
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
        runtime.shutdown_background();
        let end = dropped.recv_timeout(Duration::from_secs(60));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
