//! The parts of a mount, put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::first_contact;
use super::snapshots;
use super::special::Special;
use super::status::{Sources as StatusSources, Status};
use super::sweep::Sweep;
use crate::account_lock::AccountLock;
use crate::catalogue::{self, Catalogue, Refresher};
use crate::config::{self, Config};
use crate::content::{self, DiskSettings, Engine};
use crate::control;
use crate::failure::Failure;
use crate::fs::{Announcer, CatalogueInteractions, EngineContents, FileSystem, Options, Sources};
use crate::metrics;
use crate::prefetch::{
    Event, FreshInteractions, KeptContents, LowestClass, Order, Prefetcher, SharedPace,
};
use crate::remote::{
    AuthMethod, Endpoints, HttpRemote, OfflineRemote, Remote, SecretSlot,
    Settings as RemoteSettings,
};
use crate::seal::CacheKey;
use crate::text;
use crate::tree::TextForm;

/// How much later than it is due a search may have come to its end.
const SEARCH_TAKES: Duration = Duration::from_secs(30);

/// The one request that a process makes for a token.
const TOKEN_OF_ITS_OWN: u64 = 1;

/// What the parts are put together for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To be mounted.
    Mount,
    /// To prefetch without a mount: every request gives way to whoever reads.
    Prefetch,
}

/// The parts of a mount.
pub(super) struct Parts {
    filesystem: Arc<FileSystem>,
    engine: Arc<Engine>,
    client: Option<Client>,
    status: Arc<Status>,
    /// `None` when offline.
    prefetcher: Option<Arc<Prefetcher>>,
    /// Only a mount sweeps: it has the time.
    sweep: Option<AbortHandle>,
    /// Writes a sealed catalogue.
    snapshots: Option<AbortHandle>,
    catalogue: Arc<Catalogue>,
    /// Keeps others from deleting what is cached.
    _lock: Option<AccountLock>,
}

/// The client, and what its secret comes from.
struct Client {
    secret: SecretSlot,
    source: config::SecretSource,
}

/// What the control socket answers with.
struct Answers {
    status: Arc<Status>,
    prefetcher: Option<Arc<Prefetcher>>,
    reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    stop: Arc<dyn Fn() + Send + Sync>,
}

impl Parts {
    /// Puts everything together, for `purpose`. Without a catalogue of an earlier mount the credentials and the first
    /// search are tried first, so that a mount that could show nothing is not made.
    pub(super) async fn assemble(config: &Arc<Config>, purpose: Purpose) -> Result<Self, Failure> {
        let directory = config.account_directory();
        let lock = match &directory {
            Some(directory) => Some(prepare_directory(directory)?),
            None => None,
        };
        let cache = config.cache_directory();
        let catalogue = Arc::new(open_catalogue(cache.as_deref(), config.cache_key.as_ref())?);
        let (http, client) = match &config.secret {
            Some(_) => {
                let (http, client) = connect(config, directory.as_deref()).await?;
                (Some(http), Some(client))
            }
            None => (None, None),
        };
        let is_first = catalogue.is_empty();
        if let Some(http) = &http
            && is_first
        {
            first_contact::try_credentials(http).await?;
        }
        let remote: Arc<dyn Remote> = match (&http, purpose) {
            (Some(http), Purpose::Mount) => Arc::clone(http) as _,
            (Some(http), Purpose::Prefetch) => Arc::new(LowestClass(Arc::clone(http) as _)),
            (None, _) => Arc::new(OfflineRemote),
        };
        let announcer = Announcer::new(account_number(config), Timestamp::now());
        let engine = Engine::new(
            Arc::clone(&remote),
            Arc::clone(&announcer) as _,
            content::Settings {
                memory_bytes: config.memory_bytes,
                disk: config
                    .disk
                    .as_ref()
                    .zip(cache.as_ref())
                    .map(|(disk, directory)| DiskSettings {
                        key: config.cache_key.clone(),
                        directory: directory.join("content"),
                        size_bytes: disk.size_bytes,
                        max_age: config.cache_max_age,
                    }),
            },
        );
        let refresher = Refresher::start(
            Arc::clone(&catalogue),
            Arc::clone(&remote),
            Arc::clone(&announcer) as _,
            catalogue::Settings {
                window: config.window.clone(),
                filter: config.filter.clone(),
                refresh: config.refresh,
                offline: config.offline,
                max_age: config.cache_max_age,
            },
        );
        if let Some(http) = &http
            && is_first
        {
            first_contact::await_first_page(http, &catalogue, &refresher).await?;
        }
        let prefetcher = http.as_ref().map(|http| {
            Prefetcher::new(
                Arc::new(FreshInteractions::new(
                    Arc::clone(&catalogue),
                    Arc::clone(&refresher),
                    remote,
                    match purpose {
                        Purpose::Mount => config.refresh.saturating_mul(2) + SEARCH_TAKES,
                        // What is older than that, the refresher searches at once.
                        Purpose::Prefetch => config.refresh,
                    },
                )),
                Arc::new(KeptContents::new(
                    Arc::clone(&engine),
                    config.disk.as_ref().map(|disk| disk.size_bytes),
                )),
                Arc::new(SharedPace(Arc::clone(http))),
                config.types.clone(),
                match purpose {
                    Purpose::Mount => 0,
                    Purpose::Prefetch => TOKEN_OF_ITS_OWN,
                },
            )
        });
        let sweep = (purpose == Purpose::Mount).then(|| {
            let sweep = Sweep {
                catalogue: Arc::clone(&catalogue),
                engine: Arc::clone(&engine),
                refresher: Arc::clone(&refresher),
            };
            tokio::spawn(sweep.keep()).abort_handle()
        });
        let snapshots = config.cache_key.as_ref().map(|_| {
            let changes = refresher.subscribe();
            tokio::spawn(snapshots::keep(Arc::clone(&catalogue), changes)).abort_handle()
        });
        let status = Arc::new(Status::new(StatusSources {
            config: Arc::clone(config),
            http,
            engine: Arc::clone(&engine),
            catalogue: Arc::clone(&catalogue),
            refresher: Arc::clone(&refresher),
        }));
        let filesystem = FileSystem::new(
            announcer,
            Sources {
                interactions: Arc::new(CatalogueInteractions::new(
                    Arc::clone(&catalogue),
                    refresher,
                )),
                contents: Arc::new(EngineContents::new(Arc::clone(&engine))),
                special: Arc::new(Special::new(config, Arc::clone(&status))),
                render: Arc::new(render),
            },
            options(config),
        );
        Ok(Self {
            filesystem,
            engine,
            client,
            status,
            prefetcher,
            sweep,
            snapshots,
            catalogue,
            _lock: lock,
        })
    }

    /// The filesystem to mount.
    pub(super) fn filesystem(&self) -> Arc<FileSystem> {
        Arc::clone(&self.filesystem)
    }

    /// What the control socket answers with.
    pub(super) fn answers(&self, stop: Arc<dyn Fn() + Send + Sync>) -> Arc<dyn control::Answers> {
        let reload = match &self.client {
            Some(client) => client.reloader(),
            None => Box::new(|| Err("an offline mount has no credentials".to_owned())),
        };
        Arc::new(Answers {
            status: Arc::clone(&self.status),
            prefetcher: self.prefetcher.clone(),
            reload,
            stop,
        })
    }

    /// Begins to fetch what an order says.
    pub(super) fn prefetch(&self, order: Order) -> Result<BoxStream<'static, Event>, String> {
        start(self.prefetcher.as_ref(), order)
    }

    /// What the metrics are made of.
    pub(super) fn tell(&self) -> metrics::Tell {
        let status = Arc::clone(&self.status);
        Arc::new(move || status.to_json())
    }

    /// Has the secret read again, where that may wait for a disk.
    pub(super) fn reload(&self) {
        let Some(client) = &self.client else { return };
        let reload = client.reloader();
        tokio::task::spawn_blocking(move || match reload() {
            Ok(()) => info!("the client secret was read again"),
            Err(reason) => warn!(reason, "the client secret stays as it was"),
        });
    }

    /// Writes what has to outlive the process and closes all, within `time`. What a disk that
    /// doesn't answer keeps from it is left: closing waits for the disk, too, so no caller does that itself.
    pub(super) async fn end(self, time: Duration) {
        let ending = tokio::spawn(async move {
            for task in [&self.sweep, &self.snapshots].into_iter().flatten() {
                task.abort();
            }
            snapshots::write(&self.catalogue).await;
            self.engine.shutdown().await;
            tokio::task::spawn_blocking(move || drop(self)).await
        });
        if !matches!(tokio::time::timeout(time, ending).await, Ok(Ok(Ok(())))) {
            warn!("not everything fetched could be written to the cache in time");
        }
    }
}

impl Client {
    fn reload(&self) -> Result<(), String> {
        let secret = self.source.read().map_err(|failure| failure.message)?;
        self.secret.replace(secret);
        Ok(())
    }

    fn reloader(&self) -> Box<dyn Fn() -> Result<(), String> + Send + Sync> {
        let again = Self {
            secret: self.secret.clone(),
            source: self.source.clone(),
        };
        Box::new(move || again.reload())
    }
}

impl control::Answers for Answers {
    fn status(&self) -> Value {
        self.status.to_json()
    }

    fn reload(&self) -> Result<(), String> {
        (self.reload)()
    }

    fn stop(&self) {
        (self.stop)();
    }

    fn prefetch(&self, order: Value) -> Result<BoxStream<'static, Value>, String> {
        let order = serde_json::from_value(order)
            .map_err(|_| "the order is not one that this version knows".to_owned())?;
        let events = start(self.prefetcher.as_ref(), order)?;
        Ok(events
            .filter_map(|event| async move { serde_json::to_value(event).ok() })
            .boxed())
    }
}

fn start(
    prefetcher: Option<&Arc<Prefetcher>>,
    order: Order,
) -> Result<BoxStream<'static, Event>, String> {
    prefetcher
        .ok_or_else(|| "an offline mount fetches nothing".to_owned())?
        .start(order)
}

/// The account's own directory, 0700 from the first instant on, and marked as used.
fn prepare_directory(directory: &Path) -> Result<AccountLock, Failure> {
    let locked =
        content::disk::own_directory(directory).and_then(|()| AccountLock::share(directory));
    let lock = locked.map_err(|error| {
        Failure::found(format!(
            "the cache directory {} can't be used ({error}): choose another with --cache-dir, or --no-disk-cache",
            directory.parent().unwrap_or(directory).display()
        ))
    })?;
    lock.ok_or_else(|| {
        Failure::found(
            "'interactionfs cache' is at work on this account's cache: try again when it is done",
        )
    })
}

fn open_catalogue(directory: Option<&Path>, key: Option<&CacheKey>) -> Result<Catalogue, Failure> {
    let opened = match (directory, key) {
        (Some(directory), Some(key)) => {
            // Its parent is the account's, which is ours already.
            content::disk::own_directory(directory).map_err(|error| {
                Failure::found(format!(
                    "the sealed cache can't be made ({error}): choose another --cache-dir"
                ))
            })?;
            let account = directory.parent().unwrap_or(directory);
            if account.join("catalogue.sqlite").exists() {
                warn!(
                    "a cache of this account that is not encrypted is still there: 'interactionfs cache purge' removes it"
                );
            }
            Catalogue::open_sealed(&directory.join("catalogue.sealed"), key)
        }
        (Some(directory), None) => Catalogue::open(&directory.join("catalogue.sqlite")),
        (None, _) => Catalogue::in_memory(),
    };
    opened.map_err(|error| Failure::found(error.to_string()))
}

/// The client of a mount, on the current tokio runtime.
async fn connect(
    config: &Arc<Config>,
    directory: Option<&Path>,
) -> Result<(Arc<HttpRemote>, Client), Failure> {
    let Some(source) = config.secret_source.clone() else {
        return Err(Failure::typed("no client secret is given"));
    };
    let ledger = directory.map(|directory| directory.join("pace"));
    let config = Arc::clone(config);
    // Reads certificates and opens the ledger.
    let (http, secret) = tokio::task::spawn_blocking(move || http_remote(&config, ledger))
        .await
        .map_err(|_| Failure::found("a defect in interactionfs prevented the mount"))??;
    Ok((http, Client { secret, source }))
}

/// The API of a configuration, and the slot that its secret lies in. Reads files: not for the runtime's own threads.
///
/// # Errors
/// Why it can't be made.
pub(crate) fn http_remote(
    config: &Config,
    ledger: Option<PathBuf>,
) -> Result<(Arc<HttpRemote>, SecretSlot), Failure> {
    let Some(secret) = config.secret.clone() else {
        return Err(Failure::typed("no client secret is given"));
    };
    let slot = SecretSlot::new(secret);
    let settings = RemoteSettings {
        endpoints: Endpoints {
            api: config.account.api_url.clone(),
            auth: config.account.auth_url.clone(),
        },
        client_id: config.account.client_id.clone(),
        secret: slot.clone(),
        auth_method: match config.account.auth_method {
            config::AuthMethod::Basic => AuthMethod::Basic,
            config::AuthMethod::Form => AuthMethod::Form,
        },
        ca_file: config.ca_file.clone(),
        requests_per_minute: config.requests_per_minute.get(),
        ledger,
    };
    let http = HttpRemote::new(settings).map_err(|error| Failure::found(error.to_string()))?;
    Ok((http, slot))
}

/// A transcript's bytes as text.
fn render(form: TextForm, bytes: &[u8], start: Timestamp) -> String {
    let transcript = text::read(bytes, start);
    match form {
        TextForm::Plain => text::plain(&transcript),
        TextForm::Srt => text::srt(&transcript),
        TextForm::Vtt => text::vtt(&transcript),
    }
}

/// Tells this account's inode numbers from another's.
fn account_number(config: &Config) -> u64 {
    xxhash_rust::xxh3::xxh3_64(config.account.fingerprint().as_bytes())
}

fn options(config: &Config) -> Options {
    Options {
        uid: config.uid,
        gid: config.gid,
        file_mode: config.file_mode,
        dir_mode: config.dir_mode,
        sidecars: config.sidecars,
        types: config
            .types
            .as_ref()
            .map(|types| types.iter().cloned().collect()),
        deadline: config.deadline,
        metadata_deadline: config.metadata_deadline,
    }
}
