//! Inode numbers.
//!
//! A number is computed from the account and the node's identity, so it stands for one version of one
//! item, survives remounts and is never given to another. The table holds only what the kernel has looked
//! up and not yet forgotten, and is what answers for versions that the catalogue no longer knows. Two nodes
//! whose numbers collide are told apart, and the later one is moved aside for as long as it is held.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Guid, Item};
use crate::tree::Node;

/// The root's number, by FUSE's rule.
pub const ROOT: u64 = 1;

/// Numbers below this are never computed: small ones have meanings for the kernel and some programs.
const FIRST: u64 = 1024;

/// What the kernel knows under a number.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is.
    pub node: Node,
    /// Its time.
    pub time: Timestamp,
    /// Its size in bytes, as far as known; for directories 0.
    pub size: Option<u64>,
    /// The item behind a file with content.
    pub item: Option<Arc<Item>>,
}

/// The inodes that the kernel holds.
#[derive(Debug)]
pub struct InodeTable {
    account: u64,
    hash: fn(&[u8]) -> u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_number: HashMap<u64, Counted>,
    /// Nodes whose computed number another node holds.
    moved: HashMap<Node, u64>,
}

#[derive(Debug)]
struct Counted {
    inode: Kept,
    lookups: u64,
}

/// An inode as it is kept. Directories of interactions are by far the most numerous, once somebody lists a
/// million of them, and need no allocation of their own.
#[derive(Debug)]
enum Kept {
    Interaction(Guid, Timestamp),
    Whole(Arc<Inode>),
}

impl Kept {
    fn new(inode: Inode) -> Self {
        match inode.node {
            Node::Interaction(guid) => Self::Interaction(guid, inode.time),
            _ => Self::Whole(Arc::new(inode)),
        }
    }

    fn inode(&self) -> Arc<Inode> {
        match self {
            Self::Interaction(guid, time) => {
                Arc::new(Inode::plain(Node::Interaction(*guid), *time))
            }
            Self::Whole(inode) => Arc::clone(inode),
        }
    }

    fn is(&self, node: &Node) -> bool {
        match self {
            Self::Interaction(guid, _) => *node == Node::Interaction(*guid),
            Self::Whole(inode) => inode.node == *node,
        }
    }
}

impl InodeTable {
    /// An empty table, but for the root. `account` tells accounts apart, so that two mounts don't share numbers.
    pub fn new(account: u64, root: Inode) -> Self {
        Self::with_hash(account, root, xxh3_64)
    }

    fn with_hash(account: u64, root: Inode, hash: fn(&[u8]) -> u64) -> Self {
        let root = Counted {
            inode: Kept::new(root),
            lookups: u64::MAX,
        };
        Self {
            account,
            hash,
            held: Mutex::new(Held {
                by_number: HashMap::from([(ROOT, root)]),
                moved: HashMap::new(),
            }),
        }
    }

    /// The number that `node` has, or would have if it were looked up now.
    pub fn number(&self, node: &Node) -> u64 {
        self.place(&self.lock(), node)
    }

    /// Counts one lookup of an inode and returns its number. To be called before the kernel is told of it:
    /// it may forget it before the call that tells it returns.
    pub fn look_up(&self, inode: Inode) -> u64 {
        let mut held = self.lock();
        let number = self.place(&held, &inode.node);
        if number != self.compute(&inode.node, 0) {
            held.moved.insert(inode.node.clone(), number);
        }
        match held.by_number.entry(number) {
            Entry::Occupied(mut place) => {
                let counted = place.get_mut();
                counted.lookups = counted.lookups.saturating_add(1);
                if inode.size.is_some() {
                    counted.inode = Kept::new(inode);
                }
            }
            Entry::Vacant(place) => {
                place.insert(Counted {
                    inode: Kept::new(inode),
                    lookups: 1,
                });
            }
        }
        number
    }

    /// Takes back `lookups` lookups.
    pub fn forget(&self, number: u64, lookups: u64) {
        if number == ROOT {
            return;
        }
        let mut held = self.lock();
        let Entry::Occupied(mut place) = held.by_number.entry(number) else {
            return;
        };
        place.get_mut().lookups = place.get().lookups.saturating_sub(lookups);
        if place.get().lookups == 0 {
            let gone = place.remove();
            if !held.moved.is_empty() {
                held.moved.remove(&gone.inode.inode().node);
            }
        }
    }

    /// What the kernel knows under `number`.
    pub fn get(&self, number: u64) -> Option<Arc<Inode>> {
        self.lock()
            .by_number
            .get(&number)
            .map(|counted| counted.inode.inode())
    }

    /// The number of `node` if the kernel holds it.
    pub fn held(&self, node: &Node) -> Option<u64> {
        let held = self.lock();
        let number = self.place(&held, node);
        held.by_number.contains_key(&number).then_some(number)
    }

    /// What the kernel holds of these interactions, apart from their directories. Looks at every inode.
    pub(super) fn held_of(&self, guids: &HashSet<Guid>) -> HashMap<Guid, Vec<Arc<Inode>>> {
        let mut found: HashMap<Guid, Vec<Arc<Inode>>> = HashMap::new();
        for counted in self.lock().by_number.values() {
            if let Kept::Whole(inode) = &counted.inode
                && let Some(guid) = inode.node.interaction()
                && guids.contains(&guid)
            {
                found.entry(guid).or_default().push(Arc::clone(inode));
            }
        }
        found
    }

    /// Keeps the size of a held inode; returns whether it was another.
    pub fn set_size(&self, number: u64, size: u64) -> bool {
        let mut held = self.lock();
        let Some(Counted {
            inode: Kept::Whole(inode),
            ..
        }) = held.by_number.get_mut(&number)
        else {
            return false;
        };
        let changed = inode.size != Some(size);
        if changed {
            Arc::make_mut(inode).size = Some(size);
        }
        changed
    }

    /// Forgets the size of a held inode.
    pub fn forget_size(&self, number: u64) {
        let mut held = self.lock();
        if let Some(Counted {
            inode: Kept::Whole(inode),
            ..
        }) = held.by_number.get_mut(&number)
        {
            Arc::make_mut(inode).size = None;
        }
    }

    /// How many inodes the kernel holds.
    pub fn count(&self) -> usize {
        self.lock().by_number.len()
    }

    fn place(&self, held: &Held, node: &Node) -> u64 {
        if *node == Node::Root {
            return ROOT;
        }
        if let Some(number) = held.moved.get(node) {
            return *number;
        }
        let mut salt = 0;
        loop {
            let number = self.compute(node, salt);
            let taken = held
                .by_number
                .get(&number)
                .is_some_and(|counted| !counted.inode.is(node));
            if number >= FIRST && !taken {
                return number;
            }
            salt += 1;
        }
    }

    fn compute(&self, node: &Node, salt: u64) -> u64 {
        let mut bytes = node.identity();
        bytes.extend_from_slice(&self.account.to_le_bytes());
        if salt > 0 {
            bytes.extend_from_slice(&salt.to_le_bytes());
        }
        // Programs keep inode numbers in signed 64-bit integers.
        (self.hash)(&bytes) & (u64::MAX >> 1)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inode {
    /// An inode of something without content: a directory, a link.
    pub fn plain(node: Node, time: Timestamp) -> Self {
        let size = node.link_target().map_or(0, |target| target.len() as u64);
        Self {
            node,
            time,
            size: Some(size),
            item: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(node: Node) -> Inode {
        Inode::plain(node, Timestamp::UNIX_EPOCH)
    }

    fn interaction(byte: u8) -> Node {
        Node::Interaction(Guid::from_bytes([byte; 16]))
    }

    #[test]
    fn numbers_survive_a_remount_and_differ_between_accounts() {
        let first = InodeTable::new(7, plain(Node::Root));
        let again = InodeTable::new(7, plain(Node::Root));
        let other = InodeTable::new(8, plain(Node::Root));
        let node = interaction(1);
        let number = first.look_up(plain(node.clone()));
        assert_eq!(again.number(&node), number);
        assert_ne!(other.number(&node), number);
        assert!(number >= FIRST && i64::try_from(number).is_ok());
    }

    #[test]
    fn an_inode_is_held_until_every_lookup_is_forgotten() {
        let table = InodeTable::new(7, plain(Node::Root));
        let number = table.look_up(plain(interaction(1)));
        assert_eq!(table.look_up(plain(interaction(1))), number);
        table.forget(number, 1);
        assert!(table.get(number).is_some());
        table.forget(number, 1);
        assert!(table.get(number).is_none());
        table.forget(number, 1);
        table.forget(ROOT, u64::MAX);
        assert!(table.get(ROOT).is_some());
    }

    #[test]
    fn a_collision_is_moved_aside_and_stays_there() {
        // Every unsalted identity collides; a salt makes them longer and so different.
        let table = InodeTable::with_hash(7, plain(Node::Root), |bytes| bytes.len() as u64 * 4096);
        let first = table.look_up(plain(interaction(1)));
        let second = table.look_up(plain(interaction(2)));
        assert_ne!(first, second);
        table.forget(first, 1);
        assert_eq!(table.number(&interaction(2)), second);
        assert_eq!(table.look_up(plain(interaction(2))), second);
        table.forget(second, 2);
        assert_eq!(table.number(&interaction(2)), first);
    }
}
