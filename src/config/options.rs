//! The options of a mount: one table, from which flags, environment variables, configuration keys, help
//! texts and defaults all come, so that none of them can disagree.

/// One option of a mount.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its name: `--name` as a flag, `INTERACTIONFS_NAME` in the environment, `name` in a file.
    pub name: &'static str,
    /// What its value is called in help texts; `None` for a switch.
    pub value: Option<&'static str>,
    /// The value when nobody gives one, in the words that a user would type.
    pub default: Option<&'static str>,
    /// Under which heading `--help` shows it; `None` hides it.
    pub heading: Option<&'static str>,
    /// What it does, and an example.
    pub help: &'static str,
}

const ACCOUNT: Option<&str> = Some("Account");
const TREE: Option<&str> = Some("What is shown");
const REQUESTS: Option<&str> = Some("Freshness and requests");
const CACHE: Option<&str> = Some("Cache");
const MOUNT: Option<&str> = Some("Mount");
const RUN: Option<&str> = Some("Running");

const fn option(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    heading: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        name,
        value: Some(value),
        default,
        heading,
        help,
    }
}

const fn switch(
    name: &'static str,
    heading: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        name,
        value: None,
        default: None,
        heading,
        help,
    }
}

/// Every option, in the order in which `--help` shows them.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "region",
        "REGION",
        None,
        ACCOUNT,
        "The account's region: emea, nam or apac. Example: --region emea",
    ),
    option(
        "api-url",
        "URL",
        None,
        ACCOUNT,
        "The API itself, up to and including /interaction-content, instead of --region; needs --auth-url too. \
         https, or http to this machine only",
    ),
    option(
        "auth-url",
        "URL",
        None,
        ACCOUNT,
        "The token endpoint itself, instead of --region; needs --api-url too",
    ),
    option(
        "client-id",
        "ID",
        None,
        ACCOUNT,
        "The client id of the API credentials, as the admin portal shows it",
    ),
    option(
        "client-secret-file",
        "FILE",
        None,
        ACCOUNT,
        "A file that holds the client secret and that others can't read (chmod 600). Instead of it: the variable \
         INTERACTIONFS_CLIENT_SECRET, or a systemd credential named client-secret. Never a flag, because \
         everybody on the machine sees those",
    ),
    option(
        "auth-method",
        "METHOD",
        Some("basic"),
        ACCOUNT,
        "How id and secret are sent to the token endpoint: basic (a header) or form (the body)",
    ),
    option(
        "ca-file",
        "FILE",
        None,
        ACCOUNT,
        "Certificates (PEM) to trust beside the system's, for a proxy that inspects TLS",
    ),
    option(
        "since",
        "AGE",
        Some("7d"),
        TREE,
        "Show interactions of this age: 7d or 2w are whole UTC days, today included; 24h or 90m are exact",
    ),
    option(
        "from",
        "TIME",
        None,
        TREE,
        "Show interactions from this time on, instead of --since: a UTC date or an RFC 3339 time. \
         Example: --from 2026-11-01",
    ),
    option(
        "to",
        "TIME",
        None,
        TREE,
        "With --from: up to this time, a date includes its whole day. Without it: up to now",
    ),
    option(
        "types",
        "LIST",
        None,
        TREE,
        "Show only these types of content, spelt as the API does: callRecording, transcript, chatTranscript, voicemail, \
         screenRecording, videoRecording, ivrAudioRecording, attachment, interactionLog, conversationSummary, \
         categorizationResult, sentimentSummary. text/ is made of transcript and chatTranscript. Example: \
         --types transcript,callRecording",
    ),
    option(
        "direction",
        "DIRECTION",
        None,
        TREE,
        "Show only interactions started by the customer (inbound) or by an agent (outbound)",
    ),
    option(
        "agent",
        "ID",
        None,
        TREE,
        "Show only interactions of the agent with this id. Example: --agent 1342",
    ),
    option(
        "connect-from",
        "TEXT",
        None,
        TREE,
        "Show only interactions whose initiating address begins with this text, 1 to 50 characters",
    ),
    option(
        "connect-to",
        "TEXT",
        None,
        TREE,
        "Show only interactions whose contacted address begins with this text, 1 to 50 characters",
    ),
    switch(
        "sidecars",
        TREE,
        "Show transcript.txt and subtitles (.srt, .vtt) beside recordings; each costs a request when first looked at",
    ),
    option(
        "refresh",
        "TIME",
        Some("60s"),
        REQUESTS,
        "How often new interactions are searched for. Example: --refresh 5m",
    ),
    option(
        "deadline",
        "TIME",
        Some("60s"),
        REQUESTS,
        "How long a read may take before it fails with \"Connection timed out\"",
    ),
    option(
        "metadata-deadline",
        "TIME",
        Some("15s"),
        REQUESTS,
        "The same for lookups, listings and opens, which can't be interrupted",
    ),
    option(
        "requests-per-minute",
        "N",
        Some("150"),
        REQUESTS,
        "Never make more requests than this in a minute, over all mounts of this account. The API allows the \
         whole account about 160",
    ),
    switch(
        "offline",
        REQUESTS,
        "Make no request at all: show what is cached. Needs no secret",
    ),
    option(
        "memory",
        "SIZE",
        Some("256MiB"),
        CACHE,
        "Memory for content just read. Example: --memory 1GiB",
    ),
    option(
        "cache-dir",
        "DIR",
        None,
        CACHE,
        "Where content and catalogue are kept, readable by you only [default: interactionfs in your cache directory, \
         /var/cache/interactionfs for services run by root]",
    ),
    option(
        "cache-size",
        "SIZE",
        Some("10GiB"),
        CACHE,
        "Disk space for content; what was used least recently goes first",
    ),
    option(
        "cache-max-age",
        "TIME",
        Some("30d"),
        CACHE,
        "Delete cached content this long after it was fetched",
    ),
    option(
        "cache-key-file",
        "FILE",
        None,
        CACHE,
        "Encrypt the cache and the catalogue with the key in this file (chmod 600; 'openssl rand -hex 32' makes one). \
         Another key finds an empty cache. What is encrypted is read through the daemon, never by passthrough",
    ),
    switch(
        "no-disk-cache",
        CACHE,
        "Write nothing to disk, the catalogue included",
    ),
    switch(
        "allow-other",
        MOUNT,
        "Let other users into the mount, as far as owner and modes allow; for others than root this needs \
         user_allow_other in /etc/fuse.conf",
    ),
    option(
        "uid",
        "N",
        None,
        MOUNT,
        "The numeric user that owns all files [default: you]",
    ),
    option(
        "gid",
        "N",
        None,
        MOUNT,
        "The numeric group of all files [default: yours]",
    ),
    option(
        "file-mode",
        "OCTAL",
        Some("0400"),
        MOUNT,
        "The permissions of files. Example: --file-mode 0440",
    ),
    option(
        "dir-mode",
        "OCTAL",
        Some("0500"),
        MOUNT,
        "The permissions of directories. Example: --dir-mode 0550",
    ),
    option(
        "source",
        "NAME",
        Some("interactionfs"),
        None,
        "What /proc/mounts shows as the source: fstab's first field",
    ),
    switch(
        "foreground",
        RUN,
        "Stay in the foreground and log to the terminal; Ctrl-C unmounts",
    ),
    option(
        "log-file",
        "FILE",
        None,
        RUN,
        "Append the log to this file, readable by you only [default: the terminal, in the background none]",
    ),
    option(
        "log-level",
        "LEVEL",
        Some("info"),
        RUN,
        "How much is logged: error, warn, info, debug, trace or off; also by part. \
         Example: --log-level info,interactionfs::remote=debug",
    ),
    option(
        "metrics-listen",
        "ADDRESS",
        None,
        RUN,
        "Serve metrics in the Prometheus format at http://ADDRESS/metrics: a port of this machine alone, or an address \
         and a port. Example: --metrics-listen 9464",
    ),
];

/// The option of this name.
pub fn named(name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.name == name)
}

impl OptionSpec {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!(
            "INTERACTIONFS_{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_never_the_secret() {
        for (at, option) in OPTIONS.iter().enumerate() {
            assert!(
                option
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                option.name
            );
            assert!(OPTIONS[..at].iter().all(|other| other.name != option.name));
        }
        assert!(named("client-secret").is_none());
        assert_eq!(
            named("metadata-deadline").map(OptionSpec::variable),
            Some("INTERACTIONFS_METADATA_DEADLINE".to_owned())
        );
    }
}
