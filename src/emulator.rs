//! The API's other side: token endpoint, search, content, limits and faults, over real sockets.
//!
//! `demo`, `emulate`, the tests and the benchmarks run on it. It answers as the API reference says the
//! API does, strictly: a request that no page promises an answer to is refused. All that is undocumented
//! is a switch ([`Switches`]), all that can go wrong a rule ([`Rule`]), and what the account holds can be
//! changed while it is served ([`Account`]). It shares no type with the client, not even the model: a
//! mistake in one must not hide in the other.
//!
//! Two sockets are listened on: the API with the token endpoint, and the origin that content can be
//! redirected to.

mod account;
mod arguments;
mod bytes;
mod connection;
mod content;
mod continuation;
mod corpus;
mod curiosities;
mod delete;
mod errors;
mod faults;
mod http;
mod listener;
mod log;
mod manifest;
mod pace;
mod path;
mod range;
mod record;
mod samples;
mod search;
mod service;
mod switches;
#[cfg(test)]
mod tests;
mod token;
mod transcript;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use account::Account;
pub use arguments::Arguments;
pub use bytes::Source;
pub use corpus::{GeneratedCorpus, GeneratedSpec};
pub use faults::{ErrorBody, Fault, Faults, RetryAfter, Rule, RuleId, Target, Times};
pub use log::{Endpoint, Entry, Outcome, RequestLog};
pub use record::{Body, Interaction, Item};
pub use switches::{
    DeclaredLength, Etag, LastPage, Order, Paging, Properties, Redirect, RetryAfterForm, Switches,
};
pub use token::Tokens;
pub use transcript::{Shape, Transcript};

use service::Service;
use token::Credentials;

/// What the account holds at first.
#[derive(Clone, Debug, Default)]
pub enum Corpus {
    /// The bundled samples.
    #[default]
    Samples,
    /// A computed corpus.
    Generated(GeneratedSpec),
    /// Nothing.
    Empty,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that it hangs on.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How to start the emulator.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 for any.
    pub listen: SocketAddr,
    /// Speak https with this certificate; `None` for http.
    pub tls: Option<TlsFiles>,
    /// What the account holds at first.
    pub corpus: Corpus,
    /// Also hold interactions with odd keys, types, lengths and rights.
    pub curiosities: bool,
    /// The switches at first.
    pub switches: Switches,
    /// The one client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The scopes that it may ask for.
    pub scopes: Vec<String>,
    /// Faults from the beginning.
    pub rules: Vec<Rule>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            corpus: Corpus::Samples,
            curiosities: false,
            switches: Switches::default(),
            client_id: "emulator-client".to_owned(),
            // Made to be encoded wrongly.
            client_secret: "emulator+secret/with=%41&more".to_owned(),
            scopes: vec![token::READ.to_owned(), token::DELETE.to_owned()],
            rules: Vec::new(),
        }
    }
}

/// An emulator that runs. It ends when this is dropped; [`Running::stop`] also waits for the end.
pub struct Running {
    service: Arc<Service>,
    address: SocketAddr,
    closing: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

/// Starts an emulator on the present runtime.
///
/// # Errors
/// When the address can't be listened on, or the certificate or the samples can't be read.
pub async fn start(options: Options) -> io::Result<Running> {
    let tls = options.tls.as_ref().map(listener::tls).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let api = tokio::net::TcpListener::bind(options.listen).await?;
    let storage_address = SocketAddr::new(options.listen.ip(), 0);
    let storage = tokio::net::TcpListener::bind(storage_address).await?;
    let address = api.local_addr()?;
    let origins = (
        format!("{scheme}://{address}"),
        format!("{scheme}://{}", storage.local_addr()?),
    );
    let credentials = Credentials {
        id: options.client_id,
        secret: options.client_secret,
        scopes: options.scopes,
    };
    let account = account(options.corpus, options.curiosities)?;
    let service = Arc::new(Service::new(
        account,
        credentials,
        options.switches,
        origins,
        random()?,
    ));
    for rule in options.rules {
        service.faults.add(rule);
    }
    let (closing, closed) = watch::channel(false);
    let listen = |socket, origin| {
        let (service, tls, closed) = (Arc::clone(&service), tls.clone(), closed.clone());
        tokio::spawn(listener::run(socket, tls, service, origin, closed))
    };
    let listeners = vec![
        listen(api, path::Origin::Api),
        listen(storage, path::Origin::Storage),
    ];
    Ok(Running {
        service,
        address,
        closing,
        listeners,
    })
}

impl Running {
    /// The API's URL, up to and including `/interaction-content`.
    pub fn api_url(&self) -> String {
        format!("{}{}", self.service.api_origin, path::API_PATH)
    }

    /// The URL of the token endpoint.
    pub fn auth_url(&self) -> String {
        format!("{}{}", self.service.api_origin, path::TOKEN_PATH)
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.service.credentials.id
    }

    /// The client secret.
    pub fn client_secret(&self) -> &str {
        &self.service.credentials.secret
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked.
    pub fn log(&self) -> &RequestLog {
        &self.service.log
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// What the account holds.
    pub fn account(&self) -> &Account {
        &self.service.account
    }

    /// The access tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.service.tokens
    }

    /// The switches as they stand.
    pub fn switches(&self) -> Switches {
        Switches::clone(&self.service.switches())
    }

    /// Sets all switches, for requests that come from now on.
    pub fn set_switches(&self, switches: Switches) {
        self.service.set_switches(switches);
    }

    /// Changes some switches, for requests that come from now on.
    pub fn change_switches(&self, change: impl FnOnce(&mut Switches)) {
        let mut switches = self.switches();
        change(&mut switches);
        self.set_switches(switches);
    }

    /// Forgets which requests the last minute has seen: the limits begin anew.
    pub fn forget_pace(&self) {
        self.service.forget_pace();
    }

    /// Interactions that a delete-batch fails to delete, with 403.
    pub fn protect(&self, guids: impl IntoIterator<Item = Uuid>) {
        let mut protected = (self.service.protected.lock()).unwrap_or_else(PoisonError::into_inner);
        *protected = guids.into_iter().collect::<HashSet<_>>();
    }

    /// Stops: open connections are cut, and both sockets are free when this returns.
    pub async fn stop(self) {
        let _ = self.closing.send(true);
        for listener in self.listeners {
            // A listener that panicked has stopped as well.
            let _ = listener.await;
        }
    }
}

fn account(corpus: Corpus, curiosities: bool) -> io::Result<Account> {
    let now = Timestamp::now();
    let (generated, mut stored) = match corpus {
        Corpus::Empty => (None, Vec::new()),
        Corpus::Generated(spec) => (Some(GeneratedCorpus::new(spec, now)), Vec::new()),
        Corpus::Samples => {
            let samples = manifest::interactions(samples::MANIFEST, samples::file, now)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            (None, samples)
        }
    };
    if curiosities {
        stored.extend(curiosities::interactions(now));
    }
    Ok(Account::new(generated, stored))
}

/// A number that nobody can guess: tokens and continuations are made with it.
fn random() -> io::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
