//! Where the API is: the region's hosts or URLs given in their place, checked once.
//!
//! Promises that nothing is ever sent in the clear except to this machine itself.

use std::fmt;

use url::{Host, Url};

/// The regions that there are (API reference, section 2).
const REGIONS: [&str; 3] = ["emea", "nam", "apac"];

/// The two URLs of the API, checked.
///
/// `Debug` shows hosts only: a path may be private to an installation.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The API's base, up to and including `/interaction-content`, without a slash at its end.
    pub api: Url,
    /// The token endpoint itself.
    pub auth: Url,
}

/// Why endpoints can't be used. The texts say what to do and repeat no URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// The region is none of the three.
    #[error("unknown region: it is emea, nam or apac")]
    Region,
    /// It is not an absolute http or https URL.
    #[error("not a URL: https://host/path is needed")]
    NotAUrl,
    /// Plain http to another machine.
    #[error("plain http is refused except to loopback: use https")]
    Plain,
    /// The URL holds a user name, a password, a query or a fragment.
    #[error("the URL must not hold a user name, a password, a query or a fragment")]
    Extras,
}

impl Endpoints {
    /// The endpoints of a region, in any case.
    ///
    /// # Errors
    /// [`BadEndpoint::Region`] when there is no such region.
    pub fn of_region(region: &str) -> Result<Self, BadEndpoint> {
        let region = region.to_ascii_lowercase();
        if !REGIONS.contains(&region.as_str()) {
            return Err(BadEndpoint::Region);
        }
        Self::parse(
            &format!("https://{region}.api.cc.vonage.com/interaction-content"),
            &format!("https://{region}.cc.vonage.com/Auth/connect/token"),
        )
    }

    /// Endpoints given as text.
    ///
    /// # Errors
    /// [`BadEndpoint`] when one of them can't be used.
    pub fn parse(api: &str, auth: &str) -> Result<Self, BadEndpoint> {
        let parse = |text: &str| Url::parse(text.trim()).map_err(|_| BadEndpoint::NotAUrl);
        Self {
            api: parse(api)?,
            auth: parse(auth)?,
        }
        .checked()
    }

    /// The same endpoints, checked, with the API's base brought into its one form.
    ///
    /// # Errors
    /// [`BadEndpoint`] when one of them can't be used.
    pub fn checked(mut self) -> Result<Self, BadEndpoint> {
        check(&self.api)?;
        check(&self.auth)?;
        let path = self.api.path().trim_end_matches('/').to_owned();
        self.api.set_path(&path);
        Ok(self)
    }

    /// The URL of `path`, which is encoded already and begins without a slash, below the API's base.
    pub(super) fn api_url(&self, path: &str) -> Option<Url> {
        let base = self.api.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).ok()
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("api", &self.api.host_str())
            .field("auth", &self.auth.host_str())
            .finish()
    }
}

fn check(url: &Url) -> Result<(), BadEndpoint> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(BadEndpoint::NotAUrl);
    }
    if !is_private_enough(url) {
        return Err(BadEndpoint::Plain);
    }
    let has_extras = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if has_extras {
        return Err(BadEndpoint::Extras);
    }
    Ok(())
}

/// Whether what is sent to `url` can't be overheard: https, or http that doesn't leave this machine.
pub(super) fn is_private_enough(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether it is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_names_its_hosts() {
        let emea = Endpoints::of_region("EMEA").unwrap();
        assert_eq!(
            emea.api.as_str(),
            "https://emea.api.cc.vonage.com/interaction-content"
        );
        assert_eq!(
            emea.auth.as_str(),
            "https://emea.cc.vonage.com/Auth/connect/token"
        );
        assert_eq!(Endpoints::of_region("aus"), Err(BadEndpoint::Region));
        assert!(!is_loopback(&emea.api) && !is_loopback(&emea.auth));
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:1", "127.9.9.9"] {
            let url = format!("http://{host}/x");
            let endpoints = Endpoints::parse(&url, &url).unwrap();
            assert!(
                is_loopback(&endpoints.api) && is_loopback(&endpoints.auth),
                "{host}"
            );
        }
        for host in [
            "example.com",
            "10.0.0.1",
            "localhost.example.com",
            "[::2]",
            "0.0.0.0",
        ] {
            let url = format!("http://{host}/x");
            let https = "https://example.com/x";
            assert_eq!(Endpoints::parse(&url, https), Err(BadEndpoint::Plain));
            assert_eq!(Endpoints::parse(https, &url), Err(BadEndpoint::Plain));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_it() {
        let good = "https://example.com/x";
        for (bad, error) in [
            ("nonsense", BadEndpoint::NotAUrl),
            ("ftp://example.com/", BadEndpoint::NotAUrl),
            ("https://user:pw@example.com/", BadEndpoint::Extras),
            ("https://example.com/?a=b", BadEndpoint::Extras),
        ] {
            assert_eq!(Endpoints::parse(bad, good), Err(error));
        }
    }

    #[test]
    fn a_slash_at_the_bases_end_makes_no_difference() {
        let slashed = Endpoints::parse("https://h/interaction-content/", "https://h/t").unwrap();
        assert_eq!(
            slashed.api_url("interactions").unwrap().as_str(),
            "https://h/interaction-content/interactions"
        );
        let bare = Endpoints::parse("https://h", "https://h/t").unwrap();
        assert_eq!(
            bare.api_url("interactions").unwrap().as_str(),
            "https://h/interactions"
        );
    }
}
