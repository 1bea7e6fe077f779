//! PersistentVolumes and PersistentVolumeClaims.

use serde_json::{Map, Value, json};

use crate::kinds::edit::{copy, default_to, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, lookup, same, text};
use crate::kinds::pod::{self, volumes};
use crate::kinds::{BASE, Kind, diff, meta};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
const CLAIM_FIXED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub(in crate::kinds) static CLAIM: Kind = Kind {
    default: |claim| {
        claim_spec_default(claim);
        within(claim, "status", |status| default_to(status, "phase", "Pending"));
    },
    prepare_create: |claim| set(claim, "status", json!({"phase": "Pending"})),
    prepare_update: |new, old| copy(new, old, "status"),
    validate: claim,
    validate_status: |new, _, errors| {
        let spec = Field::top(new, "Spec");
        if dig(new, &["spec", "accessModes"]).as_array().is_none_or(Vec::is_empty) {
            errors.required(&spec.get("accessModes"), "");
        }
    },
    has_status: true,
    ..BASE
};

pub(in crate::kinds) static VOLUME: Kind = Kind {
    default: |volume| {
        within(volume, "spec", |spec| {
            default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
            default_to(spec, "volumeMode", "Filesystem");
            inside(spec, "hostPath", |path| {
                if lookup(path, "type").is_null() {
                    set(path, "type", "");
                }
            });
        });
        within(volume, "status", |status| default_to(status, "phase", "Pending"));
    },
    prepare_create: |volume| set(volume, "status", json!({"phase": "Pending"})),
    prepare_update: |new, old| copy(new, old, "status"),
    validate: volume,
    has_status: true,
    ..BASE
};

/// Fills in the spec of a claim, or of a template of one.
pub(in crate::kinds) fn claim_spec_default(claim: &mut Value) {
    within(claim, "spec", |spec| {
        default_to(spec, "volumeMode", "Filesystem");
        // A source in the same namespace is written in two fields, which agree.
        let (old, new) = (lookup(spec, "dataSource").clone(), lookup(spec, "dataSourceRef").clone());
        if !old.is_null() && new.is_null() {
            set(spec, "dataSourceRef", old);
        } else if old.is_null() && !new.is_null() && text(&new, &["namespace"]).is_empty() {
            set(spec, "dataSource", new);
        }
    });
}

/// Checks the spec of a claim, or of a template of one.
pub(in crate::kinds) fn claim_spec(spec: &Field<'_, '_>, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.required(&modes, "at least 1 access mode is required");
    }
    meta::selector(&spec.get("selector"), errors);
    access_modes(&modes, errors);
    let resources = spec.get("resources");
    let requests = resources.get("requests");
    volumes::storage_request(&requests.key("storage"), errors);
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        meta::reference(&class, errors);
    }
    errors.optional_one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
}

fn access_modes(modes: &Field<'_, '_>, errors: &mut Errors) {
    for mode in modes.items() {
        let text = mode.value();
        errors.optional_one_of(&modes.with(text), MODES);
    }
    if modes.len() > 1 && modes.strings().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

fn claim(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    claim_spec(&spec, errors);
    let Some(old) = old else { return };
    let (mut now, mut before) = (lookup(new, "spec").clone(), lookup(old, "spec").clone());
    if text(&before, &["volumeName"]).is_empty() {
        copy(&mut before, &now, "volumeName");
    }
    if lookup(&before, "storageClassName").is_null() {
        copy(&mut before, &now, "storageClassName");
    }
    let bound = text(new, &["status", "phase"]) == "Bound";
    if bound {
        let size = dig(&before, &["resources", "requests", "storage"]).clone();
        inside(&mut now, "resources", |r| inside(r, "requests", |r| set(r, "storage", size)));
        copy(&mut now, &before, "volumeAttributesClassName");
    }
    if !same(&now, &before) {
        let mut detail = format!("{CLAIM_FIXED}\n");
        diff::write(&mut detail, "", &before, &now);
        errors.forbidden(&spec, detail);
    }
    let resources = spec.get("resources");
    let size = resources.get("requests");
    let size = size.get("storage");
    let had = Field::top(old, "spec").get("resources").get("requests").get("storage").amount();
    let has = Field::top(old, "status").get("capacity").get("storage").amount();
    let (wanted, had, has) = (size.amount().unwrap_or_default(), had.unwrap_or_default(), has.unwrap_or_default());
    if wanted < had && wanted <= has {
        errors.forbidden(&size, "field can not be less than status.capacity");
    }
    let mode = spec.get("volumeMode");
    errors.immutable(&mode.renamed(&Field::top(new, "volumeMode")), dig(old, &["spec", "volumeMode"]));
}

fn volume(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (modes, capacity) = (spec.get("accessModes"), spec.get("capacity"));
    if modes.is_empty() {
        errors.required(&modes, "");
    }
    access_modes(&modes, errors);
    if capacity.is_empty() {
        errors.required(&capacity, "");
    }
    if !capacity.key("storage").present() || capacity.len() > 1 {
        let keys: Map<String, Value> = capacity.value().as_object().cloned().unwrap_or_default();
        errors.not_supported(&capacity.with(&Value::Object(keys)), &["storage"]);
    }
    for (name, _) in capacity.entries() {
        pod::resources::quantity(&capacity.key(name), name, errors);
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    errors.optional_one_of(&policy, &["Delete", "Recycle", "Retain"]);
    let found = SOURCES.iter().filter(|source| spec.get(source).present());
    for extra in found.clone().skip(1) {
        errors.forbidden(&spec.get(extra), "may not specify more than 1 volume type");
    }
    if found.count() == 0 {
        errors.required(&spec, "must specify a volume type");
    }
    let path = spec.get("hostPath");
    if path.present() {
        errors.require(&path.get("path"), "");
        if path.get("path").text() == "/" && policy.text() == "Recycle" {
            errors.forbidden(&policy, "may not be 'recycle' for a hostPath mount of '/'");
        }
    }
    if spec.get("local").present() {
        let (local, affinity) = (spec.get("local"), spec.get("nodeAffinity"));
        errors.require(&local.get("path"), "");
        if !affinity.present() {
            errors.required(&affinity, "Local volume requires node affinity");
        }
    }
    if spec.get("csi").present() {
        errors.require(&spec.get("csi").get("driver"), "");
        errors.require(&spec.get("csi").get("volumeHandle"), "");
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        meta::reference(&class, errors);
    }
    errors.optional_one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
    let required = spec.get("nodeAffinity");
    if required.present() {
        if required.get("required").present() {
            pod::node_selector(&required.get("required"), errors);
        } else {
            errors.required(&required.get("required"), "must specify required node constraints");
        }
    }
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let changed = SOURCES.iter().any(|source| !same(spec.get(source).value(), lookup(before, source)));
    if changed {
        let place = spec.get("persistentvolumesource");
        errors.forbidden(&place, "spec.persistentvolumesource is immutable after creation\n");
    }
    let mode = spec.get("volumeMode");
    errors.immutable(&mode.renamed(&Field::top(new, "volumeMode")), lookup(before, "volumeMode"));
}
