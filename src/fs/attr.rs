//! Attributes: what `stat` shows, and how long the kernel may keep it.

use std::time::Duration;

use jiff::Timestamp;

use crate::tree::Node;

use super::Options;
use super::inode::Inode;

/// How long the kernel may keep what can't change without it being told: immutable versions, and
/// directories whose changes are announced to it.
const LONG: Duration = Duration::from_secs(3600);

/// How long it may keep what changes by itself: the root's time, which agents there are.
const SHORT: Duration = Duration::from_secs(1);

/// The kind of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// What `stat` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The inode number.
    pub number: u64,
    /// The kind.
    pub kind: Kind,
    /// The size in bytes.
    pub size: u64,
    /// All its times.
    pub time: Timestamp,
    /// The permission bits.
    pub mode: u16,
    /// The number of links.
    pub links: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// How long the kernel may keep the attributes. Zero when the size isn't known: it then asks before
    /// it uses them.
    pub lifetime: Duration,
    /// How long the kernel may keep that the name leads here.
    pub name_lifetime: Duration,
}

/// The attributes of an inode, whose size is `size` if known.
pub(super) fn attributes(
    inode: &Inode,
    number: u64,
    size: Option<u64>,
    options: &Options,
) -> Attributes {
    let (kind, mode, links) = match &inode.node {
        // One link says that directories are not counted; 2 would tell old finds that none is inside.
        node if node.is_directory() => (Kind::Directory, options.dir_mode, 1),
        // A link's mode means nothing and is always shown like this.
        node if node.link_target().is_some() => (Kind::Link, 0o777, 1),
        _ => (Kind::File, options.file_mode, 1),
    };
    let (lifetime, name_lifetime) = match &inode.node {
        Node::Root | Node::Agent(_) => (SHORT, SHORT),
        Node::Special(_) => (Duration::ZERO, LONG),
        _ if size.is_none() => (Duration::ZERO, Duration::ZERO),
        _ => (LONG, LONG),
    };
    Attributes {
        number,
        kind,
        size: size.unwrap_or(0),
        time: inode.time,
        mode,
        links,
        uid: options.uid,
        gid: options.gid,
        lifetime,
        name_lifetime,
    }
}
