//! What others changed or removed, of which isn't remembered what it was: all that the kernel keeps of it has to go.

use super::*;
use crate::catalogue::{Known, Unremembered};

const TEXT: &str = ".interactionfs/views/text/2026-11-22/101501Z_inbound_";
const DATE: &str = ".interactionfs/views/by-date/2026-11-22/101501Z_inbound_";
const AGENT: &str = ".interactionfs/views/by-agent/1342/2026-11-22_101501Z_inbound_";

/// A kernel that has looked up all of the first interaction, and what it is told of a change to it.
struct Told {
    stage: Stage,
    kernel: Arc<FakeKernel>,
    directory: u64,
    recording: u64,
    transcript: u64,
}

impl Told {
    async fn new() -> Self {
        let stage = sample();
        let kernel = Arc::new(FakeKernel::default());
        stage.filesystem.connect(Arc::clone(&kernel) as _);
        let guid = guid(1);
        let number = async |path: String| walk(&stage, &path).await.unwrap().number;
        let directory = number(guid.to_string()).await;
        let recording = number(format!("{guid}/callRecording.wav")).await;
        let transcript = number(format!("{guid}/transcript.json")).await;
        for path in [
            format!("{TEXT}{guid}.txt"),
            format!("{DATE}{guid}"),
            format!("{AGENT}{guid}"),
            guid_two(),
        ] {
            number(path).await;
        }
        Self {
            stage,
            kernel,
            directory,
            recording,
            transcript,
        }
    }

    fn change(&self, now: Option<Arc<Known>>) {
        let changed = Unremembered { guid: guid(1), now };
        self.stage
            .announcer
            .changed(Change::Unremembered(vec![changed]));
    }

    fn is_told(&self, notice: &Notice) -> bool {
        self.kernel.0.lock().unwrap().contains(notice)
    }

    /// Whether the kernel is told to drop a name in the interaction's directory.
    fn is_dropped(&self, name: &str) -> bool {
        self.is_told(&Notice::Name {
            parent: self.directory,
            name: name.into(),
        })
    }

    /// Whether it is told to drop the last name of a path in a view.
    async fn is_dropped_from_view(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = walk(&self.stage, parent).await.unwrap().number;
        self.is_told(&Notice::Name {
            parent,
            name: name.into(),
        })
    }

    fn forgotten(&self) -> Vec<String> {
        let forgotten = self.stage.contents.shelf().forgotten.lock().unwrap();
        forgotten
            .iter()
            .map(|(of, key)| {
                assert_eq!(*of, guid(1));
                key.as_ref()
                    .map_or_else(String::new, |key| key.as_str().to_owned())
            })
            .collect()
    }
}

fn guid_two() -> String {
    format!("{}/interaction.json", guid(2))
}

#[tokio::test]
async fn what_changed_is_looked_up_anew_and_what_left_is_forgotten() {
    let told = Told::new().await;
    // The recording stays, the transcript leaves, a voicemail joins.
    let now = interaction(
        1,
        &["1342"],
        &[
            ("callRecording", WAV, Some(10_000), 1),
            ("voicemail", WAV, Some(5), 2),
        ],
    );
    told.change(Some(known(now)));
    assert!(told.is_told(&Notice::Content(told.directory)));
    assert!(told.is_told(&Notice::Content(told.transcript)));
    assert!(!told.is_told(&Notice::Content(told.recording)));
    for name in ["transcript.json", "voicemail.wav", "interaction.json"] {
        assert!(told.is_dropped(name), "{name}");
    }
    let text = format!("{TEXT}{}.txt", guid(1));
    assert!(told.is_dropped_from_view(&text).await);
    assert!(told.forgotten().iter().all(|key| key == "transcript"));
    assert!(!told.forgotten().is_empty());
    assert!(!told.is_told(&Notice::Name {
        parent: ROOT,
        name: guid(1).to_string().into(),
    }));
}

#[tokio::test]
async fn what_is_gone_disappears_with_all_its_names() {
    let told = Told::new().await;
    told.change(None);
    for number in [told.directory, told.recording, told.transcript] {
        assert!(told.is_told(&Notice::Content(number)));
    }
    for name in ["callRecording.wav", "transcript.json", "interaction.json"] {
        assert!(told.is_dropped(name), "{name}");
    }
    let guid = guid(1);
    for path in [
        format!("{TEXT}{guid}.txt"),
        format!("{DATE}{guid}"),
        format!("{AGENT}{guid}"),
    ] {
        assert!(told.is_dropped_from_view(&path).await, "{path}");
    }
    assert_eq!(told.forgotten().last().map(String::as_str), Some(""));
    let last = told.kernel.0.lock().unwrap().last().cloned();
    assert_eq!(last, Some(Notice::Attributes(ROOT)));
    assert!(told.is_told(&Notice::Name {
        parent: ROOT,
        name: guid.to_string().into(),
    }));
}
