//! Static pods that a web server describes.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use windlass_api::manifests;
use windlass_client::informer::Parts;
use windlass_kernel::{ClockExt, Dial, Error, ErrorKind, Result};

use super::{Described, Source};
use crate::probe::{Get, Means, exchange};

/// How often the server is asked (upstream's `httpCheckFrequency`), and how long its answer is waited for.
const PERIOD: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);
/// The kind of place that a web server is.
const HTTP: &str = "http";
/// More than this describes no pods.
const MOST: usize = 10 << 20;

/// An address that answers with a pod, or a `v1` list of pods, in YAML or JSON (kubelet's `--manifest-url`). It is asked every
/// twenty seconds; while it does not answer, what it described before goes on.
pub struct Url {
    text: String,
    get: Get,
    dial: Arc<dyn Dial>,
    state: Mutex<Last>,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Url").field("text", &self.text).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Last {
    /// When it was asked.
    at: Option<Duration>,
    answer: Option<String>,
}

impl Url {
    /// The address `text`, `http://…` or `https://…`, reached through `dial`. The authorities that a server's certificate may
    /// come from are `trusted`, in PEM; whatever else is in there is passed over.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for what is no URL, and for `https` where nobody is trusted;
    /// [`NotSupported`](ErrorKind::NotSupported) for other schemes.
    pub fn new(text: &str, trusted: &str, dial: Arc<dyn Dial>) -> Result<Self> {
        let invalid =
            |why: &str| Error::new(ErrorKind::Invalid, format!("{text:?} is no address of static pods: {why}"));
        let uri: http::Uri = text.parse().map_err(|error| invalid(&format!("{error}")))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(scheme) => {
                let message =
                    format!("static pods over {scheme} are not supported: use http://, https://, or a folder");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            None => return Err(invalid("it has to begin with http:// or https://")),
        };
        let host = uri.host().ok_or_else(|| invalid("it names no host"))?;
        let get = Get {
            secure,
            trusted: secure
                .then(|| {
                    authorities(trusted).ok_or_else(|| {
                        invalid("no authority is trusted for https; let SSL_CERT_FILE name a file of certificates")
                    })
                })
                .transpose()?,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: Vec::new(),
        };
        Ok(Self { text: text.to_owned(), get, dial, state: Mutex::default() })
    }

    /// Sends these headers along, names and values; several of one name in their order.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) naming the header that cannot be sent.
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Result<Self> {
        for (name, value) in &headers {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() || http::HeaderValue::from_str(value).is_err() {
                // Its value may be a secret.
                let message =
                    format!("a header {name:?} of static pods cannot be sent: its name or value has odd characters");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        self.get.headers = headers;
        Ok(self)
    }

    async fn ask(&self, parts: &Parts) -> std::result::Result<String, String> {
        let means =
            Means { dial: Arc::clone(&self.dial), spawn: Arc::clone(&parts.spawn), clock: Arc::clone(&parts.clock) };
        let asked = exchange(&means, &self.get.host, &self.get, MOST);
        let late = || Err(format!("it does not answer within {PATIENCE:?}"));
        let (status, body) = parts.clock.within(PATIENCE, asked).await.unwrap_or_else(late)?;
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let body = body.ok_or("its answer breaks off, or is longer than 10 MiB")?;
        String::from_utf8(body.into()).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Source for Url {
    async fn read(&self, parts: &Parts) -> Option<Vec<Described>> {
        let now = parts.clock.uptime();
        {
            let mut state = self.state.lock();
            if state.at.is_some_and(|at| now.saturating_sub(at) < PERIOD) {
                return None;
            }
            state.at = Some(now);
        }
        match self.ask(parts).await {
            Ok(answer) => {
                let mut state = self.state.lock();
                if state.answer.as_ref() == Some(&answer) {
                    return None;
                }
                let described = split(&self.text, &answer);
                state.answer = Some(answer);
                Some(described)
            }
            Err(why) => {
                tracing::warn!(url = self.text, why, "cannot read the static pods; those that run go on");
                None
            }
        }
    }

    fn unknown(&self) -> Vec<&'static str> {
        let known = self.state.lock().answer.is_some();
        if known { Vec::new() } else { vec![HTTP] }
    }
}

/// The authorities of a PEM text; `None` where there are none.
fn authorities(text: &str) -> Option<Arc<RootCertStore>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(text.as_bytes()).flatten());
    (!store.is_empty()).then(|| Arc::new(store))
}

/// One description for each pod of a list.
fn split(url: &str, answer: &str) -> Vec<Described> {
    let one = |place: String, text: String| Described { place, source: HTTP, text: Ok(text) };
    let listed = manifests::documents(answer).ok().and_then(|documents| match &documents[..] {
        [only] if matches!(only.value["kind"].as_str(), Some("PodList" | "List")) => {
            only.value["items"].as_array().cloned()
        }
        _ => None,
    });
    let Some(items) = listed else { return vec![one(url.to_owned(), answer.to_owned())] };
    let item = |(at, mut pod): (usize, serde_json::Value)| {
        // Items of a typed list need not say what they are.
        for (field, usual) in [("apiVersion", "v1"), ("kind", "Pod")] {
            if pod[field].is_null() && pod.is_object() {
                pod[field] = usual.into();
            }
        }
        let name = pod["metadata"]["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
        one(format!("{url}#{name}"), pod.to_string())
    };
    items.into_iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl Dial for Nowhere {
        async fn dial(&self, _: &windlass_kernel::dial::Target) -> Result<windlass_kernel::dial::ByteStream> {
            Err(Error::new(ErrorKind::Unavailable, "there is nobody"))
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        let check = |text: &str, kind: ErrorKind, part: &str| {
            let error = Url::new(text, "", Arc::new(Nowhere)).unwrap_err();
            assert!(error.is(kind) && error.message().contains(part), "{error}");
        };
        check("pods.yaml", ErrorKind::Invalid, "it has to begin with http");
        check("ftp://h/p", ErrorKind::NotSupported, "static pods over ftp");
        check("https://h/p", ErrorKind::Invalid, "SSL_CERT_FILE");
        let url = Url::new("http://h/p", "", Arc::new(Nowhere)).unwrap();
        let error = url.with_headers(vec![("auth".into(), "to\nken".into())]).unwrap_err();
        assert!(error.message().contains("\"auth\"") && !error.message().contains("ken"), "{error}");
    }

    #[test]
    fn a_list_describes_each_of_its_pods() {
        let check = |answer: &str, expect: &[&str]| {
            let places: Vec<_> = split("http://h/m", answer).into_iter().map(|one| one.place).collect();
            assert_eq!(places, expect);
        };
        check("kind: Pod", &["http://h/m"]);
        check("kind: PodList\nitems: [{metadata: {name: a}}, {}]", &["http://h/m#a", "http://h/m#1"]);
        check("a: [", &["http://h/m"]);
        let items = split("u", "kind: PodList\nitems: [{metadata: {name: a}}]");
        assert_eq!(items[0].text.as_deref(), Ok(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#));
    }
}
