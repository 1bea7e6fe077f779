//! Mirrors: registries that are asked in place of another one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use windlass_kernel::{Error, ErrorKind, Result};

/// The mirrors of registries, by the host of their images' full names (`docker.io`, `registry.example.com:5000`), in the order in which
/// they are asked.
pub type Mirrors = BTreeMap<String, Vec<Mirror>>;

/// A registry that is asked for another one's images, and for what their tags mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    plain: bool,
    host: String,
    ca: Option<PathBuf>,
    verified: bool,
}

impl Mirror {
    /// A mirror at a URL, such as `https://mirror.example.com` or `http://127.0.0.1:5000`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is none, or has more than a scheme, a host and a port: paths are not supported.
    pub fn at(url: &str) -> Result<Self> {
        let wrong = || {
            let message = format!("a mirror is given as http:// or https:// with a host and no more, not {url:?}");
            Error::new(ErrorKind::Invalid, message)
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let plain = match scheme {
            "http" => true,
            "https" => false,
            _ => return Err(wrong()),
        };
        let authority: http::uri::Authority = host.parse().map_err(|_| wrong())?;
        if authority.host().is_empty() || host.contains('@') {
            return Err(wrong());
        }
        Ok(Self { plain, host: host.to_owned(), ca: None, verified: true })
    }

    /// Trusts the certificates of a file (PEM), too.
    #[must_use]
    pub fn trusting(mut self, ca: impl Into<PathBuf>) -> Self {
        self.ca = Some(ca.into());
        self
    }

    /// Does not look at its certificate.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.plain { "http" } else { "https" }, self.host)
    }

    /// Its host, with a port where one was given.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is spoken to without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The file of certificates that are trusted, too.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Whether its certificate is looked at.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// What containerd's own `hosts.toml` says of it.
    pub(super) fn toml(&self) -> String {
        let mut toml = format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", self.url());
        if let Some(ca) = &self.ca {
            let path = ca.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
            toml += &format!("  ca = \"{path}\"\n");
        }
        if !self.verified {
            toml += "  skip_verify = true\n";
        }
        toml
    }
}

/// Refuses what cannot be the host of a registry: it becomes the name of a folder, too.
pub(super) fn check(mirrors: &Mirrors) -> Result<()> {
    for registry in mirrors.keys() {
        if registry.starts_with('.') || registry.parse::<http::uri::Authority>().is_err() {
            let message = format!("{registry:?} is no host of a registry, such as docker.io");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_scheme_and_a_host() {
        for (url, expect) in [
            ("https://mirror.example.com", Some(("mirror.example.com", false))),
            ("http://127.0.0.1:5000/", Some(("127.0.0.1:5000", true))),
            ("https://[::1]:5000", Some(("[::1]:5000", false))),
            ("mirror.example.com", None),
            ("ftp://mirror.example.com", None),
            ("https://mirror.example.com/v2/docker", None),
            ("https://user:secret@mirror.example.com", None),
            ("https://", None),
        ] {
            let mirror = Mirror::at(url).ok();
            assert_eq!(mirror.as_ref().map(|mirror| (mirror.host(), mirror.is_plain())), expect, "{url}");
        }
    }

    #[test]
    fn a_registry_is_a_host() {
        for (name, expect) in [("docker.io", true), ("a:5000", true), ("a/b", false), ("..", false), ("", false)] {
            assert_eq!(check(&[(name.to_owned(), vec![])].into()).is_ok(), expect, "{name}");
        }
    }
}
