//! A server on a loopback port with real time, tasks and randomness: what tests about HTTP drive.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_apiserver::{
    ApiServer, Live, StoreLookup,
    access::{
        AnyOf, BootstrapTokens, ClientCertificates, EcdsaKeys, Escalation, InTurn, NodeAuthorizer, Rbac,
        ServiceAccountTokens, StaticTokens,
    },
    discovery::Versions,
    http::{
        Issuer, Meter, Parts, Server, StoreCheck,
        tls::{Authority, Certificates, KeyAndCertificate, server_config_with},
    },
    stream::Sessions,
};
use windlass_kernel::{
    Api, Authenticator, Authorizer, Clock, Dial, Entropy, Error, ErrorKind, Identity, Result, Spawn, Stop,
    dial::{ByteStream, Target},
    node::NodeAgents,
};
use windlass_machine::{SystemClock, SystemDial, SystemEntropy, TokioSpawn};
use windlass_store::{HistoryLimits, MemoryStore};

/// The real time.
pub(crate) fn now() -> jiff::Timestamp {
    SystemClock::new().now()
}

/// Connects to this machine, whatever a host is called.
#[derive(Debug)]
pub(crate) struct Loopback;

#[async_trait]
impl Dial for Loopback {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        let Target::Host { port, .. } = target else { return Err(Error::new(ErrorKind::NotSupported, "hosts only")) };
        SystemDial.dial(&Target::Host { host: "127.0.0.1".into(), port: *port }).await
    }
}

/// A running server and what a client needs to reach it.
pub(crate) struct Rim {
    pub(crate) port: u16,
    pub(crate) authority: Authority,
    pub(crate) admin: KeyAndCertificate,
    pub(crate) server: Arc<ApiServer>,
    pub(crate) http: Arc<Server>,
    pub(crate) rbac: Arc<Rbac>,
    pub(crate) keys: Arc<EcdsaKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: Stop,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) ended: tokio::task::JoinHandle<Result<()>>,
}

pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Starts a server with role-based access control and the default roles.
/// Figures of somebody else.
#[derive(Debug)]
struct Lamps;

impl Meter for Lamps {
    fn write(&self, out: &mut String) {
        out.push_str("# HELP lamps_lit Lamps that were lit.\n# TYPE lamps_lit counter\nlamps_lit_total 3\n");
    }
}

pub(crate) async fn start() -> Rim {
    start_with(|api| api).await
}

/// Starts a server whose requests go through what `wrap` makes of it.
pub(crate) async fn start_with(wrap: impl FnOnce(Arc<dyn Api>) -> Arc<dyn Api>) -> Rim {
    assemble(Setup { wrap: Box::new(wrap), ..Setup::default() }).await
}

/// Starts a server with nodes.
pub(crate) async fn start_on(agents: impl FnOnce(Arc<dyn Clock>, Arc<dyn Spawn>) -> Arc<dyn NodeAgents>) -> Rim {
    assemble(Setup { agents: Box::new(|clock, spawn| Some(agents(clock, spawn))), ..Setup::default() }).await
}

/// Starts a server that reaches others through `dial`.
pub(crate) async fn start_dialling(dial: Arc<dyn Dial>) -> Rim {
    assemble(Setup { dial, ..Setup::default() }).await
}

type Wrap<'s> = Box<dyn FnOnce(Arc<dyn Api>) -> Arc<dyn Api> + 's>;
type Agents<'s> = Box<dyn FnOnce(Arc<dyn Clock>, Arc<dyn Spawn>) -> Option<Arc<dyn NodeAgents>> + 's>;

/// What a server is made of, where a test is about more than the usual.
pub(crate) struct Setup<'s> {
    pub(crate) wrap: Wrap<'s>,
    pub(crate) agents: Agents<'s>,
    pub(crate) dial: Arc<dyn Dial>,
    /// How much history the store keeps.
    pub(crate) history: HistoryLimits,
    /// Which built-in resources are served, as `--runtime-config` says it.
    pub(crate) versions: &'s str,
    /// The certificates that webhooks without `caBundle` are trusted by.
    pub(crate) trusted: &'s str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            wrap: Box::new(|api| api),
            agents: Box::new(|_, _| None),
            dial: Arc::new(Nowhere),
            history: HistoryLimits::default(),
            versions: "",
            trusted: "",
        }
    }
}

/// Reaches nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Dial for Nowhere {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        Err(Error::new(ErrorKind::Unavailable, format!("nothing is reached from here: {target:?}")))
    }
}

pub(crate) async fn assemble(setup: Setup<'_>) -> Rim {
    let Setup { wrap, agents, dial, history, versions, trusted } = setup;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::current());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let store = Arc::new(MemoryStore::with_limits(Arc::clone(&clock), Arc::clone(&spawn), history));
    let rbac = Arc::new(Rbac::new(store.clone()));
    let nodes = NodeAuthorizer::new(&(store.clone() as _));
    let authorizer: Arc<dyn Authorizer> = Arc::new(InTurn::new().then(Arc::new(nodes)).then(rbac.clone()));
    let keys = Arc::new(EcdsaKeys::from_pkcs8(&EcdsaKeys::generate().unwrap(), &[]).unwrap());
    let tokens = StaticTokens::default().with("root-token", Identity::new("root", &["system:masters"]));
    let tokens = tokens.with("user-token", Identity::new("alice", &[]));
    let lookup = Arc::new(StoreLookup::new(store.clone()));
    let accounts = ServiceAccountTokens::new(keys.clone(), Arc::clone(&clock), lookup, ISSUER, vec![ISSUER.to_owned()]);
    let joining = BootstrapTokens::new(store.clone(), Arc::clone(&clock));
    let authenticator = AnyOf::new().or(Arc::new(ClientCertificates::default())).or(Arc::new(tokens));
    let authenticator = authenticator.or(Arc::new(accounts)).or(Arc::new(joining));
    let authenticator: Arc<dyn Authenticator> = Arc::new(authenticator);
    let mut builder = ApiServer::builder();
    if let Some(agents) = agents(Arc::clone(&clock), Arc::clone(&spawn)) {
        builder = builder.node_agents(agents);
    }
    let server = builder
        .authenticator(Arc::clone(&authenticator))
        .rules(rbac.clone())
        .store(store)
        .clock(Arc::clone(&clock))
        .entropy(Arc::clone(&entropy))
        .spawn(Arc::clone(&spawn))
        .dial(Arc::clone(&dial))
        .authorizer(Arc::clone(&authorizer))
        .admission(Arc::new(Escalation::new(rbac.clone(), Arc::clone(&authorizer))))
        .keys(keys.clone())
        .issuer(ISSUER)
        .versions(Versions::default().with(versions).unwrap())
        .trusted_certificates(trusted)
        .start()
        .await
        .unwrap();

    let api: Arc<dyn Api> = wrap(server.clone());
    let now = clock.now();
    let authority = Authority::generate("test-ca", now).unwrap();
    let own = authority.server("kube-apiserver", &["localhost", "127.0.0.1"], now).unwrap();
    let admin = authority.client("admin", &["system:masters"], now).unwrap();
    let certificates = Certificates::new(&own).unwrap();
    let tls = server_config_with(Arc::clone(&certificates), &authority.pem().certificate).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Stop::new();
    let parts = Parts {
        api,
        inside: Some(server.clone()),
        authenticator,
        authorizer,
        catalog: Arc::new(Live::new(server.clone())),
        connector: Arc::new(Sessions),
        dial,
        texts: Arc::new(()),
        issuer: Some(Issuer {
            issuer: ISSUER.into(),
            jwks_uri: format!("{ISSUER}/openid/v1/jwks"),
            keys: keys.clone(),
        }),
        checks: vec![Arc::new(StoreCheck::new(Arc::clone(server.store())))],
        meters: vec![Arc::new(Lamps)],
        address: format!("127.0.0.1:{port}"),
        clock: Arc::clone(&clock),
        entropy,
        spawn,
    };
    let http = Server::new(parts, stop.clone());
    let ended = tokio::runtime::Handle::current().spawn(Arc::clone(&http).serve(listener, tls));
    Rim { port, authority, admin, server, http, rbac, keys, clock, stop, certificates, ended }
}

/// One answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }
}

pub(crate) type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;
pub(crate) type Sender = hyper::client::conn::http1::SendRequest<http_body_util::Full<bytes::Bytes>>;

impl Rim {
    /// A client's TLS, with the administrator's certificate if wanted.
    pub(crate) fn tls(&self, certificate: bool, protocol: &[u8]) -> Arc<rustls::ClientConfig> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(read(&self.authority.pem().certificate)).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if certificate {
            let key = PrivateKeyDer::from_pem_slice(self.admin.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![read(&self.admin.certificate)], key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// A connection for HTTP/1.1 as the administrator, before its first byte.
    pub(crate) async fn stream(&self) -> Stream {
        self.connect(true, b"http/1.1").await.into_inner()
    }

    pub(crate) async fn connect(&self, certificate: bool, protocol: &[u8]) -> hyper_util::rt::TokioIo<Stream> {
        let stream = tokio::net::TcpStream::from_std({
            let stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .unwrap();
        let connector = tokio_rustls::TlsConnector::from(self.tls(certificate, protocol));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        hyper_util::rt::TokioIo::new(stream)
    }

    /// An HTTP/1.1 connection, as the administrator if `certificate`.
    pub(crate) async fn http1(&self, certificate: bool) -> Sender {
        let io = self.connect(certificate, b"http/1.1").await;
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::runtime::Handle::current().spawn(connection.with_upgrades());
        sender
    }

    /// One request over HTTP/2 as the administrator.
    pub(crate) async fn http2(&self, request: &str) -> Answer {
        let io = self.connect(true, b"h2").await;
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::runtime::Handle::current().spawn(connection);
        read(sender.send_request(absolute(parse(request))).await.unwrap()).await
    }

    /// One request over HTTP/1.1 as the administrator: a request line, header lines, an empty line and a body.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        let mut sender = self.http1(true).await;
        read(sender.send_request(parse(request)).await.unwrap()).await
    }

    /// One request over HTTP/1.1 without a certificate.
    pub(crate) async fn send_anonymous(&self, request: &str) -> Answer {
        let mut sender = self.http1(false).await;
        read(sender.send_request(parse(request)).await.unwrap()).await
    }
}

/// A request from its text.
pub(crate) fn parse(text: &str) -> hyper::Request<http_body_util::Full<bytes::Bytes>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut builder = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    builder.body(http_body_util::Full::new(body.to_owned().into())).unwrap()
}

/// The request with the host in its URL, as HTTP/2 has it.
pub(crate) fn absolute(
    mut request: hyper::Request<http_body_util::Full<bytes::Bytes>>,
) -> hyper::Request<http_body_util::Full<bytes::Bytes>> {
    *request.uri_mut() = format!("https://localhost{}", request.uri()).parse().unwrap();
    request
}

/// An answer, read whole.
pub(crate) async fn read(answer: hyper::Response<hyper::body::Incoming>) -> Answer {
    use http_body_util::BodyExt as _;
    let (parts, body) = answer.into_parts();
    Answer { code: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}
