//! Pods, and the templates that workloads make them from.

mod affinity;
mod container;
pub(super) mod defaults;
mod env;
mod keys;
mod mounts;
mod probe;
pub(super) mod qos;
pub(super) mod resources;
mod security;
pub(super) mod spec;
mod update;
pub(super) mod volumes;

use serde_json::{Value, json};

pub(super) use self::affinity::{node_selector, taints, tolerations};
pub use self::update::{prepare_ephemeral, prepare_resize, validate_binding, validate_ephemeral, validate_resize};
use super::edit::{copy, inside, remove, set};
use super::errors::Errors;
use super::field::{Field, dig, items, lookup, text};
use super::{BASE, Kind, prepare};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) static POD: Kind = Kind {
    default: defaults::pod,
    prepare_create,
    prepare_update: prepare::keep_status_and_count,
    prepare_status,
    validate,
    validate_status: update::status,
    fields,
    field_names: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    has_status: true,
    graceful: true,
    ..BASE
};

pub(super) static TEMPLATE: Kind = Kind {
    default: |template| defaults::template(template),
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["template"]),
    validate: |new, _, errors| spec::template(&Field::top(new, "template"), errors),
    ..BASE
};

fn prepare_create(pod: &mut Value) {
    prepare::count(pod);
    keys::resolve(pod);
    let mut status = json!({"phase": "Pending", "qosClass": qos::class(pod)});
    if items(pod, &["spec", "schedulingGates"]).next().is_some() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": null,
            "lastTransitionTime": null, "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    set(pod, "status", status);
}

fn prepare_status(new: &mut Value, old: &Value) {
    prepare::only_status(new, old);
    let (meta, class) = (lookup(old, "metadata"), dig(old, &["status", "qosClass"]));
    inside(new, "metadata", |new| {
        for name in ["deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"] {
            copy(new, meta, name);
        }
    });
    if !class.is_null() {
        inside(new, "status", |status| super::edit::default_to(status, "qosClass", class.clone()));
    }
    if lookup(new, "status").is_null() {
        remove(new, "status");
    }
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    common(new, errors);
    let spec = Field::top(new, "spec");
    let Some(old) = old else {
        if !spec.get("ephemeralContainers").is_empty() {
            errors.forbidden(&spec.get("ephemeralContainers"), "cannot be set on create");
        }
        if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
            errors.forbidden(&spec.get("nodeName"), "cannot be set until all schedulingGates have been cleared");
        }
        return;
    };
    update::main(new, old, errors);
}

/// What is checked of a pod on each of its paths.
fn common(new: &Value, errors: &mut Errors) {
    let meta = super::meta::of(new);
    let annotations = meta.get("annotations");
    let spec = Field::top(new, "spec");
    if annotations.key(MIRROR).present() && spec.get("nodeName").is_empty() {
        errors.invalid(&annotations.key(MIRROR), "must set spec.nodeName if mirror pod annotation is set");
    }
    let cost = annotations.key(DELETION_COST);
    let well_formed = |text: &str| text.parse::<i32>().is_ok_and(|n| n.to_string() == text);
    if cost.present() && !well_formed(cost.text()) {
        errors.invalid(&cost, "must be a 32bit integer");
    }
    spec::check(&spec, spec::Of::Pod(text(new, &["metadata", "name"])), errors);
    if spec.get("serviceAccountName").is_empty() {
        for volume in spec.get("volumes").items() {
            for source in volume.get("projected").get("sources").items() {
                let token = source.get("serviceAccountToken");
                if token.present() {
                    errors.forbidden(&token, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).items() {
            container::trimmed_image(&container, errors);
        }
    }
}

fn fields(pod: &Value) -> Vec<(&'static str, String)> {
    let text = |path: &[&str]| text(pod, path).to_owned();
    let host = dig(pod, &["spec", "hostNetwork"]).as_bool().unwrap_or_default();
    vec![
        ("spec.nodeName", text(&["spec", "nodeName"])),
        ("spec.restartPolicy", text(&["spec", "restartPolicy"])),
        ("spec.schedulerName", text(&["spec", "schedulerName"])),
        ("spec.serviceAccountName", text(&["spec", "serviceAccountName"])),
        ("spec.hostNetwork", host.to_string()),
        ("status.phase", text(&["status", "phase"])),
        ("status.podIP", text(&["status", "podIP"])),
        // It may be asked for, and upstream knows no value of it.
        ("status.podIPs", String::new()),
        ("status.nominatedNodeName", text(&["status", "nominatedNodeName"])),
    ]
}

#[cfg(test)]
mod tests;
