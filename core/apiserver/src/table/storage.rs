//! The rows of volumes, claims, classes and drivers, and of devices.

use jiff::Timestamp;
use serde_json::Value;

use super::cluster::{phase, setting};
use super::text::{UNSET, born, cell, cell_or, count, joined, name};
use super::{AGE, Column, NAME};
use crate::kinds::field::{dig, items, lookup, text};

const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) const VOLUME: &[Column] = &[
    NAME,
    Column::new("Capacity", "string"),
    Column::new("Access Modes", "string"),
    Column::new("Reclaim Policy", "string"),
    Column::new("Status", "string"),
    Column::new("Claim", "string"),
    Column::new("StorageClass", "string"),
    Column::new("VolumeAttributesClass", "string"),
    Column::new("Reason", "string"),
    AGE,
    Column::wide("VolumeMode", "string"),
];

pub(super) fn volume(volume: &Value, now: Timestamp) -> Vec<Value> {
    let claim = dig(volume, &["spec", "claimRef"]);
    let claim = match claim {
        Value::Null => String::new(),
        claim => format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"])),
    };
    vec![
        name(volume),
        cell(volume, &["spec", "capacity", "storage"]),
        modes(dig(volume, &["spec", "accessModes"])),
        cell(volume, &["spec", "persistentVolumeReclaimPolicy"]),
        phase(volume),
        claim.into(),
        cell(volume, &["spec", "storageClassName"]),
        cell_or(volume, &["spec", "volumeAttributesClassName"], UNSET),
        cell(volume, &["status", "reason"]),
        born(volume, now),
        cell_or(volume, &["spec", "volumeMode"], UNSET),
    ]
}

pub(super) const CLAIM: &[Column] = &[
    NAME,
    Column::new("Status", "string"),
    Column::new("Volume", "string"),
    Column::new("Capacity", "string"),
    Column::new("Access Modes", "string"),
    Column::new("StorageClass", "string"),
    Column::new("VolumeAttributesClass", "string"),
    AGE,
    Column::wide("VolumeMode", "string"),
];

pub(super) fn claim(claim: &Value, now: Timestamp) -> Vec<Value> {
    let bound = !text(claim, &["spec", "volumeName"]).is_empty();
    let when_bound = |value: Value| if bound { value } else { "".into() };
    vec![
        name(claim),
        phase(claim),
        cell(claim, &["spec", "volumeName"]),
        when_bound(cell(claim, &["status", "capacity", "storage"])),
        when_bound(modes(dig(claim, &["status", "accessModes"]))),
        cell(claim, &["spec", "storageClassName"]),
        cell_or(claim, &["spec", "volumeAttributesClassName"], UNSET),
        born(claim, now),
        cell_or(claim, &["spec", "volumeMode"], UNSET),
    ]
}

/// Access modes by their short names, in the usual order.
fn modes(list: &Value) -> Value {
    let known =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| list.as_array().is_some_and(|list| list.iter().any(|m| m == mode));
    joined(known.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short), "")
}

pub(super) const CLASS: &[Column] = &[
    NAME,
    Column::new("Provisioner", "string"),
    Column::new("ReclaimPolicy", "string"),
    Column::new("VolumeBindingMode", "string"),
    Column::new("AllowVolumeExpansion", "string"),
    AGE,
];

pub(super) fn class(class: &Value, now: Timestamp) -> Vec<Value> {
    let annotations = dig(class, &["metadata", "annotations"]);
    let default = DEFAULT_CLASS.iter().any(|key| text(annotations, &[key]) == "true");
    let own = text(class, &["metadata", "name"]);
    vec![
        if default { format!("{own} (default)").into() } else { own.into() },
        cell(class, &["provisioner"]),
        cell_or(class, &["reclaimPolicy"], "Delete"),
        cell_or(class, &["volumeBindingMode"], "Immediate"),
        lookup(class, "allowVolumeExpansion").as_bool().unwrap_or_default().into(),
        born(class, now),
    ]
}

pub(super) const ATTACHMENT: &[Column] = &[
    NAME,
    Column::new("Attacher", "string"),
    Column::new("PV", "string"),
    Column::new("Node", "string"),
    Column::new("Attached", "boolean"),
    AGE,
];

pub(super) fn attachment(attachment: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(attachment),
        cell(attachment, &["spec", "attacher"]),
        cell(attachment, &["spec", "source", "persistentVolumeName"]),
        cell(attachment, &["spec", "nodeName"]),
        dig(attachment, &["status", "attached"]).as_bool().unwrap_or_default().into(),
        born(attachment, now),
    ]
}

pub(super) const ATTRIBUTES: &[Column] = &[NAME, Column::new("DriverName", "string"), AGE];

pub(super) fn attributes(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(class), cell(class, &["driverName"]), born(class, now)]
}

pub(super) const CSI_NODE: &[Column] = &[NAME, Column::new("Drivers", "integer"), AGE];

pub(super) fn csi_node(node: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(node), count(lookup(node, "spec"), "drivers").into(), born(node, now)]
}

pub(super) const CSI_DRIVER: &[Column] = &[
    NAME,
    Column::new("AttachRequired", "boolean"),
    Column::new("PodInfoOnMount", "boolean"),
    Column::new("StorageCapacity", "boolean"),
    Column::new("TokenRequests", "string"),
    Column::new("RequiresRepublish", "boolean"),
    Column::new("Modes", "string"),
    AGE,
];

pub(super) fn csi_driver(driver: &Value, now: Timestamp) -> Vec<Value> {
    let tokens = items(driver, &["spec", "tokenRequests"]).map(|request| text(request, &["audience"]));
    let modes = items(driver, &["spec", "volumeLifecycleModes"]).filter_map(Value::as_str);
    vec![
        name(driver),
        setting(driver, "attachRequired"),
        setting(driver, "podInfoOnMount"),
        setting(driver, "storageCapacity"),
        joined(tokens, UNSET),
        setting(driver, "requiresRepublish"),
        joined(modes, "<none>"),
        born(driver, now),
    ]
}

pub(super) const CAPACITY: &[Column] =
    &[NAME, Column::new("StorageClassName", "string"), Column::new("Capacity", "string")];

pub(super) fn capacity(capacity: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(capacity), cell(capacity, &["storageClassName"]), cell_or(capacity, &["capacity"], UNSET)]
}

pub(super) const DEVICE_CLAIM: &[Column] = &[NAME, Column::new("State", "string"), AGE];

pub(super) fn device_claim(claim: &Value, now: Timestamp) -> Vec<Value> {
    let mut states = Vec::new();
    if super::text::leaving(claim) {
        states.push("deleted");
    }
    if !dig(claim, &["status", "allocation"]).is_null() {
        states.push("allocated");
    }
    if items(claim, &["status", "reservedFor"]).next().is_some() {
        states.push("reserved");
    }
    vec![name(claim), joined(states.into_iter(), "pending"), born(claim, now)]
}

pub(super) const DEVICES: &[Column] =
    &[NAME, Column::new("Node", "string"), Column::new("Driver", "string"), Column::new("Pool", "string"), AGE];

pub(super) fn devices(slice: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(slice),
        cell_or(slice, &["spec", "nodeName"], UNSET),
        cell(slice, &["spec", "driver"]),
        cell(slice, &["spec", "pool", "name"]),
        born(slice, now),
    ]
}

pub(super) const TRUST: &[Column] = &[NAME, Column::new("SignerName", "string")];

pub(super) fn trust(bundle: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(bundle), cell_or(bundle, &["spec", "signerName"], "<none>")]
}
