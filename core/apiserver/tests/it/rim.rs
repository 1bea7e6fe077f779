//! A server on a loopback port with real time, tasks and randomness: what tests about HTTP drive.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use ring::rand::{SecureRandom, SystemRandom};
use windlass_apiserver::{
    ApiServer,
    access::{self, AnyOf, ClientCertificates, EcdsaKeys, Escalation, Rbac, StaticTokens},
    discovery::BuiltIn,
    http::{
        Issuer, NoSessions, Parts, Server,
        tls::{Authority, KeyAndCertificate, server_config},
    },
};
use windlass_kernel::{Api, Clock, Entropy, Identity, Spawn, Stop};
use windlass_store::MemoryStore;

#[derive(Debug)]
pub struct WallClock(tokio::time::Instant);

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "TLS and tokens are checked against the real time")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.0 + end))
    }
}

#[derive(Debug)]
pub struct Tasks(tokio::runtime::Handle);

impl Spawn for Tasks {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }
}

#[derive(Debug)]
pub struct Random(SystemRandom);

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).unwrap();
    }
}

/// A running server and what a client needs to reach it.
pub struct Rim {
    pub port: u16,
    pub authority: Authority,
    pub admin: KeyAndCertificate,
    pub server: Arc<ApiServer>,
    pub rbac: Arc<Rbac>,
    pub keys: Arc<EcdsaKeys>,
    pub clock: Arc<dyn Clock>,
    pub stop: Stop,
    pub ended: tokio::task::JoinHandle<windlass_kernel::Result<()>>,
}

pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Starts a server with role-based access control and the default roles.
pub async fn start() -> Rim {
    let clock: Arc<dyn Clock> = Arc::new(WallClock(tokio::time::Instant::now()));
    let spawn: Arc<dyn Spawn> = Arc::new(Tasks(tokio::runtime::Handle::current()));
    let entropy: Arc<dyn Entropy> = Arc::new(Random(SystemRandom::new()));
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&spawn)));
    let rbac = Arc::new(Rbac::new(store.clone()));
    let keys = Arc::new(EcdsaKeys::from_pkcs8(&EcdsaKeys::generate().unwrap(), &[]).unwrap());
    let server = ApiServer::builder()
        .store(store)
        .clock(Arc::clone(&clock))
        .entropy(Arc::clone(&entropy))
        .spawn(Arc::clone(&spawn))
        .authorizer(rbac.clone())
        .admission(Arc::new(Escalation::new(rbac.clone(), rbac.clone())))
        .keys(keys.clone())
        .issuer(ISSUER)
        .start()
        .await
        .unwrap();
    let root = Arc::new(Identity::new("system:apiserver", &["system:masters"]));
    access::bootstrap::install(&*server, root).await.unwrap();

    let now = clock.now();
    let authority = Authority::generate("test-ca", now).unwrap();
    let own = authority.server("kube-apiserver", &["localhost", "127.0.0.1"], now).unwrap();
    let admin = authority.client("admin", &["system:masters"], now).unwrap();
    let tls = server_config(&own, &authority.pem().certificate).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Stop::new();
    let tokens = StaticTokens::default().with("root-token", Identity::new("root", &["system:masters"]));
    let tokens = tokens.with("user-token", Identity::new("alice", &[]));
    let parts = Parts {
        api: server.clone() as Arc<dyn Api>,
        authenticator: Arc::new(AnyOf::new().or(Arc::new(ClientCertificates)).or(Arc::new(tokens))),
        authorizer: rbac.clone(),
        catalog: Arc::new(BuiltIn::new()),
        connector: Arc::new(NoSessions),
        texts: Arc::new(()),
        issuer: Some(Issuer {
            issuer: ISSUER.into(),
            jwks_uri: format!("{ISSUER}/openid/v1/jwks"),
            keys: keys.clone(),
        }),
        checks: Vec::new(),
        address: format!("127.0.0.1:{port}"),
        clock: Arc::clone(&clock),
        entropy,
        spawn,
    };
    let ended = tokio::runtime::Handle::current().spawn(Server::new(parts, stop.clone()).serve(listener, tls));
    Rim { port, authority, admin, server, rbac, keys, clock, stop, ended }
}
