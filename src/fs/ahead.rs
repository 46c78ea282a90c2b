//! Fetching ahead on a walk over siblings: what [`super::walk`] recognises becomes requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::content::Traits;
use crate::lane;
use crate::model::{Guid, Item, ItemType};
use crate::remote::{Class, RetryBudget, Terms};
use crate::tree::Node;

use super::inode::Inode;
use super::walk::LONGEST;
use super::{FileSystem, FsError, blocking};

/// Files up to this many bytes are fetched ahead; larger ones are worth a request of their own.
const SMALL: u64 = 4 * 1024 * 1024;

/// How long a file that is fetched ahead may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl FileSystem {
    /// Takes a listing of interactions that was read to its end.
    pub(super) fn listed(&self, rows: Vec<Guid>) {
        if rows.len() > LONGEST {
            return;
        }
        let walks = Arc::clone(&self.walks);
        let inodes = Arc::clone(&self.inodes);
        tokio::task::spawn_blocking(move || {
            walks.listed(rows, |guid| inodes.number(&Node::Interaction(guid)));
        });
    }

    /// A program asks for a file's content or size: if it walks over siblings, theirs are fetched.
    pub(super) fn walked(&self, inode: &Inode) {
        let (Node::Item(id) | Node::Text(id, _), Some(item)) = (&inode.node, &inode.item) else {
            return;
        };
        if !is_small(item) {
            return;
        }
        let kind = item.item_type.clone();
        let ahead = self.walks.step(&kind, id.guid);
        if ahead.is_empty() {
            return;
        }
        let interactions = Arc::clone(&self.interactions);
        let contents = Arc::clone(&self.contents);
        let shown = Arc::clone(&self.shown);
        let walks = Arc::clone(&self.walks);
        tokio::spawn(async move {
            let looked_up = {
                let kind = kind.clone();
                blocking(&lane::CATALOGUE, move || {
                    let mut ids = Vec::new();
                    for guid in ahead {
                        if let Some(known) = interactions.interaction(guid)? {
                            let items = known.interaction.items.iter();
                            ids.extend(
                                items
                                    .filter(|item| item.item_type == kind && is_small(item))
                                    .filter(|item| shown.admits(guid, item))
                                    .map(|item| (item.content_id(guid), Traits::of(item))),
                            );
                        }
                    }
                    Ok::<_, FsError>(ids)
                })
                .await
            };
            for (id, traits) in looked_up.unwrap_or_default() {
                let object = contents.object(&id, traits);
                let (kind, walks): (ItemType, _) = (kind.clone(), Arc::clone(&walks));
                tokio::spawn(async move {
                    if object.fetch_whole(terms()).await.is_err() {
                        walks.stop(&kind);
                    }
                });
            }
        });
    }
}

/// Recordings are never fetched unless somebody reads them: each access may stand in an audit log.
fn is_small(item: &Item) -> bool {
    !item.is_recording() && item.version.length.is_none_or(|length| length <= SMALL)
}

fn terms() -> Terms {
    Terms {
        class: Class::Prefetch,
        deadline: Instant::now() + PATIENCE,
        retries: RetryBudget::with_tries(1),
    }
}
