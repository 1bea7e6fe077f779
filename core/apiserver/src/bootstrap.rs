//! The objects that every cluster has, written at the first start and left alone later.

use serde_json::{Value, json};
use windlass_kernel::{
    EntropyExt,
    error::{Error, ErrorKind, Result},
    store::{Condition, Key, Op, ReadAt, Txn},
};

use crate::{
    access, alloc, flows, index, object,
    registry::{Schema, Served},
    server::ApiServer,
};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Class and value (`scheduling.k8s.io/v1`).
const CLASSES: [(&str, i64); 2] = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
/// How many objects one transaction writes.
const BATCH: usize = 64;

/// Writes what is missing.
pub(crate) async fn run(server: &ApiServer, more: Vec<Value>) -> Result<()> {
    retire(server).await?;
    alloc::renew(server).await?;
    ranges(server).await?;
    let mut txn = Txn::default();
    let mut roles = Vec::new();
    for draft in access::bootstrap::drafts() {
        if !all_there(server, &draft).await? {
            roles.extend(draft.finish());
        }
    }
    for object in own(server).into_iter().chain(roles).chain(flows::objects()).chain(more) {
        let served = served(server, &object)?;
        let key = served.key(object::meta_text(&object, "namespace"), object::name(&object));
        if server.parts.store.get(&key, ReadAt::Latest).await?.is_some() {
            continue;
        }
        add(server, served, key, object, &mut txn).await?;
        if txn.ops.len() >= BATCH {
            // Where another server was faster the condition does not hold, and its objects stand.
            server.parts.store.txn(std::mem::take(&mut txn)).await?;
        }
    }
    if !txn.ops.is_empty() {
        server.parts.store.txn(txn).await?;
    }
    Ok(())
}

/// Whether a role is there, with its binding: then its objects need not be made to find that out.
async fn all_there(server: &ApiServer, draft: &access::bootstrap::Draft) -> Result<bool> {
    let (namespace, name, kinds) = draft.names();
    for kind in kinds {
        let key = of_kind(server, access::bootstrap::VERSION, kind)?.key(namespace, name);
        if server.parts.store.get(&key, ReadAt::Latest).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes which addresses services get, before any of them asks for one.
async fn ranges(server: &ApiServer) -> Result<()> {
    let object = server.parts.ranges.object(&object::time(server.parts.clock.now()));
    let served = served(server, &object)?;
    let key = served.key("", object::name(&object));
    if server.parts.store.get(&key, ReadAt::Latest).await?.is_none() {
        let mut txn = Txn::default();
        add(server, served, key, object, &mut txn).await?;
        server.parts.store.txn(txn).await?;
    }
    Ok(())
}

/// Takes away the binding that let every node read everything, which earlier versions wrote; unless somebody changed it.
async fn retire(server: &ApiServer) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let served = server.parts.registry.known(group, "v1", "clusterrolebindings")?;
    let key = served.key("", "system:node");
    let Some(found) = server.read(&key).await? else { return Ok(()) };
    let binding = found.value()?;
    let written = json!([{"apiGroup": group, "kind": "Group", "name": "system:nodes"}]);
    let updated = &object::meta(&binding, "annotations")["rbac.authorization.kubernetes.io/autoupdate"];
    if binding["subjects"] != written || *updated != "true" {
        return Ok(());
    }
    let unchanged = Condition::Unchanged(key.clone(), found.entry().modified);
    let txn = Txn { conditions: vec![unchanged], ops: vec![Op::Delete { key }], ..Txn::default() };
    server.parts.store.txn(txn).await?;
    Ok(())
}

pub(crate) async fn add(server: &ApiServer, served: &Served, key: Key, mut object: Value, txn: &mut Txn) -> Result<()> {
    let status = object.get("status").cloned();
    (served.rules.default)(&mut object);
    (served.rules.prepare_create)(&mut object);
    if let Some(status) = status {
        object::as_map(&mut object).insert("status".into(), status);
    }
    let meta = object::meta_mut(&mut object);
    meta.insert("uid".into(), server.parts.entropy.uuid().into());
    meta.insert("creationTimestamp".into(), object::time(server.parts.clock.now()).into());
    let claims = alloc::claim(server, served, &mut object, None).await?;
    let object = normal(served, object)?;
    let value = index::encode(served, &object)?;
    txn.conditions.push(Condition::Absent(key.clone()));
    txn.ops.push(Op::Put { key, value, lease: None });
    claims.add_to(server, &object, txn)
}

/// An object as it would be stored, its metadata apart.
pub(crate) fn formed(served: &Served, mut object: Value) -> Result<Value> {
    (served.rules.default)(&mut object);
    normal(served, object)
}

fn normal(served: &Served, mut object: Value) -> Result<Value> {
    if let Schema::BuiltIn(message) = served.storage.schema {
        windlass_api::decode::normalize(&mut object, message)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    }
    Ok(object)
}

pub(crate) fn served<'s>(server: &'s ApiServer, object: &Value) -> Result<&'s Served> {
    of_kind(server, object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default())
}

fn of_kind<'s>(server: &'s ApiServer, api_version: &str, kind: &str) -> Result<&'s Served> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let info = windlass_api::resources::of_kind(group, version, kind);
    let info = info.ok_or_else(|| Error::new(ErrorKind::Internal, format!("no resource has the kind {kind}")))?;
    server.parts.registry.known(info.group, info.version, info.plural).map(|served| &**served)
}

fn own(server: &ApiServer) -> Vec<Value> {
    let namespaces = NAMESPACES.iter().map(|name| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    });
    let classes = CLASSES.iter().map(|(name, value)| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "preemptionPolicy": "PreemptLowerPriority"})
    });
    namespaces.chain(classes).chain([service(server)]).collect()
}

/// The service that the server is reached by in the cluster.
pub(crate) fn service(server: &ApiServer) -> Value {
    let address = server.parts.ranges.first().to_string();
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": server.parts.port}]}})
}
