//! Damage that SQLite doesn't see, or calls by other names: found by corrupting the file at random.

use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use super::store::query::ahead;
use super::*;

/// A catalogue with one interaction, changed behind its back.
fn changed(path: &Path, change: &str) -> Catalogue {
    Catalogue::open(path).unwrap().observe(ago(1, 5));
    let connection = Connection::open(path).unwrap();
    assert_eq!(connection.execute(change, []).unwrap(), 1, "{change}");
    drop(connection);
    Catalogue::open(path).unwrap()
}

#[test]
fn what_was_changed_behind_its_back_is_neither_believed_nor_hidden_and_goes() {
    for change in [
        "UPDATE details SET json = replace(json, 'callRecording', 'callRecordinf')",
        "UPDATE interactions SET hash = hash + 1",
        "UPDATE details SET json = x'00'",
        "DELETE FROM details",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = changed(&path, change);
        assert!(catalogue.interaction(guid(1)).is_err(), "{change}");
        drop(catalogue);
        let catalogue = Catalogue::open(&path).unwrap();
        assert!(catalogue.interaction(guid(1)).unwrap().is_none());
        catalogue.observe(ago(1, 5));
        assert!(catalogue.interaction(guid(1)).unwrap().is_some());
    }
}

#[test]
fn a_header_that_sqlite_calls_unsupported_keeps_no_mount_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    Catalogue::open(&path).unwrap().observe(ago(1, 5));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // The schema's format, which is 1 to 4.
    file.write_all_at(&[9], 47).unwrap();
    let catalogue = Catalogue::open(&path).unwrap();
    catalogue.observe(ago(1, 5));
    assert!(catalogue.interaction(guid(1)).unwrap().is_some());
}

#[test]
fn a_walk_along_an_index_out_of_order_ends_in_an_error_not_in_a_circle() {
    let to = |name: &str| Some(name.to_owned());
    assert_eq!(ahead("b", to("c")).unwrap(), to("c"));
    assert_eq!(ahead("b", None).unwrap(), None);
    for back in ["b", "a", ""] {
        assert!(schema::is_damage(&ahead("b", to(back)).unwrap_err()));
    }
}
