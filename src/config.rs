//! What a mount is told to be: flags, environment and file, merged, validated and turned into plain data.
//!
//! [`OPTIONS`] is the one table of options. [`Given`] holds what was typed for each and where; [`Config`]
//! is what comes out, and nothing behind it parses a text or reads a variable. It promises that a
//! mistake ends in one line that names the flag, the variable or the line of the file. Secrets sit in
//! [`secrecy::SecretString`], addresses in [`crate::model::Personal`].

mod environment;
mod file;
mod given;
mod options;
mod redacted;
mod secret;
pub mod values;
mod window;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;
use xxhash_rust::xxh3::xxh3_128;

use crate::catalogue::WindowSpec;
use crate::failure::Failure;
use crate::model::{AgentId, Direction, ItemType, Personal, SearchFilter};
use crate::seal::CacheKey;

pub use environment::Environment;
pub use given::{Given, Origin, Value};
pub use options::{OPTIONS, OptionSpec, named};
pub use redacted::redacted_toml;
pub use secret::SecretSource;

use values::Expected;

/// The smallest `--memory` and `--cache-size` that make sense, in bytes.
const SIZE_MINIMUM: u64 = 1 << 20;

/// What the directories of sealed caches begin with, below their account's.
pub const SEALED: &str = "sealed-";

/// A mount, ready to be made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to mount, absolute.
    pub mountpoint: PathBuf,
    /// What `/proc/mounts` shows as the source.
    pub source: String,
    /// Whose content it is.
    pub account: Account,
    /// The client secret; `None` only when offline.
    pub secret: Option<SecretString>,
    /// Where the secret came from, to read it again.
    pub secret_source: Option<SecretSource>,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What the root lists.
    pub window: WindowSpec,
    /// What narrows every search.
    pub filter: SearchFilter,
    /// The types of content that are shown; `None` for all.
    pub types: Option<BTreeSet<ItemType>>,
    /// Whether derived files are shown beside recordings.
    pub sidecars: bool,
    /// How often new interactions are searched for.
    pub refresh: Duration,
    /// How long a read may take.
    pub deadline: Duration,
    /// How long a lookup, a listing or an open may take.
    pub metadata_deadline: Duration,
    /// Requests in any 60 s.
    pub requests_per_minute: NonZeroU32,
    /// Make no request at all.
    pub offline: bool,
    /// Memory for content, in bytes.
    pub memory_bytes: u64,
    /// The disk tier and the catalogue's place; `None` writes nothing to disk.
    pub disk: Option<DiskCache>,
    /// What the cache is sealed with, if it is.
    pub cache_key: Option<CacheKey>,
    /// How long content is kept since it was fetched, and how old a catalogue an offline mount shows.
    pub cache_max_age: Duration,
    /// Let other users in.
    pub allow_other: bool,
    /// Who owns all files.
    pub uid: u32,
    /// The group of all files.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
    /// Stay in the foreground.
    pub foreground: bool,
    /// Where the log is appended; `None` for standard error.
    pub log_file: Option<PathBuf>,
    /// How much is logged.
    pub log_level: String,
    /// Where metrics are served; `None` for nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// Whose content it is, and where it is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The API, up to and including `/interaction-content`, without a slash at the end.
    pub api_url: Url,
    /// The token endpoint itself.
    pub auth_url: Url,
    /// The client id.
    pub client_id: String,
    /// How id and secret are sent.
    pub auth_method: AuthMethod,
}

/// How id and secret are sent to the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMethod {
    /// In an `Authorization: Basic` header.
    Basic,
    /// In the form that is posted.
    Form,
}

/// Where and how much is kept on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskCache {
    /// The directory of all accounts, absolute.
    pub directory: PathBuf,
    /// Bytes of content kept.
    pub size_bytes: u64,
}

/// Everything that is given for a mount: flags, then the environment, then the configuration file, which
/// the flag `--config` (`config_file`) or the variable `INTERACTIONFS_CONFIG` names.
///
/// # Errors
/// An unreadable file, or one with a mistake in it.
pub fn gather(
    flags: Given,
    config_file: Option<&Path>,
    environment: &Environment,
) -> Result<Given, Failure> {
    let file = config_file
        .map(Path::to_owned)
        .or_else(|| {
            environment
                .variable("INTERACTIONFS_CONFIG")
                .map(PathBuf::from)
        })
        .map(|path| file::read(&environment.absolute(path)))
        .transpose()?
        .unwrap_or_default();
    Ok(flags.over(Given::from_environment(environment)?).over(file))
}

impl Config {
    /// Validates what was given.
    ///
    /// # Errors
    /// The first thing that is wrong, what was typed before what was found.
    pub fn resolve(
        mountpoint: &Path,
        given: &Given,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let path = |text: &str| non_empty(text).map(|text| environment.absolute(text));
        let offline = given.switch("offline")?;
        let mut config = Self {
            mountpoint: environment.absolute(mountpoint),
            source: given.read("source", non_empty)?,
            account: account(given)?,
            secret: None,
            secret_source: None,
            ca_file: given.read_optional("ca-file", path)?,
            window: window::read(given, environment.now)?,
            filter: filter(given)?,
            types: given.read_optional("types", types)?,
            sidecars: given.switch("sidecars")?,
            refresh: given.read("refresh", values::duration)?,
            deadline: given.read("deadline", values::duration)?,
            metadata_deadline: given.read("metadata-deadline", values::duration)?,
            requests_per_minute: given.read("requests-per-minute", |text| {
                values::number::<NonZeroU32>(text)
                    .map_err(|_| Expected("a whole number from 1 up is needed"))
            })?,
            offline,
            memory_bytes: given.read("memory", at_least_minimum)?,
            disk: disk(given, environment)?,
            cache_key: None,
            cache_max_age: given.read("cache-max-age", values::duration)?,
            allow_other: given.switch("allow-other")?,
            uid: given
                .read_optional("uid", values::number)?
                .unwrap_or(environment.uid),
            gid: given
                .read_optional("gid", values::number)?
                .unwrap_or(environment.gid),
            file_mode: given.read("file-mode", values::mode)?,
            dir_mode: given.read("dir-mode", values::mode)?,
            foreground: given.switch("foreground")?,
            log_file: given.read_optional("log-file", path)?,
            log_level: given.read("log-level", |text| {
                crate::telemetry::check_level(text).map(|()| text.to_owned())
            })?,
            metrics_listen: given.read_optional("metrics-listen", values::listen_address)?,
        };
        if offline && config.disk.is_none() {
            return Err(Failure::typed(
                "--offline shows what is cached on disk, and --no-disk-cache has nothing there: leave one out",
            ));
        }
        if let Some(value) = given.get("cache-key-file") {
            config.cache_key = Some(secret::cache_key(&value.text, environment)?);
        }
        if !offline {
            let source = SecretSource::find(given, environment)?;
            config.secret = Some(source.read()?);
            config.secret_source = Some(source);
        }
        Ok(config)
    }

    /// This account's own directory below the cache directory, so that neither another credential nor
    /// another region ever sees its catalogue or content. `None` when nothing is written to disk.
    pub fn account_directory(&self) -> Option<PathBuf> {
        self.disk
            .as_ref()
            .map(|disk| disk.directory.join(self.account.fingerprint()))
    }

    /// Where catalogue and content are, in or below the account's directory: each key that they are sealed with has a
    /// place of its own, so another key finds nothing. `None` when nothing is written to disk.
    pub fn cache_directory(&self) -> Option<PathBuf> {
        let directory = self.account_directory()?;
        Some(match &self.cache_key {
            Some(key) => directory.join(format!("{SEALED}{}", key.name())),
            None => directory,
        })
    }
}

impl Account {
    /// A name for this account that tells nothing about it: 32 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}\n{}", self.api_url.as_str(), self.client_id);
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }
}

impl AuthMethod {
    /// Its name as an option's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Form => "form",
        }
    }
}

/// The window that was typed; `None` when none was.
///
/// # Errors
/// A window that can't be read, or options that contradict each other.
pub fn typed_window(flags: &Given, now: Timestamp) -> Result<Option<WindowSpec>, Failure> {
    if ["since", "from", "to"]
        .iter()
        .all(|name| flags.get(name).is_none())
    {
        return Ok(None);
    }
    window::read(flags, now).map(Some)
}

/// The types that were typed; `None` when none were.
///
/// # Errors
/// A list without any type in it.
pub fn typed_types(flags: &Given) -> Result<Option<BTreeSet<ItemType>>, Failure> {
    flags.read_optional("types", types)
}

fn account(given: &Given) -> Result<Account, Failure> {
    let api_url = given.read_optional("api-url", values::endpoint)?;
    let auth_url = given.read_optional("auth-url", values::endpoint)?;
    let region = given.read_optional("region", region)?;
    let (api_url, auth_url) = match (api_url, auth_url, region) {
        (Some(api_url), Some(auth_url), _) => (api_url, auth_url),
        (Some(_), None, _) => {
            return Err(Failure::typed(
                "--api-url is given without --auth-url: give both, or --region alone",
            ));
        }
        (None, Some(_), _) => {
            return Err(Failure::typed(
                "--auth-url is given without --api-url: give both, or --region alone",
            ));
        }
        (None, None, Some(urls)) => urls,
        (None, None, None) => {
            return Err(Failure::typed(
                "no region is given: give --region emea, nam or apac (or INTERACTIONFS_REGION, or region in the \
                 --config file)",
            ));
        }
    };
    let Some(client_id) = given.read_optional("client-id", non_empty)? else {
        return Err(Failure::typed(
            "no client id is given: give --client-id (or INTERACTIONFS_CLIENT_ID, or client-id in the --config file)",
        ));
    };
    let auth_method = given.read("auth-method", |text| match text {
        "basic" => Ok(AuthMethod::Basic),
        "form" => Ok(AuthMethod::Form),
        _ => Err(Expected("it must be basic or form")),
    })?;
    Ok(Account {
        api_url,
        auth_url,
        client_id,
        auth_method,
    })
}

/// The hosts of a region (API reference, section 2): never the API of one with the tokens of another.
fn region(text: &str) -> Result<(Url, Url), Expected> {
    let region = text.to_ascii_lowercase();
    if !matches!(region.as_str(), "emea" | "nam" | "apac") {
        return Err(Expected(
            "the region must be emea, nam or apac (for another host: --api-url and --auth-url)",
        ));
    }
    Ok((
        values::endpoint(&format!(
            "https://{region}.api.cc.vonage.com/interaction-content"
        ))?,
        values::endpoint(&format!(
            "https://{region}.cc.vonage.com/Auth/connect/token"
        ))?,
    ))
}

fn filter(given: &Given) -> Result<SearchFilter, Failure> {
    let address = |text: &str| {
        let length = text.chars().count();
        if (1..=50).contains(&length) {
            Ok(Personal::new(text.into()))
        } else {
            Err(Expected("1 to 50 characters are needed"))
        }
    };
    Ok(SearchFilter {
        agent: given.read_optional("agent", |text| {
            non_empty(text).map(|text| AgentId::new(&text))
        })?,
        direction: given.read_optional("direction", |text| match Direction::from_wire(text) {
            Direction::Other(_) => Err(Expected("it must be inbound or outbound")),
            known => Ok(known),
        })?,
        connect_from: given.read_optional("connect-from", address)?,
        connect_to: given.read_optional("connect-to", address)?,
    })
}

fn types(text: &str) -> Result<BTreeSet<ItemType>, Expected> {
    let types: BTreeSet<_> = text
        .split(',')
        .map(str::trim)
        .filter(|item_type| !item_type.is_empty())
        .map(ItemType::new)
        .collect();
    if types.is_empty() {
        return Err(Expected(
            "types separated by commas are needed, such as transcript,callRecording",
        ));
    }
    Ok(types)
}

fn disk(given: &Given, environment: &Environment) -> Result<Option<DiskCache>, Failure> {
    // Its size is checked also when it isn't used: a typing mistake is one anyway.
    let size_bytes = given.read("cache-size", at_least_minimum)?;
    if given.switch("no-disk-cache")? {
        return Ok(None);
    }
    let directory = given
        .read_optional("cache-dir", non_empty)?
        .map(|directory| environment.absolute(directory))
        .or_else(|| environment.cache_directory())
        .ok_or_else(|| {
            Failure::typed(
                "there is no place for the cache, because HOME is not set: give --cache-dir or --no-disk-cache",
            )
        })?;
    Ok(Some(DiskCache {
        directory,
        size_bytes,
    }))
}

fn at_least_minimum(text: &str) -> Result<u64, Expected> {
    values::size(text).and_then(|bytes| {
        if bytes >= SIZE_MINIMUM {
            Ok(bytes)
        } else {
            Err(Expected("at least 1MiB is needed"))
        }
    })
}

fn non_empty(text: &str) -> Result<String, Expected> {
    if text.is_empty() {
        Err(Expected("it must not be empty"))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
