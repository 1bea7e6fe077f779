//! Every pod runs as a service account: it exists, its token is mounted, its pull secrets are used.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};
use windlass_api::names;
use windlass_kernel::{
    Admission, Clock, ClockExt, Document, Entropy,
    access::Admitting,
    api::Request,
    error::Result,
    store::{Key, KeyRange},
};

use super::{Reader, list, pods, writes};
use crate::object;

const DEFAULT: &str = "default";
const VOLUME: &str = "kube-api-access-";
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// An hour, and seven seconds that tell these tokens from others.
const TOKEN_SECONDS: u64 = 3607;
/// How long the default account of a new namespace is waited for.
const PATIENCE: Duration = Duration::from_millis(1500);

#[derive(Debug)]
pub(super) struct ServiceAccount {
    pub(super) reader: Reader,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

#[async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let namespace = admitting.request.namespace.clone();
        let Some(pod) = pods::created(admitting) else { return Ok(()) };
        if !object::meta(pod, "annotations")[MIRROR].is_null() {
            return Ok(());
        }
        let spec = object::child_mut(pod, "spec");
        let named = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = named.unwrap_or(DEFAULT).to_owned();
        spec.insert("serviceAccountName".into(), name.as_str().into());
        spec.insert("serviceAccount".into(), name.as_str().into());
        let account = self.account(&namespace, &name).await?;
        let Some(account) = account else {
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(pods::refuse(pod, &why));
        };
        // Most accounts say nothing about mounts and pull secrets; then there is nothing to decode.
        let speaks = account.mentions("\"automountServiceAccountToken\":") || account.mentions("\"imagePullSecrets\":");
        let account = if speaks { account.value()? } else { Value::Null };
        let wanted = pod["spec"]["automountServiceAccountToken"].as_bool();
        if wanted.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true) {
            let mut random = [0; names::SUFFIX_LENGTH];
            self.entropy.fill(&mut random);
            mount(pod, &names::generate_name(VOLUME, random));
        }
        if object::is_empty(&pod["spec"]["imagePullSecrets"]) && !object::is_empty(&account["imagePullSecrets"]) {
            object::child_mut(pod, "spec").insert("imagePullSecrets".into(), account["imagePullSecrets"].clone());
        }
        Ok(())
    }
}

impl ServiceAccount {
    /// The account; the default one, which a controller makes for each namespace, is waited for.
    async fn account(&self, namespace: &str, name: &str) -> Result<Option<Document>> {
        let found = self.reader.get("core/serviceaccounts", namespace, name).await?;
        if found.is_some() || name != DEFAULT {
            return Ok(found);
        }
        let after = self.reader.store.latest().await?;
        let key = super::key("core/serviceaccounts", namespace, name);
        let end = Key::from(format!("{}\0", key.as_str()));
        let mut changes = self.reader.store.watch(KeyRange { start: key, end: Some(end) }, after).await?;
        let found = self.reader.get("core/serviceaccounts", namespace, name).await?;
        if found.is_some() {
            return Ok(found);
        }
        match self.clock.within(PATIENCE, changes.next()).await {
            Some(Some(change)) => change?.after.clone().map(Document::stored).transpose(),
            Some(None) | None => Ok(None),
        }
    }
}

/// Mounts the account's token in every container that mounts nothing there.
fn mount(pod: &mut Value, fresh: &str) {
    let existing = list(&pod["spec"], "volumes").filter_map(|volume| volume["name"].as_str());
    let existing = existing.filter(|name| name.starts_with(VOLUME)).map(str::to_owned).next();
    let name = existing.as_deref().unwrap_or(fresh);
    let mut mounted = false;
    for kind in ["initContainers", "containers"] {
        let containers = pod.pointer_mut(&format!("/spec/{kind}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if list(container, "volumeMounts").any(|mount| mount["mountPath"] == MOUNT) {
                continue;
            }
            let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
            push(container, "volumeMounts", mount);
            mounted = true;
        }
    }
    if mounted && existing.is_none() {
        let volume = json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]}});
        push(&mut pod["spec"], "volumes", volume);
    }
}

/// Appends to a list, which is made where there is none.
fn push(value: &mut Value, field: &str, item: Value) {
    let items = object::as_map(value).entry(field).or_insert_with(|| Value::Array(Vec::new()));
    match items {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mounted_once() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT}]},
        ]}});
        mount(&mut pod, "kube-api-access-abcde");
        let once = pod.clone();
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-abcde");
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
        mount(&mut pod, "kube-api-access-fghij");
        assert_eq!(pod, once);
    }
}
