//! An agent with a volume driver, its host, and the real API server, which lets the node do what nodes may and nothing else.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::{CSIDriver, CSINode, VolumeAttachment},
    types::Resource,
};
use windlass_apiserver::{Builder, access::NodeAuthorizer};
use windlass_client::{Client, Informers, informer::Parts};
use windlass_kernel::{
    Authorizer, ClockExt, Identity, Result, SpawnExt, Stop, Store, Task,
    access::{Attributes, Decision},
    api::{Options, PatchType},
};
use windlass_node::{Config, Drivers, EvictionLimits, Host, Needs, PodAgent, host::Registration};
use windlass_store::MemoryStore;
use windlass_testkit::{FakeRuntime, sim::Executor};

use super::{
    Rig,
    scripted::{NAME, Scripted},
};
use crate::{bench::no_collection, cluster::Nowhere};

/// Nodes may do what nodes may, everyone else anything.
#[derive(Debug)]
struct Strict(NodeAuthorizer);

#[async_trait]
impl Authorizer for Strict {
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        if !identity.belongs_to("system:nodes") {
            return Ok(Decision::Allow(String::new()));
        }
        self.0.authorize(identity, attributes).await
    }
}

/// A cluster with the node `n1`, whose driver's volumes have to be attached.
struct Told {
    executor: Executor,
    client: Client,
    driver: Scripted,
    folder: std::path::PathBuf,
    _host: Task,
}

impl Told {
    fn new(name: &str) -> Self {
        let executor = Executor::new(1);
        let (clock, spawn, entropy) = (executor.clock(), executor.spawn(), executor.entropy());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone(), spawn.clone()));
        let strict = Arc::new(Strict(NodeAuthorizer::new(&store)));
        let builder = Builder::default().store(store).clock(clock.clone()).entropy(entropy.clone());
        let server = executor.run_until(builder.spawn(spawn.clone()).authorizer(strict).start());
        let api = server.expect("a server starts");
        let client = Client::new(api.clone(), Arc::new(Identity::new("admin", &["system:masters"])));
        let registration = Registration::named("n1");
        let own = Client::new(api, Arc::new(registration.identity()));
        let informers =
            Informers::new(Parts { client: own, spawn: spawn.clone(), clock: clock.clone(), entropy: entropy.clone() });
        let runtime = FakeRuntime::new(clock.clone(), spawn.clone());
        runtime.add_image("image:1");
        let (driver, drivers) = (Scripted::default(), Drivers::default());
        let folder = Rig::folder(name);
        let needs = Needs {
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime),
            context: Host::context(&informers, "n1"),
            clock: clock.clone(),
            spawn: spawn.clone(),
            entropy,
            dial: Arc::new(Nowhere),
        };
        let config = Config {
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            drivers: drivers.clone(),
            ..Config::new("n1", &folder)
        };
        let host = executor.run_until(async {
            drivers.add(Arc::new(driver.clone()), &*clock).await.expect("a driver is added");
            let agent = PodAgent::start(config, needs).await.expect("an agent starts");
            let host = Host::new(registration, &informers, Arc::new(agent)).with_drivers(drivers);
            spawn.spawn("host", host.run(Stop::new()))
        });
        Self { executor, client, driver, folder, _host: host }
    }

    async fn create<T: Resource>(&self, object: Value) {
        let object: T = serde_json::from_value(object).expect("an object");
        self.client.create(&object).await.expect("it is made");
    }

    async fn status<T: Resource>(&self, namespace: &str, name: &str, status: Value) {
        let patch = json!({"status": status});
        self.client.patch_status::<T>(namespace, name, PatchType::Merge, patch).await.expect("it is told");
    }

    /// A claim that is bound to a volume.
    async fn claimed(&self) {
        let account = json!({"metadata": {"name": "default", "namespace": "default"}});
        self.create::<windlass_api::core::v1::ServiceAccount>(account).await;
        let spec = json!({"accessModes": ["ReadWriteOnce"], "volumeName": "pv", "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}}});
        let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": spec});
        self.create::<PersistentVolumeClaim>(claim).await;
        let claim = self.client.get::<PersistentVolumeClaim>("default", "data").await.expect("it is there");
        let reference = json!({"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data",
            "uid": claim.metadata.uid});
        let spec = json!({"csi": {"driver": NAME, "volumeHandle": "h"}, "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "claimRef": reference});
        self.create::<PersistentVolume>(json!({"metadata": {"name": "pv"}, "spec": spec})).await;
        let bound = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        self.status::<PersistentVolumeClaim>("default", "data", bound).await;
    }

    async fn pod(&self) {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let container = json!({"name": "c", "image": "image:1", "command": ["run"],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        let spec = json!({"nodeName": "n1", "volumes": [volume], "containers": [container],
            "automountServiceAccountToken": false});
        self.create::<Pod>(json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec})).await;
    }

    async fn comes<T: Resource>(&self, namespace: &str, name: &str, so: impl Fn(&T) -> bool) -> Arc<T> {
        let clock = self.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        loop {
            let found = self.client.get_opt::<T>(namespace, name).await.expect("an answer");
            if let Some(found) = found.filter(|found| so(found)) {
                return found;
            }
            assert!(clock.uptime() < end, "{name} does not come to be so: {:?}", self.driver.calls());
            clock.sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // A test that failed may have made nothing.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn drivers_are_told() {
    let told = Told::new("told");
    told.executor.run_until(async {
        let own = told.comes::<CSINode>("", "n1", |own| !own.spec.drivers.is_empty()).await;
        let driver = &own.spec.drivers[0];
        assert_eq!((driver.name.as_str(), driver.node_id.as_str()), (NAME, "id-of-n1"));
        assert_eq!(driver.topology_keys, ["zone"]);
        assert_eq!(driver.allocatable.as_ref().and_then(|own| own.count), Some(9));
        assert_eq!(own.metadata.owner_references[0].kind, "Node");
        let node = told.client.get::<Node>("", "n1").await.expect("the node is there");
        assert_eq!(node.metadata.labels["zone"], "z1");
        let ids: Value =
            serde_json::from_str(&node.metadata.annotations["csi.volume.kubernetes.io/nodeid"]).expect("JSON");
        assert_eq!(ids, json!({NAME: "id-of-n1"}));
    });
}

pub(super) fn a_node_may_what_it_needs() {
    let told = Told::new("rights");
    told.executor.run_until(async {
        told.create::<CSIDriver>(json!({"metadata": {"name": NAME}, "spec": {"podInfoOnMount": true}})).await;
        told.claimed().await;
        told.comes::<Node>("", "n1", |_| true).await;
        told.pod().await;
        // Whoever attaches sees that the volume is in use before it is there.
        let unique = format!("kubernetes.io/csi/{NAME}^h");
        told.comes::<Node>("", "n1", |node| node.status.volumes_in_use == [unique.clone()]).await;
        let spec = json!({"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}});
        told.create::<VolumeAttachment>(json!({"metadata": {"name": "csi-a"}, "spec": spec})).await;
        let attached = json!({"attached": true, "attachmentMetadata": {"device": "d"}});
        told.status::<VolumeAttachment>("", "csi-a", attached).await;
        let listed = json!({"volumesAttached": [{"name": unique, "devicePath": "csi-a"}]});
        told.status::<Node>("", "n1", listed).await;
        told.comes::<Pod>("default", "p", |pod| crate::bench::condition(&pod.status, "Ready") == "True").await;
        let asked = told.driver.published();
        assert_eq!(asked.publish_context["device"], "d");
        assert_eq!(asked.context["csi.storage.k8s.io/pod.name"], "p");

        // It tells the claim of its growth.
        let larger = json!({"spec": {"capacity": {"storage": "2Gi"}}});
        told.client.patch::<PersistentVolume>("", "pv", PatchType::Merge, larger).await.expect("it grows");
        let pending = json!({"allocatedResourceStatuses": {"storage": "NodeResizePending"}});
        told.status::<PersistentVolumeClaim>("default", "data", pending).await;
        let grown = |claim: &PersistentVolumeClaim| claim.status.capacity.get("storage") == Some(&"2Gi".into());
        let claim = told.comes::<PersistentVolumeClaim>("default", "data", grown).await;
        assert!(claim.status.allocated_resource_statuses.is_empty());

        let at_once = Options { grace_period: Some(1), ..Options::default() };
        told.client.delete_with::<Pod>("default", "p", at_once).await.expect("it goes");
        told.comes::<Node>("", "n1", |node| node.status.volumes_in_use.is_empty()).await;
        let calls = told.driver.calls();
        assert_eq!(calls[calls.len() - 2..], ["unpublish h", "unstage h"], "{calls:?}");
    });
}
