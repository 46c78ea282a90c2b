//! The filesystem's behaviour, on fakes and without a mount.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fakes::{FakeInteractions, FakeKernel, Stage, guid, interaction, known, options, stage};
use super::*;
use crate::catalogue::{Change, Changes, Progress};
use crate::content::Discoveries;
use crate::model::{Interaction, ItemType};
use crate::remote::RemoteError;
use crate::tree::Node;

mod model;
mod unremembered;

const WAV: &str = "audio/wav";
const JSON: &str = "application/json";

fn sample() -> Stage {
    let stage = stage(
        FakeInteractions::new([
            interaction(
                1,
                &["1342"],
                &[
                    ("callRecording", WAV, Some(10_000), 1),
                    ("transcript", JSON, Some(5), 2),
                ],
            ),
            interaction(2, &[], &[("voicemail", WAV, None, 1)]),
        ]),
        options(),
    );
    stage
        .contents
        .put(stage.id(1, "callRecording"), vec![7_u8; 10_000]);
    stage.contents.put(stage.id(1, "transcript"), "hello");
    stage
        .contents
        .put(stage.id(2, "voicemail"), vec![8_u8; 300]);
    stage
}

async fn look_up(stage: &Stage, parent: u64, name: &str) -> Result<Found, FsError> {
    stage.filesystem.lookup(parent, OsStr::new(name)).await
}

/// Walks a path from the root.
async fn walk(stage: &Stage, path: &str) -> Result<Attributes, FsError> {
    let mut attributes = stage.filesystem.attributes(ROOT).await?;
    for name in path.split('/') {
        match look_up(stage, attributes.number, name).await? {
            Found::Entry(found) => attributes = found,
            Found::Never => return Err(FsError::NotFound),
        }
    }
    Ok(attributes)
}

/// Lists a directory, with the inode numbers, taking `step` rows at a time and going on from there.
async fn list(
    stage: &Stage,
    number: u64,
    step: usize,
) -> Result<Vec<(String, u64)>, (Vec<(String, u64)>, FsError)> {
    let filesystem = &stage.filesystem;
    let (handle, _) = filesystem.open_directory(number).unwrap();
    let mut rows = Vec::new();
    let mut position = 0;
    loop {
        let batch = match filesystem.read_directory(handle, position).await {
            Ok(batch) => batch,
            Err(error) => return Err((rows, error)),
        };
        if batch.rows().is_empty() {
            filesystem.close_directory(handle);
            return Ok(rows);
        }
        for row in batch.rows().iter().take(step) {
            assert!(row.next > position, "positions grow");
            position = row.next;
            let number = filesystem.row_attributes(row, false).number;
            rows.push((row.name.to_string(), number));
        }
    }
}

fn names(rows: &[(String, u64)]) -> Vec<&str> {
    rows.iter().map(|(name, _)| &**name).collect()
}

#[tokio::test]
async fn the_root_lists_every_interaction_once_and_the_views_as_links() {
    let stage = sample();
    let rows = list(&stage, ROOT, 2).await.unwrap();
    let (one, two) = (guid(1).to_string(), guid(2).to_string());
    assert_eq!(
        names(&rows),
        [".", "..", "by-date", "by-agent", "text", &one, &two]
    );
    let private = walk(&stage, ".interactionfs").await.unwrap();
    assert_eq!(private.kind, Kind::Directory);
}

#[tokio::test]
async fn listed_inode_numbers_are_those_of_lookup() {
    let stage = sample();
    let directories = [
        String::new(),
        guid(1).to_string(),
        ".interactionfs".into(),
        ".interactionfs/views".into(),
        ".interactionfs/views/by-date".into(),
        ".interactionfs/views/by-date/2026-11-22".into(),
        ".interactionfs/views/by-agent".into(),
        ".interactionfs/views/by-agent/1342".into(),
        ".interactionfs/views/by-agent/none".into(),
        ".interactionfs/views/text/2026-11-22".into(),
    ];
    for path in directories {
        let number = if path.is_empty() {
            ROOT
        } else {
            walk(&stage, &path).await.unwrap().number
        };
        let rows = list(&stage, number, 1000).await.unwrap();
        assert!(rows.len() > 2, "{path} is not empty");
        for (name, listed) in rows.iter().skip(2) {
            let Found::Entry(found) = look_up(&stage, number, name).await.unwrap() else {
                panic!("{path}/{name} is listed but not there");
            };
            assert_eq!(found.number, *listed, "{path}/{name}");
        }
    }
    assert_eq!(stage.interactions.finds.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_that_are_no_guids_never_cost_a_request() {
    let stage = sample();
    for name in [".Trash", "autorun.inf", ".hidden", "x", "2480fc2c"] {
        assert_eq!(look_up(&stage, ROOT, name).await, Ok(Found::Never));
    }
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    assert_eq!(
        look_up(&stage, directory, ".hidden").await,
        Ok(Found::Never)
    );
    assert_eq!(
        look_up(&stage, directory, "videoRecording.mp4").await,
        Err(FsError::NotFound)
    );
    assert_eq!(
        look_up(&stage, ROOT, &"x".repeat(256)).await,
        Err(FsError::NameTooLong)
    );
    assert_eq!(stage.interactions.finds.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn any_guid_is_reachable_in_either_case() {
    let stage = sample();
    let far = known(interaction(0xab, &[], &[]));
    stage
        .interactions
        .remote
        .lock()
        .unwrap()
        .insert(guid(0xab), far);
    let name = guid(0xab).to_string();
    assert_eq!(walk(&stage, &name).await.unwrap().kind, Kind::Directory);
    let upper = walk(&stage, &name.to_uppercase()).await.unwrap();
    assert_eq!(upper.kind, Kind::Link);
    assert_eq!(stage.filesystem.link_target(upper.number), Ok(name));
    assert_eq!(
        walk(&stage, &guid(0xcd).to_string()).await,
        Err(FsError::NotFound)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lookup_ends_by_its_deadline() {
    let mut interactions = FakeInteractions::new([]);
    interactions.hangs = true;
    let stage = stage(interactions, options());
    assert_eq!(
        walk(&stage, &guid(1).to_string()).await,
        Err(FsError::TimedOut)
    );
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_on_until_the_search_is_complete() {
    let stage = Arc::new(stage(
        FakeInteractions::new([interaction(1, &[], &[])]),
        options(),
    ));
    *stage.interactions.progress.lock().unwrap() = Progress::Searching;
    let lister = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { list(&stage, ROOT, 1000).await }
    });
    // What comes later is listed too, however the two interleave.
    tokio::task::yield_now().await;
    stage.interactions.put(interaction(2, &[], &[]));
    *stage.interactions.progress.lock().unwrap() = Progress::Complete;
    stage.interactions.news.notify_waiters();
    let rows = lister.await.unwrap().unwrap();
    assert_eq!(rows.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_cant_be_completed_ends_with_an_error_behind_its_rows() {
    let stage = sample();
    *stage.interactions.progress.lock().unwrap() =
        Progress::Failed(RemoteError::Unreachable("refused"));
    let (rows, error) = list(&stage, ROOT, 1000).await.unwrap_err();
    assert_eq!((rows.len(), error), (7, FsError::Failed));
    *stage.interactions.progress.lock().unwrap() = Progress::Failed(RemoteError::Gone);
    let (_, error) = list(&stage, ROOT, 1000).await.unwrap_err();
    assert_eq!(error, FsError::Failed, "never as if nothing were there");
    *stage.interactions.progress.lock().unwrap() = Progress::Searching;
    let (rows, error) = list(&stage, ROOT, 1000).await.unwrap_err();
    assert_eq!((rows.len(), error), (7, FsError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn agents_are_listed_as_pages_come_each_once() {
    let stage = stage(
        FakeInteractions::new([interaction(1, &["1342"], &[])]),
        options(),
    );
    *stage.interactions.progress.lock().unwrap() = Progress::Searching;
    let views = walk(&stage, ".interactionfs/views/by-agent").await.unwrap();
    let filesystem = &stage.filesystem;
    let (handle, _) = filesystem.open_directory(views.number).unwrap();
    let batch = filesystem.read_directory(handle, 0).await.unwrap();
    let first: Vec<_> = batch.rows().iter().map(|row| &*row.name).collect();
    assert_eq!(first, [".", "..", "1342"], "before the search is complete");
    let position = batch.rows().last().unwrap().next;

    // One that sorts before it, one that is listed already.
    stage.interactions.put(interaction(2, &["007"], &[]));
    stage.interactions.put(interaction(3, &["1342"], &[]));
    let batch = filesystem.read_directory(handle, position).await.unwrap();
    let next: Vec<_> = batch.rows().iter().map(|row| &*row.name).collect();
    assert_eq!(next, ["007"]);
    let end = batch.rows().last().unwrap().next;
    let waiting = filesystem.read_directory(handle, end).await;
    assert_eq!(waiting.unwrap_err(), FsError::TimedOut, "more may come");
    *stage.interactions.progress.lock().unwrap() = Progress::Complete;
    let ended = filesystem.read_directory(handle, end).await.unwrap();
    assert!(ended.rows().is_empty());
    // Telldir and seekdir agree, and a rewind begins anew.
    let again = filesystem.read_directory(handle, position).await.unwrap();
    assert_eq!(&*again.rows()[0].name, "007");
    let anew = filesystem.read_directory(handle, 0).await.unwrap();
    assert_eq!(anew.rows().len(), 4);
    *stage.interactions.progress.lock().unwrap() = Progress::Failed(RemoteError::Interrupted);
    let (rows, error) = list(&stage, views.number, 1000).await.unwrap_err();
    assert_eq!((rows.len(), error), (4, FsError::Failed));
}

#[tokio::test]
async fn other_days_are_searched_when_entered() {
    let stage = sample();
    let day = walk(&stage, ".interactionfs/views/by-date/2025-03-17")
        .await
        .unwrap();
    assert!(stage.interactions.demanded.lock().unwrap().is_empty());
    assert_eq!(list(&stage, day.number, 10).await.unwrap().len(), 2);
    assert_eq!(
        *stage.interactions.demanded.lock().unwrap(),
        ["2025-03-17".parse().unwrap()]
    );
    let today = walk(&stage, ".interactionfs/views/by-date/2026-11-22")
        .await
        .unwrap();
    assert_eq!(list(&stage, today.number, 10).await.unwrap().len(), 4);
    assert_eq!(stage.interactions.demanded.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn links_in_views_lead_to_the_interaction_and_only_under_their_exact_name() {
    let stage = sample();
    let one = guid(1);
    let link = walk(
        &stage,
        &format!(".interactionfs/views/by-agent/1342/2026-11-22_101501Z_inbound_{one}"),
    )
    .await
    .unwrap();
    assert_eq!(
        stage.filesystem.link_target(link.number),
        Ok(format!("../../../../{one}"))
    );
    for wrong in [
        format!("by-date/2026-11-22/101502Z_inbound_{one}"),
        format!("by-date/2026-11-21/101501Z_inbound_{one}"),
        format!("by-agent/none/2026-11-22_101501Z_inbound_{one}"),
        "by-agent/7".to_owned(),
    ] {
        let path = format!(".interactionfs/views/{wrong}");
        assert_eq!(walk(&stage, &path).await, Err(FsError::NotFound), "{wrong}");
    }
}

#[tokio::test]
async fn listing_never_fetches_a_size_and_stat_does_once() {
    let stage = sample();
    let directory = walk(&stage, &guid(2).to_string()).await.unwrap().number;
    let filesystem = &stage.filesystem;
    let (handle, _) = filesystem.open_directory(directory).unwrap();
    let batch = filesystem.read_directory(handle, 0).await.unwrap();
    let row = &batch.rows()[2];
    assert_eq!(&*row.name, "voicemail.wav");
    let listed = filesystem.row_attributes(row, true);
    assert_eq!(
        (listed.lifetime, listed.name_lifetime),
        (Duration::ZERO, Duration::ZERO),
        "the kernel must not use a size that nobody knows"
    );
    let requests = &stage.contents.shelf().requests;
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let found = filesystem.attributes(listed.number).await.unwrap();
    assert_eq!(found.size, 300);
    assert!(found.lifetime > Duration::from_secs(60));
    walk(&stage, &format!("{}/voicemail.wav", guid(2)))
        .await
        .unwrap();
    assert_eq!(filesystem.row_attributes(row, false).size, 300);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn attributes_are_those_of_the_item() {
    let stage = sample();
    let file = walk(&stage, &format!("{}/callRecording.wav", guid(1)))
        .await
        .unwrap();
    assert_eq!((file.size, file.mode, file.links), (10_000, 0o400, 1));
    assert_eq!(file.time, "2026-11-22T11:01:00Z".parse().unwrap());
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap();
    assert_eq!((directory.mode, directory.kind), (0o500, Kind::Directory));
    assert_eq!(directory.time, "2026-11-22T10:15:01Z".parse().unwrap());
    let metadata = walk(&stage, &format!("{}/interaction.json", guid(1)))
        .await
        .unwrap();
    assert_eq!(metadata.time, "2026-11-22T11:02:00Z".parse().unwrap());
    // Reachable by key, but not for long: changes are announced under the listed name.
    let alias = walk(&stage, &format!("{}/callRecording", guid(1)))
        .await
        .unwrap();
    assert_eq!(alias.number, file.number);
    assert_eq!(alias.name_lifetime, Duration::ZERO);
}

#[tokio::test]
async fn only_the_chosen_types_are_shown() {
    let mut chosen = options();
    chosen.types = Some([ItemType::new("callRecording")].into());
    let stage = stage(
        FakeInteractions::new([interaction(
            1,
            &[],
            &[
                ("callRecording", WAV, Some(1), 1),
                ("transcript", JSON, Some(5), 2),
            ],
        )]),
        chosen,
    );
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    let rows = list(&stage, directory, 10).await.unwrap();
    assert_eq!(
        names(&rows),
        [".", "..", "callRecording.wav", "interaction.json"]
    );
    for name in ["transcript.json", "transcript"] {
        assert_eq!(
            look_up(&stage, directory, name).await,
            Err(FsError::NotFound)
        );
    }
}

#[tokio::test]
async fn texts_are_rendered_once_and_listed_only_where_there_is_a_transcript() {
    let stage = sample();
    let day = walk(&stage, ".interactionfs/views/text/2026-11-22")
        .await
        .unwrap()
        .number;
    let rows = list(&stage, day, 10).await.unwrap();
    let name = format!("101501Z_inbound_{}.txt", guid(1));
    assert_eq!(names(&rows), [".", "..", &name]);
    let Found::Entry(text) = look_up(&stage, day, &name).await.unwrap() else {
        panic!("no text");
    };
    let wanted = "2026-11-22T10:15:01Z HELLO\n";
    assert_eq!(text.size, wanted.len() as u64);
    assert_eq!(text.time, "2026-11-22T11:02:00Z".parse().unwrap());
    let opened = stage.filesystem.open(text.number, false).await.unwrap();
    let bytes = stage.filesystem.read(opened.handle, 0, 4096).await.unwrap();
    assert_eq!(bytes, wanted);
}

#[tokio::test]
async fn a_replaced_recording_gets_a_new_inode_and_the_old_one_opens_no_more() {
    let stage = sample();
    let kernel = Arc::new(FakeKernel::default());
    stage.filesystem.connect(Arc::clone(&kernel) as _);
    let path = format!("{}/callRecording.wav", guid(1));
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    let old = walk(&stage, &path).await.unwrap().number;
    let opened = stage.filesystem.open(old, false).await.unwrap();
    let old_id = stage.id(1, "callRecording");

    let now = interaction(
        1,
        &["1342"],
        &[
            ("callRecording", WAV, Some(10_000), 59),
            ("transcript", JSON, Some(5), 2),
        ],
    );
    let before = stage.interactions.put(now.clone()).unwrap();
    stage.announcer.changed(Change::Updated {
        before,
        now: known(now),
    });

    let told = kernel.0.lock().unwrap().clone();
    let name = |name: &str| Notice::Name {
        parent: directory,
        name: name.into(),
    };
    assert!(told.contains(&name("callRecording.wav")));
    assert!(told.contains(&name("interaction.json")));
    assert!(told.contains(&Notice::Content(old)));
    assert!(told.contains(&Notice::Content(directory)));
    assert!(!told.contains(&name("transcript.json")));
    let new = walk(&stage, &path).await.unwrap().number;
    assert_ne!(new, old);
    assert_eq!(
        stage.filesystem.open(old, false).await.err(),
        Some(FsError::Stale)
    );
    // The open handle goes on with its version, while there are bytes of it.
    let read = stage.filesystem.read(opened.handle, 5000, 10).await;
    assert_eq!(read.unwrap().len(), 10);
    stage.contents.remove(&old_id);
    assert_eq!(
        stage.filesystem.read(opened.handle, 5000, 10).await.err(),
        Some(FsError::Stale)
    );
    assert_eq!(stage.filesystem.attributes(old).await.unwrap().size, 10_000);
}

#[tokio::test]
async fn a_name_whose_version_was_replaced_leads_to_the_newer_one() {
    let stage = sample();
    let path = ".interactionfs/views/text/2026-11-22";
    let directory = walk(&stage, path).await.unwrap().number;
    let rows = list(&stage, directory, 10).await.unwrap();
    let name = rows[2].0.clone();
    stage.contents.remove(&stage.id(1, "transcript"));
    let newer = interaction(1, &["1342"], &[("transcript", JSON, Some(7), 3)]);
    let id = newer.items[0].content_id(guid(1));
    stage.contents.put(id, "goodbye");
    let remote = &stage.interactions.remote;
    remote.lock().unwrap().insert(guid(1), known(newer));
    let Ok(Found::Entry(found)) = look_up(&stage, directory, &name).await else {
        panic!("{name} is there");
    };
    let opened = stage.filesystem.open(found.number, false).await.unwrap();
    let text = stage.filesystem.read(opened.handle, 0, 100).await.unwrap();
    assert_eq!(text.len() as u64, found.size);
    assert!(text.ends_with(b"GOODBYE\n"), "{text:?}");
    assert_eq!(stage.interactions.finds.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lacks_something_for_a_while_is_not_kept() {
    let stage = sample();
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    let is_kept = || stage.filesystem.open_directory(directory).unwrap().1;
    assert!(is_kept());
    stage.announcer.gone(&stage.id(1, "callRecording"));
    assert!(!is_kept());
    let rows = list(&stage, directory, 10).await.unwrap();
    assert!(!names(&rows).contains(&"callRecording.wav"));
    tokio::time::advance(Duration::from_secs(601)).await;
    assert!(is_kept());
    let rows = list(&stage, directory, 10).await.unwrap();
    assert!(names(&rows).contains(&"callRecording.wav"));
}

#[tokio::test]
async fn links_that_bear_another_start_are_dropped() {
    let stage = sample();
    let kernel = Arc::new(FakeKernel::default());
    stage.filesystem.connect(Arc::clone(&kernel) as _);
    let path = ".interactionfs/views/by-date/2026-11-22";
    let day = walk(&stage, path).await.unwrap().number;
    let rows = list(&stage, day, 10).await.unwrap();
    let before = stage.interactions.remembered(guid(1)).unwrap();
    let json = before.interaction.json.reveal();
    let later = Interaction::from_json(&json.replace("10:15:01", "10:16:01")).unwrap();
    let now = known(later);
    stage.announcer.changed(Change::Updated { before, now });
    let told = kernel.0.lock().unwrap().clone();
    let dropped = |name: &str| {
        let name = name.into();
        told.contains(&Notice::Name { parent: day, name })
    };
    let names = names(&rows);
    assert!(names.iter().any(|name| dropped(name)), "{names:?} {told:?}");
}

#[tokio::test]
async fn what_was_replaced_in_place_is_dropped_by_the_kernel_and_by_the_next_open() {
    let stage = sample();
    let kernel = Arc::new(FakeKernel::default());
    stage.filesystem.connect(Arc::clone(&kernel) as _);
    let path = format!("{}/callRecording.wav", guid(1));
    let number = walk(&stage, &path).await.unwrap().number;
    let id = stage.id(1, "callRecording");
    stage.contents.put(id.clone(), vec![9_u8; 10_000]);
    stage.announcer.replaced(&id);
    let told = kernel.0.lock().unwrap().clone();
    assert!(told.contains(&Notice::Content(number)));
    for replaced in [true, false] {
        let opened = stage.filesystem.open(number, false).await.unwrap();
        assert_eq!(opened.replaced, replaced);
    }
}

#[tokio::test]
async fn a_text_is_made_anew_when_its_transcript_was_replaced_in_place() {
    let stage = sample();
    let path = ".interactionfs/views/text/2026-11-22";
    let directory = walk(&stage, path).await.unwrap().number;
    let rows = list(&stage, directory, 10).await.unwrap();
    let id = stage.id(1, "transcript");
    for (bytes, words) in [("hello", &b"HELLO"[..]), ("howdy", b"HOWDY")] {
        stage.contents.put(id.clone(), bytes);
        stage.announcer.replaced(&id);
        let Ok(Found::Entry(found)) = look_up(&stage, directory, &rows[2].0).await else {
            panic!("it is there");
        };
        let opened = stage.filesystem.open(found.number, false).await.unwrap();
        let text = stage.filesystem.read(opened.handle, 0, 100).await.unwrap();
        assert!(text.trim_ascii_end().ends_with(words), "{text:?}");
    }
}

#[tokio::test]
async fn what_is_gone_disappears_and_its_bytes_are_deleted() {
    let stage = sample();
    let kernel = Arc::new(FakeKernel::default());
    stage.filesystem.connect(Arc::clone(&kernel) as _);
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    let path = format!("{}/callRecording.wav", guid(1));
    walk(&stage, &path).await.unwrap();
    let id = stage.id(1, "callRecording");
    stage.announcer.gone(&id);
    assert_eq!(walk(&stage, &path).await, Err(FsError::NotFound));
    assert!(
        !names(&list(&stage, directory, 10).await.unwrap()).contains(&"callRecording.wav"),
        "it is not listed either"
    );
    let forgotten = |stage: &Stage| stage.contents.shelf().forgotten.lock().unwrap().clone();
    assert_eq!(forgotten(&stage), [(guid(1), Some(id.key.clone()))]);

    let gone = stage
        .interactions
        .listed
        .lock()
        .unwrap()
        .remove(&guid(1))
        .unwrap();
    stage.announcer.changed(Change::Removed(gone));
    assert_eq!(forgotten(&stage).last(), Some(&(guid(1), None)));
    let told = kernel.0.lock().unwrap().clone();
    assert!(told.contains(&Notice::Name {
        parent: ROOT,
        name: guid(1).to_string().into(),
    }));
    assert_eq!(
        walk(&stage, &guid(1).to_string()).await,
        Err(FsError::NotFound)
    );
}

#[tokio::test]
async fn a_size_that_proves_wrong_is_told() {
    let stage = sample();
    let kernel = Arc::new(FakeKernel::default());
    stage.filesystem.connect(Arc::clone(&kernel) as _);
    let path = format!("{}/callRecording.wav", guid(1));
    let number = walk(&stage, &path).await.unwrap().number;
    stage
        .announcer
        .resized(&stage.id(1, "callRecording"), 12_000);
    assert_eq!(*kernel.0.lock().unwrap(), [Notice::Attributes(number)]);
    assert_eq!(
        stage.filesystem.attributes(number).await.unwrap().size,
        12_000
    );
}

#[tokio::test]
async fn extended_attributes_say_what_the_api_says() {
    let stage = sample();
    let filesystem = &stage.filesystem;
    let file = walk(&stage, &format!("{}/callRecording.wav", guid(1)))
        .await
        .unwrap()
        .number;
    let directory = walk(&stage, &guid(1).to_string()).await.unwrap().number;
    for (number, name, value) in [
        (file, "user.mime_type", "audio/wav"),
        (file, "user.vcc.content_key", "callRecording"),
        (file, "user.vcc.type", "callRecording"),
        (file, "user.interactionfs.cached", "0.500"),
        (directory, "user.vcc.direction", "inbound"),
        (directory, "user.vcc.start", "2026-11-22T10:15:01Z"),
        (directory, "user.vcc.agents", "1342"),
    ] {
        let found = filesystem
            .extended_attribute(number, OsStr::new(name))
            .await;
        assert_eq!(found.unwrap(), value.as_bytes(), "{name}");
    }
    for name in ["security.capability", "user.other"] {
        let found = filesystem.extended_attribute(file, OsStr::new(name)).await;
        assert_eq!(found, Err(FsError::NoAttribute));
    }
}

#[tokio::test]
async fn nothing_opens_for_writing_and_directories_are_no_files() {
    let stage = sample();
    let file = walk(&stage, &format!("{}/callRecording.wav", guid(1)))
        .await
        .unwrap()
        .number;
    let open = |number, write| stage.filesystem.open(number, write);
    assert_eq!(open(file, true).await.err(), Some(FsError::ReadOnly));
    assert_eq!(open(ROOT, false).await.err(), Some(FsError::IsADirectory));
    assert_eq!(
        stage.filesystem.open_directory(file),
        Err(FsError::NotADirectory)
    );
    assert_eq!(
        look_up(&stage, file, "x").await,
        Err(FsError::NotADirectory)
    );
    assert_eq!(
        stage.filesystem.read(99, 0, 1).await.err(),
        Some(FsError::BadHandle)
    );
}

#[tokio::test]
async fn a_walk_over_transcripts_fetches_the_next_ones_and_no_recording() {
    let all = (1..=40).map(|n| {
        let items = [
            ("callRecording", WAV, Some(10), 1),
            ("transcript", JSON, Some(5), 2),
        ];
        interaction(n, &[], &items)
    });
    let stage = stage(FakeInteractions::new(all), options());
    for n in 1..=40 {
        stage.contents.put(stage.id(n, "transcript"), "hello");
    }
    list(&stage, ROOT, 1000).await.unwrap();
    let ahead = || stage.contents.shelf().ahead.lock().unwrap().clone();
    // The listing is taken in beside everything else.
    eventually(|| stage.filesystem.walks.has_listing()).await;
    for n in 1..=5 {
        let path = format!("{}/transcript.json", guid(n));
        let file = walk(&stage, &path).await.unwrap().number;
        let opened = stage.filesystem.open(file, false).await.unwrap();
        stage.filesystem.close(opened.handle);
    }
    let wanted: HashSet<_> = (4..=21).map(|n| stage.id(n, "transcript")).collect();
    eventually(|| ahead().len() >= wanted.len()).await;
    assert_eq!(ahead().len(), wanted.len());
    assert_eq!(ahead().into_iter().collect::<HashSet<_>>(), wanted);
}

/// Lets everything else go on until it is so.
async fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never is");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_inode_is_the_same_after_a_remount() {
    let first = sample();
    let again = sample();
    for path in [
        guid(1).to_string(),
        format!("{}/callRecording.wav", guid(1)),
        format!("{}/interaction.json", guid(1)),
        "by-date".to_owned(),
    ] {
        let number = walk(&first, &path).await.unwrap().number;
        assert_eq!(walk(&again, &path).await.unwrap().number, number);
    }
    assert!(first.filesystem.inodes.held(&Node::Root).is_some());
}
