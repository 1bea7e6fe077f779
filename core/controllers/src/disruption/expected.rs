//! How many pods a budget's pods are to be, by the scales of those who control them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use windlass_api::{
    apps::v1::{Deployment, ReplicaSet},
    policy::v1::PodDisruptionBudget,
    types::{IntOrString, Resource},
};
use windlass_kernel::{Error, ErrorKind, Result, api::Verb, controller::ObjectKey};

use super::{
    Budgets,
    plan::{Expected, of_scale},
};
use crate::{
    claim,
    pods::{Owner, PodView},
    resources,
};

/// Asks those who control the pods, unless the budget counts pods as they are.
pub(super) async fn find(budgets: &Budgets, budget: &PodDisruptionBudget, pods: &[Arc<PodView>]) -> Result<Expected> {
    if let (None, Some(IntOrString::Int(_)) | None) = (&budget.spec.max_unavailable, &budget.spec.min_available) {
        return Ok(of_scale(&budget.spec, pods.len(), false));
    }
    let mut scales: BTreeMap<String, usize> = BTreeMap::new();
    let mut unmanaged = false;
    let mut seen = BTreeSet::new();
    for pod in pods {
        let Some(uid) = pod.controller.as_deref() else {
            unmanaged = true;
            continue;
        };
        if seen.insert(uid) {
            let (uid, scale) = scale(budgets, pod, uid).await?;
            scales.insert(uid, scale);
        }
    }
    Ok(of_scale(&budget.spec, scales.values().sum(), unmanaged))
}

/// The uid and the wanted number of pods of whoever a pod is scaled by.
async fn scale(budgets: &Budgets, pod: &PodView, uid: &str) -> Result<(String, usize)> {
    let namespace = &pod.key.namespace;
    let owner = pod.owner().unwrap_or_default();
    if owner.is::<ReplicaSet>() {
        let set = budgets.sets.0.get(&ObjectKey::new(namespace.clone(), owner.name));
        let above = set.as_ref().and_then(|set| claim::controller_of(&set.metadata));
        if let Some(above) = above.filter(|above| above.kind == Deployment::KIND) {
            let owner = Owner { group: Deployment::GROUP, kind: Deployment::KIND, name: &above.name };
            return Ok((above.uid.clone(), ask(budgets, namespace, owner, &above.uid).await?));
        }
    }
    Ok((uid.to_owned(), ask(budgets, namespace, owner, uid).await?))
}

async fn ask(budgets: &Budgets, namespace: &str, owner: Owner<'_>, uid: &str) -> Result<usize> {
    let nobody = || Error::new(ErrorKind::NotFound, format!("found no controllers for {} {}", owner.kind, owner.name));
    let resource = resources::of_kind(&budgets.custom, owner.group, owner.kind).ok_or_else(nobody)?;
    let request = budgets.client.request(Verb::Get, resource).in_namespace(namespace).named(owner.name);
    let scale = budgets
        .client
        .value(request.subresource("scale"))
        .await
        .map_err(|error| if error.is(ErrorKind::NotFound) { nobody().with_source(error) } else { error })?;
    if scale["metadata"]["uid"] != uid {
        return Err(nobody());
    }
    Ok(usize::try_from(scale["spec"]["replicas"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX))
}
