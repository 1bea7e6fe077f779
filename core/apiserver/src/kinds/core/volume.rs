//! PersistentVolumes and PersistentVolumeClaims.

use serde_json::{Map, Value, json};

use crate::kinds::edit::{copy, default_to, inside, remove, set, within};
use crate::kinds::errors::{Errors, NOT_POSITIVE};
use crate::kinds::field::{Field, dig, lookup, same, text};
use crate::kinds::pod::{self, volumes};
use crate::kinds::{BASE, Kind, diff, meta, storage};

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
/// What sources cannot do without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("hostPath", &["path"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("nfs", &["server", "path"]),
    ("rbd", &["monitors", "image"]),
    ("quobyte", &["registry", "volume"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("local", &["path"]),
    ("csi", &["volumeHandle"]),
];
const NOT_INLINE: &str = "may not be specified in the context of inline volumes";
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
    volume_spec(&spec, Stands::Alone, errors);
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let mut now = spec.value().clone();
    // A secret for growing may be named later.
    if dig(before, &["csi", "controllerExpandSecretRef"]).is_null() {
        inside(&mut now, "csi", |csi| _ = remove(csi, "controllerExpandSecretRef"));
    }
    if SOURCES.iter().any(|source| !same(lookup(&now, source), lookup(before, source))) {
        let place = spec.get("persistentvolumesource");
        errors.forbidden(&place, "spec.persistentvolumesource is immutable after creation\n");
    }
    let mode = spec.get("volumeMode");
    errors.immutable(&mode.renamed(&Field::top(new, "volumeMode")), lookup(before, "volumeMode"));
    let (affinity, was) = (spec.get("nodeAffinity"), lookup(before, "nodeAffinity"));
    if !was.is_null() && !same(affinity.value(), was) {
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.invalid(&affinity.renamed(&Field::top(new, "nodeAffinity")), detail);
    }
    let class = spec.get("volumeAttributesClassName");
    if !class.present() && !lookup(before, "volumeAttributesClassName").is_null() {
        errors.forbidden(&class, "update from non-nil value to nil is forbidden");
    }
}

/// Where the spec of a volume stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// In a volume of its own.
    Alone,
    /// In an attachment.
    Inline,
}

/// Checks the spec of a volume that stands in an attachment and has no object of its own.
pub(in crate::kinds) fn inline(spec: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["claimRef", "capacity"] {
        if !spec.get(name).is_empty() {
            errors.forbidden(&spec.get(name), NOT_INLINE);
        }
    }
    if !spec.get("csi").present() {
        errors.required(&spec.get("csi"), "has to be specified in the context of inline volumes");
    }
    volume_spec(spec, Stands::Inline, errors);
}

fn volume_spec(spec: &Field<'_, '_>, stands: Stands, errors: &mut Errors) {
    let alone = stands == Stands::Alone;
    let (modes, capacity) = (spec.get("accessModes"), spec.get("capacity"));
    errors.require(&modes, "");
    access_modes(&modes, errors);
    if alone {
        room(&capacity, errors);
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if alone {
        errors.optional_one_of(&policy, &["Delete", "Recycle", "Retain"]);
    } else if !matches!(policy.text(), "" | "Retain") {
        errors.forbidden(&policy, "may only be Retain in the context of inline volumes");
    }
    let affinity = spec.get("nodeAffinity");
    if affinity.present() && !alone {
        errors.forbidden(&affinity, NOT_INLINE);
    } else if affinity.present() {
        let required = affinity.get("required");
        if required.present() {
            pod::node_selector(&required, errors);
        } else {
            errors.required(&required, "must specify required node constraints");
        }
    }
    let mut found = SOURCES.iter().filter(|source| spec.get(source).present());
    match found.next() {
        None => errors.required(spec, "must specify a volume type"),
        Some(first) => {
            source(first, spec, errors);
            for extra in found {
                errors.forbidden(&spec.get(extra), "may not specify more than 1 volume type");
            }
        }
    }
    let root = spec.get("hostPath").get("path").text().trim_matches('/').is_empty();
    if spec.get("hostPath").present() && root && policy.text() == "Recycle" {
        errors.forbidden(&policy, "may not be 'recycle' for a hostPath mount of '/'");
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() && !alone {
        errors.forbidden(&class, NOT_INLINE);
    } else if !class.is_empty() {
        meta::reference(&class, errors);
    }
    let mode = spec.get("volumeMode");
    if alone {
        errors.optional_one_of(&mode, &["Block", "Filesystem"]);
    } else if !matches!(mode.text(), "" | "Filesystem") {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(&mode, detail);
    }
    let attributes = spec.get("volumeAttributesClassName");
    if attributes.present() {
        if errors.require(&attributes, "an empty string is disallowed") {
            meta::reference(&attributes, errors);
        }
        if !spec.get("csi").present() {
            errors.required(&spec.get("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// Checks how much a volume holds.
fn room(capacity: &Field<'_, '_>, errors: &mut Errors) {
    errors.require(capacity, "");
    if !capacity.key("storage").present() || capacity.len() > 1 {
        let keys: Map<String, Value> = capacity.value().as_object().cloned().unwrap_or_default();
        errors.not_supported(&capacity.with(&Value::Object(keys)), &["storage"]);
    }
    for (name, _) in capacity.entries() {
        let amount = capacity.key(name);
        pod::resources::quantity(&amount, name, errors);
        if let Some(value) = amount.amount().filter(|value| value.is_zero() || value.is_negative()) {
            errors.invalid_text(&amount, &value.to_string(), NOT_POSITIVE);
        }
    }
}

/// Checks the source of a volume.
fn source(kind: &str, spec: &Field<'_, '_>, errors: &mut Errors) {
    let source = spec.get(kind);
    if kind == "csi" {
        storage::driver_reference(&source.get("driver"), errors);
    }
    for (_, required) in REQUIRED.iter().filter(|(of, _)| *of == kind) {
        for name in *required {
            errors.require(&source.get(name), "");
        }
    }
    let path = source.get("path");
    match kind {
        "nfs" if !path.is_empty() && !path.text().starts_with('/') => {
            errors.invalid(&path, "must be an absolute path");
        }
        "hostPath" | "local" if path.text().split('/').any(|part| part == "..") => {
            errors.invalid(&path, "must not contain '..'");
        }
        "local" if !spec.get("nodeAffinity").get("required").present() => {
            errors.required(&spec.get("nodeAffinity"), "Local volume requires node affinity");
        }
        "csi" => {
            for name in [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ] {
                let secret = source.get(name);
                if secret.present() {
                    secret_reference(&secret, errors);
                }
            }
        }
        _ => {}
    }
}

fn secret_reference(secret: &Field<'_, '_>, errors: &mut Errors) {
    let (name, namespace) = (secret.get("name"), secret.get("namespace"));
    if errors.require(&name, "") {
        meta::reference(&name, errors);
    }
    if errors.require(&namespace, "") {
        errors.invalid_each(&namespace, windlass_api::names::dns_1123_label(namespace.text()));
    }
}
