//! A registry on loopback: as much of the distribution protocol as a pull needs.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::containerd::busybox;

/// A registry that runs as long as its runtime. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    address: String,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Manifests by `repository/reference`, tags and digests alike.
    manifests: BTreeMap<String, String>,
    blobs: BTreeMap<String, Bytes>,
    /// What repositories ask for, as an `Authorization` header has it.
    secrets: BTreeMap<String, String>,
    /// The same for repositories that ask for a token: what the token's giver asks for.
    givers: BTreeMap<String, String>,
    /// Whether clients are told that a secret is needed before they ask for a repository.
    discreet: bool,
    /// How often the manifests of a repository were asked for by tag.
    asked: BTreeMap<String, usize>,
}

impl Registry {
    /// Starts an empty one on a port of its own.
    ///
    /// # Panics
    ///
    /// Without a port.
    #[must_use]
    pub fn start(tokio: &Handle) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        listener.set_nonblocking(true).expect("a listener");
        let registry = Self { address, shelf: Arc::default() };
        let (serving, handle) = (registry.clone(), tokio.clone());
        tokio.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                let answer = service_fn(move |request| {
                    let answer = serving.answer(&request);
                    async { Ok::<_, Infallible>(answer) }
                });
                handle.spawn(async move {
                    // A client that goes away is no concern of the registry's.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        registry
    }

    /// Its host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts an image with a shell into it and returns its full name. A secret is a user with a password.
    ///
    /// # Panics
    ///
    /// Where the image cannot be made.
    #[must_use]
    pub fn publish(&self, repository: &str, tag: &str, secret: Option<(&str, &str)>) -> String {
        let name = format!("{}/{repository}:{tag}", self.address);
        let (digest, blobs) = busybox(&name).file("/made-for", 0o644, name.as_bytes()).blobs().expect("an image");
        let mut shelf = self.shelf.lock();
        shelf.blobs.extend(blobs.into_iter().map(|(digest, blob)| (digest, blob.into())));
        shelf.manifests.insert(format!("{repository}/{tag}"), digest.clone());
        shelf.manifests.insert(format!("{repository}/{digest}"), digest);
        if let Some((user, password)) = secret {
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            shelf.secrets.insert(repository.into(), format!("Basic {basic}"));
        }
        name
    }

    /// From now on nobody who asks for no repository is told that a secret is needed.
    pub fn be_discreet(&self) {
        self.shelf.lock().discreet = true;
    }

    /// From now on a repository that asks for a secret asks for a token instead, which is given for that secret.
    ///
    /// # Panics
    ///
    /// Where the repository asks for no secret.
    pub fn ask_for_token(&self, repository: &str) {
        let mut shelf = self.shelf.lock();
        let secret = shelf.secrets.insert(repository.into(), format!("Bearer {}", token(repository)));
        shelf.givers.insert(repository.into(), secret.expect("a repository with a secret"));
    }

    /// How often a repository was asked for a tag.
    #[must_use]
    pub fn asked(&self, repository: &str) -> usize {
        self.shelf.lock().asked.get(repository).copied().unwrap_or(0)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut shelf = self.shelf.lock();
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(path) = request.uri().path().strip_prefix("/v2/") else {
            return shelf.give_token(request.uri(), given);
        };
        if path.is_empty() {
            // Clients ask here first how to say who they are.
            return if given.is_some() || shelf.discreet || shelf.secrets.is_empty() {
                plain(StatusCode::OK, "{}")
            } else {
                unauthorized("Basic realm=\"lab\"")
            };
        }
        let mut words = path.rsplitn(3, '/');
        let (reference, kind, repository) = (words.next(), words.next(), words.next());
        let (Some(reference), Some(kind), Some(repository)) = (reference, kind, repository) else {
            return plain(StatusCode::NOT_FOUND, "{}");
        };
        if shelf.secrets.get(repository).is_some_and(|wanted| given != Some(wanted)) {
            let scope = format!("service=\"lab\",scope=\"repository:{repository}:pull\"");
            return match shelf.givers.contains_key(repository) {
                true => unauthorized(&format!("Bearer realm=\"http://{}/token\",{scope}", self.address)),
                false => unauthorized("Basic realm=\"lab\""),
            };
        }
        let (digest, media) = match kind {
            "manifests" => {
                if !reference.starts_with("sha256:") {
                    *shelf.asked.entry(repository.into()).or_default() += 1;
                }
                let digest = shelf.manifests.get(&format!("{repository}/{reference}")).cloned();
                (digest, "application/vnd.oci.image.manifest.v1+json")
            }
            "blobs" => (Some(reference.to_owned()), "application/octet-stream"),
            _ => (None, ""),
        };
        let found = digest.and_then(|digest| shelf.blobs.get(&digest).cloned().map(|blob| (digest, blob)));
        let Some((digest, blob)) = found else {
            return plain(
                StatusCode::NOT_FOUND,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            );
        };
        let size = blob.len();
        let body = if request.method() == Method::HEAD { Bytes::new() } else { blob };
        let answer = Response::builder()
            .header(header::CONTENT_TYPE, media)
            .header(header::CONTENT_LENGTH, size)
            .header("docker-content-digest", digest)
            .body(Full::new(body));
        answer.expect("an answer")
    }
}

impl Shelf {
    /// A token for the repository that a query names, to whoever has its secret.
    fn give_token(&self, asked: &Uri, given: Option<&str>) -> Response<Full<Bytes>> {
        let query = asked.query().unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
        let scope = query.split('&').find_map(|one| one.strip_prefix("scope=repository:")?.strip_suffix(":pull"));
        let (Some(repository), "/token") = (scope, asked.path()) else { return plain(StatusCode::NOT_FOUND, "{}") };
        match self.givers.get(repository) {
            Some(secret) if given == Some(secret) && query.contains("service=lab") => {
                plain(StatusCode::OK, &format!(r#"{{"token":"{}"}}"#, token(repository)))
            }
            _ => unauthorized("Basic realm=\"lab\""),
        }
    }
}

/// What opens a repository.
fn token(repository: &str) -> String {
    format!("opens-{}", repository.replace('/', "-"))
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

fn unauthorized(asks: &str) -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::UNAUTHORIZED, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, asks.parse().expect("a header"));
    answer
}
