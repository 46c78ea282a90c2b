//! The way to the API, in the order in which a mount goes it: names, connections, credentials, a search,
//! a ranged read. What comes after the first failure of a kind is not tried.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use url::Url;

use crate::config::Config;
use crate::daemon;
use crate::failure::Failure;
use crate::model::{Guid, Item, SearchFilter, TimeWindow};
use crate::remote::{
    Class, ContentRequest, HttpRemote, Remote, RemoteError, RetryBudget, SearchRequest, Terms,
    Urgency,
};

use super::report::{Finding, Report};

/// How long any one step may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far the clock may be off before certificates and tokens suffer.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// What is read for the ranged read, in bytes.
const RANGE: u64 = 4096;

/// The API as the checks need it. Calls are made on a tokio runtime.
pub trait Api: Send + Sync {
    /// The API.
    fn remote(&self) -> Arc<dyn Remote>;

    /// Gets a token.
    fn check_credentials(&self, terms: Terms) -> BoxFuture<'_, Result<(), RemoteError>>;

    /// What time the server says it is; `None` if it doesn't say.
    fn server_time(&self, terms: Terms) -> BoxFuture<'_, Result<Option<Timestamp>, RemoteError>>;
}

/// Makes the API of a configuration, on the current tokio runtime.
pub type Connect = fn(&Config) -> Result<Arc<dyn Api>, Failure>;

/// The API of a configuration.
///
/// # Errors
/// Why it can't be made.
pub(in crate::commands) fn connect(config: &Config) -> Result<Arc<dyn Api>, Failure> {
    // In the pace of the account's mounts, if it ever had one. Looking leaves nothing behind.
    let ledger = config
        .account_directory()
        .filter(|directory| directory.is_dir())
        .map(|directory| directory.join("pace"));
    let (http, _) = daemon::http_remote(config, ledger)?;
    Ok(Arc::new(OverHttp(http)))
}

/// The API itself.
struct OverHttp(Arc<HttpRemote>);

impl Api for OverHttp {
    fn remote(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.0) as _
    }

    fn check_credentials(&self, terms: Terms) -> BoxFuture<'_, Result<(), RemoteError>> {
        self.0.check_credentials(terms).boxed()
    }

    fn server_time(&self, terms: Terms) -> BoxFuture<'_, Result<Option<Timestamp>, RemoteError>> {
        self.0.server_time(terms).boxed()
    }
}

pub(super) fn check(report: &mut Report, config: &Config, connect: Connect) -> Result<(), Failure> {
    if !check_reach(report, config) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::found(format!("no threads can be started ({error})")))?;
    runtime.block_on(async {
        match connect(config) {
            Ok(api) => check_api(report, config, &*api).await,
            Err(failure) => report.add("connection", Finding::fail(failure.message)),
        }
    });
    Ok(())
}

/// Names and connections of both hosts. With a proxy, the proxy does both.
fn check_reach(report: &mut Report, config: &Config) -> bool {
    let proxied = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|proxy| !proxy.is_empty()));
    if proxied {
        report.add(
            "reach",
            Finding::ok("left to the proxy that the environment names"),
        );
        return true;
    }
    let mut reached = true;
    let hosts = [
        ("token host", &config.account.auth_url),
        ("API host", &config.account.api_url),
    ];
    for (what, url) in hosts {
        let finding = reach(url);
        reached &= !finding.failed();
        report.add(what, finding);
    }
    reached
}

fn reach(url: &Url) -> Finding {
    let host = url.host_str().unwrap_or_default();
    let Ok(addresses) = url.socket_addrs(|| None) else {
        return Finding::fail(format!(
            "the name {host} is not found: check --region and this machine's DNS (resolvectl query {host})"
        ));
    };
    let started = std::time::Instant::now();
    for address in &addresses {
        if TcpStream::connect_timeout(address, PATIENCE / 3).is_ok() {
            let milliseconds = started.elapsed().as_millis();
            return Finding::ok(format!("{host} is reached in {milliseconds} ms"));
        }
    }
    Finding::fail(format!(
        "{host} can't be reached: check the network, the firewall, or set HTTPS_PROXY"
    ))
}

async fn check_api(report: &mut Report, config: &Config, api: &dyn Api) {
    match api.server_time(terms()).await {
        Ok(Some(time)) => report.add("clock", clock(Timestamp::now().duration_since(time))),
        Ok(None) => report.add(
            "clock",
            Finding::warn("the server doesn't say what time it is"),
        ),
        Err(error) => report.add("clock", Finding::warn(format!("not compared: {error}"))),
    }
    if let Err(error) = api.check_credentials(terms()).await {
        report.add("credentials", Finding::fail(credentials_refused(&error)));
        return;
    }
    report.add(
        "credentials",
        Finding::ok("a token was given, with the scope that is needed"),
    );

    let remote = api.remote();
    let started = Instant::now();
    let found = match search(&*remote, config.filter.clone()).await {
        Ok(found) => found,
        Err(error) => {
            report.add(
                "search",
                Finding::fail(format!("{error}: {}", advice(&error))),
            );
            return;
        }
    };
    let milliseconds = started.elapsed().as_millis();
    report.add(
        "search",
        Finding::ok(format!(
            "the last day's interactions came in {milliseconds} ms"
        )),
    );
    let Some(request) = found else {
        report.add(
            "ranged read",
            Finding::ok("not tried: the last day has no transcript or other text, and a recording is not fetched for a trial"),
        );
        return;
    };
    let started = Instant::now();
    let read = ranged_read(&*remote, request).await;
    let milliseconds = started.elapsed().as_millis();
    report.add(
        "ranged read",
        match read {
            Ok(Read::Range) => Finding::ok(format!("answered with the range in {milliseconds} ms")),
            Ok(Read::Whole) => Finding::warn(format!(
                "answered in {milliseconds} ms, but with the whole file: far seeks in recordings will be slow"
            )),
            Err(error) => Finding::fail(format!("{error}: {}", advice(&error))),
        },
    );
}

/// Searches the last day, and picks something to read there: not a recording, because each access to one
/// may stand in the customer's audit log.
async fn search(
    remote: &dyn Remote,
    filter: SearchFilter,
) -> Result<Option<ContentRequest>, RemoteError> {
    let now = Timestamp::now();
    let request = SearchRequest {
        window: TimeWindow {
            from: now
                .checked_sub(SignedDuration::from_hours(24))
                .unwrap_or(Timestamp::MIN),
            to: now,
        },
        filter,
        continuation: None,
    };
    let page = remote.search(&request, terms()).await?;
    let readable = page.interactions.iter().flat_map(|interaction| {
        let items = interaction.items.iter();
        items
            .filter(|item| !item.is_recording() && item.version.length != Some(0))
            .map(|item| (interaction.guid, item))
    });
    // A file that the range doesn't cover tells whether ranges are kept; others answer at least.
    let is_long = |(_, item): &(Guid, &Item)| item.version.length.is_some_and(|long| long > RANGE);
    let chosen = readable.clone().find(is_long).or(readable.clone().next());
    Ok(chosen.map(|(guid, item)| ContentRequest {
        guid,
        key: item.key.clone(),
        start: 0,
        end: Some(
            item.version
                .length
                .map_or(RANGE, |length| length.min(RANGE)),
        ),
        validator: None,
        urgency: Urgency::of(Class::Reader),
    }))
}

enum Read {
    Range,
    Whole,
}

async fn ranged_read(remote: &dyn Remote, request: ContentRequest) -> Result<Read, RemoteError> {
    let wanted = request.end;
    let mut answer = remote.content(request, terms()).await?;
    let mut length = 0_u64;
    while let Some(bytes) = answer.body.next().await {
        length += bytes?.len() as u64;
        if length > RANGE {
            return Ok(Read::Whole);
        }
    }
    Ok(if answer.end == wanted || answer.total <= wanted {
        Read::Range
    } else {
        Read::Whole
    })
}

fn terms() -> Terms {
    Terms {
        class: Class::Reader,
        deadline: Instant::now() + PATIENCE,
        retries: RetryBudget::with_tries(1),
    }
}

fn clock(ahead: SignedDuration) -> Finding {
    let off = ahead.abs();
    if off <= CLOCK_TOLERANCE {
        return Finding::ok("right");
    }
    let seconds = off.as_secs();
    let direction = if ahead.is_negative() {
        "behind"
    } else {
        "ahead"
    };
    Finding::fail(format!(
        "this machine's clock is {seconds} s {direction}: set it ('timedatectl set-ntp true'), or windows and tokens \
         will be wrong"
    ))
}

fn credentials_refused(error: &RemoteError) -> String {
    match error {
        RemoteError::Unauthorized { reason } if *reason == "invalid_scope" => {
            "the credentials may not read interaction content: give them the scope interaction-content:read in the \
             admin portal (API Credentials)"
                .to_owned()
        }
        RemoteError::Unauthorized { reason } => format!(
            "refused ({reason}): check --client-id, the secret and --region against the admin portal (API Credentials)"
        ),
        RemoteError::Status(status) if (400..500).contains(status) => format!(
            "{error}: this is not the token endpoint; check --auth-url, which is the whole address, or --region"
        ),
        _ => format!("{error}: {}", advice(error)),
    }
}

fn advice(error: &RemoteError) -> &'static str {
    match error {
        RemoteError::Gone => "check --api-url, which ends in /interaction-content",
        RemoteError::Forbidden => {
            "the credentials' user needs the permission to view interaction content and the scope \
             interaction-content:read"
        }
        RemoteError::Unauthorized { .. } => "check --client-id, the secret and --region",
        RemoteError::PastEnd { .. } | RemoteError::Protocol(_) => {
            "something between here and the API (a proxy?) changes its answers, or --api-url is not the API"
        }
        RemoteError::NoBudget => {
            "other mounts of this account use up the requests: try again in a minute"
        }
        RemoteError::DeadlinePassed | RemoteError::Interrupted => {
            "the network or the API is slow: try again later"
        }
        RemoteError::Unreachable(_) | RemoteError::Connection(_) => {
            "check the network, the proxy, and --ca-file if a proxy inspects TLS"
        }
        RemoteError::Status(_) => "the API has a problem of its own: try again later",
        RemoteError::Offline => "leave --offline out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_an_hour_off_fails_and_says_which_way() {
        assert!(!clock(SignedDuration::from_secs(-30)).failed());
        let behind = clock(SignedDuration::from_hours(-1));
        assert!(behind.failed() && behind.text().contains("3600 s behind"));
        assert!(
            clock(SignedDuration::from_hours(1))
                .text()
                .contains("ahead")
        );
    }

    #[test]
    fn a_port_nobody_listens_on_is_not_reached() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}/x", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        assert!(!reach(&url).failed());
        drop(listener);
        assert!(reach(&url).text().contains("can't be reached"));
    }

    #[test]
    fn a_wrong_scope_and_wrong_credentials_are_told_apart() {
        let scope = credentials_refused(&RemoteError::Unauthorized {
            reason: "invalid_scope",
        });
        assert!(scope.contains("interaction-content:read"), "{scope}");
        let wrong = credentials_refused(&RemoteError::Unauthorized {
            reason: "invalid_client",
        });
        assert!(wrong.contains("--client-id"), "{wrong}");
    }
}
