//! ReplicaSets and ReplicationControllers.

use serde_json::Value;
use windlass_api::selector::Labels;

use super::{counts, fixed_selector, forever, not_above, selector, template};
use crate::kinds::edit::{default_to, inside, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig};
use crate::kinds::pod::{self, defaults};
use crate::kinds::{Kind, WITH_STATUS};

pub(in crate::kinds) static SET: Kind = Kind {
    default: |set| {
        within(set, "spec", |spec| {
            default_to(spec, "replicas", 1);
            defaults::template(spec);
        });
    },
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        errors.non_negative(&spec.get("replicas"));
        errors.non_negative(&spec.get("minReadySeconds"));
        selector(&spec.get("selector"), "deployment", errors);
        template(&spec, "ReplicaSet", errors);
        if let Some(old) = old {
            fixed_selector(&spec, old, errors);
        }
    },
    validate_status: status,
    fields,
    field_names: &["status.replicas"],
    ..WITH_STATUS
};

pub(in crate::kinds) static CONTROLLER: Kind = Kind {
    default: |controller| {
        let labels = dig(controller, &["spec", "template", "metadata", "labels"]).clone();
        if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            inside(controller, "spec", |spec| {
                if dig(spec, &["selector"]).as_object().is_none_or(serde_json::Map::is_empty) {
                    crate::kinds::edit::set(spec, "selector", labels.clone());
                }
            });
            within(controller, "metadata", |meta| {
                if dig(meta, &["labels"]).as_object().is_none_or(serde_json::Map::is_empty) {
                    crate::kinds::edit::set(meta, "labels", labels.clone());
                }
            });
        }
        within(controller, "spec", |spec| {
            default_to(spec, "replicas", 1);
            if !dig(spec, &["template"]).is_null() {
                defaults::template(spec);
            }
        });
    },
    validate: controller,
    validate_status: status,
    fields,
    field_names: &["status.replicas"],
    ..WITH_STATUS
};

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    vec![("status.replicas", dig(object, &["status", "replicas"]).as_i64().unwrap_or_default().to_string())]
}

fn controller(new: &Value, _: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    errors.non_negative(&spec.get("minReadySeconds"));
    let wanted = spec.get("selector");
    errors.require(&wanted, "");
    errors.non_negative(&spec.get("replicas"));
    let template = spec.get("template");
    if !template.present() {
        errors.required(&template, "");
        return;
    }
    let meta = template.get("metadata");
    let labels = meta.get("labels");
    let pairs = wanted.entries().map(|(key, value)| (key, value.as_str().unwrap_or_default()));
    if !Labels::equal_to(pairs).matches_json(Some(labels.value())) {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
    pod::spec::template(&template, errors);
    forever(&template, "ReplicationController", errors);
}

fn status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let names = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    counts(&status, &names, errors);
    for name in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        not_above(&status, name, "replicas", "status.replicas", errors);
    }
    not_above(&status, "availableReplicas", "readyReplicas", "readyReplicas", errors);
}
