//! Resizing in place (KEP-1287): how much of what a pod asks for it is given. Pure.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::core::v1::{Container, Pod, ResourceRequirements};

use super::sidecar;
use crate::make::resources::{requested, spread};

/// What containers are given, by name.
pub(crate) type Given = BTreeMap<String, ResourceRequirements>;

/// Why a pod is not given what it asks for (the condition `PodResizePending`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The containers that can be resized: the main ones and the sidecars.
pub(crate) fn resizable(pod: &Pod) -> impl Iterator<Item = &Container> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| sidecar(container));
    sidecars.chain(&pod.spec.containers)
}

/// What a pod asks for.
pub(crate) fn asked(pod: &Pod) -> Given {
    resizable(pod).map(|container| (container.name.clone(), container.resources.clone())).collect()
}

/// What a pod was given, as its status says; what it asks for where that says nothing.
pub(crate) fn given(pod: &Pod) -> Given {
    let all = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let known: Given = all.filter_map(|status| Some((status.name.clone(), status.resources.clone()?))).collect();
    let mut given = asked(pod);
    for (name, resources) in &mut given {
        if let Some(known) = known.get(name) {
            resources.limits.clone_from(&known.limits);
            resources.requests.clone_from(&known.requests);
        }
    }
    given
}

/// The pod as if it asked for what it is given.
pub(crate) fn as_given(pod: &Arc<Pod>, given: &Given) -> Arc<Pod> {
    if asked(pod) == *given {
        return Arc::clone(pod);
    }
    let mut changed = Pod::clone(pod);
    for container in changed.spec.init_containers.iter_mut().chain(&mut changed.spec.containers) {
        if let Some(resources) = given.get(&container.name) {
            container.resources.clone_from(resources);
        }
    }
    Arc::new(changed)
}

/// Why a node with that capacity, on which the others ask for so much, has no room for the pod.
pub(crate) fn no_room<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod>,
    capacity: &BTreeMap<String, String>,
) -> Option<Pending> {
    let mut used = [0; 2];
    for other in others {
        for (used, one) in used.iter_mut().zip(requested(other)) {
            *used += one;
        }
    }
    let wanted = requested(pod).into_iter().zip(used);
    for (name, (wanted, used)) in ["cpu", "memory"].into_iter().zip(wanted) {
        let Some(whole) = capacity.get(name).and_then(|text| spread(name, text)) else { continue };
        let figures = |more: &str| format!("{name}, requested: {wanted}, {more}capacity: {whole}");
        if wanted > whole {
            let message = format!("Node didn't have enough capacity: {}", figures(""));
            return Some(Pending { reason: "Infeasible", message });
        }
        if wanted + used > whole {
            let message = format!("Node didn't have enough resource: {}", figures(&format!("used: {used}, ")));
            return Some(Pending { reason: "Deferred", message });
        }
    }
    None
}

/// Whether a container has to be started anew for the change (Container.resizePolicy).
pub(crate) fn restarts(container: &Container, before: &ResourceRequirements) -> bool {
    let after = &container.resources;
    let differs = |name: &str| {
        before.limits.get(name) != after.limits.get(name) || before.requests.get(name) != after.requests.get(name)
    };
    container
        .resize_policy
        .iter()
        .any(|policy| policy.restart_policy == "RestartContainer" && differs(&policy.resource_name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(cpu: &str, status: Option<&str>) -> Pod {
        let resources = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let statuses: Vec<Value> =
            status.into_iter().map(|cpu| json!({"name": "c", "resources": resources(cpu)})).collect();
        serde_json::from_value(json!({
            "spec": {"containers": [{"name": "c", "resources": resources(cpu)}]}, "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_given_what_fits_beside_the_others() {
        let check = |cpu: &str, expect: Option<&str>| {
            let capacity = [("cpu".to_owned(), "2".to_owned())].into();
            let other = pod("1500m", None);
            let found = no_room(&pod(cpu, None), std::iter::once(&other), &capacity);
            assert_eq!(found.map(|pending| format!("{}: {}", pending.reason, pending.message)).as_deref(), expect);
        };
        check("500m", None);
        check(
            "600m",
            Some("Deferred: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"),
        );
        check("3", Some("Infeasible: Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"));
    }

    #[test]
    fn what_a_pod_was_given_is_read_from_its_status() {
        let resized = Arc::new(pod("2", Some("1")));
        let shown = as_given(&resized, &given(&resized));
        assert_eq!(shown.spec.containers[0].resources.requests["cpu"].0, "1");
        let new = Arc::new(pod("2", None));
        assert!(Arc::ptr_eq(&as_given(&new, &given(&new)), &new));
    }

    #[test]
    fn only_the_resource_that_says_so_needs_a_restart() {
        let mut container = pod("2", None).spec.containers.remove(0);
        container.resize_policy =
            serde_json::from_value(json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}])).unwrap();
        let before: ResourceRequirements = serde_json::from_value(json!({"requests": {"cpu": "1"}})).unwrap();
        assert!(!restarts(&container, &before));
        container.resize_policy[0].resource_name = "cpu".into();
        assert!(restarts(&container, &before));
    }
}
