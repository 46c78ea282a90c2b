//! The grants of this process alone, in memory.

use std::collections::VecDeque;

use super::rules::{GrantLog, WINDOW};

/// Grants of the last window, oldest first.
#[derive(Debug, Default)]
pub(super) struct MemoryLog {
    grants: VecDeque<u64>,
}

impl MemoryLog {
    /// All grants, oldest first.
    pub(super) fn all(&self) -> Vec<u64> {
        self.grants.iter().copied().collect()
    }
}

impl GrantLog for MemoryLog {
    fn latest(&self, n: u32) -> Option<u64> {
        let place = self.grants.len().checked_sub(n as usize)?;
        self.grants.get(place).copied()
    }

    fn push(&mut self, at: u64) {
        // What has left the window can't matter any more.
        while self
            .grants
            .front()
            .is_some_and(|oldest| oldest.saturating_add(WINDOW) <= at)
        {
            self.grants.pop_front();
        }
        self.grants.push_back(at);
    }
}
