//! The options of `interactionfs emulate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use jiff::Timestamp;

use super::{
    Corpus, DeclaredLength, Etag, Fault, GeneratedSpec, LastPage, Options, Order, Paging,
    Properties, Redirect, RetryAfterForm, Rule, Shape, Switches, Target, Times, TlsFiles,
};

/// Options of the emulator. Without any it serves the samples, strictly.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Speak https with this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The client id to accept
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,

    #[command(flatten)]
    corpus: CorpusArguments,
    #[command(flatten)]
    wire: WireArguments,
    #[command(flatten)]
    search: SearchArguments,
    #[command(flatten)]
    content: ContentArguments,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What the account holds")]
struct CorpusArguments {
    /// Generate so many interactions instead of the samples (0: none)
    #[arg(long, value_name = "N")]
    interactions: Option<u64>,
    /// Days that generated interactions are spread over, up to now
    #[arg(long, value_name = "N", default_value_t = 7)]
    days: u32,
    /// Let interactions go on arriving for so long; items appear when they are stored, not at once
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    live: Option<Duration>,
    /// Size of a generated call recording
    #[arg(long, value_name = "SIZE", default_value = "1920044B")]
    recording_size: ByteSize,
    /// Sizes of the newest generated recordings, e.g. 4GiB,200MiB
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    big_recordings: Vec<ByteSize>,
    /// Size of a generated transcript, more or less
    #[arg(long, value_name = "SIZE", default_value = "20kB")]
    transcript_size: ByteSize,
    /// Size of a generated screen recording
    #[arg(long, value_name = "SIZE", default_value = "5MB")]
    screen_size: ByteSize,
    /// Shape of generated transcripts (all invented)
    #[arg(long, value_enum, default_value_t)]
    transcript_shape: Shape,
    /// Another seed generates another corpus
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Add interactions with odd keys, types, lengths and rights
    #[arg(long)]
    curiosities: bool,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits and the wire")]
struct WireArguments {
    /// Requests allowed in any 60 s over all endpoints (0: no limit)
    #[arg(long, value_name = "N", default_value_t = 160)]
    requests_per_minute: u32,
    /// Deletions allowed in any 60 s (0: no limit)
    #[arg(long, value_name = "N", default_value_t = 16)]
    deletes_per_minute: u32,
    /// Requests answered 429 don't count against the limit
    #[arg(long)]
    refused_are_free: bool,
    /// Form of Retry-After on 429
    #[arg(long, value_enum, default_value_t)]
    retry_after: RetryAfterForm,
    /// Time to the first byte of every answer, e.g. 30ms
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Bytes per second of one answer, e.g. 10MB (without: unlimited)
    #[arg(long, value_name = "SIZE")]
    bandwidth: Option<ByteSize>,
    /// Life of a token
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = humantime::parse_duration)]
    token_life: Duration,
    /// Length of a token in characters
    #[arg(long, value_name = "N", default_value_t = 43)]
    token_length: usize,
    /// A new token makes earlier ones invalid
    #[arg(long)]
    one_token_at_a_time: bool,
    /// Share of API requests that are answered 503, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail_503: f64,
    /// Share of API requests that are answered with a gateway's 502 page
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail_502: f64,
    /// Share of content requests that are reset after 10,000 bytes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail_reset: f64,
    /// Share of content requests that stall after 10,000 bytes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail_stall: f64,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is undocumented of searches and metadata")]
struct SearchArguments {
    /// Don't find what starts exactly at `end`
    #[arg(long)]
    end_exclusive: bool,
    /// Refuse windows of exactly seven days
    #[arg(long)]
    refuse_exactly_seven_days: bool,
    /// Refuse an `end` in the future
    #[arg(long)]
    refuse_future_end: bool,
    /// Ignore unknown query parameters
    #[arg(long)]
    ignore_unknown_parameters: bool,
    /// Page size without `limit`
    #[arg(long, value_name = "N", default_value_t = 25)]
    default_limit: usize,
    /// Order of results
    #[arg(long, value_enum, default_value_t)]
    order: Order,
    /// How pages follow each other
    #[arg(long, value_enum, default_value_t)]
    paging: Paging,
    /// How the last page is marked
    #[arg(long, value_enum, default_value_t)]
    last_page: LastPage,
    /// Answer a search that finds nothing with 204
    #[arg(long)]
    empty_search_is_204: bool,
    /// Refuse a continuation under another access token
    #[arg(long)]
    continuation_bound_to_token: bool,
    /// Match GUIDs in paths without regard to case
    #[arg(long)]
    guid_any_case: bool,
    /// Send ids of agents as numbers
    #[arg(long)]
    numeric_ids: bool,
    /// What `contentLength` says
    #[arg(long, value_enum, default_value_t)]
    content_length: DeclaredLength,
    /// What `properties` holds
    #[arg(long, value_enum, default_value_t)]
    properties: Properties,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is undocumented of content")]
struct ContentArguments {
    /// Match content keys without regard to case
    #[arg(long)]
    key_any_case: bool,
    /// ETag of content
    #[arg(long, value_enum, default_value_t)]
    etag: Etag,
    /// Send Last-Modified with content
    #[arg(long)]
    last_modified: bool,
    /// Answer every range with the whole file
    #[arg(long)]
    ignore_ranges: bool,
    /// Answer longer ranges with so many bytes of them
    #[arg(long, value_name = "SIZE")]
    longest_range: Option<ByteSize>,
    /// Send content without Content-Length, chunked
    #[arg(long)]
    chunked: bool,
    /// Answer an empty file with 204
    #[arg(long)]
    empty_content_is_204: bool,
    /// Redirect content
    #[arg(long, value_enum, default_value_t)]
    redirect: Redirect,
}

impl Arguments {
    /// What to start the emulator with.
    ///
    /// # Errors
    /// A line for the user, when options don't go together.
    pub fn into_options(self) -> Result<Options, String> {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key go together".to_owned()),
        };
        let rules = self.wire.rules();
        let defaults = Options::default();
        Ok(Options {
            listen: self.listen,
            tls,
            curiosities: self.corpus.curiosities,
            corpus: self.corpus.corpus()?,
            switches: switches(&self.wire, &self.search, &self.content),
            client_id: self.client_id.unwrap_or(defaults.client_id),
            // The default is made for tests; this one can be typed into a shell.
            client_secret: "emulator-secret".to_owned(),
            rules,
            ..Options::default()
        })
    }
}

impl CorpusArguments {
    fn corpus(self) -> Result<Corpus, String> {
        let Some(interactions) = self.interactions else {
            return Ok(Corpus::Samples);
        };
        if interactions == 0 {
            return Ok(Corpus::Empty);
        }
        if self.days == 0 {
            return Err("--days must be at least 1".to_owned());
        }
        let end = match self.live {
            None => None,
            Some(live) => {
                let end = Timestamp::now().checked_add(live);
                Some(end.map_err(|_| "--live is too long".to_owned())?)
            }
        };
        Ok(Corpus::Generated(GeneratedSpec {
            interactions,
            days: self.days,
            end,
            late_items: self.live.is_some(),
            recording_bytes: self.recording_size.as_u64(),
            big_recordings: self.big_recordings.iter().map(ByteSize::as_u64).collect(),
            transcript_bytes: self.transcript_size.as_u64(),
            screen_bytes: self.screen_size.as_u64(),
            transcript_shape: self.transcript_shape,
            seed: self.seed,
        }))
    }
}

impl WireArguments {
    fn rules(&self) -> Vec<Rule> {
        let after = 10_000;
        let faults = [
            (self.fail_503, Rule::status(Target::Any, 503)),
            (
                self.fail_502,
                Rule::new(
                    Target::Any,
                    Fault::Status {
                        code: 502,
                        body: super::ErrorBody::Html,
                        retry_after: None,
                    },
                ),
            ),
            (
                self.fail_reset,
                Rule::new(Target::Content, Fault::ResetAfter(after)),
            ),
            (
                self.fail_stall,
                Rule::new(Target::Content, Fault::Stall { after }),
            ),
        ];
        faults
            .into_iter()
            .filter(|(share, _)| *share > 0.0)
            .map(|(share, rule)| rule.times(Times::Probability(share)))
            .collect()
    }
}

fn switches(
    wire: &WireArguments,
    search: &SearchArguments,
    content: &ContentArguments,
) -> Switches {
    let unless_zero = |limit| (limit > 0).then_some(limit);
    Switches {
        requests_per_minute: unless_zero(wire.requests_per_minute),
        count_refused: !wire.refused_are_free,
        deletes_per_minute: unless_zero(wire.deletes_per_minute),
        retry_after: wire.retry_after,
        latency: wire.latency,
        bandwidth: wire.bandwidth.map(|size| size.as_u64()),
        token_life: wire.token_life,
        token_length: wire.token_length,
        one_token_at_a_time: wire.one_token_at_a_time,
        end_inclusive: !search.end_exclusive,
        refuse_exactly_seven_days: search.refuse_exactly_seven_days,
        refuse_future_end: search.refuse_future_end,
        refuse_unknown_parameters: !search.ignore_unknown_parameters,
        default_limit: search.default_limit,
        order: search.order,
        paging: search.paging,
        last_page: search.last_page,
        empty_search_is_204: search.empty_search_is_204,
        continuation_bound_to_token: search.continuation_bound_to_token,
        guid_any_case: search.guid_any_case,
        key_any_case: content.key_any_case,
        numeric_ids: search.numeric_ids,
        content_length: search.content_length,
        properties: search.properties,
        etag: content.etag,
        last_modified: content.last_modified,
        ignore_ranges: content.ignore_ranges,
        longest_range: content.longest_range.map(|size| size.as_u64()),
        chunked: content.chunked,
        empty_content_is_204: content.empty_content_is_204,
        redirect: content.redirect,
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a number from 0 to 1 is wanted".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn options(line: &[&str]) -> Options {
        let line = ["emulate"].iter().chain(line);
        let program = Program::try_parse_from(line).unwrap();
        program.arguments.into_options().unwrap()
    }

    #[test]
    fn without_options_it_is_strict_and_serves_the_samples() {
        let options = options(&[]);
        assert_eq!(options.switches, Switches::default());
        assert!(matches!(options.corpus, Corpus::Samples));
        assert!(options.rules.is_empty());
    }

    #[test]
    fn sizes_times_and_switches_are_read() {
        let options = options(&[
            "--interactions=5",
            "--big-recordings=4GiB,1MB",
            "--latency=30ms",
            "--bandwidth=10MB",
            "--requests-per-minute=0",
            "--paging=empty-between",
            "--etag=weak",
            "--fail-503=0.5",
        ]);
        let Corpus::Generated(spec) = options.corpus else {
            panic!("a corpus was to be generated");
        };
        assert_eq!(spec.big_recordings, [4 << 30, 1_000_000]);
        assert_eq!(options.switches.latency, Duration::from_millis(30));
        assert_eq!(options.switches.bandwidth, Some(10_000_000));
        assert_eq!(options.switches.requests_per_minute, None);
        assert_eq!(options.switches.paging, Paging::EmptyBetween);
        assert_eq!(options.switches.etag, Etag::Weak);
        assert_eq!(options.rules.len(), 1);
    }

    #[test]
    fn half_a_certificate_and_shares_over_one_are_refused() {
        for line in [["emulate", "--tls-cert=x"], ["emulate", "--fail-503=2"]] {
            assert!(Program::try_parse_from(line).is_err());
        }
    }
}
