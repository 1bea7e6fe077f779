//! Deployments.

use serde_json::{Value, json};

use super::{
    at_most_all, collisions, counts, fixed_selector, is_nothing, not_above, number_or_percent, selector, template,
};
use crate::kinds::edit::{default_to, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, text};
use crate::kinds::pod::defaults;
use crate::kinds::{Kind, WITH_STATUS, prepare};

pub(in crate::kinds) static DEPLOYMENT: Kind = Kind {
    default,
    prepare_status: prepare::only_status_without_labels,
    validate,
    validate_status: status,
    ..WITH_STATUS
};

fn default(deployment: &mut Value) {
    within(deployment, "spec", |spec| {
        default_to(spec, "replicas", 1);
        within(spec, "strategy", |strategy| {
            default_to(strategy, "type", "RollingUpdate");
            if text(strategy, &["type"]) == "RollingUpdate" {
                within(strategy, "rollingUpdate", |rolling| {
                    default_to(rolling, "maxUnavailable", "25%");
                    default_to(rolling, "maxSurge", "25%");
                });
            }
        });
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        defaults::template(spec);
    });
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    errors.non_negative(&spec.get("replicas"));
    selector(&spec.get("selector"), "deployment", errors);
    template(&spec, "ReplicaSet", errors);
    strategy(&spec.get("strategy"), errors);
    errors.non_negative(&spec.get("minReadySeconds"));
    errors.non_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    errors.non_negative(&deadline);
    if deadline.present() && deadline.number() <= spec.get("minReadySeconds").number() {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
    if let Some(old) = old {
        fixed_selector(&spec, old, errors);
    }
}

fn strategy(strategy: &Field<'_, '_>, errors: &mut Errors) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if rolling.present() => {
            errors.forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" if !rolling.present() => {
            errors.required(&rolling, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number_or_percent(&unavailable, errors);
            number_or_percent(&surge, errors);
            if is_nothing(&unavailable) && is_nothing(&surge) {
                errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable, errors);
        }
        other => {
            errors.not_supported(&strategy.with(&json!(other)), &["Recreate", "RollingUpdate"]);
        }
    }
}

fn status(new: &Value, old: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let names = ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    counts(&status, &names, errors);
    for name in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        not_above(&status, name, "replicas", "status.replicas", errors);
    }
    not_above(&status, "availableReplicas", "readyReplicas", "readyReplicas", errors);
    collisions(&status, old, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_deployment_gets_its_defaults() {
        let mut small = json!({"spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
        default(&mut small);
        assert_eq!(
            small["spec"],
            json!({
                "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "selector": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
                "template": {"spec": {"containers": [], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30}},
            })
        );
    }
}
