//! A cluster that runs in this process.

use std::{borrow::Cow, collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use futures::{FutureExt, lock::Mutex};
use pyo3::{IntoPyObjectExt, prelude::*};
use windlass::{
    Cluster as Inner,
    apiserver::{access::EcdsaKeys, stream::Sessions},
    client::{Client, Informers, run_controllers},
    kernel::{
        Authenticator, Clock, ClockExt, Document, Error, ErrorKind, Keys, Result, SpawnExt, Stop, Store,
        api::GroupVersionResource,
        scheduler::{Reason, Refusal},
    },
    serve::{self, Https, Pki},
    testing::{self, FakeCluster, Moment, Rim},
    testkit::{FakeKeys, FakeNode},
};

use crate::{
    api::Api,
    controller::{Reconciler, Reconciles},
    engine::Engine,
    hooks::Hooks,
    op::Op,
    options::seconds,
    plugins::Admits,
    raise::{lost, raise},
    reply::Reply,
    wire::Http,
};

/// Who may do everything.
const ADMIN: &str = "kubernetes-admin";

/// An object on one side of a difference, as JSON.
type Side = Option<Cow<'static, [u8]>>;

/// A cluster with a store in memory and fake nodes, until it is closed.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Cluster {
    engine: Arc<Engine>,
    client: Client,
    store: Arc<dyn Store>,
    hooks: Arc<Hooks>,
    state: Arc<Mutex<Option<State>>>,
}

struct State {
    whole: FakeCluster,
    keys: Secrets,
    // The text, once the API is served.
    kubeconfig: Option<String>,
}

/// What signs tokens and certificates.
#[derive(Clone)]
enum Secrets {
    Real(Arc<Pki>, Arc<EcdsaKeys>),
    /// The same in every run: nothing that lives in virtual time can be reached from outside.
    Fake,
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
    fn node(self, at: usize, hooks: &Arc<Hooks>) -> FakeNode {
        let mut node = FakeNode::new(self.name, u16::try_from(at).unwrap_or(u16::MAX));
        node.capacity.extend(self.capacity);
        node.labels = self.labels;
        node.taints = self.taints;
        node.programs = hooks.programs();
        node
    }
}

/// A call that starts a cluster and is answered with it when it can be used. With a seed it lives in virtual time.
#[pyfunction]
#[pyo3(signature = (nodes, seed=None))]
pub(crate) fn launch(py: Python<'_>, nodes: Vec<NodeSpec>, seed: Option<u64>) -> PyResult<Op> {
    let (engine, keys) = match seed {
        Some(seed) => (Engine::virtual_time(seed, Duration::ZERO), Secrets::Fake),
        None => {
            let engine = Engine::start().map_err(|error| raise(py, &error))?;
            let keys = Secrets::made(&engine).map_err(|error| raise(py, &error))?;
            (engine, keys)
        }
    };
    let mut moment = Moment::first(engine.rim());
    let hooks = Hooks::new(&engine);
    for (at, node) in nodes.into_iter().enumerate() {
        moment = moment.node(node.node(at, &hooks), engine.rim());
    }
    Ok(begin(&engine, moment, keys, hooks, true))
}

/// A call that begins a cluster at a moment.
fn begin(engine: &Arc<Engine>, moment: Moment, keys: Secrets, hooks: Arc<Hooks>, fresh: bool) -> Op {
    let owner = Arc::clone(engine);
    Op::new(engine, async move {
        let mut whole = start(moment, &keys, &hooks, owner.rim().clone()).await?;
        if fresh {
            whole.cluster().ready().await?;
        }
        let (client, store) = (whole.cluster().client(), Arc::clone(whole.cluster().store()));
        hooks.begun(client.clone());
        for controller in hooks.controllers() {
            control(&mut whole, controller);
        }
        let state = Arc::new(Mutex::new(Some(State { whole, keys, kubeconfig: None })));
        let cluster = Cluster { engine: owner, client, store, hooks, state };
        Ok(Reply::Made(Box::new(move |py| cluster.into_py_any(py))))
    })
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
            if state.kubeconfig.is_none() {
                state.kubeconfig = Some(state.serve().await?);
            }
            Ok(Reply::Text(state.kubeconfig.clone().ok_or_else(lost)?))
        }))
    }

    /// Whether the cluster lives in virtual time.
    fn is_virtual(&self) -> bool {
        self.engine.is_virtual()
    }

    /// A call that lets so many seconds of virtual time pass.
    fn run_for(&self, py: Python<'_>, span: f64) -> PyResult<Op> {
        self.engine.check(py)?;
        if !self.engine.is_virtual() {
            let text = "time of this cluster is the machine's: run_for() is for clusters with clock=\"virtual\"";
            return Err(raise(py, &Error::new(ErrorKind::NotSupported, text)));
        }
        let (clock, span) = (Arc::clone(self.engine.clock()), seconds(span)?);
        Ok(Op::new(&self.engine, async move {
            clock.sleep(span).await;
            Ok(Reply::Nothing)
        }))
    }

    /// A call that begins another cluster which goes on from this moment by itself.
    #[pyo3(signature = (seed=None))]
    fn fork(&self, py: Python<'_>, seed: Option<u64>) -> PyResult<Op> {
        self.engine.check(py)?;
        self.engine.outside()?;
        let forked = py.detach(|| {
            let engine = self.engine.fork(seed)?;
            let hooks = self.hooks.fork(&engine)?;
            Ok::<_, Error>((engine, hooks))
        });
        let (engine, hooks) = forked.map_err(|error| raise(py, &error))?;
        let (state, rim, programs) = (Arc::clone(&self.state), engine.rim().clone(), hooks.programs());
        let taken = async move {
            let state = state.lock().await;
            let state = state.as_ref().ok_or_else(lost)?;
            Ok((state.whole.moment(&rim, &programs), state.keys.clone()))
        };
        let (moment, keys) = self.engine.look(py, taken.boxed())?.map_err(|error: Error| raise(py, &error))?;
        Ok(begin(&engine, moment, keys, hooks, false))
    }

    /// The objects in which this cluster and another differ: what is here and what is there.
    fn diff(&self, py: Python<'_>, other: &Self) -> PyResult<Vec<(Side, Side)>> {
        let (here, there) = (Arc::clone(&self.store), Arc::clone(&other.store));
        let found = async move { testing::differences(here.as_ref(), there.as_ref()).await };
        let found = self.engine.look(py, found.boxed())?.map_err(|error| raise(py, &error))?;
        let json = |one: Option<Document>| one.map(|one| Cow::Owned(one.to_bytes().to_vec()));
        Ok(found.into_iter().map(|one| (json(one.here), json(one.there))).collect())
    }

    /// A number that two clusters share which have the same history.
    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        self.engine.outside()?;
        let polls = py.detach(|| self.engine.history()).unwrap_or_default();
        let store = Arc::clone(&self.store);
        let number = async move { testing::fingerprint(store.as_ref(), polls).await };
        let number = self.engine.look(py, number.boxed())?.map_err(|error| raise(py, &error))?;
        Ok(format!("{number:016x}"))
    }

    /// The seed, in virtual time.
    fn seed(&self) -> Option<u64> {
        self.engine.seed()
    }

    /// A call that adds a node.
    fn add_node(&self, py: Python<'_>, node: NodeSpec, at: usize) -> PyResult<Op> {
        self.engine.check(py)?;
        let (state, rim) = (Arc::clone(&self.state), self.engine.rim().clone());
        let node = node.node(at, &self.hooks);
        Ok(Op::new(&self.engine, async move {
            let mut state = state.lock().await;
            state.as_mut().ok_or_else(lost)?.whole.add_node(node, rim).await?;
            Ok(Reply::Nothing)
        }))
    }

    /// A call that kills a node as a power cut does.
    fn kill_node(&self, py: Python<'_>, name: String) -> PyResult<Op> {
        self.engine.check(py)?;
        let state = Arc::clone(&self.state);
        Ok(Op::new(&self.engine, async move {
            let mut state = state.lock().await;
            if state.as_mut().ok_or_else(lost)?.whole.kill_node(&name) {
                return Ok(Reply::Nothing);
            }
            Err(Error::new(ErrorKind::NotFound, format!("no node {name:?} is alive in this process")))
        }))
    }

    /// Lets containers of an image run a function from now on; `plain` where it is no generator.
    fn image(&self, name: &str, plain: bool, run: Py<PyAny>, ready: bool) {
        self.hooks.add_image(name, plain, run, ready);
    }

    /// Adds a filter to the scheduler.
    fn filter(&self, name: &str, function: Py<PyAny>) {
        self.hooks.scheduler().filter(name, function);
    }

    /// Adds a score to the scheduler.
    fn score(&self, name: &str, function: Py<PyAny>, weight: u32) {
        self.hooks.scheduler().score(name, function, weight);
    }

    /// Adds an admission for a resource: group and plural.
    fn admission(
        &self,
        name: String,
        resource: (String, String),
        operations: Vec<String>,
        mutates: bool,
        function: Py<PyAny>,
    ) {
        self.hooks.admissions().add(Admits { name, resource, operations, mutates, function });
    }

    /// A call that starts a controller; of a watched resource the objects are meant, or those who own them.
    fn controller(
        &self,
        py: Python<'_>,
        name: String,
        watches: Vec<((String, String, String), bool)>,
        plain: bool,
        function: Py<PyAny>,
    ) -> PyResult<Op> {
        self.engine.check(py)?;
        let resource = |(group, version, plural): (String, String, String)| GroupVersionResource {
            group: group.into(),
            version: version.into(),
            resource: plural.into(),
        };
        let watches = watches.into_iter().map(|(named, owned)| (resource(named), owned)).collect();
        // Logs and metrics name controllers for as long as the process runs.
        let name = Box::leak(name.into_boxed_str());
        let what = Arc::new(Reconciles { name, watches, plain, function });
        let (state, hooks) = (Arc::clone(&self.state), Arc::clone(&self.hooks));
        Ok(Op::new(&self.engine, async move {
            let mut state = state.lock().await;
            hooks.add_controller(&what);
            control(&mut state.as_mut().ok_or_else(lost)?.whole, hooks.reconciler(&what));
            Ok(Reply::Nothing)
        }))
    }

    /// Why the pod with that uid fitted nowhere at its last turn: how many nodes there are, what was said of all of them
    /// (plugin, reason), each refusal (node, plugin, reasons, whether other pods' leaving would help), what was said of
    /// those that were not looked at, and about making room.
    #[allow(clippy::type_complexity, reason = "it is read in one place, in Python")]
    fn explanation(
        &self,
        uid: &str,
    ) -> Option<(
        usize,
        Option<(&'static str, String)>,
        Vec<(String, &'static str, Vec<String>, bool)>,
        Option<(&'static str, String)>,
        Option<String>,
    )> {
        let found = self.hooks.explained().explanation(uid)?;
        let told = |(plugin, reason): (&'static str, Reason)| (plugin, reason.to_string());
        let refusal = |one: Refusal| {
            let reasons = one.reasons.as_slice().iter().map(ToString::to_string).collect();
            (one.node.to_string(), one.plugin, reasons, one.curable)
        };
        let refusals = found.refusals.into_iter().map(refusal).collect();
        Some((found.nodes, found.overall.map(told), refusals, found.absent.map(told), found.room))
    }

    /// A call for the API as HTTP without a connection; `address` is what it says where clients ask for one.
    fn http(&self, py: Python<'_>, address: String) -> PyResult<Op> {
        self.engine.check(py)?;
        let (engine, state) = (Arc::clone(&self.engine), Arc::clone(&self.state));
        Ok(Op::new(&self.engine, async move {
            let state = state.lock().await;
            let State { whole, keys, .. } = state.as_ref().ok_or_else(lost)?;
            let authenticator = keys.authenticator(whole.cluster().clock(), whole.cluster().store());
            let server = whole.cluster().serve_in_process(authenticator, Arc::new(Sessions), address);
            Ok(Reply::Made(Box::new(move |py| Http::new(engine, server).into_py_any(py))))
        }))
    }

    /// Stops every component. Calls that are waited for raise `ClosedError`.
    fn close(&self, py: Python<'_>) {
        let state = Arc::clone(&self.state);
        let closed = self.engine.close(py, async move {
            if let Some(state) = state.lock().await.take() {
                state.whole.shut_down().await;
            }
        });
        if closed {
            self.let_go();
        }
    }
}

impl Cluster {
    /// Lets go of what still holds the cluster, and of the functions, which may hold it too.
    fn let_go(&self) {
        if let Some(mut state) = self.state.try_lock() {
            drop(state.take());
        }
        self.hooks.clear();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What still runs in it may hold the engine.
        self.engine.abandon();
        if self.engine.is_own() {
            self.let_go();
        }
    }
}

impl Secrets {
    fn made(engine: &Engine) -> Result<Self> {
        let pki = Pki::generate(engine.clock().now())?;
        let keys = EcdsaKeys::from_pkcs8(&pki.token_key, &[])?;
        Ok(Self::Real(Arc::new(pki), Arc::new(keys)))
    }

    /// Knows who has a certificate or token that was signed here.
    fn authenticator(&self, clock: &Arc<dyn Clock>, store: &Arc<dyn Store>) -> Arc<dyn Authenticator> {
        let keys: Arc<dyn Keys> = match self {
            Self::Real(_, keys) => Arc::clone(keys) as _,
            Self::Fake => Arc::new(FakeKeys::default()),
        };
        serve::authenticator(keys, Arc::clone(clock), Arc::clone(store))
    }
}

/// Starts a controller, which runs as long as the cluster.
fn control(whole: &mut FakeCluster, controller: Arc<Reconciler>) {
    let cluster = whole.cluster_mut();
    let informers = cluster.informers(cluster.client().with_user_agent(controller.what.name));
    let controllers = run_controllers_of(controller, informers, cluster.stopping().clone());
    let task = cluster.spawn().spawn("python.controller", controllers);
    cluster.keep(task);
}

async fn run_controllers_of(controller: Arc<Reconciler>, informers: Informers, stop: Stop) {
    run_controllers(vec![controller as _], &informers, stop).await;
}

async fn start(moment: Moment, keys: &Secrets, hooks: &Hooks, rim: Rim) -> Result<FakeCluster> {
    let mut builder = hooks.assemble(Inner::builder());
    if let Secrets::Real(pki, keys) = keys {
        let store: Arc<dyn Store> = Arc::clone(moment.store()) as _;
        let authenticator = serve::authenticator(Arc::clone(keys) as _, Arc::clone(&rim.clock), store);
        builder = builder.keys(Arc::clone(keys) as _).authenticator(authenticator);
        builder = builder.root_certificate(&pki.authority.pem().certificate);
    }
    moment.begin(builder, rim).await
}

impl State {
    async fn serve(&mut self) -> Result<String> {
        let Secrets::Real(pki, keys) = &self.keys else {
            let text = "a cluster in virtual time cannot be reached through a socket: its time stands still while nobody \
                        waits. Ask it in process, or start one without clock=\"virtual\"";
            return Err(Error::new(ErrorKind::NotSupported, text));
        };
        let cluster = self.whole.cluster_mut();
        let authenticator = self.keys.authenticator(cluster.clock(), cluster.store());
        let (pki, keys) = (Arc::clone(pki), Arc::clone(keys));
        let https =
            Https { pki, authenticator, certificate: None, connector: Arc::new(Sessions), texts: Arc::new(()), keys };
        let authority = &https.pki.authority;
        let admin = authority.client(ADMIN, &["system:masters"], cluster.clock().now())?;
        let bound = cluster.serve((Ipv4Addr::LOCALHOST, 0).into(), &https).await?;
        Ok(serve::kubeconfig(&format!("https://{bound}"), &authority.pem().certificate, ADMIN, &admin))
    }
}
