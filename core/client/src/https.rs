//! An [`Api`] over HTTPS: the same requests, sent to a server as a URL, a query and a body.
//!
//! Connections come from [`Dial`], tasks from [`Spawn`], time from [`Clock`]; there is no runtime in here. The server
//! decides who asks by the credential; a request's own identity counts only where impersonation was asked for.
//! Sessions are WebSockets; proxying through the server is not supported.

mod answer;
mod connect;
mod followed;
mod frames;
mod raw;
mod session;
mod tls;
mod url;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use http_body_util::BodyExt;
use parking_lot::{Mutex, RwLock};
use windlass_kernel::{
    Api, Clock, ClockExt, Dial, Error, ErrorKind, Result, Spawn,
    api::{Answer, Events, Request, Response, Verb},
    node::Session,
};

pub use self::raw::{RawReply, RawRequest};
use self::{
    connect::{Endpoint, Reply, Server},
    followed::Followed,
};
use crate::kubeconfig::{Access, Credential};

/// So long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// So many bytes of a refusal are read.
const REFUSAL: usize = 64 << 10;
/// So long a watch lives that asks for no other end.
const WATCH: Duration = Duration::from_secs(300);
/// So much later than its end a watch counts as lost.
const GRACE: Duration = Duration::from_secs(30);
/// So long a token that was read from a file is used.
const TOKEN: Duration = Duration::from_secs(60);

/// What an [`HttpsApi`] runs on.
#[derive(Clone, Debug)]
pub struct Means {
    /// Who opens connections.
    pub dial: Arc<dyn Dial>,
    /// Who runs them.
    pub spawn: Arc<dyn Spawn>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The API of a server somewhere.
pub struct HttpsApi {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    dial: Arc<dyn Dial>,
    face: RwLock<Arc<Face>>,
    /// What is read again when it changes.
    followed: Option<Followed>,
    impersonate: bool,
}

/// The server, and as whom it is spoken to.
struct Face {
    server: Arc<Server>,
    credential: Credential,
    token: Mutex<Option<(Duration, String)>>,
}

impl fmt::Debug for HttpsApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsApi").field("server", &self.face.read().server.endpoint).finish_non_exhaustive()
    }
}

impl Face {
    fn new(access: &Access, means: &Means) -> Result<Self> {
        let endpoint = Endpoint::parse(access)?;
        let tls = if endpoint.secure { Some(tls::connectors(access, &means.clock)?) } else { None };
        let server = Arc::new(Server::new(endpoint, tls, Arc::clone(&means.dial), Arc::clone(&means.spawn)));
        Ok(Self { server, credential: access.credential.clone(), token: Mutex::default() })
    }

    fn authorization(&self, now: Duration) -> Result<Option<String>> {
        match &self.credential {
            Credential::Anonymous | Credential::Certificate { .. } => Ok(None),
            Credential::Token(token) => Ok(Some(format!("Bearer {token}"))),
            Credential::Password { name, password } => Ok(Some(url::basic(name, password))),
            Credential::TokenFile(path) => {
                let mut held = self.token.lock();
                if let Some((read, token)) = held.as_ref().filter(|(read, _)| now.saturating_sub(*read) < TOKEN) {
                    tracing::trace!(?read, "a token is used again");
                    return Ok(Some(format!("Bearer {token}")));
                }
                let token = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read the token {}", path.display());
                    Error::new(ErrorKind::Unauthorized, message).with_source(error)
                })?;
                let token = token.trim().to_owned();
                *held = Some((now, token.clone()));
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }
}

impl HttpsApi {
    /// An API behind `access`. Connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where the URL or a certificate cannot be used.
    pub fn new(access: &Access, means: Means) -> Result<Self> {
        let face = RwLock::new(Arc::new(Face::new(access, &means)?));
        let Means { dial, spawn, clock } = means;
        Ok(Self { clock, spawn, dial, face, followed: None, impersonate: false })
    }

    /// An API behind a context of a kubeconfig file, the current one where the name is empty, and how it is reached now.
    ///
    /// The file, and the certificates and keys that it names, are looked at again while requests are made, at most every ten
    /// seconds. Where they have changed, requests from then on are made over new connections as they say; what is going on
    /// goes on as it began. Files that cannot be used change nothing until they can.
    ///
    /// # Errors
    ///
    /// Those of the file, and as [`new`](Self::new).
    pub fn following(file: impl AsRef<Path>, context: &str, means: Means) -> Result<(Self, Access)> {
        let (followed, access) = Followed::read(file.as_ref(), context, means.clock.uptime())?;
        let api = Self { followed: Some(followed), ..Self::new(&access, means)? };
        Ok((api, access))
    }

    /// The server and the credential as they are now.
    fn face(&self) -> Arc<Face> {
        if let Some(followed) = &self.followed
            && let Some(access) = followed.changed(self.clock.uptime())
        {
            let (dial, spawn, clock) = (Arc::clone(&self.dial), Arc::clone(&self.spawn), Arc::clone(&self.clock));
            match Face::new(&access, &Means { dial, spawn, clock }) {
                Ok(face) => {
                    tracing::info!(file = %followed.file().display(), "the kubeconfig has changed; new connections are as it says");
                    *self.face.write() = Arc::new(face);
                }
                Err(error) => followed.unusable(&error),
            }
        }
        Arc::clone(&self.face.read())
    }

    /// Acts as each request's identity, which the credential's own must be allowed to (`Impersonate-User`).
    #[must_use]
    pub fn impersonating(mut self) -> Self {
        self.impersonate = true;
        self
    }

    fn message(&self, face: &Face, request: &Request) -> Result<url::Message> {
        let mut message = url::message(request, &face.server.endpoint.base)?;
        if let Some(value) = face.authorization(self.clock.uptime())? {
            message.headers.push(("authorization".into(), value));
        }
        if self.impersonate {
            message.headers.extend(url::impersonation(&request.identity));
        }
        Ok(message)
    }

    async fn send(&self, request: &Request) -> Result<Reply> {
        let face = self.face();
        let message = self.message(&face, request)?;
        let writes = !matches!(request.verb, Verb::Get | Verb::List | Verb::Watch);
        let sent = self.clock.timeout(ANSWER, face.server.send(&message)).await;
        let sent = sent.inspect_err(|_| face.server.forget()).and_then(|sent| sent);
        let reply = sent.map_err(|error| if writes { error } else { harmless(error) })?;
        if reply.status().is_success() { Ok(reply) } else { Err(self.refusal(reply, writes).await) }
    }

    async fn session(&self, request: &Request) -> Result<Session> {
        let face = self.face();
        let message = self.message(&face, request)?;
        match request.subresource.as_str() {
            "exec" | "attach" => {
                let opened = session::process(&face.server, &self.spawn, request, &message);
                self.clock.timeout(ANSWER, opened).await?
            }
            "portforward" => {
                let (server, spawn) = (Arc::clone(&face.server), Arc::clone(&self.spawn));
                Ok(Session::Ports(Box::new(session::RemotePorts { server, spawn, message })))
            }
            other => Err(Error::new(ErrorKind::NotSupported, format!("{other:?} over HTTPS is not supported"))),
        }
    }

    async fn refusal(&self, reply: Reply, writes: bool) -> Error {
        let (head, body) = reply.into_parts();
        let body = self.clock.timeout(ANSWER, body.collect()).await.ok().and_then(std::result::Result::ok);
        let error = answer::refusal(&head, &body.map(|body| body.to_bytes()).unwrap_or_default());
        let unsure = matches!(error.kind(), ErrorKind::Internal | ErrorKind::Timeout);
        if writes && unsure { error.maybe_applied() } else { error }
    }
}

#[async_trait]
impl Api for HttpsApi {
    async fn call(&self, request: Request) -> Result<Response> {
        if request.verb == Verb::Connect {
            let answer = Answer::Session(self.session(&request).await?);
            return Ok(Response { code: 101, warnings: Vec::new(), answer });
        }
        let (head, body) = self.send(&request).await?.into_parts();
        let code = head.status.as_u16();
        let warnings = answer::warnings(&head.headers);
        if !answer::is_json(&head.headers) {
            return Ok(Response { code, warnings, answer: Answer::Stream(frames::chunks(body)) });
        }
        let collected =
            self.clock.timeout(ANSWER, body.collect()).await.inspect_err(|_| self.face.read().server.forget())?;
        let bytes = collected.map_err(|error| connect::broken(error).maybe_applied())?.to_bytes();
        Ok(Response { code, warnings, answer: answer::decode(&bytes)? })
    }

    async fn watch(&self, mut request: Request) -> Result<Events> {
        let lives = *request.options.timeout.get_or_insert(WATCH);
        let body = self.send(&request).await?.into_body();
        Ok(frames::events(body, Arc::clone(&self.clock), lives + GRACE))
    }
}

/// A failure of something that changes nothing: it certainly had no effect.
fn harmless(error: Error) -> Error {
    let fresh = Error::new(error.kind(), error.message());
    fresh.with_source(error)
}
