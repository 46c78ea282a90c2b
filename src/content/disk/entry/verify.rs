//! Verifying whole versions, so that they can be handed out: one after the other, on a thread of its own that ends when
//! nothing is left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Entry;
use crate::content::block;

/// What is to be verified; `None` while there is no thread for it. Those that nobody has open any more are left out.
#[derive(Debug, Default)]
pub(in crate::content::disk) struct Queue(Mutex<Option<VecDeque<Weak<Entry>>>>);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Weak<Entry>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one; ends the queue if there is none.
    fn next(&self) -> Option<Weak<Entry>> {
        let mut queue = self.lock();
        let next = queue.as_mut()?.pop_front();
        if next.is_none() {
            *queue = None;
        }
        next
    }
}

/// Has a version verified.
pub(super) fn soon(entry: &Arc<Entry>) {
    let disk = Arc::clone(&entry.disk);
    let mut queue = disk.verifying.lock();
    if let Some(queue) = &mut *queue {
        queue.push_back(Arc::downgrade(entry));
        return;
    }
    let of = Arc::clone(&disk);
    let started = std::thread::Builder::new()
        .name("cache-verifier".to_owned())
        .spawn(move || {
            while let Some(entry) = of.verifying.next() {
                if let Some(entry) = entry.upgrade() {
                    entry.verify_all();
                }
            }
        });
    match started {
        Ok(_) => *queue = Some(VecDeque::from([Arc::downgrade(entry)])),
        Err(_) => entry.lock().is_verifying = false,
    }
}

impl Entry {
    /// Verifies what is not verified yet.
    fn verify_all(&self) {
        let count = block::count_of(self.lock().size);
        for index in 0..count {
            let is_due = {
                let state = self.lock();
                state.present.contains(index) && !state.verified.contains(index)
            };
            if is_due {
                let _call = self.disk.watch.begin();
                self.read_one(index);
            }
        }
        let call = self.disk.watch.begin();
        self.complete();
        drop(call);
        self.lock().is_verifying = false;
    }
}
