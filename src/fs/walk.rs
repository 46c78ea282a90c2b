//! Walks over siblings: `transcript.json` of one interaction after another.
//!
//! A program that greps transcripts opens one small file of each interaction in turn, each a request that
//! waits for the one before. [`Walks`] recognises that from the last complete listing and says which
//! interactions come next, so that theirs can be fetched side by side. Programs go through a listing as it
//! came, sorted by name, or sorted by inode number; which one it is shows after three steps. Pure but for
//! its lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Guid, ItemType};

/// Listings with more rows are not kept: the memory and the sorting would cost more than a walk gains.
pub(super) const LONGEST: usize = 50_000;

/// Steps in a row before anything is fetched ahead.
const EVIDENCE: u32 = 2;

/// How far a step may go: interactions in between may have no file of the kind.
const STRIDE: usize = 8;

/// How far ahead a walk runs at first, and at most.
const FIRST_WINDOW: usize = 4;
const LAST_WINDOW: usize = 64;

/// Kinds of files that are followed at once.
const KINDS: usize = 16;

/// The orders in which a listing may be walked.
const ORDERS: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Walks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    listing: Arc<Orders>,
    courses: HashMap<ItemType, Course>,
}

/// A listing in each order, and where each interaction stands in it.
#[derive(Debug, Default)]
struct Orders {
    orders: [Vec<Guid>; ORDERS],
    places: HashMap<Guid, [usize; ORDERS]>,
}

/// How far a program has come with one kind of file.
#[derive(Debug, Default)]
struct Course {
    last: Option<[usize; ORDERS]>,
    steps: [u32; ORDERS],
    /// Up to where has been fetched ahead.
    ahead: [usize; ORDERS],
}

impl Walks {
    /// Takes a listing that was read to its end. Sorts: not for threads that must not be held up.
    pub(super) fn listed(&self, rows: Vec<Guid>, number: impl Fn(Guid) -> u64) {
        let mut by_name = rows.clone();
        by_name.sort_unstable();
        let mut by_number = rows.clone();
        by_number.sort_by_cached_key(|guid| number(*guid));
        let orders = [rows, by_name, by_number];
        let mut places: HashMap<Guid, [usize; ORDERS]> = HashMap::with_capacity(orders[0].len());
        for (order, guids) in orders.iter().enumerate() {
            for (place, guid) in guids.iter().enumerate() {
                places.entry(*guid).or_default()[order] = place;
            }
        }
        let listing = Arc::new(Orders { orders, places });
        let mut state = self.lock();
        state.courses.clear();
        let old = std::mem::replace(&mut state.listing, listing);
        drop(state);
        drop(old);
    }

    /// A file of this kind was asked for: the interactions whose files of the kind to fetch now.
    pub(super) fn step(&self, kind: &ItemType, guid: Guid) -> Vec<Guid> {
        let mut state = self.lock();
        let listing = Arc::clone(&state.listing);
        let Some(places) = listing.places.get(&guid).copied() else {
            return Vec::new();
        };
        if state.courses.len() >= KINDS && !state.courses.contains_key(kind) {
            state.courses.clear();
        }
        let course = state.courses.entry(kind.clone()).or_default();
        let Some(last) = course.last.replace(places) else {
            return Vec::new();
        };
        if last == places {
            return Vec::new();
        }
        for order in 0..ORDERS {
            let is_step = (1..=STRIDE).contains(&places[order].wrapping_sub(last[order]));
            if is_step {
                course.steps[order] += 1;
            } else {
                course.steps[order] = 0;
                course.ahead[order] = 0;
            }
        }
        let Some(order) = (0..ORDERS)
            .filter(|order| course.steps[*order] >= EVIDENCE)
            // Chance looks like another order at first, but its steps are longer.
            .min_by_key(|order| places[*order].wrapping_sub(last[*order]))
        else {
            return Vec::new();
        };
        let doublings = (course.steps[order] - EVIDENCE).min(16);
        let window = (FIRST_WINDOW << doublings).min(LAST_WINDOW);
        let guids = &listing.orders[order];
        let from = course.ahead[order].max(places[order] + 1);
        let to = (places[order] + 1 + window).min(guids.len());
        if from >= to {
            return Vec::new();
        }
        course.ahead[order] = to;
        guids[from..to].to_vec()
    }

    /// Fetching ahead failed: it begins anew with new evidence.
    pub(super) fn stop(&self, kind: &ItemType) {
        self.lock().courses.remove(kind);
    }

    /// Whether there is a listing to go by.
    #[cfg(test)]
    pub(super) fn has_listing(&self) -> bool {
        !self.lock().listing.places.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid(n: u8) -> Guid {
        Guid::from_bytes([n; 16])
    }

    fn number(n: u8) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&[n])
    }

    /// Rows that were listed in the order 99, 98, … 0.
    fn walks() -> Walks {
        let walks = Walks::default();
        walks.listed((0..100).rev().map(guid).collect(), |guid| {
            number(guid.as_bytes()[0])
        });
        walks
    }

    fn walk(walks: &Walks, order: impl Iterator<Item = u8>) -> Vec<Guid> {
        let kind = ItemType::new("transcript");
        order.flat_map(|n| walks.step(&kind, guid(n))).collect()
    }

    #[test]
    fn each_order_is_recognised_and_every_sibling_fetched_once() {
        let mut by_number: Vec<u8> = (0..100).collect();
        by_number.sort_by_key(|n| number(*n));
        let orders: [Vec<u8>; 3] = [(0..100).rev().collect(), (0..100).collect(), by_number];
        for order in orders {
            let ahead = walk(&walks(), order.iter().copied());
            let wanted: Vec<Guid> = order[3..].iter().copied().map(guid).collect();
            assert_eq!(ahead, wanted);
        }
    }

    #[test]
    fn the_window_grows_with_the_evidence() {
        let walks = walks();
        let kind = ItemType::new("transcript");
        let sizes: Vec<usize> = (0..5).map(|n| walks.step(&kind, guid(n)).len()).collect();
        assert_eq!(sizes, [0, 0, 4, 5, 9]);
    }

    #[test]
    fn jumping_about_fetches_nothing() {
        assert_eq!(walk(&walks(), [3, 50, 4, 51, 90, 5, 5].into_iter()), []);
        assert_eq!(walk(&Walks::default(), 0..50), []);
    }

    #[test]
    fn a_failure_asks_for_new_evidence() {
        let walks = walks();
        assert!(!walk(&walks, 0..4).is_empty());
        walks.stop(&ItemType::new("transcript"));
        assert_eq!(walk(&walks, 4..6), []);
    }
}
