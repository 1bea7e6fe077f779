//! What lost its owners goes, as its deletion was asked for; and namespaces end with all they hold.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, executor::block_on};
use serde_json::{Value, json};
use windlass_api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Node, Pod, Secret},
    types::Resource,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    ErrorKind, Revision,
    api::{GroupVersionResource, Options, PatchType, Propagation},
    controller::ObjectKey,
    store::KeyRange,
};

use crate::{cluster::Cluster, laws, rollouts::deployment};

fn cache<T: Resource>(cluster: &Cluster) -> Cache<Arc<T>> {
    cluster.informers.typed(Select::all())
}

fn running(wanted: usize) -> impl Fn(&Cache<Arc<Pod>>) -> bool {
    move |pods| {
        let up = |pod: &Arc<Pod>| pod.status.phase.as_deref() == Some("Running");
        pods.len() == wanted && pods.values().iter().all(up)
    }
}

fn delete(cluster: &Cluster, propagation: Propagation) {
    let options = Options { propagation: Some(propagation), ..Options::default() };
    cluster.executor.run_until(cluster.admin.delete_with::<Deployment>("default", "web", options)).unwrap();
}

/// The keys of the Deployment, sets and pods that were deleted, in the store's order.
fn deletions(cluster: &Cluster) -> Vec<String> {
    let mut changes = block_on(cluster.store.watch(KeyRange::prefix("/registry/"), Revision(0))).unwrap();
    let changes = std::iter::from_fn(|| changes.next().now_or_never().flatten());
    let gone = changes.filter_map(|change| {
        let change = change.unwrap();
        let key = change.key().as_str().to_owned();
        (change.after.is_none() && ["/deployments/", "/replicasets/", "/pods/"].iter().any(|own| key.contains(own)))
            .then_some(key)
    });
    gone.collect()
}

#[test]
fn a_deployment_takes_its_sets_and_pods_along() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let cluster = Cluster::new(1);
        let (deployments, sets, pods) = (cache::<Deployment>(&cluster), cache::<ReplicaSet>(&cluster), cache(&cluster));
        cluster.create("deployments", deployment(3));
        cluster.until(&pods, running(3));
        delete(&cluster, propagation);
        cluster.until(&pods, Cache::is_empty);
        cluster.until(&sets, Cache::is_empty);
        cluster.until(&deployments, Cache::is_empty);
        // Background: the owner goes first. Foreground: last.
        let gone = deletions(&cluster);
        let last = gone.last().is_some_and(|key| key.contains("/deployments/"));
        assert_eq!(last, propagation == Propagation::Foreground, "{gone:?}");
    }
}

#[test]
fn an_orphaning_deletion_leaves_the_dependents_without_their_owner() {
    let cluster = Cluster::new(2);
    let (deployments, sets, pods) = (cache::<Deployment>(&cluster), cache::<ReplicaSet>(&cluster), cache(&cluster));
    cluster.create("deployments", deployment(2));
    cluster.until(&pods, running(2));
    delete(&cluster, Propagation::Orphan);
    cluster.until(&deployments, Cache::is_empty);
    cluster.settle();
    assert_eq!((sets.len(), pods.len()), (1, 2));
    assert!(sets.values()[0].metadata.owner_references.is_empty());
}

fn map(name: &str, owners: &[(&str, &str)]) -> Value {
    let owner = |(name, uid): &(&str, &str)| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true});
    let owners: Vec<_> = owners.iter().map(owner).collect();
    let metadata = json!({"name": name, "namespace": "default", "ownerReferences": owners});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn names<T: Resource>(all: &Cache<Arc<T>>) -> Vec<String> {
    all.list().into_iter().map(|(key, _)| key.name).filter(|name| name != "kube-root-ca.crt").collect()
}

#[test]
fn an_object_outlives_all_owners_but_the_last() {
    let cluster = Cluster::new(3);
    let maps = cache::<ConfigMap>(&cluster);
    let (a, b) = (uid(&cluster.create("configmaps", map("a", &[]))), uid(&cluster.create("configmaps", map("b", &[]))));
    cluster.create("configmaps", map("c", &[("a", &a), ("b", &b)]));
    cluster.create("configmaps", map("liar", &[("nobody", &a)]));
    cluster.until(&maps, |maps| names(maps) == ["a", "b", "c"]);
    cluster.executor.run_until(cluster.admin.delete::<ConfigMap>("default", "a")).unwrap();
    let key = ObjectKey::new("default", "c");
    cluster.until(&maps, |maps| maps.get(&key).is_some_and(|map| map.metadata.owner_references.len() == 1));
    cluster.executor.run_until(cluster.admin.delete::<ConfigMap>("default", "b")).unwrap();
    cluster.until(&maps, |maps| names(maps).is_empty());
}

#[test]
fn a_circle_of_owners_goes_in_the_foreground() {
    let cluster = Cluster::new(4);
    let maps = cache::<ConfigMap>(&cluster);
    let a = uid(&cluster.create("configmaps", map("a", &[])));
    let b = uid(&cluster.create("configmaps", map("b", &[("a", &a)])));
    let circle = json!({"metadata": {"ownerReferences": map("", &[("b", &b)])["metadata"]["ownerReferences"]}});
    cluster.executor.run_until(cluster.admin.patch::<ConfigMap>("default", "a", PatchType::Merge, circle)).unwrap();
    cluster.settle();
    let options = Options { propagation: Some(Propagation::Foreground), ..Options::default() };
    cluster.executor.run_until(cluster.admin.delete_with::<ConfigMap>("default", "a", options)).unwrap();
    cluster.until(&maps, |maps| names(maps).is_empty());
}

#[test]
fn a_cluster_scoped_object_is_not_collected_for_a_namespaced_owner() {
    let cluster = Cluster::new(5);
    let nodes = cache::<Node>(&cluster);
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]);
    let metadata = json!({"name": "odd", "ownerReferences": owner});
    cluster.create("nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}));
    cluster.settle();
    assert!(nodes.contains(&ObjectKey::new("", "odd")));
}

#[test]
fn a_namespace_ends_when_all_it_holds_has_ended() {
    let cluster = Cluster::new(6);
    let (namespaces, pods) = (cache::<Namespace>(&cluster), cache::<Pod>(&cluster));
    let (secrets, sets) = (cache::<Secret>(&cluster), cache::<ReplicaSet>(&cluster));
    cluster.create("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    cluster.account("shop");
    let mut web = deployment(2);
    web["metadata"]["namespace"] = "shop".into();
    cluster.create("deployments", web);
    let held = json!({"name": "held", "namespace": "shop", "finalizers": ["example.com/hold"]});
    cluster.create("secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": held}));
    cluster.until(&pods, running(2));
    cluster.executor.run_until(cluster.admin.delete::<Namespace>("", "shop")).unwrap();
    let key = ObjectKey::new("", "shop");
    let condition = move |all: &Cache<Arc<Namespace>>, type_: &str| {
        let namespace = all.get(&key)?;
        let found = namespace.status.conditions.iter().find(|own| own.type_ == type_ && own.status == "True");
        found.and_then(|own| own.message.clone())
    };
    let content = "Some resources are remaining: secrets. has 1 resource instances";
    cluster.until(&namespaces, |all| condition(all, "NamespaceContentRemaining").as_deref() == Some(content));
    let finalizers = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    assert_eq!(condition(&namespaces, "NamespaceFinalizersRemaining").as_deref(), Some(finalizers));
    cluster.until(&pods, Cache::is_empty);
    cluster.until(&sets, Cache::is_empty);
    let released = json!({"metadata": {"finalizers": null}});
    cluster.executor.run_until(cluster.admin.patch::<Secret>("shop", "held", PatchType::Merge, released)).unwrap();
    cluster.until(&namespaces, |all| !all.contains(&ObjectKey::new("", "shop")));
    cluster.until(&secrets, |secrets| secrets.in_namespace("shop").is_empty());
    let lookup = cluster.executor.run_until(cluster.admin.get::<Namespace>("", "shop"));
    assert!(lookup.unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn the_pods_of_a_node_that_is_gone_are_removed_after_a_while() {
    let cluster = Cluster::new(7);
    let pods = cache::<Pod>(&cluster);
    let spec = json!({"nodeName": "nowhere", "containers": [{"name": "c", "image": "web"}]});
    let metadata = json!({"name": "lost", "namespace": "default"});
    cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    cluster.settle();
    assert_eq!(pods.len(), 1);
    cluster.until(&pods, Cache::is_empty);
}

#[test]
fn what_is_collected_is_the_same_whatever_happens() {
    for propagation in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        laws::hold("generic-garbage-collector", |cluster| {
            let deployments = cache::<Deployment>(cluster);
            let (sets, pods) = (cache::<ReplicaSet>(cluster), cache::<Pod>(cluster));
            cluster.create("deployments", deployment(2));
            cluster.until(&pods, running(2));
            delete(cluster, propagation);
            cluster.until(&deployments, Cache::is_empty);
            let orphaned = propagation == Propagation::Orphan;
            cluster.until(&sets, |sets| {
                let free = |set: &Arc<ReplicaSet>| set.metadata.owner_references.is_empty();
                if orphaned { sets.values().iter().all(free) } else { sets.is_empty() }
            });
            cluster.until(&pods, |pods| orphaned || pods.is_empty());
            cluster.settle();
            (sets.len(), pods.len())
        });
    }
}

#[test]
fn a_namespace_ends_the_same_whatever_happens() {
    laws::hold("namespace-controller", |cluster| {
        let (namespaces, secrets, pods) =
            (cache::<Namespace>(cluster), cache::<Secret>(cluster), cache::<Pod>(cluster));
        cluster.create("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        cluster.account("shop");
        let mut web = deployment(1);
        web["metadata"]["namespace"] = "shop".into();
        cluster.create("deployments", web);
        let held = json!({"name": "held", "namespace": "shop", "finalizers": ["example.com/hold"]});
        cluster.create("secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": held}));
        cluster.until(&pods, running(1));
        cluster.executor.run_until(cluster.admin.delete::<Namespace>("", "shop")).unwrap();
        let key = ObjectKey::new("", "shop");
        cluster.until(&namespaces, |all| {
            let remains = |namespace: Arc<Namespace>| {
                let mut conditions = namespace.status.conditions.iter();
                conditions.any(|own| own.type_ == "NamespaceFinalizersRemaining" && own.status == "True")
            };
            all.get(&key).is_some_and(remains)
        });
        let released = json!({"metadata": {"finalizers": null}});
        cluster.executor.run_until(cluster.admin.patch::<Secret>("shop", "held", PatchType::Merge, released)).unwrap();
        cluster.until(&namespaces, |all| !all.contains(&key));
        cluster.settle();
        (namespaces.len(), secrets.in_namespace("shop").len(), pods.len())
    });
}

#[test]
fn a_namespace_goes_as_soon_as_its_last_custom_object() {
    let cluster = Cluster::new(7);
    let namespaces = cache::<Namespace>(&cluster);
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    cluster.create(
        "customresourcedefinitions",
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "versions": [version],
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}}}),
    );
    cluster.create("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let metadata = json!({"name": "w", "namespace": "shop", "finalizers": ["example.com/hold"]});
    cluster.create("widgets", json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}));
    cluster.settle();
    cluster.executor.run_until(cluster.admin.delete::<Namespace>("", "shop")).unwrap();
    let key = ObjectKey::new("", "shop");
    cluster.until(&namespaces, |all| {
        let remains = |namespace: Arc<Namespace>| {
            let mut conditions = namespace.status.conditions.iter();
            conditions.any(|own| own.type_ == "NamespaceFinalizersRemaining" && own.status == "True")
        };
        all.get(&key).is_some_and(remains)
    });
    // Nothing is asked for while nothing changes.
    cluster.settle();
    let before = cluster.gate.count("namespace-controller");
    cluster.settle();
    assert_eq!(cluster.gate.count("namespace-controller"), before);
    let widgets = cluster.admin.dynamic(GroupVersionResource::of("example.com", "v1", "widgets"));
    let released = json!({"metadata": {"finalizers": null}});
    cluster.executor.run_until(widgets.patch("shop", "w", PatchType::Merge, released)).unwrap();
    let then = cluster.executor.clock().uptime();
    cluster.until(&namespaces, |all| !all.contains(&key));
    let waited = cluster.executor.clock().uptime() - then;
    assert!(waited < std::time::Duration::from_secs(1), "it went after {waited:?}");
}
