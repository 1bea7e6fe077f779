//! The rules of the volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use windlass_api::names;

use super::env;
use super::mounts::{Volumes, descending, no_backsteps};
use crate::kinds::errors::{Errors, NEGATIVE};
use crate::kinds::field::Field;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// Each source in the order it is checked, with the texts it cannot do without.
const SOURCES: &[(&str, &[&str])] = &[
    ("emptyDir", &[]),
    ("hostPath", &[]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("quobyte", &["registry", "volume"]),
    ("downwardAPI", &[]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("configMap", &["name"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("storageos", &[]),
    ("projected", &[]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", &["driver"]),
    ("ephemeral", &[]),
    ("image", &["reference"]),
];

/// Checks the volumes and answers which there are.
pub(super) fn all<'a>(spec: &Field<'_, 'a>, pod_name: &str, errors: &mut Errors) -> Volumes<'a> {
    let mut known: Volumes<'a> = BTreeMap::new();
    let list = spec.get("volumes");
    for volume in list.items() {
        let name = volume.get("name");
        let before = errors.len();
        source(&volume, pod_name, errors);
        if errors.require(&name, "") {
            errors.invalid_each(&name, names::dns_1123_label(name.text()));
        }
        if known.contains_key(name.text()) {
            errors.duplicate(&name);
        }
        if errors.len() == before {
            let kind = SOURCES.iter().find(|(kind, _)| volume.get(kind).present());
            known.insert(name.text(), kind.map_or("", |(kind, _)| kind));
        }
    }
    // A volume that is itself wrong is still there: its mounts are not called unknown.
    for name in spec.get("volumes").strings_of("name") {
        known.entry(name).or_default();
    }
    known
}

fn source(volume: &Field<'_, '_>, pod_name: &str, errors: &mut Errors) {
    let mut found = 0;
    for (kind, required) in SOURCES {
        let source = volume.get(kind);
        if !source.present() {
            continue;
        }
        found += 1;
        if found > 1 {
            errors.forbidden(&source, "may not specify more than 1 volume type");
            continue;
        }
        for name in *required {
            errors.require(&source.get(name), "");
        }
        details(kind, &source, volume, pod_name, errors);
    }
    if found == 0 {
        errors.required(volume, "must specify a volume type");
    }
}

fn details(kind: &str, source: &Field<'_, '_>, volume: &Field<'_, '_>, pod_name: &str, errors: &mut Errors) {
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit");
            if limit.amount().is_some_and(|limit| limit.is_negative()) {
                errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
            }
            if !matches!(source.get("medium").text(), "" | "Memory" | "HugePages")
                && !source.get("medium").text().starts_with("HugePages-")
            {
                errors.not_supported(&source.get("medium"), &["", "HugePages", "Memory"]);
            }
        }
        "hostPath" if errors.require(&source.get("path"), "") => {
            no_backsteps(&source.get("path"), errors);
            errors.optional_one_of(&source.get("type"), HOST_PATH_TYPES);
        }
        "secret" | "configMap" => keyed(source, errors),
        "nfs" if !source.get("path").is_empty() && !source.get("path").text().starts_with('/') => {
            errors.invalid(&source.get("path"), "must be an absolute path");
        }
        "downwardAPI" => {
            mode(&source.get("defaultMode"), errors);
            for file in source.get("items").items() {
                downward_file(&file, errors);
            }
        }
        "projected" => projected(source, errors),
        "gitRepo" => descending(&source.get("directory"), errors),
        "ephemeral" => {
            let template = source.get("volumeClaimTemplate");
            if !template.present() {
                errors.required(&template, "");
            }
            let claim = format!("{pod_name}-{}", volume.get("name").text());
            if !pod_name.is_empty() && !volume.get("name").is_empty() {
                for complaint in names::dns_1123_subdomain(&claim) {
                    errors.invalid(&volume.get("name"), format!("PVC name {claim:?}: {complaint}"));
                }
            }
        }
        "csi" => {
            let secret = source.get("nodePublishSecretRef");
            if secret.present() {
                errors.require(&secret.get("name"), "");
            }
        }
        "image" => errors.optional_one_of(&source.get("pullPolicy"), &["Always", "IfNotPresent", "Never"]),
        "iscsi" => errors.in_range(&source.get("lun"), 0, 255),
        _ => {}
    }
}

fn mode(mode: &Field<'_, '_>, errors: &mut Errors) {
    if mode.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(mode, MODE);
    }
}

/// Checks a source that shows the keys of a config map or secret as files.
fn keyed(source: &Field<'_, '_>, errors: &mut Errors) {
    mode(&source.get("defaultMode"), errors);
    for item in source.get("items").items() {
        key_to_path(&item, errors);
    }
}

fn key_to_path(item: &Field<'_, '_>, errors: &mut Errors) {
    errors.require(&item.get("key"), "");
    let path = item.get("path");
    if errors.require(&path, "") {
        not_hidden(&path, errors);
    }
    mode(&item.get("mode"), errors);
}

/// Checks that a path is relative, never steps up and does not start with two dots.
fn not_hidden(path: &Field<'_, '_>, errors: &mut Errors) {
    descending(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        errors.invalid(path, "must not start with '..'");
    }
}

fn downward_file(file: &Field<'_, '_>, errors: &mut Errors) {
    let path = file.get("path");
    if errors.require(&path, "") {
        not_hidden(&path, errors);
    }
    let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
    if field.present() {
        env::field_reference(&field, env::VOLUME_FIELDS, errors);
        if resource.present() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid_text(file, "resource", detail);
        }
    } else if resource.present() {
        env::resource_reference(&resource, true, errors);
    } else {
        errors.required(file, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&file.get("mode"), errors);
}

fn projected(source: &Field<'_, '_>, errors: &mut Errors) {
    mode(&source.get("defaultMode"), errors);
    let sources = source.get("sources");
    let mut paths = BTreeSet::new();
    for one in sources.items() {
        let mut found = 0;
        for kind in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let part = one.get(kind);
            if !part.present() {
                continue;
            }
            found += 1;
            if found > 1 {
                errors.forbidden(&part, "may not specify more than 1 volume type");
                continue;
            }
            projection(kind, &part, errors);
            let own = part.get("path").text();
            for path in part.get("items").strings_of("path").chain((!own.is_empty()).then_some(own)) {
                if !paths.insert(path.to_owned()) {
                    errors.invalid_text(source, path, "conflicting duplicate paths");
                }
            }
        }
        if found == 0 {
            errors.required(&one, "must specify a source type");
        }
    }
}

fn projection(kind: &str, part: &Field<'_, '_>, errors: &mut Errors) {
    match kind {
        "secret" | "configMap" => {
            errors.require(&part.get("name"), "");
            for item in part.get("items").items() {
                key_to_path(&item, errors);
            }
        }
        "downwardAPI" => {
            for file in part.get("items").items() {
                downward_file(&file, errors);
            }
        }
        "serviceAccountToken" => {
            let (seconds, path) = (part.get("expirationSeconds"), part.get("path"));
            if seconds.int().is_some_and(|s| s < MIN_TOKEN_SECONDS) {
                errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
            } else if seconds.int().is_some_and(|s| s > MAX_TOKEN_SECONDS) {
                errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
            }
            if errors.require(&path, "") {
                not_hidden(&path, errors);
            }
        }
        "clusterTrustBundle" => {
            if !part.get("name").present() && !part.get("signerName").present() {
                errors.required(part, "either name or signerName must be specified");
            } else if part.get("name").present() && part.get("signerName").present() {
                errors.invalid_text(part, "", "only one of name and signerName may be used");
            }
            errors.require(&part.get("path"), "");
        }
        _ => {
            errors.require(&part.get("signerName"), "");
            errors.one_of(
                &part.get("keyType"),
                &["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"],
            );
        }
    }
}

/// Checks the size of a claim's storage request.
pub(in crate::kinds) fn storage_request(size: &Field<'_, '_>, errors: &mut Errors) {
    match size.amount() {
        None => errors.required(size, ""),
        Some(amount) if amount.is_zero() || amount.is_negative() => {
            let shown = json!(amount.to_string());
            errors
                .invalid(&size.with(&shown), if amount.is_negative() { NEGATIVE } else { "must be greater than zero" });
        }
        Some(_) => {}
    }
}
