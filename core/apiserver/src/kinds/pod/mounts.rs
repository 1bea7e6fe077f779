//! The rules of where a container mounts the volumes of its pod.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Around;
use crate::kinds::errors::Errors;
use crate::kinds::field::Field;

/// The volumes of a pod by name, each with the kind of its source.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a str>;

/// Checks the mounts of a container.
pub(super) fn mounts(container: &Field<'_, '_>, around: &Around<'_>, errors: &mut Errors) {
    let (list, devices) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let mut seen = BTreeSet::new();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        errors.require(&name, "");
        let source = around.volumes.get(name.text());
        if source.is_none() {
            errors.not_found(&name);
        }
        errors.require(&path, "");
        if !seen.insert(path.text()) {
            errors.invalid(&path, "must be unique");
        }
        if devices.strings_of("name").any(|device| device == name.text()) {
            errors.invalid(&name, "must not already exist in volumeDevices");
        }
        if devices.strings_of("devicePath").any(|device| device == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeDevices");
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        if source == Some(&"image") && !expression.is_empty() {
            errors.invalid(&expression, "not allowed in image volume sources");
        }
        if !sub.is_empty() {
            descending(&list.get("subPath").with(sub.value()), errors);
        }
        if !expression.is_empty() {
            if !sub.is_empty() {
                errors.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
            }
            descending(&list.get("subPathExpr").with(expression.value()), errors);
        }
        propagation(&mount, &list, container, errors);
    }
}

fn propagation(mount: &Field<'_, '_>, list: &Field<'_, '_>, container: &Field<'_, '_>, errors: &mut Errors) {
    let propagation = mount.get("mountPropagation");
    if propagation.present() {
        let at = list.get("mountPropagation");
        let at = at.with(propagation.value());
        errors.optional_one_of(&at, &["Bidirectional", "HostToContainer", "None"]);
        let privileged = container.get("securityContext").get("privileged").is_true();
        if propagation.text() == "Bidirectional" && !privileged {
            errors.forbidden(&at, "Bidirectional mount propagation is available only to privileged containers");
        }
    }
    let recursive = mount.get("recursiveReadOnly");
    match recursive.text() {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            let at = list.get("recursiveReadOnly");
            if !mount.get("readOnly").is_true() {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
            if propagation.present() && propagation.text() != "None" {
                errors.forbidden(&at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        _ => {
            let at = list.get("recursiveReadOnly");
            errors.not_supported(&at.with(recursive.value()), &["Disabled", "IfPossible", "Enabled"]);
        }
    }
}

/// Checks the raw devices of a container.
pub(super) fn devices(container: &Field<'_, '_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (list, mounts) = (container.get("volumeDevices"), container.get("volumeMounts"));
    let (mut paths, mut names) = (BTreeSet::new(), BTreeSet::new());
    for device in list.items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        errors.require(&name, "");
        if names.contains(name.text()) {
            errors.invalid(&name, "must be unique");
        }
        match volumes.get(name.text()) {
            None => errors.not_found(&name),
            Some(&"persistentVolumeClaim" | &"ephemeral") => {}
            Some(_) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name, detail);
            }
        }
        errors.require(&path, "");
        if paths.contains(path.text()) {
            errors.invalid(&path, "must be unique");
        }
        if path.text().split('/').any(|part| part == "..") {
            errors.invalid(&path, "can not contain backsteps ('..')");
        } else {
            paths.insert(path.text());
        }
        if mounts.strings_of("name").any(|mount| mount == name.text()) {
            errors.invalid(&name, "must not already exist in volumeMounts");
        }
        if mounts.strings_of("mountPath").any(|mount| mount == path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeMounts");
        }
        if !name.is_empty() {
            names.insert(name.text());
        }
    }
}

/// Checks that a path is relative and never steps up.
pub(super) fn descending(path: &Field<'_, '_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.invalid(path, "must be a relative path");
    }
    no_backsteps(path, errors);
}

/// Checks that a path never steps up.
pub(super) fn no_backsteps(path: &Field<'_, '_>, errors: &mut Errors) {
    if path.text().split('/').any(|part| part == "..") {
        errors.invalid(path, "must not contain '..'");
    }
}
