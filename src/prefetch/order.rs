//! What is asked for, in the form in which it goes over the control socket too.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalogue::WindowSpec;
use crate::model::{Day, Guid, TimeWindow};

/// What to fetch, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Of which interactions.
    pub what: What,
    /// Which types of content; `None` for transcripts and other JSON.
    pub types: Option<BTreeSet<String>>,
    /// Say what it would take, and fetch nothing.
    pub dry_run: bool,
    /// Go on with whatever comes, until ended.
    pub watch: bool,
}

/// Of which interactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// Those of a window.
    Window(Span),
    /// Those of some UTC days, and some by GUID; as text, because that is what is sent.
    Named {
        /// Days such as `2026-11-22`.
        days: BTreeSet<String>,
        /// GUIDs.
        guids: BTreeSet<String>,
    },
}

/// A window of time; one that ends now moves with the clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Span {
    /// What the mount lists.
    Listed,
    /// Today and the days before it, so many together.
    Days(u32),
    /// The last so many seconds.
    Seconds(u64),
    /// From an instant to another, or to now; as text.
    Fixed {
        /// The first instant.
        from: String,
        /// The instant behind the last.
        to: Option<String>,
    },
}

/// What an order means just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Windows(Vec<TimeWindow>, Vec<Guid>),
    Listed,
}

/// An order that can't be read: only a command of another version sends one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the order is not one that this version knows")]
pub(super) struct Unreadable;

impl Span {
    /// The span of a window as options give it.
    pub fn of(window: &WindowSpec) -> Self {
        match window {
            WindowSpec::Days(days) => Self::Days(*days),
            WindowSpec::Last(time) => Self::Seconds(time.as_secs()),
            WindowSpec::Fixed { from, to } => Self::Fixed {
                from: from.to_string(),
                to: to.map(|to| to.to_string()),
            },
        }
    }

    fn at(&self, now: Timestamp) -> Result<Option<TimeWindow>, Unreadable> {
        let time = |text: &str| text.parse().map_err(|_| Unreadable);
        let window = match self {
            Self::Listed => return Ok(None),
            Self::Days(days) => WindowSpec::Days(*days),
            Self::Seconds(seconds) => WindowSpec::Last(Duration::from_secs(*seconds)),
            Self::Fixed { from, to } => WindowSpec::Fixed {
                from: time(from)?,
                to: to.as_deref().map(time).transpose()?,
            },
        };
        Ok(Some(window.at(now)))
    }
}

impl Order {
    /// What it means at `now`.
    pub(super) fn at(&self, now: Timestamp) -> Result<Wanted, Unreadable> {
        match &self.what {
            What::Window(span) => Ok(match span.at(now)? {
                None => Wanted::Listed,
                Some(window) => Wanted::Windows(vec![window], Vec::new()),
            }),
            What::Named { days, guids } => {
                let days = days.iter().map(|day| day.parse().map(Day::window));
                let guids = guids.iter().map(|guid| guid.parse());
                Ok(Wanted::Windows(
                    days.collect::<Result<_, _>>().map_err(|_| Unreadable)?,
                    guids.collect::<Result<_, _>>().map_err(|_| Unreadable)?,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(what: What) -> Order {
        Order {
            what,
            types: None,
            dry_run: false,
            watch: false,
        }
    }

    #[test]
    fn an_order_survives_the_socket_and_means_the_same() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let day = "2026-11-22";
        let guid = "2480fc2c-bbd7-427c-9439-02f76583aef5";
        let named = What::Named {
            days: BTreeSet::from([day.to_owned()]),
            guids: BTreeSet::from([guid.to_owned()]),
        };
        let fixed = WindowSpec::Fixed {
            from: "2026-11-01T00:00:00Z".parse().unwrap(),
            to: None,
        };
        for (what, expected) in [
            (What::Window(Span::Listed), Wanted::Listed),
            (
                What::Window(Span::of(&WindowSpec::Days(2))),
                Wanted::Windows(vec![WindowSpec::Days(2).at(now)], vec![]),
            ),
            (
                What::Window(Span::of(&fixed)),
                Wanted::Windows(vec![fixed.at(now)], vec![]),
            ),
            (
                named,
                Wanted::Windows(
                    vec![day.parse::<Day>().unwrap().window()],
                    vec![guid.parse().unwrap()],
                ),
            ),
        ] {
            let sent = serde_json::to_string(&order(what)).unwrap();
            let come: Order = serde_json::from_str(&sent).unwrap();
            assert_eq!(come.at(now).unwrap(), expected, "{sent}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let bad = What::Window(Span::Fixed {
            from: "yesterday".to_owned(),
            to: None,
        });
        assert_eq!(order(bad).at(Timestamp::UNIX_EPOCH), Err(Unreadable));
    }
}
