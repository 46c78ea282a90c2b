//! A server in memory: deterministic bytes, scripted faults, every request on record.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use tokio::time::Instant;

use crate::content::{Cursor, Discoveries, DiskSettings, Engine, Object, Settings, Traits};
use crate::model::{ContentId, ContentKey, ContentVersion, Guid, Interaction};
use crate::remote::{
    Class, Conditions, ContentAnswer, ContentRequest, Remote, RemoteError, RetryBudget, SearchPage,
    SearchRequest, Terms, Validator,
};

pub(super) const GUID: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";
pub(super) const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 << 10;

/// What one request is answered with instead of the truth.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Error(RemoteError),
    /// The body breaks off after so many bytes.
    CutAfter(u64),
    /// 200 with the whole file.
    IgnoresRange,
    /// The same, and the body breaks off after so many bytes.
    IgnoresRangeAndCutsAfter(u64),
    /// 200 as if the file had so many bytes.
    Resized(u64),
    /// The answer's head never comes.
    Silent,
    /// The pace has room for readers only.
    WaitsForReader,
}

/// The file that is served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) size: u64,
    /// Which bytes: another content is another version.
    pub(super) content: u64,
    pub(super) etag: Option<&'static str>,
    pub(super) etag_is_unstable: bool,
    pub(super) last_modified: Option<&'static str>,
    pub(super) says_total: bool,
    pub(super) listed: Option<u64>,
    pub(super) listed_time: &'static str,
    pub(super) is_gone: bool,
}

pub(super) struct Fake {
    pub(super) served: Mutex<Served>,
    pub(super) faults: Mutex<VecDeque<Fault>>,
    pub(super) requests: Mutex<Vec<(u64, Option<u64>)>>,
    pub(super) sent: Mutex<u64>,
    pub(super) metadata_reads: Mutex<u64>,
    pub(super) told: Mutex<Told>,
    pub(super) admissions: Mutex<u64>,
    pub(super) latency: Duration,
    /// Bytes a second on each connection.
    pub(super) rate: Option<u64>,
    pub(super) budget: u32,
    pub(super) is_offline: bool,
}

#[derive(Default, Debug)]
pub(super) struct Told {
    pub(super) sizes: Vec<u64>,
    pub(super) gone: u64,
    pub(super) replaced: u64,
    pub(super) observed: u64,
}

/// Bytes repeat after so many: no multiple of anything the engine cuts at.
const PERIOD: u64 = 1_048_573;

fn pattern() -> &'static Bytes {
    static PATTERN: OnceLock<Bytes> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let once: Vec<u8> = (0..PERIOD)
            .map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word as u8
            })
            .collect();
        Bytes::from([once.as_slice(), once.as_slice()].concat())
    })
}

/// What a content has from `start` to `end`, at most [`PERIOD`] bytes.
pub(super) fn bytes(content: u64, start: u64, end: u64) -> Bytes {
    let from = (start + content * 7919) % PERIOD;
    pattern().slice(from as usize..(from + end - start) as usize)
}

/// Whether `found` is what the content has at `offset`.
pub(super) fn is_right(content: u64, offset: u64, found: &[u8]) -> bool {
    bytes(content, offset, offset + found.len() as u64) == found
}

impl Fake {
    pub(super) fn of_size(size: u64) -> Self {
        Self {
            served: Mutex::new(Served {
                size,
                content: 1,
                etag: Some("\"one\""),
                etag_is_unstable: false,
                last_modified: Some("Sun, 22 Nov 2026 10:16:00 GMT"),
                says_total: true,
                listed: Some(size),
                listed_time: "2026-11-22T10:16:00Z",
                is_gone: false,
            }),
            faults: Mutex::default(),
            requests: Mutex::default(),
            sent: Mutex::default(),
            metadata_reads: Mutex::default(),
            told: Mutex::default(),
            admissions: Mutex::default(),
            latency: Duration::from_millis(30),
            rate: None,
            budget: 100_000,
            is_offline: false,
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served.lock().unwrap());
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    pub(super) fn admissions(&self) -> u64 {
        *self.admissions.lock().unwrap()
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(super) fn sent(&self) -> u64 {
        *self.sent.lock().unwrap()
    }

    pub(super) fn id(&self) -> ContentId {
        let served = self.served.lock().unwrap();
        ContentId {
            guid: guid(),
            key: ContentKey::new("callRecording"),
            version: ContentVersion {
                last_modified: Some(served.listed_time.parse().unwrap()),
                length: served.listed,
            },
        }
    }
}

pub(super) fn guid() -> Guid {
    GUID.parse().unwrap()
}

pub(super) struct Shim(pub(super) Arc<Fake>);

impl Remote for Shim {
    fn search<'a>(
        &'a self,
        _: &'a SearchRequest,
        _: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        unreachable!("the engine never searches")
    }

    fn interaction(&self, _: Guid, _: Terms) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        Box::pin(async move {
            *self.0.metadata_reads.lock().unwrap() += 1;
            tokio::time::sleep(self.0.latency).await;
            let served = self.0.served.lock().unwrap().clone();
            if served.is_gone {
                return Err(RemoteError::Gone);
            }
            let length = served
                .listed
                .map(|length| format!(r#""contentLength":{length},"#))
                .unwrap_or_default();
            Ok(Interaction::from_json(&format!(
                r#"{{"guid":"{GUID}","start":"2026-11-22T10:15:00Z","content":[{{"contentKey":"callRecording",
                {length}"type":"callRecording","lastModified":"{}"}}]}}"#,
                served.listed_time
            ))
            .unwrap())
        })
    }

    fn content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let number = {
                let mut requests = fake.requests.lock().unwrap();
                requests.push((request.start, request.end));
                requests.len()
            };
            let fault = fake.faults.lock().unwrap().pop_front();
            if matches!(fault, Some(Fault::Silent)) {
                tokio::time::sleep_until(terms.deadline).await;
                return Err(RemoteError::DeadlinePassed);
            }
            if matches!(fault, Some(Fault::WaitsForReader)) {
                while request.urgency.class() != Class::Reader {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            tokio::time::sleep(fake.latency).await;
            if let Some(Fault::Error(error)) = fault {
                return Err(error);
            }
            let mut served = fake.served.lock().unwrap().clone();
            if served.is_gone {
                return Err(RemoteError::Gone);
            }
            if let Some(Fault::Resized(size)) = fault {
                served.size = size;
            }
            let etag: Option<Box<str>> = if served.etag_is_unstable {
                Some(format!("\"{number}\"").into())
            } else {
                served.etag.map(Into::into)
            };
            let validator = Validator {
                etag,
                last_modified: served.last_modified.map(Into::into),
            };
            // If-Range, as a server does it.
            let condition_fails = request.validator.as_ref().is_some_and(|condition| {
                match (&condition.etag, &condition.last_modified) {
                    (Some(etag), _) => Some(etag) != validator.etag.as_ref(),
                    (None, time) => time != &validator.last_modified,
                }
            });
            let whole = condition_fails
                || matches!(
                    fault,
                    Some(Fault::IgnoresRange | Fault::IgnoresRangeAndCutsAfter(_))
                );
            if !whole && request.start >= served.size && request.start > 0 {
                let total = Some(served.size);
                return Err(RemoteError::PastEnd { total });
            }
            let start = if whole { 0 } else { request.start };
            let end = if whole {
                served.size
            } else {
                request.end.unwrap_or(served.size).min(served.size)
            };
            let cut = match fault {
                Some(Fault::CutAfter(bytes) | Fault::IgnoresRangeAndCutsAfter(bytes)) => {
                    Some(start + bytes)
                }
                _ => None,
            };
            let content = served.content;
            let began = Instant::now();
            let body = futures::stream::unfold(start, move |at| {
                let fake = Arc::clone(&fake);
                async move {
                    if cut.is_some_and(|cut| at >= cut) {
                        // Ends here: the state past the end is never polled again.
                        return Some((Err(RemoteError::Interrupted), u64::MAX));
                    }
                    if at >= end {
                        return None;
                    }
                    let stop = (at + CHUNK).min(end).min(cut.unwrap_or(u64::MAX));
                    if let Some(rate) = fake.rate {
                        let time = (stop - start) as f64 / rate as f64;
                        tokio::time::sleep_until(began + Duration::from_secs_f64(time)).await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                    *fake.sent.lock().unwrap() += stop - at;
                    Some((Ok(bytes(content, at, stop)), stop))
                }
            });
            Ok(ContentAnswer {
                start,
                end: served.says_total.then_some(end),
                total: served.says_total.then_some(served.size),
                validator,
                body: body.boxed(),
            })
        })
    }

    fn admission(&self, _deadline: Instant) -> BoxFuture<'_, Result<(), RemoteError>> {
        *self.0.admissions.lock().unwrap() += 1;
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_offline(&self) -> bool {
        self.0.is_offline
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            budget_left: self.0.budget,
            budget_is_idle: true,
            latency: self.0.latency,
        }
    }
}

impl Discoveries for Shim {
    fn resized(&self, _: &ContentId, size: u64) {
        self.0.told.lock().unwrap().sizes.push(size);
    }

    fn gone(&self, _: &ContentId) {
        self.0.told.lock().unwrap().gone += 1;
    }

    fn replaced(&self, _: &ContentId) {
        self.0.told.lock().unwrap().replaced += 1;
    }

    fn observed(&self, _: Interaction) {
        self.0.told.lock().unwrap().observed += 1;
    }
}

pub(super) fn engine(
    fake: &Arc<Fake>,
    memory_bytes: u64,
    disk: Option<DiskSettings>,
) -> Arc<Engine> {
    Engine::new(
        Arc::new(Shim(Arc::clone(fake))),
        Arc::new(Shim(Arc::clone(fake))),
        Settings { memory_bytes, disk },
    )
}

pub(super) fn object(engine: &Arc<Engine>, fake: &Fake) -> Arc<Object> {
    engine.object(&fake.id(), Traits::default())
}

pub(super) fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(super) fn terms() -> Terms {
    Terms {
        class: Class::Prefetch,
        deadline: in_a_minute(),
        retries: RetryBudget::standard(),
    }
}

/// Reads as the kernel does, and checks every byte.
pub(super) async fn read(cursor: &Cursor, content: u64, offset: u64, length: u64) -> u64 {
    let mut at = offset;
    while at < offset + length {
        // The kernel's READs end at multiples of 128 KiB.
        let stop = (at / (128 << 10) + 1) * (128 << 10);
        let piece = (stop.min(offset + length) - at) as u32;
        let found = match cursor.read_now(at, piece) {
            Some(found) => found,
            None => cursor.read(at, piece, in_a_minute()).await.unwrap(),
        };
        assert!(is_right(content, at, &found), "wrong bytes at {at}");
        at += found.len() as u64;
        if (found.len() as u32) < piece {
            break;
        }
    }
    at - offset
}
