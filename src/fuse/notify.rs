//! The thread that tells the kernel what to drop.
//!
//! Telling it can wait for locks that a program holds while it waits for us, so it happens on a thread that
//! nothing waits for. Only notices of attributes take no such lock: they are sent at once, so that a file
//! that proves longer than listed is known to be before the READ that showed it is answered (a program
//! would take the listed length for the end). Notices that wait already are not queued twice, and there is a bound: beyond it
//! notices are dropped, and what they were about lives until its time is up.
//!
//! The kernel begins with a root that nobody but root may enter, and asks for its attributes. An answer that a notice overtakes
//! it throws away, and whoever asked gets EACCES; so those of the root wait until it was looked at once.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use fuser::{INodeNo, Notifier};

use crate::fs::{Kernel, Notice, ROOT};

/// How many notices may wait.
const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: Mutex<Waiting>,
    news: Condvar,
    /// For what is sent at once.
    notifier: Option<Notifier>,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Notice>,
    known: HashSet<Notice>,
    overflowing: bool,
    closed: bool,
    /// What is about the root, until the kernel knows its attributes.
    early: Option<HashSet<Notice>>,
}

impl Notices {
    /// Starts the thread; it ends after [`Self::close`].
    pub(super) fn start(notifier: Notifier) -> io::Result<Arc<Self>> {
        let notices = Arc::new(Self {
            notifier: Some(notifier.clone()),
            ..Self::before_the_first_look()
        });
        let queue = Arc::clone(&notices);
        thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || {
                while let Some(notice) = queue.next() {
                    if let Err(error) = send(&notifier, &notice) {
                        // Mostly a kernel that has dropped it already.
                        tracing::debug!(%error, "the kernel did not take a notice");
                    }
                }
            })?;
        Ok(notices)
    }

    fn before_the_first_look() -> Self {
        let waiting = Waiting {
            early: Some(HashSet::new()),
            ..Waiting::default()
        };
        Self {
            waiting: Mutex::new(waiting),
            ..Self::default()
        }
    }

    /// Lets out what is about the root.
    pub(super) fn root_is_known(&self) {
        let early = self.lock().early.take();
        early
            .into_iter()
            .flatten()
            .for_each(|notice| self.notify(notice));
    }

    /// Takes a notice that is to wait for the first look at the root; else gives it back.
    fn kept_early(&self, notice: Notice) -> Option<Notice> {
        if let Notice::Attributes(ROOT) | Notice::Content(ROOT) = notice
            && let Some(early) = &mut self.lock().early
        {
            early.insert(notice);
            return None;
        }
        Some(notice)
    }

    /// Lets the thread end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }

    fn next(&self) -> Option<Notice> {
        let mut waiting = self
            .news
            .wait_while(self.lock(), |waiting| {
                waiting.order.is_empty() && !waiting.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return None;
        }
        let notice = waiting.order.pop_front()?;
        waiting.known.remove(&notice);
        waiting.overflowing = false;
        Some(notice)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for Notices {
    fn notify(&self, notice: Notice) {
        let Some(notice) = self.kept_early(notice) else {
            return;
        };
        if let (Notice::Attributes(_), Some(notifier)) = (&notice, &self.notifier) {
            if let Err(error) = send(notifier, &notice) {
                tracing::debug!(%error, "the kernel did not take a notice");
            }
            return;
        }
        let mut waiting = self.lock();
        if waiting.order.len() >= LIMIT {
            if !waiting.overflowing {
                waiting.overflowing = true;
                tracing::warn!("the kernel takes no notices: changes will be seen late");
            }
            return;
        }
        if waiting.known.insert(notice.clone()) {
            waiting.order.push_back(notice);
            drop(waiting);
            self.news.notify_one();
        }
    }
}

fn send(notifier: &Notifier, notice: &Notice) -> io::Result<()> {
    match notice {
        Notice::Name { parent, name } => {
            notifier.inval_entry(INodeNo(*parent), OsStr::new(&**name))
        }
        // A negative offset: the attributes only.
        Notice::Attributes(number) => notifier.inval_inode(INodeNo(*number), -1, 0),
        // From 0, and a length of 0 for all.
        Notice::Content(number) => notifier.inval_inode(INodeNo(*number), 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_merged_bounded_and_end_when_closed() {
        let notices = Notices::default();
        notices.notify(Notice::Content(7));
        notices.notify(Notice::Content(7));
        notices.notify(Notice::Attributes(7));
        assert_eq!(notices.next(), Some(Notice::Content(7)));
        notices.notify(Notice::Content(7));
        assert_eq!(notices.next(), Some(Notice::Attributes(7)));
        assert_eq!(notices.next(), Some(Notice::Content(7)));
        for number in 0..2 * LIMIT as u64 {
            notices.notify(Notice::Content(number));
        }
        assert_eq!(notices.lock().order.len(), LIMIT);
        notices.close();
        assert_eq!(notices.next(), None);
    }

    #[test]
    fn what_is_about_the_root_waits_for_the_first_look_at_it() {
        let notices = Notices::before_the_first_look();
        notices.notify(Notice::Content(ROOT));
        notices.notify(Notice::Content(ROOT));
        notices.notify(Notice::Content(7));
        assert_eq!(notices.next(), Some(Notice::Content(7)));
        assert!(notices.lock().order.is_empty());
        notices.root_is_known();
        assert_eq!(notices.next(), Some(Notice::Content(ROOT)));
        notices.notify(Notice::Attributes(ROOT));
        assert_eq!(notices.next(), Some(Notice::Attributes(ROOT)));
        assert!(notices.lock().order.is_empty());
    }
}
