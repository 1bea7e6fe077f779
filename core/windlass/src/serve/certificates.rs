//! A server's certificates over time: its own is signed anew long before it ends, files are read again when they change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, ToSpan};
use windlass_apiserver::http::tls::{Certificates, KeyAndCertificate};
use windlass_kernel::{Clock, ClockExt, Error, ErrorKind, Result, Spawn, SpawnExt};

use super::Pki;

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a server without files looks whether its own certificate is due.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How old the server's own certificate gets; it is valid for a year.
const OWN_DAYS: i64 = 180;

/// A certificate with its chain and a private key, in PEM files that somebody replaces from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that signed it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What tells that a file is another than before.
type Stamp = (u64, Option<SystemTime>);

/// Keeps a server's certificates fresh.
pub(super) struct Renewal {
    pub(super) pki: Arc<Pki>,
    /// What the server calls itself.
    pub(super) name: String,
    /// The names and addresses of the server's own certificate.
    pub(super) names: Vec<String>,
    pub(super) files: Option<CertificateFiles>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spawn: Arc<dyn Spawn>,
}

impl Renewal {
    /// The certificates to begin with.
    pub(super) fn begin(&self) -> Result<Arc<Certificates>> {
        let certificates = Certificates::new(&self.own()?)?;
        if let Some(files) = &self.files {
            certificates.give(&files.read()?).map_err(|error| files.unusable(error))?;
        }
        Ok(certificates)
    }

    /// Renews them for as long as it is polled.
    pub(super) async fn run(self, certificates: Arc<Certificates>) {
        let mut due = self.due();
        // The files are read once more than needed: they may have changed since the first time.
        let mut seen = None;
        let period = if self.files.is_some() { PERIOD } else { DAY };
        loop {
            self.clock.sleep(period).await;
            if self.clock.now() >= due {
                due = self.due();
                match self.own().and_then(|own| certificates.renew(&own)) {
                    Ok(()) => tracing::info!("the server has a new certificate of its own"),
                    Err(error) => tracing::error!(%error, "the server's own certificate cannot be renewed"),
                }
            }
            let Some(files) = &self.files else { continue };
            let (look, at) = (files.clone(), Arc::clone(&certificates));
            let before = seen;
            let look = move || {
                let now = look.stamps();
                let given = (Some(now) != before).then(|| look.read().and_then(|pair| at.give(&pair)));
                (now, given)
            };
            let Some((now, given)) = self.spawn.run_blocking("tls.files", look).await else { continue };
            seen = Some(now);
            let file = files.certificate.display();
            match given {
                None => {}
                Some(Ok(())) => tracing::info!(%file, "the server shows the new certificate"),
                // Files are replaced one after the other; the other one will change, too.
                Some(Err(error)) => tracing::warn!(%file, %error, "the certificate is not used, the last one is"),
            }
        }
    }

    fn own(&self) -> Result<KeyAndCertificate> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.pki.authority.server(&self.name, &names, self.clock.now())
    }

    fn due(&self) -> Timestamp {
        self.clock.now().saturating_add((OWN_DAYS * 24).hours()).unwrap_or(Timestamp::MAX)
    }
}

impl CertificateFiles {
    fn read(&self) -> Result<KeyAndCertificate> {
        let text = |path: &Path| {
            let failed =
                |error| Error::new(ErrorKind::Invalid, format!("cannot read {}", path.display())).with_source(error);
            fs::read_to_string(path).map_err(failed)
        };
        Ok(KeyAndCertificate { certificate: text(&self.certificate)?, key: text(&self.key)? })
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| {
            // What cannot be looked at is as one that is not there; reading it tells why.
            fs::metadata(path).map_or((0, None), |found| (found.len(), found.modified().ok()))
        })
    }

    fn unusable(&self, error: Error) -> Error {
        let pair = format!("{} and {}", self.certificate.display(), self.key.display());
        Error::new(ErrorKind::Invalid, format!("{pair} are no certificate with its key")).with_source(error)
    }
}
