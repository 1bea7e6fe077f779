//! The client over the real API server, on a store in memory and in virtual time.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use windlass_api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Pod, ServiceAccount},
    meta::v1::ObjectMeta,
};
use windlass_apiserver::Builder;
use windlass_client::{
    Client, Force, Informers, Select,
    events::{Recorder, Severity},
    gvr,
    informer::Parts,
};
use windlass_kernel::{
    ErrorKind, Identity, Revision, Store,
    api::{GroupVersionResource, Options, PatchType},
    controller::ObjectKey,
};
use windlass_store::MemoryStore;
use windlass_testkit::{Everyone, sim::Executor};

use crate::shelf::config_map;

struct Cluster {
    executor: Executor,
    store: Arc<MemoryStore>,
    parts: Parts,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let executor = Executor::new(seed);
        let (clock, spawn, entropy) = (executor.clock(), executor.spawn(), executor.entropy());
        let store = Arc::new(MemoryStore::new(clock.clone(), spawn.clone()));
        let builder = Builder::default().store(store.clone()).clock(clock.clone()).entropy(entropy.clone());
        let server = executor.run_until(builder.spawn(spawn.clone()).authorizer(Arc::new(Everyone)).start()).unwrap();
        let identity = Arc::new(Identity::new("admin", &["system:masters"]));
        let client = Client::new(server, identity).with_user_agent("tests/1");
        Self { executor, store, parts: Parts { client, spawn, clock, entropy } }
    }

    fn client(&self) -> Client {
        self.parts.client.clone()
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

#[test]
fn typed_calls_do_what_their_verbs_say() {
    let cluster = Cluster::new(1);
    let client = cluster.client();
    cluster.executor.run_until(async {
        let made = client.create(&config_map("a app=x")).await.unwrap();
        assert!(made.metadata.uid.is_some());
        assert!(Arc::ptr_eq(&made, &client.get("default", "a").await.unwrap()));
        assert!(client.create(&config_map("a")).await.unwrap_err().is(ErrorKind::AlreadyExists));
        let listed = client.list::<ConfigMap>(&Select::namespace("default").labels("app=x")).await.unwrap();
        assert!(Arc::ptr_eq(&made, &listed[0]));
        let merged = client.patch::<ConfigMap>("default", "a", PatchType::Merge, json!({"data": {"k": "1"}})).await;
        assert_eq!(merged.unwrap().data["k"], "1");
        let stale = client.update(made.as_ref()).await.unwrap_err();
        assert!(stale.is(ErrorKind::Conflict));
        let unchanged = client.modify::<ConfigMap>("default", "a", |_| ()).await.unwrap();
        let changed = client.modify::<ConfigMap>("default", "a", |map| drop(map.data.insert("k".into(), "2".into())));
        assert_ne!(changed.await.unwrap().metadata.resource_version, unchanged.metadata.resource_version);
        client.delete_with::<ConfigMap>("default", "a", Options { dry_run: true, ..Options::default() }).await.unwrap();
        client.delete::<ConfigMap>("default", "a").await.unwrap();
        assert!(client.get_opt::<ConfigMap>("default", "a").await.unwrap().is_none());
    });
}

#[test]
fn applies_name_their_owner_and_dynamic_calls_need_no_types() {
    let cluster = Cluster::new(2);
    let client = cluster.client();
    cluster.executor.run_until(async {
        let mut map = config_map("a");
        map.data.insert("k".into(), "1".into());
        let applied = client.apply(&map, Force::No).await.unwrap();
        assert_eq!(applied.metadata.managed_fields[0].manager.as_deref(), Some("tests"));
        let maps = client.dynamic(GroupVersionResource::of("", "v1", "configmaps"));
        let mut value = maps.get("default", "a").await.unwrap();
        value["data"]["k"] = "2".into();
        assert_eq!(maps.update(value).await.unwrap()["data"]["k"], "2");
        let error = client.with_user_agent("other").apply(&map, Force::No).await.unwrap_err();
        assert!(error.is(ErrorKind::Conflict), "{error:?}");
    });
}

#[test]
fn pods_are_placed_found_by_their_node_and_evicted() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    cluster.executor.run_until(async {
        let metadata =
            ObjectMeta { namespace: Some("default".into()), name: Some("default".into()), ..ObjectMeta::default() };
        client.create(&ServiceAccount { metadata, ..ServiceAccount::default() }).await.unwrap();
        let pods = client.dynamic(gvr::<Pod>());
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let meta = json!({"namespace": "default", "name": "p"});
        pods.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})).await.unwrap();
        client.bind("default", "p", None, "n1").await.unwrap();
        assert_eq!(client.pods_on("n1").await.unwrap().len(), 1);
        assert!(client.bind("default", "p", None, "n2").await.unwrap_err().is(ErrorKind::Conflict));
        client.evict("default", "p", Some(0)).await.unwrap();
        assert!(client.get_opt::<Pod>("default", "p").await.unwrap().is_none());
    });
}

#[test]
fn a_deployment_is_scaled_by_its_sub_resource() {
    let cluster = Cluster::new(8);
    let client = cluster.client();
    cluster.executor.run_until(async {
        let deployments = client.dynamic(GroupVersionResource::of("apps", "v1", "deployments"));
        let labels = json!({"app": "x"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let spec = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": template});
        let meta = json!({"namespace": "default", "name": "d"});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec});
        deployments.create(object).await.unwrap();
        assert_eq!(client.scale::<Deployment>("default", "d").await.unwrap(), 2);
        assert_eq!(client.set_scale::<Deployment>("default", "d", 5).await.unwrap(), 5);
        assert_eq!(deployments.get("default", "d").await.unwrap()["spec"]["replicas"], 5);
    });
}

#[test]
fn informers_follow_the_server_and_share_its_decoded_objects() {
    let cluster = Cluster::new(4);
    let client = cluster.client();
    let informers = Informers::new(cluster.parts.clone());
    let cache = informers.typed::<ConfigMap>(Select::namespace("default"));
    cluster.executor.run_until(async {
        cache.synced().await;
        let made = client.create(&config_map("a")).await.unwrap();
        let revision = made.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        cache.caught_up(Revision(revision)).await;
        assert!(Arc::ptr_eq(&made, &cache.get(&key("a")).unwrap()));
        client.delete::<ConfigMap>("default", "a").await.unwrap();
        cache.wait_until(|cache| !cache.contains(&key("a"))).await;
    });
}

#[test]
fn an_informer_survives_a_compaction_of_the_real_history() {
    let cluster = Cluster::new(5);
    let client = cluster.client();
    let cache = Informers::new(cluster.parts.clone()).typed::<ConfigMap>(Select::namespace("default"));
    cluster.executor.run_until(async {
        cache.synced().await;
        for number in 0..20 {
            client.create(&config_map(&format!("m{number}"))).await.unwrap();
            client.delete::<ConfigMap>("default", "m0").await.unwrap_or_default();
            cluster.store.compact(cluster.store.latest().await.unwrap()).await.unwrap();
        }
        cache.wait_until(|cache| cache.contains(&key("m19")) && !cache.contains(&key("m0"))).await;
    });
}

#[test]
fn an_idle_informer_asks_for_nothing() {
    let cluster = Cluster::new(6);
    let cache = Informers::new(cluster.parts.clone()).typed::<ConfigMap>(Select::all());
    cluster.executor.run_until(cache.synced());
    let before = cluster.executor.steps();
    cluster.executor.run_for(Duration::from_secs(3600));
    // A bookmark a minute, and what the server does by itself.
    let steps = cluster.executor.steps() - before;
    assert!(steps < 600, "{steps} polls in an idle hour");
}

#[test]
fn events_are_admitted_by_the_real_server() {
    let cluster = Cluster::new(7);
    let recorder = Recorder::start(&cluster.parts, "tests", "");
    let metadata = ObjectMeta { namespace: Some("default".into()), name: Some("a".into()), ..ObjectMeta::default() };
    for _ in 0..3 {
        let about = ConfigMap { metadata: metadata.clone(), ..ConfigMap::default() };
        recorder.event(&about, Severity::Normal, "Tested", "it works");
    }
    cluster.executor.run_for(Duration::from_secs(1));
    let events = cluster.executor.run_until(cluster.client().list::<Event>(&Select::namespace("default"))).unwrap();
    assert_eq!(events.iter().map(|event| event.count).collect::<Vec<_>>(), [Some(3)]);
}
