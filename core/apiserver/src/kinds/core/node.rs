//! Nodes: what a machine says of itself comes with it, what was set once stays.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::edit::{copy, default_to, inside, set};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, lookup, text};
use crate::kinds::{BASE, Kind, meta, pod};

pub(in crate::kinds) static NODE: Kind = Kind {
    default,
    prepare_update: |new, old| copy(new, old, "status"),
    validate,
    validate_status: |new, old, errors| validate(new, Some(old), errors),
    fields: |node| {
        let shut = dig(node, &["spec", "unschedulable"]).as_bool().unwrap_or_default();
        vec![("spec.unschedulable", shut.to_string())]
    },
    field_names: &["spec.unschedulable"],
    has_status: true,
    ..BASE
};

fn default(node: &mut Value) {
    inside(node, "spec", |spec| {
        let (one, many) = (text(spec, &["podCIDR"]).to_owned(), lookup(spec, "podCIDRs").clone());
        match many.get(0).and_then(Value::as_str) {
            None if !one.is_empty() => set(spec, "podCIDRs", json!([one])),
            Some(first) if one.is_empty() => set(spec, "podCIDR", first),
            _ => {}
        }
    });
    inside(node, "status", |status| {
        let capacity = lookup(status, "capacity").clone();
        if !capacity.is_null() {
            default_to(status, "allocatable", capacity);
        }
    });
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (meta, spec, status) = (meta::of(new), Field::top(new, "spec"), Field::top(new, "status"));
    pod::taints(&spec.get("taints").renamed(&meta.get("taints")), errors);
    for list in ["capacity", "allocatable"] {
        let list = status.get(list);
        for (name, _) in list.entries() {
            pod::resources::quantity(&list.get(name), name, errors);
        }
    }
    let networks = spec.get("podCIDRs");
    for network in networks.items() {
        errors.cidr(&network);
    }
    let kinds: BTreeSet<bool> = networks.strings().map(|network| network.contains(':')).collect();
    if networks.len() > 2 || networks.len() > 1 && kinds.len() < 2 {
        errors.invalid(&networks, "may specify no more than one CIDR for each IP family");
    }
    let Some(old) = old else { return };
    let addresses = status.get("addresses");
    let mut seen = BTreeSet::new();
    for address in addresses.items() {
        if !seen.insert((address.get("type").text(), address.get("address").text())) {
            errors.duplicate(&address);
        }
    }
    let before = Field::top(old, "spec");
    if !before.get("podCIDRs").is_empty() && before.get("podCIDRs").value() != networks.value() {
        errors.forbidden(&networks, "node updates may not change podCIDR except from \"\" to valid");
    }
    let provider = spec.get("providerID");
    if !before.get("providerID").is_empty() && before.get("providerID").text() != provider.text() {
        errors.forbidden(&provider, "node updates may not change providerID except from \"\" to valid");
    }
}
