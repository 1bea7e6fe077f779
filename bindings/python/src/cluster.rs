//! A cluster that runs in this process.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use futures::lock::Mutex;
use pyo3::{IntoPyObjectExt, prelude::*};
use windlass::{
    Cluster as Inner,
    apiserver::{access::EcdsaKeys, stream::Sessions},
    client::Client,
    kernel::{Clock, Result, Spawn, Store},
    serve::{self, Https, Pki},
    store::MemoryStore,
    testkit::FakeNode,
};

use crate::{
    api::Api,
    engine::Engine,
    op::Op,
    raise::{lost, raise},
    reply::Reply,
};

/// Who may do everything.
const ADMIN: &str = "kubernetes-admin";

/// A cluster with a store in memory and nodes whose pods run by script, until it is closed.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Cluster {
    engine: Arc<Engine>,
    client: Client,
    state: Arc<Mutex<Option<State>>>,
}

struct State {
    cluster: Inner,
    https: Option<Https>,
    // The text, once the API is served.
    kubeconfig: Option<String>,
}

/// A node as Python states it.
#[derive(FromPyObject)]
pub(crate) struct NodeSpec {
    name: String,
    capacity: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    taints: Vec<(String, String, String)>,
}

impl NodeSpec {
    fn node(self, at: usize) -> FakeNode {
        let mut node = FakeNode::new(self.name, u16::try_from(at).unwrap_or(u16::MAX));
        node.capacity.extend(self.capacity);
        node.labels = self.labels;
        node.taints = self.taints;
        node
    }
}

/// A call that starts a cluster and is answered with it when it can be used.
#[pyfunction]
pub(crate) fn launch(py: Python<'_>, nodes: Vec<NodeSpec>) -> PyResult<Op> {
    let engine = Engine::start().map_err(|error| raise(py, &error))?;
    let nodes = nodes.into_iter().enumerate().map(|(at, node)| node.node(at)).collect();
    let (clock, spawn) = (Arc::clone(engine.clock()), Arc::clone(engine.spawn()));
    let owner = Arc::clone(&engine);
    Ok(Op::new(&engine, async move {
        let state = start(nodes, clock, spawn).await?;
        let client = state.cluster.client();
        let state = Arc::new(Mutex::new(Some(state)));
        let cluster = Cluster { engine: owner, client, state };
        Ok(Reply::Made(Box::new(move |py| cluster.into_py_any(py))))
    }))
}

#[pymethods]
impl Cluster {
    /// The API, as an administrator.
    fn api(&self, py: Python<'_>, user_agent: &str) -> PyResult<Api> {
        self.engine.check(py)?;
        Ok(Api::new(&self.engine, self.client.clone().with_user_agent(user_agent)))
    }

    /// A call for a kubeconfig of an administrator. The first one starts to serve the API on the loopback address.
    fn kubeconfig(&self, py: Python<'_>) -> PyResult<Op> {
        self.engine.check(py)?;
        let state = Arc::clone(&self.state);
        Ok(Op::new(&self.engine, async move {
            let mut state = state.lock().await;
            let state = state.as_mut().ok_or_else(lost)?;
            if state.kubeconfig.is_none()
                && let Some(https) = state.https.take()
            {
                state.kubeconfig = Some(serve(&mut state.cluster, &https).await?);
            }
            Ok(Reply::Text(state.kubeconfig.clone().ok_or_else(lost)?))
        }))
    }

    /// Stops every component. Calls that are waited for raise `ClosedError`.
    fn close(&self, py: Python<'_>) {
        let state = Arc::clone(&self.state);
        self.engine.close(py, async move {
            if let Some(state) = state.lock().await.take() {
                state.cluster.shut_down().await;
            }
        });
    }
}

async fn start(nodes: Vec<FakeNode>, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Result<State> {
    let pki = Pki::generate(clock.now())?;
    let keys = Arc::new(EcdsaKeys::from_pkcs8(&pki.token_key, &[])?);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&spawn)));
    let authenticator = serve::authenticator(Arc::clone(&keys) as _, Arc::clone(&clock), Arc::clone(&store));
    let mut builder = Inner::builder()
        .shared_store(store)
        .clock(clock)
        .spawn(spawn)
        .keys(Arc::clone(&keys) as _)
        .authenticator(Arc::clone(&authenticator))
        .root_certificate(&pki.authority.pem().certificate);
    for node in nodes {
        builder = builder.node(node);
    }
    let cluster = builder.start().await?;
    cluster.ready().await?;
    let https = Https { pki, authenticator, connector: Arc::new(Sessions), texts: Arc::new(()), keys };
    Ok(State { cluster, https: Some(https), kubeconfig: None })
}

async fn serve(cluster: &mut Inner, https: &Https) -> Result<String> {
    let authority = &https.pki.authority;
    let admin = authority.client(ADMIN, &["system:masters"], cluster.clock().now())?;
    let bound = cluster.serve((Ipv4Addr::LOCALHOST, 0).into(), https).await?;
    Ok(serve::kubeconfig(&format!("https://{bound}"), &authority.pem().certificate, ADMIN, &admin))
}
