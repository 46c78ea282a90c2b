//! What was given out since the mount began, and in which state: the kernel may keep all of it, long after
//! [`super::recent`] let go of it.
//!
//! What other processes write is compared with this. An interaction takes 20 bytes and a hash table's slack, so of its
//! hash only a part is kept: one change in two thousand million isn't noticed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::Guid;

/// The interactions that were given out.
#[derive(Debug, Default)]
pub(super) struct Given {
    states: HashMap<Guid, State>,
}

/// A part of a hash; the lowest bit tells whether the comparison under way has met the interaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State(u32);

const MET: u32 = 1;

impl State {
    fn new(hash: i64) -> Self {
        // The upper half; its lowest bit makes room.
        Self((hash.cast_unsigned() >> 32) as u32 & !MET)
    }

    fn is(self, hash: i64) -> bool {
        self.0 & !MET == Self::new(hash).0
    }
}

impl Given {
    /// Notes that an interaction was given out in the state that `hash` tells. If it was before, in whatever state, that
    /// stays noted: it may still be kept, by somebody who wasn't told of a change.
    pub(super) fn note(&mut self, guid: Guid, hash: i64) {
        self.states.entry(guid).or_insert_with(|| State::new(hash));
    }

    /// Takes a change of which the keepers of the state `before` are told; those of yet another state still have to be.
    pub(super) fn changed(&mut self, guid: Guid, before: i64, now: i64) {
        match self.states.entry(guid) {
            Entry::Occupied(mut state) if state.get().is(before) => {
                state.insert(State::new(now));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(State::new(now));
            }
        }
    }

    /// Takes a change of which everybody is told, whatever they keep.
    pub(super) fn replaced(&mut self, guid: Guid, now: i64) {
        self.states.insert(guid, State::new(now));
    }

    /// Drops an interaction after its removal.
    pub(super) fn removed(&mut self, guid: Guid) {
        self.states.remove(&guid);
    }

    /// Whether it was given out in the state that `hash` tells, or not at all.
    pub(super) fn agrees(&self, guid: Guid, hash: i64) -> bool {
        self.states.get(&guid).is_none_or(|state| state.is(hash))
    }

    /// Compares with what there is now, part after part; adds to `changed` what was given out in another state.
    pub(super) fn compare(&mut self, present: &[(Guid, i64)], changed: &mut Vec<Guid>) {
        for (guid, hash) in present {
            if let Some(state) = self.states.get_mut(guid) {
                if !state.is(*hash) {
                    changed.push(*guid);
                }
                state.0 |= MET;
            }
        }
    }

    /// Ends a comparison: returns what it didn't meet, because it is gone or was only just given out.
    pub(super) fn end_comparison(&mut self) -> Vec<Guid> {
        let mut missing = Vec::new();
        for (guid, state) in &mut self.states {
            if state.0 & MET == 0 {
                missing.push(*guid);
            }
            state.0 &= !MET;
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::testing::guid;

    const OLD: i64 = 0x1234_5678_0000_0000;
    const NEW: i64 = -OLD;

    #[test]
    fn a_comparison_finds_what_changed_and_what_is_gone_each_time() {
        let mut given = Given::default();
        for number in 1..=3 {
            given.note(guid(number), OLD);
        }
        for _ in 0..2 {
            let mut changed = Vec::new();
            given.compare(&[(guid(1), OLD), (guid(2), NEW)], &mut changed);
            given.compare(&[(guid(4), NEW)], &mut changed);
            assert_eq!(changed, [guid(2)]);
            assert_eq!(given.end_comparison(), [guid(3)]);
        }
        given.replaced(guid(2), NEW);
        given.removed(guid(3));
        let mut changed = Vec::new();
        given.compare(&[(guid(1), OLD), (guid(2), NEW)], &mut changed);
        assert!(changed.is_empty() && given.end_comparison().is_empty());
    }

    #[test]
    fn the_first_state_stays_until_its_keepers_are_told() {
        let mut given = Given::default();
        given.note(guid(1), OLD);
        given.note(guid(1), NEW);
        assert!(given.agrees(guid(1), OLD));
        given.changed(guid(1), NEW, 0);
        assert!(given.agrees(guid(1), OLD));
        given.changed(guid(1), OLD, NEW);
        assert!(given.agrees(guid(1), NEW) && !given.agrees(guid(1), OLD));
    }

    #[test]
    fn an_interaction_takes_20_bytes() {
        assert_eq!(size_of::<(Guid, State)>(), 20);
    }
}
