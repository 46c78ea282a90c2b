//! Where a redirect may lead, and who goes with it.
//!
//! A target may be a signed URL, so it is as secret as a token: nothing here prints one.

use url::Url;

use super::RemoteError;
use super::endpoints::is_private_enough;

/// How many redirects one request follows.
pub(super) const REDIRECT_LIMIT: usize = 3;

/// The next place to ask.
#[derive(Clone)]
pub(super) struct Hop {
    /// Where it is.
    pub(super) url: Url,
    /// Whether it is the API's own origin: only there do token and application name go, and only there
    /// does a request count against the pace.
    pub(super) is_api: bool,
}

impl Hop {
    /// The hop that `location` leads to from here.
    ///
    /// Once the API's origin has been left, credentials are not taken up again.
    ///
    /// # Errors
    /// [`RemoteError::Protocol`] when there is no usable target, or the way there could be overheard.
    pub(super) fn follow(&self, location: Option<&str>) -> Result<Self, RemoteError> {
        let location = location.ok_or(RemoteError::Protocol("a redirect without a target"))?;
        let url = self
            .url
            .join(location)
            .map_err(|_| RemoteError::Protocol("a redirect to what is no URL"))?;
        if self.url.scheme() == "https" && url.scheme() != "https" {
            return Err(RemoteError::Protocol("a redirect from https to http"));
        }
        if !is_private_enough(&url) {
            return Err(RemoteError::Protocol("a redirect to plain http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RemoteError::Protocol("a redirect with a user name in it"));
        }
        // `origin` is scheme, host and port, the port with its default filled in.
        let is_api = self.is_api && url.origin() == self.url.origin();
        Ok(Self { url, is_api })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(url: &str) -> Hop {
        Hop {
            url: Url::parse(url).unwrap(),
            is_api: true,
        }
    }

    #[test]
    fn credentials_stay_within_the_origin() {
        let api = hop("https://api.example/a/b");
        for (target, is_api) in [
            ("/elsewhere", true),
            ("https://api.example:443/x", true),
            ("https://api.example:444/x", false),
            ("https://store.example/x", false),
            ("//store.example/x", false),
        ] {
            assert_eq!(api.follow(Some(target)).unwrap().is_api, is_api, "{target}");
        }
        let away = api.follow(Some("https://store.example/x")).unwrap();
        let back = away.follow(Some("https://api.example/x")).unwrap();
        assert!(!back.is_api, "who has left does not come back with a token");
    }

    #[test]
    fn the_way_is_never_in_the_clear() {
        let api = hop("https://api.example/a");
        for bad in [
            "http://api.example/a",
            "http://127.0.0.1/a",
            "ftp://api.example/a",
            "https://user:pw@api.example/a",
            "https://",
        ] {
            assert!(api.follow(Some(bad)).is_err(), "{bad}");
        }
        assert!(api.follow(None).is_err());
        let local = hop("http://127.0.0.1:1/a");
        assert!(local.follow(Some("http://example.com/a")).is_err());
        assert!(!local.follow(Some("http://127.0.0.1:2/a")).unwrap().is_api);
    }
}
