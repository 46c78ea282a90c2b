//! A configuration as TOML that may be shown: without the secret, and without what is personal.

use std::fmt::Write as _;

use crate::catalogue::WindowSpec;
use crate::model::ItemType;

use super::Config;
use super::values::{duration_text, size_text};

/// The configuration in the form of a `--config` file, for `.interactionfs/config.toml`. The secret and the
/// addresses that narrow the search are left out and said to be.
pub fn redacted_toml(config: &Config) -> String {
    let mut toml = Writer(String::from(
        "# This mount's configuration. The client secret is left out.\n",
    ));
    let account = &config.account;
    toml.text("api-url", account.api_url.as_str());
    toml.text("auth-url", account.auth_url.as_str());
    toml.text("client-id", &account.client_id);
    toml.text("auth-method", account.auth_method.as_str());
    toml.path("ca-file", config.ca_file.as_deref());
    match &config.window {
        WindowSpec::Days(days) => toml.text("since", &format!("{days}d")),
        WindowSpec::Last(age) => toml.text("since", &exact_age(*age)),
        WindowSpec::Fixed { from, to } => {
            toml.text("from", &from.to_string());
            if let Some(to) = to {
                toml.text("to", &to.to_string());
            }
        }
    }
    if let Some(types) = &config.types {
        let types: Vec<_> = types.iter().map(ItemType::as_str).collect();
        toml.text("types", &types.join(","));
    }
    if let Some(direction) = &config.filter.direction {
        toml.text("direction", direction.as_str());
    }
    toml.withheld("agent", config.filter.agent.is_some());
    toml.withheld("connect-from", config.filter.connect_from.is_some());
    toml.withheld("connect-to", config.filter.connect_to.is_some());
    toml.bare("sidecars", config.sidecars);
    toml.text("refresh", &duration_text(config.refresh));
    toml.text("deadline", &duration_text(config.deadline));
    toml.text(
        "metadata-deadline",
        &duration_text(config.metadata_deadline),
    );
    toml.bare("requests-per-minute", config.requests_per_minute);
    toml.bare("offline", config.offline);
    toml.text("memory", &size_text(config.memory_bytes));
    if let Some(disk) = &config.disk {
        toml.path("cache-dir", Some(&disk.directory));
        toml.text("cache-size", &size_text(disk.size_bytes));
    } else {
        toml.bare("no-disk-cache", true);
    }
    if config.cache_key.is_some() {
        toml.0.push_str("# cache-key-file is given\n");
    }
    toml.text("cache-max-age", &duration_text(config.cache_max_age));
    toml.bare("foreground", config.foreground);
    toml.bare("allow-other", config.allow_other);
    toml.bare("uid", config.uid);
    toml.bare("gid", config.gid);
    toml.text("file-mode", &format!("{:04o}", config.file_mode));
    toml.text("dir-mode", &format!("{:04o}", config.dir_mode));
    toml.text("source", &config.source);
    toml.path("log-file", config.log_file.as_deref());
    toml.text("log-level", &config.log_level);
    if let Some(address) = config.metrics_listen {
        toml.text("metrics-listen", &address.to_string());
    }
    toml.0
}

/// An exact age in hours or minutes: whole days would mean UTC days when read again.
fn exact_age(age: std::time::Duration) -> String {
    let minutes = age.as_secs() / 60;
    if minutes.is_multiple_of(60) {
        format!("{}h", minutes / 60)
    } else {
        format!("{minutes}m")
    }
}

struct Writer(String);

impl Writer {
    fn bare(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// A basic string. JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
    fn text(&mut self, key: &str, value: &str) {
        let quoted = serde_json::Value::from(value)
            .to_string()
            .replace('\u{7f}', "\\u007f");
        self.bare(key, quoted);
    }

    fn path(&mut self, key: &str, path: Option<&std::path::Path>) {
        if let Some(path) = path {
            self.text(key, &path.to_string_lossy());
        }
    }

    fn withheld(&mut self, key: &str, is_set: bool) {
        if is_set {
            let _ = writeln!(
                self.0,
                "# {key} is set, and left out because it is personal"
            );
        }
    }
}
