//! Of several control planes over one API one acts at a time, whatever happens to its lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::channel::oneshot;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{apps::v1::ReplicaSet, core::v1::Pod};
use windlass_client::{Cache, Client, Informers, Select, informer::Parts, leader::Election, run_controllers};
use windlass_controllers::Config;
use windlass_kernel::{
    Api, ClockExt, EntropyExt, Error, ErrorKind, Identity, Result, SpawnExt, Stop,
    api::{Events, PatchType, Request, Response, Verb},
    controller::ObjectKey,
};
use windlass_testkit::sim::{Handle, Process};

use crate::cluster::Cluster;

/// Who wrote what, in the order in which the server did it.
type Log = Arc<Mutex<Vec<(&'static str, String)>>>;

/// The way of one control plane to the server: writes take their time, and are carried out even if nobody waits for them.
#[derive(Debug)]
struct Way {
    name: &'static str,
    inner: Arc<dyn Api>,
    handle: Arc<Handle>,
    /// Whether its leases cannot be written.
    locked_out: Arc<AtomicBool>,
    log: Log,
}

#[async_trait]
impl Api for Way {
    async fn call(&self, request: Request) -> Result<Response> {
        let reads = matches!(request.verb, Verb::Get | Verb::List);
        if reads || request.resource.resource == "events" {
            return self.inner.call(request).await;
        }
        let lease = request.resource.resource == "leases";
        if lease && self.locked_out.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the server is away"));
        }
        let (give, take) = oneshot::channel();
        let (inner, handle, log, name) =
            (Arc::clone(&self.inner), Arc::clone(&self.handle), Arc::clone(&self.log), self.name);
        let write = async move {
            let delay = handle.below(3000);
            handle.sleep(Duration::from_millis(delay)).await;
            if !lease {
                log.lock().push((name, format!("{} {}", request.verb.as_str(), request.resource.resource)));
            }
            // Whoever asked may have lost the lead meanwhile.
            let _ = give.send(inner.call(request).await);
        };
        self.handle.spawn("a write on its way", write).detach();
        take.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer").maybe_applied()))
    }

    async fn watch(&self, request: Request) -> Result<Events> {
        self.inner.watch(request).await
    }
}

/// A control plane that runs for the lead.
struct Plane {
    process: Process,
    locked_out: Arc<AtomicBool>,
}

impl Plane {
    fn start(cluster: &Cluster, name: &'static str, log: &Log) -> Self {
        let (process, locked_out) = (cluster.executor.process(), Arc::<AtomicBool>::default());
        let handle = process.handle();
        let way = Way {
            name,
            inner: Arc::clone(&cluster.server),
            // What is on its way gets there, even from a process that was killed.
            handle: cluster.executor.handle(),
            locked_out: Arc::clone(&locked_out),
            log: Arc::clone(log),
        };
        let manager = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
        let client = Client::new(Arc::new(way), Arc::new(manager));
        let parts =
            Parts { client, spawn: Arc::clone(&handle) as _, clock: Arc::clone(&handle) as _, entropy: handle.clone() };
        let time = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        let election = Election::new(parts.client.clone(), time, ("kube-system", "kube-controller-manager"), name);
        let run = async move {
            let lead = |stop: Stop| {
                let informers = Informers::new(parts.clone());
                async move {
                    let controllers = windlass_controllers::all(&informers, &Config::default());
                    let collecting = windlass_controllers::collector(&informers).run(stop.clone());
                    futures::join!(run_controllers(controllers, &informers, stop), collecting);
                }
            };
            election.run(&Stop::new(), lead).await;
        };
        handle.spawn("a control plane", run).detach();
        Self { process, locked_out }
    }
}

fn set() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": crate::sets::template()},
    })
}

/// Keeps the controllers at work until the wanted one has written, and a while longer.
fn work_until(cluster: &Cluster, log: &Log, wanted: &str) {
    let clock = cluster.executor.clock();
    let end = clock.uptime() + Duration::from_secs(300);
    let (mut replicas, mut more) = (2, 10);
    let leads = || log.lock().last().is_some_and(|(name, _)| *name == wanted);
    while more > 0 {
        assert!(clock.uptime() < end, "{wanted} does not lead: {:?}", log.lock());
        replicas = 1 + replicas % 4;
        let patch = json!({"spec": {"replicas": replicas}});
        let patched = cluster.admin.patch::<ReplicaSet>("default", "web", PatchType::Merge, patch);
        cluster.executor.run_until(patched).unwrap();
        cluster.executor.run_for(Duration::from_secs(2));
        more -= i32::from(leads());
    }
}

/// Who wrote, each as long as nobody else did.
fn reigns(log: &Log) -> Vec<&'static str> {
    let mut names: Vec<&str> = log.lock().iter().map(|(name, _)| *name).collect();
    names.dedup();
    names
}

#[test]
fn two_control_planes_never_act_both() {
    for seed in 1..4 {
        let cluster = Cluster::without_controllers(seed);
        let log = Log::default();
        let first = Plane::start(&cluster, "first", &log);
        cluster.create("replicasets", set());
        work_until(&cluster, &log, "first");
        let second = Plane::start(&cluster, "second", &log);
        work_until(&cluster, &log, "first");
        // Everything but its lease can still be written: it has to stop by itself, in the middle of its writes.
        first.locked_out.store(true, Ordering::SeqCst);
        work_until(&cluster, &log, "second");
        first.locked_out.store(false, Ordering::SeqCst);
        work_until(&cluster, &log, "second");
        second.process.kill();
        work_until(&cluster, &log, "first");
        assert_eq!(reigns(&log), ["first", "second", "first"], "seed {seed}: {:#?}", log.lock());

        let patch = json!({"spec": {"replicas": 3}});
        let patched = cluster.admin.patch::<ReplicaSet>("default", "web", PatchType::Merge, patch);
        cluster.executor.run_until(patched).unwrap();
        let pods: Cache<Arc<Pod>> = cluster.informers.typed(Select::all());
        let sets: Cache<Arc<ReplicaSet>> = cluster.informers.typed(Select::all());
        cluster.until(&sets, |sets| {
            let set = sets.get(&ObjectKey::new("default", "web"));
            set.is_some_and(|set| set.status.ready_replicas == Some(3) && set.status.terminating_replicas == Some(0))
        });
        cluster.until(&pods, |pods| pods.len() == 3);
    }
}
