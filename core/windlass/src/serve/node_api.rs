//! The API of a node, for those who are not in its process: what upstream's kubelet listens for.

use std::sync::Arc;

use tokio::net::TcpListener;
use windlass_apiserver::{
    access::{AnyOf, ClientCertificates},
    http::tls,
};
use windlass_client::{
    delegated::{AccessReviews, TokenReviews},
    informer::Parts,
};
use windlass_kernel::{Result, SpawnExt, Stop, Task};
use windlass_node::{Gates, Kubelet};

use super::{CertificateFiles, Pki, certificates::Renewal};

/// What a node's own API is served with.
///
/// Clients are known by a certificate of `clients`, or by a bearer token that the cluster knows (`TokenReview`). What they may do is
/// asked of the cluster, too (`SubjectAccessReview`): a verb on the node's sub-resource `proxy`, `stats`, `metrics`, `log`, `pods` or
/// `healthz`. Nobody is anonymous.
#[derive(Debug)]
pub struct NodeApi {
    /// Where it listens; the node's [registration](windlass_node::host::Registration) says the port.
    pub listener: TcpListener,
    /// The name of the node.
    pub name: String,
    /// The names and addresses that it is reached at, for the certificate that it signs itself. It is made anew at each start.
    pub reached_at: Vec<String>,
    /// The certificate to show in place of that one, for the names that it is valid for. It is read again when it changes.
    pub certificate: Option<CertificateFiles>,
    /// The authority of clients' certificates (PEM).
    pub clients: String,
}

impl NodeApi {
    /// Serves `kubelet` until `stop`. The client of `parts`, which acts as the node, asks who clients are and what they may.
    ///
    /// # Errors
    ///
    /// Those of the certificates.
    pub fn serve(self, kubelet: &Arc<Kubelet>, parts: &Parts, stop: &Stop) -> Result<Task> {
        let Self { listener, name, reached_at, certificate, clients } = self;
        let Parts { client, spawn, clock, .. } = parts;
        let renewal = Renewal {
            pki: Arc::new(Pki::generate(clock.now())?),
            name: format!("system:node:{name}"),
            names: reached_at,
            files: certificate,
            clock: Arc::clone(clock),
            spawn: Arc::clone(spawn),
        };
        let certificates = renewal.begin()?;
        let config = tls::server_config_with(Arc::clone(&certificates), &clients)?;
        let tokens = TokenReviews::new(client.clone(), Arc::clone(clock));
        let gates = Gates {
            authenticator: Arc::new(AnyOf::new().or(Arc::new(ClientCertificates::default())).or(Arc::new(tokens))),
            authorizer: Arc::new(AccessReviews::new(client.clone(), Arc::clone(clock))),
        };
        let (kubelet, stop) = (Arc::clone(kubelet), stop.clone());
        Ok(spawn.spawn("node.api", async move {
            let renewing = stop.race(renewal.run(certificates));
            futures::join!(renewing, kubelet.serve(listener, config, gates, stop.clone()));
        }))
    }
}
