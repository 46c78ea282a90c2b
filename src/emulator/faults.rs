//! Faults on demand: rules that say which requests go wrong, when, and how.
//!
//! The first rule that applies to a request decides. A rule counts the requests it applies to, so "the
//! third read of this item breaks after 100 bytes" can be said.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use uuid::Uuid;

use super::bytes::{Source, next_random};
use super::errors;
use super::http::{Accident, Answer};
use super::log::Endpoint;

/// What a rule applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Every request.
    Any,
    /// The token endpoint.
    Token,
    /// Searches.
    Search,
    /// Single interactions.
    Interaction,
    /// Content, also where a redirect led to.
    Content,
    /// Deletions.
    Delete,
}

/// What an error's body looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ErrorBody {
    /// `{"message": …}`.
    #[default]
    Message,
    /// OAuth's `{"error": …}`.
    OAuth(&'static str),
    /// A gateway's HTML page.
    Html,
    /// Nothing.
    Empty,
}

/// A `Retry-After` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryAfter {
    /// In seconds.
    Seconds(u64),
    /// As a date so long from now.
    Date(Duration),
    /// Neither.
    Nonsense,
}

/// What goes wrong. Byte counts are of the body.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// A status instead of the answer.
    Status {
        /// The status.
        code: u16,
        /// Its body.
        body: ErrorBody,
        /// Its `Retry-After`.
        retry_after: Option<RetryAfter>,
    },
    /// A TCP reset instead of an answer.
    ResetBeforeHead,
    /// A TCP reset after so many bytes.
    ResetAfter(u64),
    /// The connection is closed in order after so many bytes, though the head promised more.
    ShortBody(u64),
    /// The whole answer, but then the connection is closed, though the head let the client count on it: as
    /// when it is used again just as the server gives up waiting.
    CloseAfter,
    /// Fewer bytes than the range that `Content-Range` names, by this many, and `Content-Length` agrees with
    /// the bytes.
    ShortRange(u64),
    /// More bytes than the range that `Content-Range` names, by this many, and `Content-Length` agrees with
    /// the bytes. Of a 200: bytes behind the file's end.
    LongBody(u64),
    /// Nothing more after so many bytes, until [`Faults::release`] or the client leaves.
    Stall {
        /// How many bytes come before.
        after: u64,
    },
    /// Nothing at all until [`Faults::release`]; then the answer as it should be.
    Hold,
    /// The first byte comes this much later.
    SlowFirstByte(Duration),
    /// The body comes at so many bytes per second.
    SlowBody(u64),
    /// `Content-Range` begins one byte further on than the bytes do.
    WrongContentRange,
    /// 206 with the bytes and no `Content-Range`.
    NoContentRange,
    /// `Content-Range` names another total length, longer by this many bytes.
    WrongTotal(u64),
    /// The same, longer by another number of bytes each time, up to this many.
    AnyTotal(u64),
    /// 200 and the whole file, whatever range was asked for.
    IgnoreRange,
    /// The answer is cut in half and put in curly brackets: no JSON.
    GarbageJson,
    /// A header of so many bytes.
    HugeHeader(usize),
    /// A `Date` so much later than it is.
    DateAhead(Duration),
    /// `Content-Encoding: gzip`, though nobody asked.
    UnaskedEncoding,
    /// 302 to another origin, which refuses the token.
    RedirectElsewhere,
    /// 302 to the same place.
    RedirectLoop,
    /// 204 without a body.
    NoContent,
}

/// How often a rule applies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Times {
    /// So many times.
    Count(u64),
    /// Always.
    Forever,
    /// With this probability, from 0 to 1; repeatable from run to run.
    Probability(f64),
}

/// A rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Which endpoint.
    pub target: Target,
    /// Which interaction; `None` for all.
    pub guid: Option<Uuid>,
    /// Which item; `None` for all.
    pub key: Option<String>,
    /// How many such requests go well before.
    pub skip: u64,
    /// How often it applies.
    pub times: Times,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// A rule that applies to the next request of the target, once.
    pub fn new(target: Target, fault: Fault) -> Self {
        Self {
            target,
            guid: None,
            key: None,
            skip: 0,
            times: Times::Count(1),
            fault,
        }
    }

    /// The rule for a status with a `{"message"}` body.
    pub fn status(target: Target, code: u16) -> Self {
        let fault = Fault::Status {
            code,
            body: ErrorBody::Message,
            retry_after: None,
        };
        Self::new(target, fault)
    }

    /// The rule, for one interaction only.
    #[must_use]
    pub fn guid(mut self, guid: Uuid) -> Self {
        self.guid = Some(guid);
        self
    }

    /// The rule, for one key only.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The rule, after so many requests that go well.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// The rule, this often.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }
}

/// Names a rule that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleId(u64);

/// The rules. All methods may be called while the emulator serves.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    /// Counts releases.
    released: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Active>,
    next: u64,
    random: u64,
}

#[derive(Debug)]
struct Active {
    id: RuleId,
    rule: Rule,
    seen: u64,
    fired: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                rules: Vec::new(),
                next: 0,
                random: 0xfa17,
            }),
            released: watch::channel(0).0,
        }
    }
}

impl Faults {
    /// Adds a rule behind the others.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.lock();
        state.next += 1;
        let id = RuleId(state.next);
        state.rules.push(Active {
            id,
            rule,
            seen: 0,
            fired: 0,
        });
        id
    }

    /// Removes a rule.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|active| active.id != id);
    }

    /// Removes all rules, and releases what stalls.
    pub fn clear(&self) {
        self.lock().rules.clear();
        self.release();
    }

    /// How often a rule has applied; 0 for one that was removed.
    pub fn fired(&self, id: RuleId) -> u64 {
        let state = self.lock();
        let active = state.rules.iter().find(|active| active.id == id);
        active.map_or(0, |active| active.fired)
    }

    /// Lets every answer go on, past its stall or hold, whose request is in the log by now. Rules stay.
    pub fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }

    /// Ends at the next release.
    pub(super) fn releases(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    /// The fault of a request, if any.
    pub(super) fn find(
        &self,
        endpoint: Endpoint,
        guid: Option<Uuid>,
        key: Option<&str>,
    ) -> Option<Fault> {
        let mut state = self.lock();
        let State { rules, random, .. } = &mut *state;
        for active in rules {
            let rule = &active.rule;
            let applies = rule.target.covers(endpoint)
                && (rule.guid.is_none() || rule.guid == guid)
                && (rule.key.is_none() || rule.key.as_deref() == key);
            if !applies {
                continue;
            }
            active.seen += 1;
            if active.seen <= rule.skip {
                continue;
            }
            let fires = match rule.times {
                Times::Count(times) => active.fired < times,
                Times::Forever => true,
                Times::Probability(chance) => {
                    (next_random(random) >> 11) as f64 / (1_u64 << 53) as f64 <= chance
                        && chance > 0.0
                }
            };
            if fires {
                active.fired += 1;
                return Some(match rule.fault {
                    Fault::AnyTotal(most) => {
                        Fault::WrongTotal(1 + next_random(random) % most.max(1))
                    }
                    fault => fault,
                });
            }
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    fn covers(self, endpoint: Endpoint) -> bool {
        match self {
            Self::Any => true,
            Self::Token => endpoint == Endpoint::Token,
            Self::Search => endpoint == Endpoint::Search,
            Self::Interaction => endpoint == Endpoint::Interaction,
            Self::Content => matches!(endpoint, Endpoint::Content | Endpoint::Redirected),
            Self::Delete => endpoint == Endpoint::Delete,
        }
    }
}

impl Fault {
    /// The answer, if it takes the place of the true one.
    pub(super) fn instead(&self) -> Option<Answer> {
        match *self {
            Self::Status {
                code,
                body,
                retry_after,
            } => {
                let answer = match body {
                    ErrorBody::Message => errors::message(code, "A fault was asked for"),
                    ErrorBody::OAuth(error) => errors::oauth(code, error, "A fault was asked for"),
                    ErrorBody::Html => errors::html(code),
                    ErrorBody::Empty => Answer::empty(code),
                };
                Some(match retry_after {
                    Some(value) => answer.with("retry-after", value.text()),
                    None => answer,
                })
            }
            Self::NoContent => Some(Answer::empty(204)),
            _ => None,
        }
    }

    /// Spoils the true answer.
    pub(super) fn spoil(&self, answer: &mut Answer) {
        let delivery = &mut answer.delivery;
        match *self {
            Self::ResetBeforeHead => delivery.accident = Some(Accident::ResetBeforeHead),
            Self::ResetAfter(bytes) => delivery.accident = Some(Accident::Reset(bytes)),
            Self::ShortBody(bytes) => delivery.accident = Some(Accident::Close(bytes)),
            Self::CloseAfter => delivery.accident = Some(Accident::CloseAfter),
            Self::Stall { after } => delivery.accident = Some(Accident::Stall(after)),
            Self::Hold => delivery.hold = true,
            Self::SlowFirstByte(delay) => delivery.delay += delay,
            Self::SlowBody(rate) => delivery.rate = Some(rate.max(1)),
            Self::ShortRange(bytes) => {
                let body = &mut answer.body;
                body.end = body.end.saturating_sub(bytes).max(body.start);
            }
            Self::LongBody(bytes) => lengthen(answer, bytes),
            Self::WrongContentRange => change_range(answer, 1, 0),
            Self::WrongTotal(bytes) => change_range(answer, 0, bytes),
            Self::NoContentRange => answer.headers.retain(|(name, _)| *name != "content-range"),
            Self::GarbageJson => {
                let body = &answer.body;
                let half = body.start + body.length() / 2;
                let mut garbage = b"{".to_vec();
                garbage.extend(body.source.read(body.start..half));
                garbage.push(b'}');
                let spoilt = Answer::new(answer.status, Source::Stored(garbage.into()));
                answer.body = spoilt.body;
            }
            Self::HugeHeader(length) => answer.set("x-huge", "x".repeat(length)),
            Self::DateAhead(ahead) => {
                answer.set("date", httpdate::fmt_http_date(SystemTime::now() + ahead));
            }
            Self::UnaskedEncoding => answer.set("content-encoding", "gzip".to_owned()),
            // These are made where the answer is made, or were settled when the rule fired.
            Self::Status { .. }
            | Self::NoContent
            | Self::AnyTotal(_)
            | Self::IgnoreRange
            | Self::RedirectElsewhere
            | Self::RedirectLoop => {}
        }
    }
}

impl RetryAfter {
    fn text(self) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(later) => httpdate::fmt_http_date(SystemTime::now() + later),
            Self::Nonsense => "soon".to_owned(),
        }
    }
}

/// Adds bytes at the body's end: the file's next ones, and noughts behind its end.
fn lengthen(answer: &mut Answer, bytes: u64) {
    let body = &mut answer.body;
    if body.end + bytes <= body.source.length() {
        body.end += bytes;
        return;
    }
    let mut longer = body.source.read(body.start..body.end);
    longer.resize(longer.len() + usize::try_from(bytes).unwrap_or(0), 0);
    answer.body = Answer::new(answer.status, Source::Stored(longer.into())).body;
}

fn change_range(answer: &mut Answer, shift: u64, more: u64) {
    if answer.status == 206 {
        let body = &answer.body;
        let (first, last) = (body.start + shift, body.end - 1 + shift);
        let total = body.source.length() + more + shift;
        answer.set("content-range", format!("bytes {first}-{last}/{total}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_then_fires_as_often_as_told_and_only_where_told() {
        let faults = Faults::default();
        let guid = Uuid::from_u128(1);
        let rule = Rule::new(Target::Content, Fault::Hold)
            .guid(guid)
            .key("a")
            .skip(1)
            .times(Times::Count(2));
        let id = faults.add(rule);
        let find = |endpoint, guid, key| faults.find(endpoint, Some(guid), Some(key)).is_some();
        assert!(!find(Endpoint::Search, guid, "a"));
        assert!(!find(Endpoint::Content, Uuid::from_u128(2), "a"));
        assert!(!find(Endpoint::Content, guid, "b"));
        let fired: Vec<bool> = (0..4).map(|_| find(Endpoint::Content, guid, "a")).collect();
        assert_eq!(fired, [false, true, true, false]);
        assert_eq!(faults.fired(id), 2);
    }

    #[test]
    fn a_total_that_may_be_any_is_another_one_each_time() {
        let faults = Faults::default();
        faults.add(Rule::new(Target::Any, Fault::AnyTotal(1 << 40)).times(Times::Forever));
        let fault = || faults.find(Endpoint::Content, None, None);
        let (one, two) = (fault(), fault());
        assert!(matches!(one, Some(Fault::WrongTotal(bytes)) if bytes > 0));
        assert_ne!(one, two);
    }

    #[test]
    fn probability_is_kept_within_reason() {
        let faults = Faults::default();
        faults.add(Rule::new(Target::Any, Fault::Hold).times(Times::Probability(0.25)));
        let fired = (0..4_000)
            .filter(|_| faults.find(Endpoint::Search, None, None).is_some())
            .count();
        assert!((800..1_200).contains(&fired), "{fired}");
    }
}
