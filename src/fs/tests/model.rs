//! The filesystem against a map: whatever is done in whatever order, they agree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a program may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Appear(u8, u16),
    Vanish(u8),
    LookUp(u8),
    Read(u8, u16, u16),
    List(usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 1_u8..6;
    prop_oneof![
        (n.clone(), 1_u16..20_000).prop_map(|(n, length)| Step::Appear(n, length)),
        n.clone().prop_map(Step::Vanish),
        n.clone().prop_map(Step::LookUp),
        (n, any::<u16>(), any::<u16>()).prop_map(|(n, at, length)| Step::Read(n, at, length)),
        (1_usize..9).prop_map(Step::List),
        any::<usize>().prop_map(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The filesystem against a map from GUID to a recording's length.
    #[test]
    fn it_behaves_like_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = stage(FakeInteractions::new([]), options());
            let mut model: BTreeMap<u8, u16> = BTreeMap::new();
            let mut held: Vec<u64> = Vec::new();
            for step in steps {
                match step {
                    Step::Appear(n, length) => {
                        let new = interaction(n, &[], &[("callRecording", WAV, Some(length.into()), 1)]);
                        let change = match stage.interactions.put(new.clone()) {
                            Some(before) => Change::Updated { before, now: known(new) },
                            None => Change::Added(guid(n), new.start),
                        };
                        stage.announcer.changed(change);
                        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                        stage.contents.put(stage.id(n, "callRecording"), bytes);
                        model.insert(n, length);
                    }
                    Step::Vanish(n) => {
                        let gone = stage.interactions.listed.lock().unwrap().remove(&guid(n));
                        prop_assert_eq!(gone.is_some(), model.remove(&n).is_some());
                        if let Some(gone) = gone {
                            stage.announcer.changed(Change::Removed(gone));
                        }
                    }
                    Step::LookUp(n) => {
                        let found = look_up(&stage, ROOT, &guid(n).to_string()).await;
                        match (found, model.get(&n)) {
                            (Ok(Found::Entry(directory)), Some(length)) => {
                                let found = look_up(&stage, directory.number, "callRecording.wav").await;
                                let Ok(Found::Entry(file)) = found else {
                                    return Err(TestCaseError::fail("no recording"));
                                };
                                prop_assert_eq!(file.size, u64::from(*length));
                                held.push(directory.number);
                                held.push(file.number);
                            }
                            (found, known) => {
                                prop_assert_eq!(found, Err(FsError::NotFound));
                                prop_assert_eq!(known, None);
                            }
                        }
                    }
                    Step::Read(n, at, wanted) => {
                        let path = format!("{}/callRecording.wav", guid(n));
                        let Ok(file) = walk(&stage, &path).await else {
                            prop_assert!(!model.contains_key(&n));
                            continue;
                        };
                        let length = model[&n];
                        let opened = stage.filesystem.open(file.number, false).await.unwrap();
                        let (offset, size) = (u64::from(at), u32::from(wanted));
                        let bytes = match stage.filesystem.read_now(opened.handle, offset, size).unwrap() {
                            Some(bytes) => bytes,
                            None => stage.filesystem.read(opened.handle, offset, size).await.unwrap(),
                        };
                        let end = length.min(at.saturating_add(wanted)).max(at.min(length));
                        let expected: Vec<u8> = (at.min(length)..end).map(|at| (at % 251) as u8).collect();
                        prop_assert_eq!(&bytes[..], &expected[..]);
                        stage.filesystem.close(opened.handle);
                    }
                    Step::List(step) => {
                        let rows = list(&stage, ROOT, step).await.unwrap();
                        let wanted: Vec<String> = model.keys().map(|n| guid(*n).to_string()).collect();
                        prop_assert_eq!(names(&rows).split_off(5), wanted);
                    }
                    Step::Forget(at) => {
                        if !held.is_empty() {
                            let number = held.swap_remove(at % held.len());
                            stage.filesystem.forget(number, 1);
                            if held.contains(&number) {
                                prop_assert!(stage.filesystem.attributes(number).await.is_ok());
                            }
                        }
                    }
                }
                prop_assert_eq!(stage.filesystem.open_files(), 0);
            }
            Ok(())
        })?;
    }
}
