//! What a StatefulSet's pods are called and know of themselves.

use std::ops::Range;

use windlass_api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};

use super::claims;
use crate::{
    claim,
    history::REVISION,
    pods::{PodView, from_template},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The ordinals that a set wants pods of.
pub(super) fn ordinals(set: &StatefulSet) -> Range<i32> {
    let start = set.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start);
    start..start.saturating_add(set.spec.replicas.unwrap_or(1).max(0))
}

/// The name of the pod with an ordinal.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default())
}

/// The ordinal of a pod of that name, if it can be the set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set.metadata.name.as_deref()?)?.strip_prefix('-')?;
    let ordinal = digits.parse().ok().filter(|ordinal| *ordinal >= 0)?;
    (pod_name(set, ordinal) == pod).then_some(ordinal)
}

/// The labels by which a pod can be told from its siblings.
pub(super) fn labels(set: &StatefulSet, ordinal: i32) -> [(&'static str, String); 2] {
    [(POD_NAME, pod_name(set, ordinal)), (POD_INDEX, ordinal.to_string())]
}

/// Whether a pod has its labels.
pub(super) fn identified(set: &StatefulSet, ordinal: i32, pod: &PodView) -> bool {
    labels(set, ordinal).iter().all(|(key, value)| pod.labels.get(*key) == Some(value))
}

/// The pod of an ordinal, made of a revision's template.
pub(super) fn pod(set: &StatefulSet, ordinal: i32, (revision, template): (&str, &PodTemplateSpec)) -> Pod {
    let mut pod = from_template(template, claim::reference(set), set.metadata.namespace.as_ref());
    let name = pod_name(set, ordinal);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    pod.metadata.labels.extend(labels(set, ordinal).map(|(key, value)| (key.to_owned(), value)));
    pod.metadata.labels.insert(REVISION.into(), revision.into());
    pod.spec.hostname = Some(name);
    pod.spec.subdomain = Some(set.spec.service_name.clone()).filter(|service| !service.is_empty());
    let claims = claims::names(set, ordinal).map(|(volume, claim)| Volume {
        name: volume.to_owned(),
        persistent_volume_claim: Some(Box::new(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            ..Default::default()
        })),
        ..Volume::default()
    });
    let mut volumes: Vec<Volume> = claims.collect();
    // A claim stands in for a volume of the same name.
    let own = pod.spec.volumes.drain(..).filter(|own| !volumes.iter().any(|claim| claim.name == own.name));
    let own: Vec<_> = own.collect();
    volumes.extend(own);
    pod.spec.volumes = volumes;
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"replicas": 2, "ordinals": {"start": 5}, "serviceName": "peers",
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_known_by_its_ordinal_alone() {
        for (pod, expect) in
            [("web-0", Some(0)), ("web-12", Some(12)), ("web-01", None), ("web-", None), ("web--1", None)]
        {
            assert_eq!(ordinal(&set(), pod), expect, "{pod}");
        }
        assert_eq!(ordinal(&set(), "other-0"), None);
        assert_eq!(ordinals(&set()), 5..7);
    }

    #[test]
    fn a_pod_has_a_name_a_host_name_and_its_claims() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "more", "emptyDir": {}}]},
        }))
        .unwrap();
        let pod = serde_json::to_value(pod(&set(), 5, ("web-abc", &template))).unwrap();
        assert_eq!(
            pod["metadata"]["labels"],
            json!({"app": "web", "statefulset.kubernetes.io/pod-name": "web-5", "apps.kubernetes.io/pod-index": "5",
                "controller-revision-hash": "web-abc"})
        );
        assert_eq!((&pod["metadata"]["name"], &pod["metadata"]["generateName"]), (&json!("web-5"), &json!(null)));
        assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("web-5"), &json!("peers")));
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-5"}},
                {"name": "more", "emptyDir": {}}])
        );
    }
}
