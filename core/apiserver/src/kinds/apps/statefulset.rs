//! StatefulSets.

use serde_json::Value;

use super::{counts, not_above, number_or_percent, selector, template};
use crate::kinds::core::volume;
use crate::kinds::edit::{copy, default_to, each, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup, same, text};
use crate::kinds::pod::defaults;
use crate::kinds::{Kind, NameRule, WITH_STATUS};

const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

pub(in crate::kinds) static STATEFUL_SET: Kind =
    Kind { name: NameRule::Label, default, validate, validate_status: status, ..WITH_STATUS };

fn default(stateful: &mut Value) {
    within(stateful, "spec", |spec| {
        default_to(spec, "podManagementPolicy", "OrderedReady");
        within(spec, "updateStrategy", |strategy| {
            default_to(strategy, "type", "RollingUpdate");
            if text(strategy, &["type"]) == "RollingUpdate" {
                within(strategy, "rollingUpdate", |rolling| default_to(rolling, "partition", 0));
            }
        });
        within(spec, "persistentVolumeClaimRetentionPolicy", |policy| {
            default_to(policy, "whenDeleted", "Retain");
            default_to(policy, "whenScaled", "Retain");
        });
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        each(spec, "volumeClaimTemplates", |claim| {
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
            volume::claim_spec_default(claim);
            within(claim, "status", |status| default_to(status, "phase", "Pending"));
        });
        defaults::template(spec);
    });
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let policy = spec.get("podManagementPolicy");
    if errors.require(&policy, "") && !matches!(policy.text(), "OrderedReady" | "Parallel") {
        errors.invalid(&policy, "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => errors.required(&strategy, ""),
        "OnDelete" if rolling.present() => {
            errors.invalid(&rolling, "only allowed for updateStrategy 'RollingUpdate'");
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            errors.non_negative(&rolling.get("partition"));
            let most = rolling.get("maxUnavailable");
            if most.present() {
                number_or_percent(&most, errors);
                if most.number() == 0 && !most.value().is_string() {
                    errors.invalid(&most, "cannot be 0");
                }
                super::at_most_all(&most, errors);
            }
        }
        _ => errors.invalid(&strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for name in ["whenDeleted", "whenScaled"] {
        errors.optional_one_of(&retention.get(name), &["Retain", "Delete"]);
    }
    errors.non_negative(&spec.get("replicas"));
    errors.non_negative(&spec.get("minReadySeconds"));
    errors.non_negative(&spec.get("ordinals").get("start"));
    selector(&spec.get("selector"), "statefulset", errors);
    template(&spec, "StatefulSet", errors);
    let service = spec.get("serviceName");
    if let Some(old) = old {
        let mut left = spec.value().clone();
        for name in MUTABLE {
            copy(&mut left, lookup(old, "spec"), name);
        }
        if !same(&left, lookup(old, "spec")) {
            errors.forbidden(&spec, FIXED);
        }
    } else if !service.is_empty() {
        errors.invalid_each(&service, windlass_api::names::dns_1123_label(service.text()));
    }
}

fn status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let names = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    counts(&status, &names, errors);
    for name in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        not_above(&status, name, "replicas", "status.replicas", errors);
    }
    not_above(&status, "availableReplicas", "readyReplicas", "status.readyReplicas", errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_identifies_the_pods_is_fixed() {
        let mut old = json!({"spec": {"serviceName": "a", "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        default(&mut old);
        let mut new = old.clone();
        new["spec"]["replicas"] = 3.into();
        let mut errors = Errors::new();
        validate(&new, Some(&old), &mut errors);
        assert_eq!(errors.sentence(), "[]");
        new["spec"]["serviceName"] = "b".into();
        validate(&new, Some(&old), &mut errors);
        assert_eq!(errors.sentence(), format!("spec: Forbidden: {FIXED}"));
    }

    #[test]
    fn pods_may_mount_what_is_claimed_for_them() {
        let mount = json!([{"name": "data", "mountPath": "/data"}]);
        let container = json!({"name": "c", "image": "i", "volumeMounts": mount});
        let mut set = json!({"spec": {"serviceName": "a", "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        default(&mut set);
        let mut errors = Errors::new();
        validate(&set, None, &mut errors);
        assert_eq!(errors.sentence(), "[]");
    }
}
