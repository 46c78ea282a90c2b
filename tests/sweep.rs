//! What is cached outside the window and deleted upstream leaves the tree, the disk and the catalogue.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use interactionfs::catalogue::{Catalogue, Refresher, Settings as CatalogueSettings, WindowSpec};
use interactionfs::content::{DiskSettings, Engine, Settings as ContentSettings, Traits};
use interactionfs::daemon::Sweep;
use interactionfs::emulator::{self, Corpus, Endpoint, Interaction, Item, Options, Running};
use interactionfs::fs::{
    Announcer, CatalogueInteractions, EngineContents, FileSystem, Options as TreeOptions, Sources,
    SpecialFiles,
};
use interactionfs::model::{Guid, SearchFilter};
use interactionfs::remote::{
    AuthMethod, Class, Endpoints, HttpRemote, Remote, RetryBudget, SecretSlot,
    Settings as RemoteSettings, Terms,
};
use interactionfs::tree::SpecialFile;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(120);
const GUID: &str = "0b8f4a70-5a4e-4f7c-9d4e-2f6c8a1b3d5e";
const OTHER: &str = "0b8f4a70-5a4e-4f7c-9d4e-2f6c8a1b3d5f";

/// A mount without its kernel.
struct Parts {
    catalogue: Arc<Catalogue>,
    engine: Arc<Engine>,
    sweep: Sweep,
    _filesystem: Arc<FileSystem>,
}

struct NoFiles;

impl SpecialFiles for NoFiles {
    fn read(&self, _: SpecialFile) -> bytes::Bytes {
        bytes::Bytes::new()
    }
}

fn assemble(server: &Running, directory: &Path) -> Parts {
    let remote: Arc<dyn Remote> = HttpRemote::new(RemoteSettings {
        endpoints: Endpoints {
            api: server.api_url().parse().unwrap(),
            auth: server.auth_url().parse().unwrap(),
        },
        client_id: server.client_id().to_owned(),
        secret: SecretSlot::new(SecretString::from(server.client_secret().to_owned())),
        auth_method: AuthMethod::Basic,
        ca_file: None,
        requests_per_minute: 100_000,
        ledger: None,
    })
    .unwrap();
    let announcer = Announcer::new(1, Timestamp::now());
    let catalogue = Arc::new(Catalogue::open(&directory.join("catalogue.sqlite")).unwrap());
    let engine = Engine::new(
        Arc::clone(&remote),
        Arc::clone(&announcer) as _,
        ContentSettings {
            memory_bytes: 1 << 20,
            disk: Some(DiskSettings {
                key: None,
                directory: directory.join("content"),
                size_bytes: 1 << 30,
                max_age: Duration::from_secs(86_400),
            }),
        },
    );
    let refresher = Refresher::start(
        Arc::clone(&catalogue),
        remote,
        Arc::clone(&announcer) as _,
        CatalogueSettings {
            window: WindowSpec::Days(1),
            filter: SearchFilter::default(),
            refresh: Duration::from_secs(3600),
            offline: false,
            max_age: Duration::from_secs(86_400),
        },
    );
    let filesystem = FileSystem::new(
        announcer,
        Sources {
            interactions: Arc::new(CatalogueInteractions::new(
                Arc::clone(&catalogue),
                Arc::clone(&refresher),
            )),
            contents: Arc::new(EngineContents::new(Arc::clone(&engine))),
            special: Arc::new(NoFiles),
            render: Arc::new(|_, _, _| String::new()),
        },
        TreeOptions {
            uid: 0,
            gid: 0,
            file_mode: 0o400,
            dir_mode: 0o500,
            sidecars: false,
            types: None,
            deadline: PATIENCE,
            metadata_deadline: PATIENCE,
        },
    );
    Parts {
        sweep: Sweep {
            catalogue: Arc::clone(&catalogue),
            engine: Arc::clone(&engine),
            refresher,
        },
        catalogue,
        engine,
        _filesystem: filesystem,
    }
}

impl Parts {
    /// Looks an interaction up by its GUID, and reads its recording into the cache.
    async fn read(&self, guid: Guid) {
        let known = self
            .sweep
            .refresher
            .find(guid, Instant::now() + PATIENCE)
            .await
            .unwrap()
            .unwrap();
        let id = known.interaction.items[0].content_id(guid);
        let terms = Terms {
            class: Class::Reader,
            deadline: Instant::now() + PATIENCE,
            retries: RetryBudget::standard(),
        };
        let object = self.engine.object(&id, Traits::default());
        object.fetch_whole(terms).await.unwrap();
        let patience = Instant::now() + PATIENCE;
        // The writer accounts for what it wrote.
        while !self.is_cached(guid).await {
            assert!(Instant::now() < patience, "it never reached the disk");
        }
    }

    async fn is_cached(&self, guid: Guid) -> bool {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || engine.cached_interactions().contains(guid))
            .await
            .unwrap()
    }
}

/// Whether a file below the directory holds these bytes.
fn holds(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        // It may be removed while this looks.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|part| part == needle)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_outside_the_window_and_gone_upstream_is_swept() {
    let server = emulator::start(Options {
        corpus: Corpus::Empty,
        ..Options::default()
    })
    .await
    .unwrap();
    let start = Timestamp::now() - SignedDuration::from_hours(24 * 40);
    for (guid, words) in [
        (GUID, "the words of the one"),
        (OTHER, "the words of the other"),
    ] {
        let item = Item::new(
            "transcript",
            "transcript",
            "text/plain",
            start,
            words.as_bytes().to_vec(),
        );
        let interaction = Interaction::new(guid.parse().unwrap(), start).with(item);
        server.account().put(interaction);
    }
    let directory = tempfile::tempdir().unwrap();
    let parts = assemble(&server, directory.path());
    let (guid, other): (Guid, Guid) = (GUID.parse().unwrap(), OTHER.parse().unwrap());
    parts.read(guid).await;
    parts.read(other).await;
    assert!(holds(directory.path(), b"the words of the one"));

    assert!(server.account().remove(GUID.parse().unwrap()));
    let before = server.log().count(Endpoint::Search);
    parts.sweep.once().await;
    let patience = Instant::now() + PATIENCE;
    while parts.is_cached(guid).await || holds(directory.path(), b"the words of the one") {
        assert!(Instant::now() < patience, "it is never swept");
        tokio::task::yield_now().await;
    }
    assert!(parts.catalogue.interaction(guid).unwrap().is_none());
    // It is announced, which removes the content, before what is left in the write-ahead log is overwritten.
    while holds(directory.path(), guid.as_bytes()) {
        assert!(Instant::now() < patience, "it is never overwritten");
        tokio::task::yield_now().await;
    }
    assert!(parts.catalogue.interaction(other).unwrap().is_some());
    assert!(parts.is_cached(other).await);
    assert!(holds(directory.path(), b"the words of the other"));
    // A search of the day, and one that makes sure by the GUID.
    assert_eq!(server.log().count(Endpoint::Search) - before, 1);
    server.stop().await;
}
