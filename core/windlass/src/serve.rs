//! A cluster's API over HTTPS: its keys and certificates in a folder, its authenticators, and a kubeconfig for it.

mod certificates;
mod kubeconfig;
mod node_api;
mod pki;
mod signer;

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use windlass_apiserver::{
    Live, StoreLookup,
    access::{AnyOf, BootstrapTokens, ClientCertificates, EcdsaKeys, ServiceAccountTokens},
    discovery::Texts,
    http::{Connect, Issuer, Meter, Parts, Server, StoreCheck, tls},
};
use windlass_kernel::{Authenticator, Clock, Error, ErrorKind, Keys, Result, SpawnExt, Store};

use self::certificates::Renewal;
pub use self::{
    certificates::CertificateFiles, kubeconfig::kubeconfig, node_api::NodeApi, pki::Pki, signer::RequestSigner,
};
use crate::{
    Cluster,
    remote::{Kubelets, Nodes},
};

/// Who signs service-account tokens, as tokens say it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Knows client certificates, the service-account tokens that `keys` signed over objects of `store`, and its bootstrap
/// tokens.
#[must_use]
pub fn authenticator(keys: Arc<dyn Keys>, clock: Arc<dyn Clock>, store: Arc<dyn Store>) -> Arc<dyn Authenticator> {
    let joining = BootstrapTokens::new(Arc::clone(&store), Arc::clone(&clock));
    let lookup = Arc::new(StoreLookup::new(store));
    let tokens = ServiceAccountTokens::new(keys, clock, lookup, ISSUER, vec![ISSUER.into()]);
    Arc::new(AnyOf::new().or(Arc::new(ClientCertificates::default())).or(Arc::new(tokens)).or(Arc::new(joining)))
}

/// What a cluster is served with.
#[derive(Debug)]
pub struct Https {
    /// Certificates and keys.
    pub pki: Arc<Pki>,
    /// Who knows the identities behind credentials.
    pub authenticator: Arc<dyn Authenticator>,
    /// A certificate beside the server's own, for the names that it is valid for. It is read again when it changes.
    pub certificate: Option<CertificateFiles>,
    /// Opens sessions: exec, attach, port-forward.
    pub connector: Arc<dyn Connect>,
    /// Knows what fields mean, for `kubectl explain`.
    pub texts: Arc<dyn Texts>,
    /// Who signs service-account tokens.
    pub keys: Arc<EcdsaKeys>,
}

/// The scheduler's figures, beside those of the API server.
#[derive(Debug)]
struct Scheduled(windlass_scheduler::Metrics);

impl Meter for Scheduled {
    fn write(&self, out: &mut String) {
        self.0.write(out);
    }
}

impl Cluster {
    /// Serves the API at `address` until the cluster stops, and says where: port 0 takes any that is free.
    ///
    /// Nodes of other processes may join a cluster that is served. From then on it asks their agents for logs, sessions and
    /// figures, over the API that each serves ([`NodeApi`]), as `kube-apiserver-kubelet-client` with a certificate of the cluster's
    /// authority. Which certificate an agent shows is not looked at, as upstream unless it is told an authority: agents sign their
    /// own.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the address cannot be listened on; those of the certificates.
    pub async fn serve(&mut self, address: SocketAddr, https: &Https) -> Result<SocketAddr> {
        let taken = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("cannot listen on {address}")).with_source(error)
        };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        self.serve_on(listener, https).await
    }

    /// As [`serve`](Self::serve), on a socket that listens already.
    ///
    /// # Errors
    ///
    /// Those of the certificates.
    pub async fn serve_on(&mut self, listener: TcpListener, https: &Https) -> Result<SocketAddr> {
        let lost = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot tell where the API listens").with_source(error)
        };
        let bound = listener.local_addr().map_err(lost)?;
        let Https { pki, authenticator, certificate, connector, texts, keys } = https;
        self.agents().reach(Arc::new(Nodes(Arc::new(Kubelets::new(self, pki)))));
        let keys: Arc<dyn Keys> = Arc::clone(keys) as _;
        let names =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.96.0.1"];
        let own = bound.ip().to_string();
        let mut reached_at: Vec<&str> = names.to_vec();
        reached_at.extend((!bound.ip().is_unspecified()).then_some(own.as_str()));
        reached_at.extend(pki.extra_names.iter().map(String::as_str));
        let renewal = Renewal {
            pki: Arc::clone(pki),
            name: "kube-apiserver".into(),
            names: reached_at.into_iter().map(ToOwned::to_owned).collect(),
            files: certificate.clone(),
            clock: Arc::clone(self.clock()),
            spawn: Arc::clone(self.spawn()),
        };
        let certificates = renewal.begin()?;
        let config = tls::server_config_with(Arc::clone(&certificates), &pki.authority.pem().certificate)?;
        let issuer = Issuer { issuer: ISSUER.into(), jwks_uri: format!("{ISSUER}/openid/v1/jwks"), keys };
        let parts = Parts {
            texts: Arc::clone(texts),
            issuer: Some(issuer),
            ..self.http(Arc::clone(authenticator), Arc::clone(connector), bound.to_string())
        };
        let server = Server::new(parts, self.stopping().clone());
        let stop = self.stopping().clone();
        let serving = async move {
            let renewing = stop.race(renewal.run(certificates));
            let (_, served) = futures::join!(renewing, server.serve(listener, config));
            if let Err(error) = served {
                tracing::error!(%error, "the API is served no more");
            }
        };
        let task = self.spawn().spawn("http.server", serving);
        self.keep(task);
        tracing::info!(address = %bound, "API served");
        Ok(bound)
    }

    /// The API over HTTP for those who are in this process: see [`answer_in_process`](Server::answer_in_process) and
    /// [`serve_in_process`](Server::serve_in_process). `address` is what it says where clients ask for one.
    #[must_use]
    pub fn serve_in_process(
        &self,
        authenticator: Arc<dyn Authenticator>,
        connector: Arc<dyn Connect>,
        address: String,
    ) -> Arc<Server> {
        Server::new(self.http(authenticator, connector, address), self.stopping().clone())
    }

    /// What a server is made of that explains no fields.
    fn http(&self, authenticator: Arc<dyn Authenticator>, connector: Arc<dyn Connect>, address: String) -> Parts {
        Parts {
            api: self.api(),
            inside: Some(Arc::clone(self.server())),
            authenticator,
            authorizer: Arc::clone(self.server().authorizer()),
            catalog: Arc::new(Live::new(Arc::clone(self.server()))),
            connector,
            dial: Arc::clone(self.dial()),
            texts: Arc::new(()),
            issuer: None,
            checks: vec![Arc::new(StoreCheck::new(Arc::clone(self.store())))],
            meters: self.scheduled().into_iter().map(|own| Arc::new(Scheduled(own.clone())) as _).collect(),
            address,
            clock: Arc::clone(self.clock()),
            entropy: Arc::clone(self.entropy()),
            spawn: Arc::clone(self.spawn()),
        }
    }
}
