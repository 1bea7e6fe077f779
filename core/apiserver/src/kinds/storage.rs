//! Storage classes, drivers and attachments.

use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_to, inside};
use super::errors::Errors;
use super::field::{Field, lookup, same};
use super::{BASE, Kind, prepare};

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES: usize = 256 * 1024;

pub(super) static CLASS: Kind = Kind {
    default: |class| {
        default_to(class, "reclaimPolicy", "Delete");
        default_to(class, "volumeBindingMode", "Immediate");
    },
    validate: class,
    ..BASE
};

fn class(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let of = |name: &'static str| Field::top(new, name);
    if let Some(old) = old {
        for name in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(of(name).value(), lookup(old, name)) {
                errors.forbidden(&of(name), format!("updates to {name} are forbidden."));
            }
        }
        errors.immutable(&of("volumeBindingMode"), lookup(old, "volumeBindingMode"));
        return;
    }
    let provisioner = of("provisioner");
    if provisioner.is_empty() {
        errors.required(&provisioner, "");
    } else {
        errors.invalid_each(&provisioner, names::qualified_name(&provisioner.text().to_lowercase()));
    }
    parameters(&of("parameters"), errors);
    errors.optional_one_of(&of("reclaimPolicy"), &["Delete", "Retain"]);
    errors.one_of(&of("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
}

fn parameters(list: &Field<'_, '_>, errors: &mut Errors) {
    if list.len() > PARAMETERS_MAX {
        errors.too_long(&list.renamed(&Field::top(list.value(), "Provisioner Parameters Length")), PARAMETERS_MAX);
        return;
    }
    let mut size = 0;
    for (key, value) in list.entries() {
        if key.is_empty() {
            errors.invalid_text(list, key, "field can not be empty.");
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > PARAMETERS_BYTES {
        errors.too_long(list, PARAMETERS_BYTES);
    }
}

pub(super) static DRIVER: Kind = Kind {
    default: |driver| {
        inside(driver, "spec", |spec| {
            default_to(spec, "attachRequired", true);
            for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
                default_to(spec, name, false);
            }
            default_to(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
            if lookup(spec, "volumeLifecycleModes").as_array().is_none_or(Vec::is_empty) {
                super::edit::set(spec, "volumeLifecycleModes", json!(["Persistent"]));
            }
        });
    },
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        if let Some(old) = old {
            for name in ["attachRequired", "volumeLifecycleModes"] {
                errors.immutable(&spec.get(name), lookup(lookup(old, "spec"), name));
            }
        }
        errors.optional_one_of(&spec.get("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"]);
        for mode in spec.get("volumeLifecycleModes").items() {
            errors.optional_one_of(&mode, &["Ephemeral", "Persistent"]);
        }
    },
    unconditional_update: false,
    ..BASE
};

pub(super) static ATTACHMENT: Kind = Kind {
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        if let Some(old) = old {
            errors.immutable(&spec, lookup(old, "spec"));
            return;
        }
        for name in ["attacher", "nodeName"] {
            errors.require(&spec.get(name), "");
        }
        let source = spec.get("source");
        let (name, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
        if name.present() && inline.present() {
            errors.forbidden(&inline, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        } else if !inline.present() && name.is_empty() {
            errors.required(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        }
    },
    has_status: true,
    unconditional_update: false,
    ..BASE
};
