//! How many files this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes all that the system grants. Shells begin with a thousand or so, for the sake of programs that use select(2); the
/// cache holds its files open, three for each version that was used lately.
pub(super) fn take_all() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "no more descriptors could be had");
    }
}
