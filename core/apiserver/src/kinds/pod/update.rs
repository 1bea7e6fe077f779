//! What may change in a pod that exists: little, and by its own sub-resources.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use windlass_api::names;

use super::{affinity, qos, resources};
use crate::kinds::diff;
use crate::kinds::edit::{copy, inside, remove, set};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, items, lookup, same, text};
use crate::kinds::meta;

const MUTABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Checks an update of the pod itself.
pub(super) fn main(new: &Value, old: &Value, errors: &mut Errors) {
    annotations(new, old, errors);
    let (now, before) = (Field::top(new, "spec"), Field::top(old, "spec"));
    for list in ["containers", "initContainers"] {
        let containers = now.get(list);
        if containers.len() != before.get(list).len() {
            errors.forbidden(&containers, "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(&now, &before, errors) {
        return;
    }
    added_tolerations(&now, &before, errors);
    removed_gates(&now, &before, errors);
    let mut left = lookup(new, "spec").clone();
    restore(&mut left, new, old, errors);
    if !same(&left, lookup(old, "spec")) {
        let mut detail = format!("pod updates may not change fields other than {MUTABLE}\n");
        diff::write(&mut detail, "", lookup(old, "spec"), &left);
        errors.forbidden(&now, detail);
    }
}

/// Puts back what may change, so that what is left is what may not.
fn restore(left: &mut Value, new: &Value, old: &Value, errors: &mut Errors) {
    let before = lookup(old, "spec");
    for list in ["containers", "initContainers"] {
        if let Some(Value::Array(containers)) = left.get_mut(list) {
            for (container, old) in containers.iter_mut().zip(items(before, &[list])) {
                copy(container, old, "image");
            }
        }
    }
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy(left, before, name);
    }
    let grace = |spec: &Value| lookup(spec, "terminationGracePeriodSeconds").as_i64();
    if grace(before).is_some_and(|seconds| seconds < 0) && grace(left) == Some(1) {
        copy(left, before, "terminationGracePeriodSeconds");
    }
    if items(before, &["schedulingGates"]).next().is_some() {
        let spec = Field::top(new, "spec");
        let kept = |name: &str, value: &Value| spec.get("nodeSelector").key(name).value() == value;
        let selector = Field::top(before, "nodeSelector");
        if !selector.entries().all(|(name, value)| kept(name, value)) {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&spec.get("nodeSelector"), detail);
        }
        copy(left, before, "nodeSelector");
        let node = dig(before, &["affinity", "nodeAffinity"]).clone();
        inside(left, "affinity", |affinity| {
            if node.is_null() {
                remove(affinity, "nodeAffinity");
            } else {
                set(affinity, "nodeAffinity", node);
            }
        });
        if lookup(before, "affinity").is_null() && lookup(left, "affinity").as_object().is_some_and(Map::is_empty) {
            remove(left, "affinity");
        }
    }
}

fn annotations(new: &Value, old: &Value, errors: &mut Errors) {
    let meta = meta::of(new);
    let now = meta.get("annotations");
    let before = dig(old, &["metadata", "annotations", MIRROR]);
    let at = now.key(MIRROR);
    if before.is_null() && at.present() {
        errors.forbidden(&at, "may not add mirror pod annotation");
    } else if !before.is_null() && at.value() != before {
        errors.forbidden(&at, "may not remove or update mirror pod annotation");
    }
}

fn deadline(now: &Field<'_, '_>, before: &Field<'_, '_>, errors: &mut Errors) -> bool {
    let (new, old) = (now.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"));
    match (new.int(), old.int()) {
        (Some(n), _) if !(0..=i64::from(i32::MAX)).contains(&n) => {
            errors.in_range(&new, 0, i64::from(i32::MAX));
            false
        }
        (Some(n), Some(o)) if o < n => {
            errors.invalid(&new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(&new, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn added_tolerations(now: &Field<'_, '_>, before: &Field<'_, '_>, errors: &mut Errors) {
    let list = now.get("tolerations");
    let kept = |old: &Field<'_, '_>| {
        list.items().any(|new| {
            ["key", "operator", "value", "effect"].iter().all(|name| new.get(name).text() == old.get(name).text())
        })
    };
    if before.get("tolerations").items().all(|old| kept(&old)) {
        if !same(list.value(), before.get("tolerations").value()) {
            affinity::tolerations(&list, errors);
        }
    } else {
        errors.forbidden(&list, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn removed_gates(now: &Field<'_, '_>, before: &Field<'_, '_>, errors: &mut Errors) {
    let list = before.get("schedulingGates");
    let known: BTreeSet<&str> = list.strings_of("name").collect();
    for gate in now.get("schedulingGates").items() {
        let name = gate.get("name");
        if !known.contains(name.text()) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", name.text());
            errors.forbidden(&name, detail);
        }
    }
}

/// Keeps everything but the ephemeral containers (new, old), for `/ephemeralcontainers`.
pub fn prepare_ephemeral(new: &mut Value, old: &Value) {
    let added = dig(new, &["spec", "ephemeralContainers"]).clone();
    let mut spec = lookup(old, "spec").clone();
    if !added.is_null() {
        set(&mut spec, "ephemeralContainers", added);
    }
    set(new, "spec", spec);
    copy(new, old, "status");
    crate::kinds::prepare::count_changes(new, old, &["spec"]);
}

/// Checks a write to `/ephemeralcontainers`: they may be added, never changed or removed.
pub fn validate_ephemeral(new: &Value, old: &Value, errors: &mut Errors) {
    meta::updated(&meta::of(new), &meta::of(old), errors);
    super::common(new, errors);
    if !dig(old, &["metadata", "annotations", MIRROR]).is_null() {
        errors.forbidden(&Field::top(new, ""), "static pods do not support ephemeral containers");
        return;
    }
    let spec = Field::top(new, "spec");
    let list = spec.get("ephemeralContainers");
    for before in items(old, &["spec", "ephemeralContainers"]) {
        let name = text(before, &["name"]);
        match list.items().find(|container| container.get("name").text() == name) {
            None => errors.forbidden(&list, format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) if !same(now.value(), before) => {
                let mut detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                diff::write(&mut detail, "", before, now.value());
                errors.forbidden(&list, detail);
            }
            Some(_) => {}
        }
    }
}

/// Keeps everything but resources and resize policies (new, old), for `/resize`.
pub fn prepare_resize(new: &mut Value, old: &Value) {
    let mut spec = lookup(old, "spec").clone();
    for list in ["containers", "initContainers"] {
        if let Some(Value::Array(containers)) = spec.get_mut(list) {
            for container in containers {
                let name = text(container, &["name"]).to_owned();
                if let Some(sent) = items(new, &["spec", list]).find(|sent| text(sent, &["name"]) == name) {
                    copy(container, sent, "resources");
                    copy(container, sent, "resizePolicy");
                }
            }
        }
    }
    set(new, "spec", spec);
    copy(new, old, "status");
    crate::kinds::prepare::count_changes(new, old, &["spec"]);
}

/// Checks a write to `/resize`: processor time and memory may change, the class of service may not.
pub fn validate_resize(new: &Value, old: &Value, errors: &mut Errors) {
    meta::updated(&meta::of(new), &meta::of(old), errors);
    super::common(new, errors);
    let whole = Field::top(new, "");
    if !dig(old, &["metadata", "annotations", MIRROR]).is_null() {
        errors.forbidden(&whole, "static pods cannot be resized");
        return;
    }
    if text(old, &["spec", "os", "name"]) == "windows" {
        errors.forbidden(&whole, "windows pods cannot be resized");
        return;
    }
    let spec = Field::top(new, "spec");
    if qos::class(old) != qos::class(new) {
        let class = Value::from(text(old, &["status", "qosClass"]));
        errors.invalid(&spec.with(&class), "Pod QOS Class may not change as a result of resizing");
    }
    let before = Field::top(old, "spec");
    for list in ["initContainers", "containers"] {
        let (now, was) = (spec.get(list), before.get(list));
        for (container, old) in now.items().zip(was.items()) {
            if list == "initContainers" && old.get("restartPolicy").text() != "Always" {
                if !same(container.value(), old.value()) {
                    errors.forbidden(&spec, "resources for non-sidecar init containers are immutable");
                }
                continue;
            }
            resized(&container.get("resources"), &old.get("resources"), errors);
            let others = |field: &Field<'_, '_>| {
                let mut resources = field.get("resources").value().clone();
                for kind in ["limits", "requests"] {
                    inside(&mut resources, kind, |list| {
                        remove(list, "cpu");
                        remove(list, "memory");
                    });
                    if lookup(&resources, kind).as_object().is_some_and(Map::is_empty) {
                        remove(&mut resources, kind);
                    }
                }
                resources
            };
            if !same(&others(&container), &others(&old)) {
                let kind = if list == "containers" { "" } else { " for sidecar containers" };
                errors.forbidden(&spec, format!("only cpu and memory resources{kind} are mutable"));
            }
        }
    }
}

fn resized(now: &Field<'_, '_>, before: &Field<'_, '_>, errors: &mut Errors) {
    for kind in ["requests", "limits"] {
        if !resources::keeps_all(&now.get(kind), &before.get(kind)) {
            errors.forbidden(&now.get(kind), format!("resource {kind} cannot be removed"));
        }
    }
}

/// Checks a binding of a pod to a node.
pub fn validate_binding(binding: &Value, errors: &mut Errors) {
    let target = Field::top(binding, "target");
    let kind = target.get("kind");
    if !matches!(kind.text(), "" | "Node") {
        errors.not_supported(&kind, &["Node", "<empty>"]);
    }
    errors.require(&target.get("name"), "");
}

/// Checks a write to `/status`.
pub(super) fn status(new: &Value, old: &Value, errors: &mut Errors) {
    annotations(new, old, errors);
    let meta = meta::of(new);
    let conditions = Field::top(new, "status");
    for (at, condition) in conditions.get("conditions").items().enumerate() {
        let kind = condition.get("type");
        if !matches!(kind.text(), "PodScheduled" | "Ready" | "Initialized") {
            let place = meta.get("conditions");
            let place = place.index(at);
            errors.invalid_each(&kind.renamed(&place.get("Type")), names::qualified_name(kind.text()));
        }
    }
    let status = Field::top(new, "status");
    let node = status.get("nominatedNodeName");
    if !node.is_empty() && node.text() != text(old, &["status", "nominatedNodeName"]) {
        meta::reference(&node, errors);
    }
    errors.immutable(&status.get("qosClass"), dig(old, &["status", "qosClass"]));
    let policy = text(old, &["spec", "restartPolicy"]);
    for (list, policy) in
        [("containerStatuses", policy), ("initContainerStatuses", policy), ("ephemeralContainerStatuses", "Never")]
    {
        transitions(&status.get(list), old, list, policy, errors);
    }
    for list in ["podIPs", "hostIPs"] {
        for ip in status.get(list).items() {
            errors.ip(&ip.get("ip").renamed(&ip));
        }
    }
}

fn transitions(now: &Field<'_, '_>, old: &Value, list: &str, policy: &str, errors: &mut Errors) {
    if policy == "Always" {
        return;
    }
    let restarts = |name: &str| {
        items(old, &["spec", "initContainers"])
            .any(|c| text(c, &["name"]) == name && text(c, &["restartPolicy"]) == "Always")
    };
    for (at, before) in items(old, &["status", list]).enumerate() {
        let ended = dig(before, &["state", "terminated"]);
        let name = text(before, &["name"]);
        let failed = lookup(ended, "exitCode").as_i64().unwrap_or_default() != 0;
        if ended.is_null() || (failed && policy == "OnFailure") || restarts(name) {
            continue;
        }
        let revived = |status: &Field<'_, '_>| {
            status.get("name").text() == name && !status.get("state").get("terminated").present()
        };
        if now.items().any(|status| revived(&status)) {
            let place = now.index(at);
            errors.forbidden(&place.get("state"), "may not be transitioned to non-terminated state");
        }
    }
}
