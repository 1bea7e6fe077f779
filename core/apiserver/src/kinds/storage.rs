//! Storage classes, drivers, attachments, and what drivers say of nodes and of room.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use windlass_api::names;

use super::core::volume;
use super::edit::{default_to, inside, set};
use super::errors::Errors;
use super::field::{Field, lookup, same};
use super::{BASE, Kind, meta, prepare};

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES: usize = 256 * 1024;
const ERROR_MESSAGE_BYTES: usize = 1024;
const NODE_ID_MAX: usize = 256;
const SHORTEST_TOKEN: i64 = 600;
const LONGEST_TOKEN: i64 = 1 << 32;
const SHORTEST_UPDATE: i64 = 10;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

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
    driver_name(&of("provisioner"), errors);
    parameters(&of("parameters"), errors);
    errors.optional_one_of(&of("reclaimPolicy"), &["Delete", "Retain"]);
    errors.one_of(&of("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    topologies(&of("allowedTopologies"), errors);
}

/// Checks the name of whoever makes volumes.
fn driver_name(name: &Field<'_, '_>, errors: &mut Errors) {
    if errors.require(name, "") {
        let lower = name.text().to_lowercase();
        for complaint in names::qualified_name(&lower) {
            errors.invalid_text(name, &lower, complaint);
        }
    }
}

fn parameters(list: &Field<'_, '_>, errors: &mut Errors) {
    if list.len() > PARAMETERS_MAX {
        errors.too_long(list, PARAMETERS_MAX);
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

/// Checks the places in which a class makes volumes: none of them said twice, in whatever order.
fn topologies(terms: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in terms.items() {
        let requirements = term.get("matchLabelExpressions");
        let mut said = BTreeMap::new();
        for requirement in requirements.items() {
            let (key, values) = (requirement.get("key"), requirement.get("values"));
            let mut known = BTreeSet::new();
            errors.require(&values, "");
            for value in values.items() {
                if !known.insert(value.text()) {
                    errors.duplicate(&value);
                }
            }
            errors.invalid_each(&key.with(&json!(key.text())), names::qualified_name(key.text()));
            if said.insert(key.text(), known).is_some() {
                errors.duplicate(&key);
            }
        }
        if seen.contains(&said) {
            errors.duplicate_text(&requirements, "");
        }
        seen.push(said);
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
                set(spec, "volumeLifecycleModes", json!(["Persistent"]));
            }
        });
    },
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: driver,
    unconditional_update: false,
    ..BASE
};

fn driver(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    for (name, place) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if !spec.get(name).present() {
            errors.required(&spec.get(place), "");
        }
    }
    errors.optional_one_of(&spec.get("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"]);
    token_requests(&spec.get("tokenRequests"), errors);
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.items() {
        errors.optional_one_of(&modes.with(mode.value()), &["Persistent", "Ephemeral"]);
    }
    if !spec.get("seLinuxMount").present() {
        errors.required(&spec.get("seLinuxMount"), "");
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|seconds| seconds < SHORTEST_UPDATE) {
        errors.invalid(&period, "must be greater than or equal to 10 seconds");
    }
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let attach = spec.get("attachRequired");
    errors.immutable(&attach.renamed(&spec.get("attachedRequired")), lookup(before, "attachRequired"));
    errors.immutable(&modes, lookup(before, "volumeLifecycleModes"));
}

fn token_requests(requests: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for request in requests.items() {
        let (audience, seconds) = (request.get("audience"), request.get("expirationSeconds"));
        if !seen.insert(audience.text()) {
            errors.duplicate(&audience);
            continue;
        }
        if seconds.int().is_some_and(|seconds| seconds < SHORTEST_TOKEN) {
            errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds.int().is_some_and(|seconds| seconds > LONGEST_TOKEN) {
            errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}

pub(super) static ATTACHMENT: Kind = Kind {
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: |new, old, errors| {
        attachment(new, errors);
        if let Some(old) = old {
            errors.immutable(&Field::top(new, "spec"), lookup(old, "spec"));
        } else {
            attachment_names(new, errors);
        }
    },
    validate_status: |new, _, errors| attachment(new, errors),
    has_status: true,
    unconditional_update: false,
    ..BASE
};

fn attachment(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    errors.require(&spec.get("attacher"), "");
    let source = spec.get("source");
    let (name, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
    match (name.present(), inline.present()) {
        (false, false) => errors.required(&source, ONE_SOURCE),
        (true, true) => errors.forbidden(&source, ONE_SOURCE),
        (true, false) => _ = errors.require(&name, "must specify non empty persistentVolumeName"),
        (false, true) => volume::inline(&inline, errors),
    }
    let node = spec.get("nodeName");
    errors.invalid_each(&node.with(&json!(node.text())), names::dns_1123_subdomain(node.text()));
    let status = Field::top(new, "status");
    let told = status.get("attachmentMetadata");
    let size: usize = told.entries().map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len()).sum();
    if size > PARAMETERS_BYTES {
        errors.too_long(&told, PARAMETERS_BYTES);
    }
    for name in ["attachError", "detachError"] {
        let trouble = status.get(name);
        if trouble.get("message").len() > ERROR_MESSAGE_BYTES {
            // Upstream names the limit of the metadata here.
            errors.too_long(&trouble.get("message"), PARAMETERS_BYTES);
        }
        errors.in_range(&trouble.get("errorCode"), 0, i64::from(i32::MAX));
    }
}

/// Checks what a new attachment names.
fn attachment_names(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    driver_reference(&spec.get("attacher"), errors);
    let name = spec.get("source");
    let name = name.get("persistentVolumeName");
    if name.present() {
        meta::reference(&name, errors);
    }
}

/// Checks the name of a CSI driver, as claims of devices know theirs, too.
pub(super) fn driver_reference(name: &Field<'_, '_>, errors: &mut Errors) {
    const NAME_MAX: usize = 63;
    errors.require(name, "");
    if name.len() > NAME_MAX {
        errors.too_long(name, NAME_MAX);
    }
    let lower = name.text().to_lowercase();
    for complaint in names::dns_1123_subdomain(&lower) {
        errors.invalid_text(name, name.text(), complaint);
    }
}

pub(super) static NODE: Kind = Kind { validate: node, unconditional_update: false, ..BASE };

fn node(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let drivers = spec.get("drivers");
    let mut seen = BTreeSet::new();
    for driver in drivers.items() {
        let (name, id) = (driver.get("name"), driver.get("nodeID"));
        driver_reference(&name, errors);
        errors.require(&id, "");
        if id.len() > NODE_ID_MAX {
            errors.invalid(&id, format!("must be {NODE_ID_MAX} characters or less"));
        }
        let allocatable = driver.get("allocatable");
        errors.non_negative(&allocatable.get("count"));
        if !seen.insert(name.text()) {
            errors.duplicate(&name);
        }
        let mut keys = BTreeSet::new();
        for key in driver.get("topologyKeys").strings() {
            if key.is_empty() {
                errors.required(&driver, "");
            }
            if !keys.insert(key) {
                errors.duplicate_text(&driver, key);
            }
            for complaint in names::qualified_name(key) {
                errors.invalid_text(&driver, key, complaint);
            }
        }
    }
    let Some(old) = old else { return };
    let without_room = |driver: &Value| {
        let mut driver = driver.clone();
        super::edit::remove(&mut driver, "allocatable");
        driver
    };
    for before in Field::top(old, "spec").get("drivers").items() {
        for driver in drivers.items().filter(|driver| driver.get("name").text() == before.get("name").text()) {
            let now = without_room(driver.value());
            errors.immutable(&drivers.with(&now), &without_room(before.value()));
        }
    }
}

pub(super) static CAPACITY: Kind = Kind { validate: capacity, unconditional_update: false, ..BASE };

fn capacity(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (topology, class) = (Field::top(new, "nodeTopology"), Field::top(new, "storageClassName"));
    if let Some(old) = old {
        errors.immutable(&topology, lookup(old, "nodeTopology"));
        errors.immutable(&class.with(&json!(class.text())), &json!(super::field::text(old, &["storageClassName"])));
        return;
    }
    meta::selector(&topology, errors);
    errors.invalid_each(&class.with(&json!(class.text())), names::dns_1123_subdomain(class.text()));
    let room = Field::top(new, "capacity");
    if let Some(amount) = room.amount().filter(|amount| amount.is_negative()) {
        errors.invalid_text(&room, &amount.to_string(), super::errors::NEGATIVE);
    }
}

pub(super) static ATTRIBUTES: Kind = Kind { validate: attributes, ..BASE };

fn attributes(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (driver, list) = (Field::top(new, "driverName"), Field::top(new, "parameters"));
    if let Some(old) = old {
        for field in [("driverName", &driver), ("parameters", &list)] {
            if !same(field.1.value(), lookup(old, field.0)) {
                errors.forbidden(field.1, format!("updates to {} are forbidden.", field.0));
            }
        }
    }
    driver_name(&driver, errors);
    parameters(&list, errors);
    errors.require(&list, "must contain at least one key/value pair");
}
