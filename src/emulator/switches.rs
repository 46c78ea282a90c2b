//! Everything that can be set while the emulator runs: the limits, the wire's speed, and one switch for
//! each thing that the API leaves undocumented (reference, section 19).
//!
//! The defaults are strict, and plain where the truth is unknown: a client that works with them works with
//! the API as documented. A request sees the switches as they stood when it came.

use std::time::Duration;

/// The order in which a search returns interactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Order {
    /// Oldest start first.
    #[default]
    Ascending,
    /// Newest start first.
    Descending,
    /// In an order that has nothing to do with time, the same on each walk.
    Shuffled,
}

/// How the last page says that it is the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum LastPage {
    /// `"nextContinuationToken": null`, as documented.
    #[default]
    Null,
    /// The field is not there.
    Absent,
    /// An empty string.
    EmptyString,
    /// `meta` is not there.
    NoMeta,
}

/// How a search's pages misbehave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Paging {
    /// Full pages up to the last.
    #[default]
    Plain,
    /// Pages shorter than the limit, with a token.
    Short,
    /// An empty page with a token before each full one.
    EmptyBetween,
    /// The last page with interactions is followed by an empty one.
    EmptyLast,
    /// Each page but the first begins with the interaction that ended the one before.
    Overlapping,
    /// Each page comes twice, under different tokens.
    Repeated,
    /// A lie: the same page with the same token, for ever.
    SameTokenForEver,
    /// A lie: empty pages with new tokens, for ever.
    NeverEnding,
}

/// Which `ETag` content carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Etag {
    /// None.
    #[default]
    Absent,
    /// A strong one, stable for a version.
    Strong,
    /// A weak one, stable for a version.
    Weak,
    /// A strong one that differs on every answer.
    Unstable,
    /// A strong one, on every second answer only.
    Sometimes,
}

/// What 429 says of when to come back. Also used by the deletion limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum RetryAfterForm {
    /// Nothing.
    #[default]
    Absent,
    /// `Retry-After` in seconds.
    Seconds,
    /// `Retry-After` as an HTTP date.
    Date,
}

/// Where content is served from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Redirect {
    /// Here.
    #[default]
    No,
    /// A 302 to another origin, which refuses requests that carry `Authorization`.
    OtherHost,
    /// A 302 to another path of the same origin, which wants the token.
    SameHost,
}

/// What `contentLength` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum DeclaredLength {
    /// The length.
    #[default]
    True,
    /// The field is not there.
    Absent,
    /// 0.
    Zero,
    /// Half of the length.
    TooShort,
    /// Twice the length and one.
    TooLong,
}

/// What `properties` holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Properties {
    /// What the item was stored with; mostly `{}`.
    #[default]
    AsStored,
    /// The field is not there.
    Absent,
    /// A hostile file name and other fields as well.
    Filled,
}

/// All switches. See the fields' own words; `Default` is the strict emulator.
#[derive(Clone, Debug, PartialEq)]
pub struct Switches {
    /// Requests allowed in any 60 s over all endpoints; `None` for no limit.
    pub requests_per_minute: Option<u32>,
    /// Whether a request answered 429 counts against the limit too.
    pub count_refused: bool,
    /// Deletions allowed in any 60 s; `None` for no limit.
    pub deletes_per_minute: Option<u32>,
    /// What a 429 says of when to come back.
    pub retry_after: RetryAfterForm,

    /// From a request's arrival to the first byte of its answer.
    pub latency: Duration,
    /// Bytes per second of one answer's body; `None` for as fast as it goes.
    pub bandwidth: Option<u64>,

    /// Life of a new access token, in whole seconds.
    pub token_life: Duration,
    /// Length of a new access token in characters, at least 16.
    pub token_length: usize,
    /// A new token makes the earlier ones invalid.
    pub one_token_at_a_time: bool,

    /// Whether an interaction that starts exactly at `end` is found.
    pub end_inclusive: bool,
    /// Refuse a window of exactly seven days.
    pub refuse_exactly_seven_days: bool,
    /// Refuse an `end` more than five minutes in the future.
    pub refuse_future_end: bool,
    /// Refuse parameters that no page names; `page` is refused always.
    pub refuse_unknown_parameters: bool,
    /// Page size without `limit`.
    pub default_limit: usize,
    /// The order of a search's results.
    pub order: Order,
    /// How pages follow each other.
    pub paging: Paging,
    /// How the last page is marked.
    pub last_page: LastPage,
    /// A search that finds nothing answers 204.
    pub empty_search_is_204: bool,
    /// A continuation is refused under another access token than the one it was given to.
    pub continuation_bound_to_token: bool,

    /// GUIDs in a path match without regard to case.
    pub guid_any_case: bool,
    /// Content keys in a path match without regard to case.
    pub key_any_case: bool,
    /// Ids of agents are JSON numbers.
    pub numeric_ids: bool,
    /// What `contentLength` says.
    pub content_length: DeclaredLength,
    /// What `properties` holds.
    pub properties: Properties,

    /// Which `ETag` content carries.
    pub etag: Etag,
    /// Whether content carries `Last-Modified`.
    pub last_modified: bool,
    /// Answer every range with 200 and the whole file.
    pub ignore_ranges: bool,
    /// The longest range that one answer gives, in bytes; a longer one is answered with its beginning.
    pub longest_range: Option<u64>,
    /// Send content without `Content-Length`, chunked.
    pub chunked: bool,
    /// An empty file is answered with 204.
    pub empty_content_is_204: bool,
    /// Where content is served from.
    pub redirect: Redirect,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            requests_per_minute: Some(160),
            count_refused: true,
            deletes_per_minute: Some(16),
            retry_after: RetryAfterForm::Absent,
            latency: Duration::ZERO,
            bandwidth: None,
            token_life: Duration::from_secs(7200),
            token_length: 43,
            one_token_at_a_time: false,
            end_inclusive: true,
            refuse_exactly_seven_days: false,
            refuse_future_end: false,
            refuse_unknown_parameters: true,
            default_limit: 25,
            order: Order::Ascending,
            paging: Paging::Plain,
            last_page: LastPage::Null,
            empty_search_is_204: false,
            continuation_bound_to_token: false,
            guid_any_case: false,
            key_any_case: false,
            numeric_ids: false,
            content_length: DeclaredLength::True,
            properties: Properties::AsStored,
            etag: Etag::Absent,
            last_modified: false,
            ignore_ranges: false,
            longest_range: None,
            chunked: false,
            empty_content_is_204: false,
            redirect: Redirect::No,
        }
    }
}
