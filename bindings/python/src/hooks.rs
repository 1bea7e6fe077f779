//! What Python brings into a cluster: functions that pods run, controllers, filters, scores and admissions.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Weak},
};

use event_listener::Event;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use pyo3::{prelude::*, types::PyBytes};
use windlass::{
    Builder,
    client::Client,
    kernel::{Error, ErrorKind, Result, SpawnExt, scheduler},
    scheduler::{Config, DEFAULT_NAME, Explained, Profile},
    testkit::agent::{Disk, Process as Given, Program, Programs},
};

use crate::{
    api::Api,
    controller::{Reconciler, Reconciles},
    engine::{Engine, Within},
    guest, http,
    op::Op,
    plugins::{Admissions, Growing, Shared, SharedAdmissions},
    reply::Reply,
};

/// All of them, for one cluster.
#[derive(Debug)]
pub(crate) struct Hooks {
    engine: Weak<Engine>,
    // Once the cluster has begun, which the event tells.
    client: Mutex<Option<Client>>,
    has_begun: Event,
    images: RwLock<BTreeMap<String, Arc<Image>>>,
    disk: Disk,
    controllers: RwLock<Vec<Arc<Reconciles>>>,
    scheduler: Arc<Growing>,
    explained: Explained,
    admissions: Arc<Admissions>,
}

/// A function that runs in containers.
#[derive(Debug)]
struct Image {
    plain: bool,
    run: Py<PyAny>,
    ready: bool,
}

impl Hooks {
    pub(crate) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self::with(engine, Disk::default(), Growing::default(), Admissions::default()))
    }

    fn with(engine: &Arc<Engine>, disk: Disk, scheduler: Growing, admissions: Admissions) -> Self {
        let (scheduler, admissions) = (Arc::new(scheduler), Arc::new(admissions));
        Self {
            engine: Arc::downgrade(engine),
            client: Mutex::default(),
            has_begun: Event::new(),
            images: RwLock::default(),
            disk,
            controllers: RwLock::default(),
            explained: Explained::new(Shared(Arc::clone(&scheduler))),
            scheduler,
            admissions,
        }
    }

    /// The same for a fork, whose files are a copy.
    pub(crate) fn fork(&self, engine: &Arc<Engine>) -> Result<Arc<Self>> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot copy the volumes of functions").with_source(error)
        };
        let disk = self.disk.copied().map_err(failed)?;
        let (scheduler, admissions) = (Growing::like(&self.scheduler), Admissions::like(&self.admissions));
        let fork = Self::with(engine, disk, scheduler, admissions);
        *fork.images.write() = self.images.read().clone();
        *fork.controllers.write() = self.controllers.read().clone();
        Ok(Arc::new(fork))
    }

    /// Lets go of everything: functions may hold the cluster, which holds them.
    pub(crate) fn clear(&self) {
        self.disk.clear();
        let (images, controllers) =
            (std::mem::take(&mut *self.images.write()), std::mem::take(&mut *self.controllers.write()));
        let client = self.client.lock().take();
        self.scheduler.clear();
        self.admissions.clear();
        drop((images, controllers, client));
    }

    /// Tells who may ask the cluster on behalf of the functions.
    pub(crate) fn begun(&self, client: Client) {
        *self.client.lock() = Some(client);
        self.has_begun.notify(usize::MAX);
    }

    /// What the cluster is to be assembled with.
    pub(crate) fn assemble(&self, builder: Builder) -> Builder {
        let profile = Profile::new(DEFAULT_NAME, self.explained.clone()).trusted();
        let scheduling = Config { profiles: vec![profile], ..Config::default() };
        builder.scheduling(scheduling).admission(SharedAdmissions(Arc::clone(&self.admissions)))
    }

    /// The filters and scores.
    pub(crate) fn scheduler(&self) -> &Growing {
        &self.scheduler
    }

    /// What remembers why pods have no node.
    pub(crate) fn explained(&self) -> &Explained {
        &self.explained
    }

    /// The admissions.
    pub(crate) fn admissions(&self) -> &Admissions {
        &self.admissions
    }

    /// Remembers a controller for forks.
    pub(crate) fn add_controller(&self, what: &Arc<Reconciles>) {
        self.controllers.write().push(Arc::clone(what));
    }

    /// The controllers so far.
    pub(crate) fn controllers(self: &Arc<Self>) -> Vec<Arc<Reconciler>> {
        self.controllers.read().iter().map(|what| self.reconciler(what)).collect()
    }

    pub(crate) fn reconciler(self: &Arc<Self>, what: &Arc<Reconciles>) -> Arc<Reconciler> {
        Arc::new(Reconciler { what: Arc::clone(what), hooks: Arc::clone(self) })
    }

    pub(crate) async fn client(&self) -> Client {
        loop {
            let listener = self.has_begun.listen();
            if let Some(client) = self.client.lock().clone() {
                return client;
            }
            listener.await;
        }
    }

    /// Lets containers of an image run a function from now on.
    pub(crate) fn add_image(&self, name: &str, plain: bool, run: Py<PyAny>, ready: bool) {
        let name = scheduler::Image::normalized(name).into_owned();
        self.images.write().insert(name, Arc::new(Image { plain, run, ready }));
    }

    /// The functions, as nodes ask for them.
    pub(crate) fn programs(self: &Arc<Self>) -> Programs {
        let own = Arc::clone(self);
        let programs = Programs::new(move |container| {
            let name = scheduler::Image::normalized(container.image.as_deref()?).into_owned();
            let image = Arc::clone(own.images.read().get(&name)?);
            Some(Arc::new(Runs { image, hooks: Arc::clone(&own) }) as _)
        });
        programs.with_disk(self.disk.clone())
    }

    pub(crate) fn engine(&self) -> Result<Arc<Engine>> {
        let gone = || Error::new(ErrorKind::Unavailable, "the cluster is closed");
        self.engine.upgrade().ok_or_else(gone)
    }
}

#[derive(Debug)]
struct Runs {
    image: Arc<Image>,
    hooks: Arc<Hooks>,
}

impl Program for Runs {
    fn run(&self, process: Given) -> BoxFuture<'static, i32> {
        let (image, hooks) = (Arc::clone(&self.image), Arc::clone(&self.hooks));
        Box::pin(async move {
            let client = hooks.client().await;
            let Ok(engine) = hooks.engine() else { return 137 };
            let log = process.clone();
            let made = Python::attach(|py| {
                let native = Process { engine: Arc::clone(&engine), client, given: process };
                Ok::<_, PyErr>((image.run.clone_ref(py), (Py::new(py, native)?,).into_pyobject(py)?.unbind()))
            });
            let outcome = match made {
                Ok((run, arguments)) => guest::invoke(&engine, image.plain, run, arguments).await,
                Err(error) => Err(error),
            };
            Python::attach(|py| {
                outcome.and_then(|code| code.extract::<i32>(py)).unwrap_or_else(|error: PyErr| {
                    log.write(&format!("{error}\n"));
                    137
                })
            })
        })
    }

    fn ready_at_once(&self) -> bool {
        self.image.ready
    }
}

/// One run of a function in a container.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Process {
    engine: Arc<Engine>,
    client: Client,
    given: Given,
}

#[pymethods]
impl Process {
    /// The pod's JSON.
    fn pod<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        // What was read from JSON can be written as JSON.
        PyBytes::new(py, &serde_json::to_vec(&*self.given.pod).unwrap_or_default())
    }

    /// The container's JSON.
    fn container<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &serde_json::to_vec(&self.given.container).unwrap_or_default())
    }

    /// The environment.
    fn env(&self) -> Vec<(String, String)> {
        self.given.env.clone()
    }

    /// The pod's volumes: the folder of each.
    fn volumes(&self) -> BTreeMap<String, PathBuf> {
        self.given.volumes.clone()
    }

    /// Where the container finds them: the path of each mount, and what is there.
    fn mounts(&self) -> Vec<(String, PathBuf)> {
        self.given.mounts.clone()
    }

    /// How often the container ran before.
    fn restarts(&self) -> i32 {
        self.given.restarts
    }

    /// Appends to the container's log.
    fn write(&self, text: &str) {
        self.given.write(text);
    }

    /// Says whether the container is ready.
    fn ready(&self, ready: bool) {
        self.given.ready(ready);
    }

    /// Whether the pod is to end.
    fn stopping(&self) -> bool {
        self.given.stopping().stopped()
    }

    /// A call that waits until the pod is to end.
    fn stopped(&self, py: Python<'_>) -> PyResult<Op> {
        self.engine.check(py)?;
        let stop = self.given.stopping().clone();
        Ok(Op::new(&self.engine, async move {
            stop.wait().await;
            Ok(Reply::Nothing)
        }))
    }

    /// Answers HTTP requests to a port of the pod with what `handler` returns, as long as this process runs.
    fn serve(&self, port: u16, handler: Py<PyAny>) {
        let (handler, spawn) = (Arc::new(handler), Arc::clone(self.engine.spawn()));
        let serve = move |stream| spawn.spawn("python.serve", http::serve(stream, Arc::clone(&handler))).detach();
        self.given.serve(port, Arc::new(serve));
    }

    /// Lets `handler` carry out the commands of sessions and probes: it answers with an exit code and what was written, or
    /// leaves the command alone.
    fn carry_out(&self, handler: Py<PyAny>) {
        let run = move |command: &[String]| {
            Python::attach(|py| {
                let _within = Within::enter();
                let said = handler.call1(py, (command.to_vec(),));
                let said = said.and_then(|said| said.extract::<Option<(i32, Vec<u8>)>>(py));
                said.unwrap_or_else(|error| Some((1, format!("{error}\n").into_bytes())))
            })
        };
        self.given.carry_out(Arc::new(run));
    }

    /// The API of the pod's cluster, as an administrator.
    fn api(&self, user_agent: &str) -> Api {
        Api::new(&self.engine, self.client.clone().with_user_agent(user_agent))
    }
}
