//! What other processes write to the same file, as it concerns those who were given what stood there before.

use super::{Catalogue, CatalogueError, Change, Unremembered, Writes, ingest};
use crate::model::Guid;

/// How many changes are announced together: what they are about is in memory until then.
const PART: usize = 1024;

impl Catalogue {
    /// Announces what other processes added, and what they changed or removed of what was given out.
    pub(super) fn changed_by_others(&self, writes: &mut Writes) -> Result<(), CatalogueError> {
        // What a reader has just read may be what was changed.
        self.recent().written();
        let added = ingest::added_by_others(&self.store.writer(), writes.newest);
        let (added, newest) = self.store.checked(added)?;
        writes.newest = newest;
        self.announce(added);
        for part in self.given_differently()?.chunks(PART) {
            let changes = self.changes_of(part)?;
            self.announce(changes);
        }
        Ok(())
    }

    /// What was given out and may have changed or be gone.
    fn given_differently(&self) -> Result<Vec<Guid>, CatalogueError> {
        let mut differing = Vec::new();
        let compared = self
            .store
            .hashes(|part| self.given().compare(part, &mut differing));
        // Ended in any case, so that the next one begins anew.
        let missing = self.given().end_comparison();
        compared?;
        differing.extend(missing);
        Ok(differing)
    }

    fn changes_of(&self, guids: &[Guid]) -> Result<Vec<Change>, CatalogueError> {
        let mut changes = Vec::new();
        let mut unremembered = Vec::new();
        for &guid in guids {
            let now = match self.store.hash(guid)? {
                Some(hash) if self.given().agrees(guid, hash) => continue,
                Some(_) => self.store.interaction(guid)?.map(|held| held.known),
                None => None,
            };
            // Memory may hold a later state than the one that was given out first.
            let before = self.recent().get(guid).map(|held| held.known);
            let before = before.filter(|before| {
                let hash = ingest::hash(&before.interaction);
                self.given().agrees(guid, hash)
            });
            match (before, now) {
                (Some(before), Some(now)) => changes.push(Change::Updated { before, now }),
                (Some(before), None) => changes.push(Change::Removed(before)),
                (None, now) => unremembered.push(Unremembered { guid, now }),
            }
        }
        if !unremembered.is_empty() {
            changes.push(Change::Unremembered(unremembered));
        }
        Ok(changes)
    }
}
