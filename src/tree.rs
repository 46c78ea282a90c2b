//! Which names a directory shows, and what a name means: pure.
//!
//! [`place`] turns a directory and a name into a meaning, [`view_names`] builds and reads the names of the
//! views, [`metadata`] lays out `interaction.json`. Nothing here does I/O, reads a clock or knows whether
//! an interaction exists: that is for [`crate::fs`] to find out.

pub mod metadata;
pub mod place;
pub mod view_names;

pub use place::{Meaning, Node, SpecialFile, TextForm, View};
