//! Catalogue files that were made by nobody knows whom.

use jiff::{SignedDuration, Timestamp};

use super::testing::{at, build, guid, interaction};
use super::{Catalogue, Listing};
use crate::model::TimeWindow;
use crate::mutation::fuzz;

#[test]
fn catalogue_files() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original.db");
    let known: Vec<_> = (1..40)
        .map(|number| {
            build(
                number,
                at(i64::from(number)),
                "inbound",
                &["7"],
                &["callRecording", "attachment-a"],
            )
        })
        .collect();
    {
        let catalogue = Catalogue::open(&original).unwrap();
        for one in &known {
            catalogue.observe(one.clone());
        }
    }
    // Closed, so the log is in the file.
    let seed = std::fs::read(&original).unwrap();
    let path = folder.path().join("catalogue.db");
    let window = TimeWindow {
        from: Timestamp::MIN + SignedDuration::from_hours(24),
        to: Timestamp::MAX - SignedDuration::from_hours(24),
    };
    let listing = Listing {
        window,
        agent: None,
    };
    fuzz("catalogue files", [seed], 150, |bytes| {
        for suffix in ["", "-wal", "-shm", "-damaged"] {
            let _ = std::fs::remove_file(folder.path().join(format!("catalogue.db{suffix}")));
        }
        std::fs::write(&path, bytes).unwrap();
        let Ok(catalogue) = Catalogue::open(&path) else {
            return None;
        };
        let listed = catalogue.page(&listing, 0, 1000).map(|rows| {
            let mut before = 0;
            for row in &rows {
                assert!(row.sequence > before, "a listing goes on");
                before = row.sequence;
            }
            rows.len()
        });
        let mut found = 0;
        for one in &known {
            if let Ok(Some(remembered)) = catalogue.interaction(one.guid) {
                found += 1;
                let remembered = &remembered.interaction;
                assert_eq!(
                    remembered.guid, one.guid,
                    "another interaction than was asked for"
                );
                assert_eq!(remembered.start, one.start, "a lie about the start");
                for (item, original) in remembered.items.iter().zip(&one.items) {
                    assert_eq!(item.version, original.version, "a lie about a version");
                    assert_eq!(item.key, original.key, "a lie about a key");
                }
            }
        }
        let _ = catalogue.agents(&window);
        let _ = catalogue.known();
        let _ = catalogue.store.count(Some(&window));
        // It is of use, or made anew until it is.
        catalogue.observe(interaction(99, 99));
        let _ = catalogue.interaction(guid(99));
        Some((listed.ok(), found))
    });
}
