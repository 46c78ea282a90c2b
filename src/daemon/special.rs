//! What the files of `.interactionfs` hold.

use std::sync::Arc;

use bytes::Bytes;

use super::status::Status;
use crate::config::{Config, redacted_toml};
use crate::fs::SpecialFiles;
use crate::tree::SpecialFile;

/// The files of `.interactionfs`.
pub(super) struct Special {
    config: Bytes,
    status: Arc<Status>,
}

impl Special {
    pub(super) fn new(config: &Config, status: Arc<Status>) -> Self {
        Self {
            config: redacted_toml(config).into(),
            status,
        }
    }
}

impl SpecialFiles for Special {
    fn read(&self, file: SpecialFile) -> Bytes {
        match file {
            SpecialFile::Stats => format!("{:#}\n", self.status.to_json()).into(),
            SpecialFile::Version => {
                Bytes::from_static(concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes())
            }
            SpecialFile::Config => self.config.clone(),
        }
    }
}
