//! The rules of environment variables and of the references that fill them.

use windlass_api::names;

use crate::kinds::errors::Errors;
use crate::kinds::field::Field;
use crate::kinds::meta;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a volume may show of its pod.
pub(super) const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Checks the variables of a container.
pub(super) fn variables(list: &Field<'_, '_>, errors: &mut Errors) {
    for variable in list.items() {
        let name = variable.get("name");
        if errors.require(&name, "") {
            errors.invalid_each(&name, names::env_var_name(name.text()));
        }
        let from = variable.get("valueFrom");
        if from.present() {
            value_from(&from, !variable.get("value").is_empty(), errors);
        }
    }
}

fn value_from(from: &Field<'_, '_>, has_value: bool, errors: &mut Errors) {
    let mut sources = 0;
    if from.get("fieldRef").present() {
        sources += 1;
        field_reference(&from.get("fieldRef"), ENV_FIELDS, errors);
    }
    if from.get("resourceFieldRef").present() {
        sources += 1;
        resource_reference(&from.get("resourceFieldRef"), false, errors);
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        if from.get(source).present() {
            sources += 1;
            key_reference(&from.get(source), errors);
        }
    }
    if from.get("fileKeyRef").present() {
        sources += 1;
        let file = from.get("fileKeyRef");
        for field in ["key", "volumeName", "path"] {
            errors.require(&file.get(field), "");
        }
    }
    if sources == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid_text(from, "", detail);
    } else if has_value {
        errors.invalid_text(from, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid_text(from, "", "may not have more than one field specified at a time");
    }
}

/// Checks where a container takes whole sets of variables from.
pub(super) fn sources(list: &Field<'_, '_>, errors: &mut Errors) {
    for source in list.items() {
        let prefix = source.get("prefix");
        if !prefix.is_empty() {
            errors.invalid_each(&prefix, names::env_var_name(prefix.text()));
        }
        let mut found = 0;
        for kind in ["configMapRef", "secretRef"] {
            let reference = source.get(kind);
            if reference.present() {
                found += 1;
                let name = reference.get("name");
                if errors.require(&name, "") {
                    meta::reference(&name, errors);
                }
            }
        }
        match found {
            0 => errors.invalid_text(list, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_text(list, "", "may not have more than one field specified at a time"),
        }
    }
}

fn key_reference(reference: &Field<'_, '_>, errors: &mut Errors) {
    let (name, key) = (reference.get("name"), reference.get("key"));
    for complaint in names::dns_1123_subdomain(name.text()) {
        errors.invalid_text(&name, name.text(), complaint);
    }
    if errors.require(&key, "") {
        errors.invalid_each(&key, names::config_key(key.text()));
    }
}

/// Checks a reference to a field of the pod.
pub(super) fn field_reference(reference: &Field<'_, '_>, supported: &[&str], errors: &mut Errors) {
    if !errors.require(&reference.get("apiVersion"), "") || !errors.require(&reference.get("fieldPath"), "") {
        return;
    }
    let path = reference.get("fieldPath");
    let text = path.text();
    if let Some((field, subscript)) = text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        match field {
            "metadata.annotations" => {
                for complaint in names::qualified_name(&subscript.to_lowercase()) {
                    errors.invalid_text(reference, subscript, complaint);
                }
            }
            "metadata.labels" => {
                for complaint in names::qualified_name(subscript) {
                    errors.invalid_text(reference, subscript, complaint);
                }
            }
            _ => errors.invalid(&path, format!("error converting fieldPath: field label not supported: {text}")),
        }
    } else if !ENV_FIELDS.contains(&text) && !VOLUME_FIELDS.contains(&text) {
        errors.invalid(&path, format!("error converting fieldPath: field label not supported: {text}"));
    } else if !supported.contains(&text) {
        errors.not_supported(&path, supported);
    }
}

/// Checks a reference to a container's resource; one in a volume names the container.
pub(super) fn resource_reference(reference: &Field<'_, '_>, in_volume: bool, errors: &mut Errors) {
    let (container, resource) = (reference.get("containerName"), reference.get("resource"));
    let name = resource.text();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if in_volume && container.is_empty() {
        errors.required(&container, "");
    } else if name.is_empty() {
        errors.required(&resource, "");
    } else if !RESOURCES.contains(&name) && !huge {
        errors.not_supported(&resource, RESOURCES);
    }
    let divisor = reference.get("divisor");
    let Some(amount) = divisor.amount().filter(|amount| !amount.is_zero()) else { return };
    let (allowed, what): (&[&str], &str) = match name {
        "limits.cpu" | "requests.cpu" if !["1m", "1"].contains(&amount.to_string().as_str()) => {
            errors.invalid_text(&divisor, name, "only divisor's values 1m and 1 are supported with the cpu resource");
            return;
        }
        "limits.memory" | "requests.memory" => (SIZES, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (SIZES, "local ephemeral storage"),
        _ if huge => (SIZES, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&amount.to_string().as_str()) {
        let allowed = allowed.join(", ");
        errors.invalid_text(
            &divisor,
            name,
            format!("only divisor's values {allowed} are supported with the {what} resource"),
        );
    }
}
