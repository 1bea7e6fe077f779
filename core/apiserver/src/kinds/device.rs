//! Devices: claims of them and templates of claims, their classes, and what drivers say there is (`resource.k8s.io`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_number, default_to, each, inside};
use super::errors::{Errors, NOT_POSITIVE};
use super::field::{Field, lookup, text};
use super::storage::driver_reference;
use super::{BASE, Kind, meta, pod, prepare};

/// Upstream's limits of sizes (`resource.k8s.io/v1`).
const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const CONFIG_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const SELECTORS_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const CONSUMERS_MAX: usize = 256;
const DEVICES_MAX: usize = 128;
const ATTRIBUTES_MAX: i64 = 32;
const TEXT_MAX: usize = 64;
const ID_MAX: usize = 32;
const POOL_MAX: usize = 253;
const ONE_WAY: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const NAMED: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

pub(super) static CLAIM: Kind = Kind {
    default: |claim| inside(claim, "spec", spec_default),
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        match old {
            Some(old) => errors.immutable(&spec, lookup(old, "spec")),
            None => claim(&spec, errors),
        }
    },
    validate_status: status,
    has_status: true,
    ..BASE
};

pub(super) static TEMPLATE: Kind = Kind {
    default: |template| inside(template, "spec", |spec| inside(spec, "spec", spec_default)),
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        if let Some(old) = old {
            errors.immutable(&spec, lookup(old, "spec"));
            return;
        }
        let metadata = spec.get("metadata");
        meta::labels(&metadata.get("labels"), errors);
        meta::annotations(&metadata.get("annotations"), errors);
        claim(&spec.get("spec"), errors);
    },
    ..BASE
};

/// Fills in what a claim leaves out: requests are for exactly one device.
fn spec_default(spec: &mut Value) {
    inside(spec, "devices", |devices| {
        each(devices, "requests", |request| {
            inside(request, "exactly", request_default);
            each(request, "firstAvailable", request_default);
        });
    });
}

fn request_default(request: &mut Value) {
    default_to(request, "allocationMode", "ExactCount");
    if text(request, &["allocationMode"]) == "ExactCount" {
        default_number(request, "count", 1);
    }
    each(request, "tolerations", |toleration| default_to(toleration, "operator", "Equal"));
}

/// Names of the requests, with those of their alternatives.
type Requests<'v> = BTreeMap<&'v str, BTreeSet<&'v str>>;

fn claim(spec: &Field<'_, '_>, errors: &mut Errors) {
    let devices = spec.get("devices");
    let requests = devices.get("requests");
    let names: Requests<'_> = requests
        .items()
        .map(|request| (request.get("name").text(), request.get("firstAvailable").strings_of("name").collect()))
        .collect();
    set(&requests, REQUESTS_MAX, request, |r| r.get("name").text(), errors);
    let constraints = devices.get("constraints");
    within_limit(&constraints, CONSTRAINTS_MAX, errors, |constraint, errors| {
        references(&constraint.get("requests"), &names, errors);
        let (same, distinct) = (constraint.get("matchAttribute"), constraint.get("distinctAttribute"));
        if same.present() {
            fully_qualified(&same, errors);
        } else if distinct.present() {
            fully_qualified(&distinct, errors);
        } else {
            errors.required(&same, "");
        }
    });
    within_limit(&devices.get("config"), CONFIG_MAX, errors, |config, errors| {
        references(&config.get("requests"), &names, errors);
        configuration(config, errors);
    });
}

fn request(request: &Field<'_, '_>, errors: &mut Errors) {
    label(&request.get("name"), errors);
    let (exactly, first) = (request.get("exactly"), request.get("firstAvailable"));
    match (exactly.present(), !first.is_empty()) {
        (false, false) => errors.required(request, "exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(&request.with(&Value::Null), detail);
        }
        (true, false) => exact(&exactly, errors),
        (false, true) => {
            let check = |one: &Field<'_, '_>, errors: &mut Errors| {
                label(&one.get("name"), errors);
                exact(one, errors);
            };
            set(&first, ALTERNATIVES_MAX, check, |one| one.get("name").text(), errors);
        }
    }
}

fn exact(request: &Field<'_, '_>, errors: &mut Errors) {
    let (class, mode, count) = (request.get("deviceClassName"), request.get("allocationMode"), request.get("count"));
    if errors.require(&class, "") {
        meta::reference(&class, errors);
    }
    selectors(&request.get("selectors"), errors);
    match mode.text() {
        "All" if count.number() != 0 => {
            errors.invalid(&count, "must not be specified when allocationMode is 'All'");
        }
        "All" => {}
        "ExactCount" => {
            if count.number() <= 0 {
                errors.invalid(&count.with(&json!(count.number())), NOT_POSITIVE);
            }
        }
        other => errors.not_supported(&mode.with(&json!(other)), &["All", "ExactCount"]),
    }
    for toleration in request.get("tolerations").items() {
        tolerated(&toleration, errors);
    }
}

fn tolerated(toleration: &Field<'_, '_>, errors: &mut Errors) {
    let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
    if !key.is_empty() {
        errors.invalid_each(&key, names::qualified_name(key.text()));
    }
    match operator.text() {
        "Exists" => {
            if !value.is_empty() {
                errors.invalid(&value, "must be empty for operator `Exists`");
            }
        }
        "Equal" => errors.invalid_each(&value.with(&json!(value.text())), names::label_value(value.text())),
        "" => errors.required(&operator, ""),
        _ => errors.not_supported(&operator, &["Equal", "Exists"]),
    }
    if operator.text() == "Equal" && key.is_empty() {
        errors.required(&key, "");
    }
    let effect = toleration.get("effect");
    if !effect.is_empty() {
        errors.optional_one_of(&effect, &["NoExecute", "NoSchedule", "None"]);
    }
}

fn selectors(list: &Field<'_, '_>, errors: &mut Errors) {
    within_limit(list, SELECTORS_MAX, errors, |selector, errors| {
        let cel = selector.get("cel");
        if !cel.present() {
            errors.required(&cel, "");
            return;
        }
        let expression = cel.get("expression");
        if expression.len() > EXPRESSION_MAX {
            errors.too_long(&expression, EXPRESSION_MAX);
        }
    });
}

fn configuration(config: &Field<'_, '_>, errors: &mut Errors) {
    let opaque = config.get("opaque");
    if !opaque.present() {
        errors.required(&opaque, "");
        return;
    }
    driver_reference(&opaque.get("driver"), errors);
    let parameters = opaque.get("parameters");
    match parameters.value() {
        Value::Null => errors.required(&parameters, ""),
        Value::Object(_) if parameters.value().to_string().len() > PARAMETERS_MAX => {
            errors.too_long(&parameters, PARAMETERS_MAX);
        }
        Value::Object(_) => {}
        _ => errors.invalid_text(&parameters, "<value omitted>", "must be a valid JSON object"),
    }
}

fn references(list: &Field<'_, '_>, known: &Requests<'_>, errors: &mut Errors) {
    let check = |name: &Field<'_, '_>, errors: &mut Errors| {
        let parts: Vec<&str> = name.text().split('/').collect();
        if parts.len() > 2 {
            errors.invalid(name, NAMED);
            return;
        }
        for part in &parts {
            for complaint in names::dns_1123_label(part) {
                errors.invalid_text(name, part, complaint);
            }
        }
        let there = known.get(parts[0]).is_some_and(|below| parts.get(1).is_none_or(|part| below.contains(part)));
        if !there {
            errors.invalid(name, NAMED);
        }
    };
    set(list, REQUESTS_MAX, check, |name| name.text(), errors);
}

/// Checks each item of a list that may have so many.
fn within_limit(
    list: &Field<'_, '_>,
    most: usize,
    errors: &mut Errors,
    mut check: impl FnMut(&Field<'_, '_>, &mut Errors),
) -> bool {
    if list.len() > most {
        errors.too_many(list, most);
        return false;
    }
    for item in list.items() {
        check(&item, errors);
    }
    true
}

/// Checks each item of a list, and that no two have the same key.
fn set<'v>(
    list: &Field<'_, 'v>,
    most: usize,
    check: impl FnMut(&Field<'_, '_>, &mut Errors),
    key: impl Fn(&Field<'_, 'v>) -> &'v str,
    errors: &mut Errors,
) {
    if !within_limit(list, most, errors, check) {
        return;
    }
    let mut seen = BTreeSet::new();
    for item in list.items() {
        let key = key(&item);
        if !seen.insert(key) {
            errors.duplicate_text(&item, key);
        }
    }
}

fn label(name: &Field<'_, '_>, errors: &mut Errors) {
    let shown = json!(name.text());
    errors.invalid_each(&name.with(&shown), names::dns_1123_label(name.text()));
}

/// Checks a name behind a domain, such as `gpu.example.com/model`.
fn fully_qualified(name: &Field<'_, '_>, errors: &mut Errors) {
    qualified(name, name.text(), errors);
    if !name.text().contains('/') {
        errors.invalid(name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn qualified(place: &Field<'_, '_>, name: &str, errors: &mut Errors) {
    let Some((domain, id)) = name.split_once('/') else {
        identifier(place, name, errors);
        return;
    };
    if domain.is_empty() {
        errors.invalid_text(place, "", "the domain must not be empty");
    } else {
        driver_reference(&place.with(&json!(domain)), errors);
    }
    if id.is_empty() {
        errors.invalid_text(place, "", "the name must not be empty");
    } else if !id.contains('/') {
        identifier(place, id, errors);
    }
}

fn identifier(place: &Field<'_, '_>, id: &str, errors: &mut Errors) {
    if id.len() > ID_MAX {
        errors.too_long(place, ID_MAX);
    }
    let starts = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let detail = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
        errors.invalid_text(place, id, detail);
    }
}

fn status(new: &Value, old: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let (users, allocation) = (status.get("reservedFor"), status.get("allocation"));
    let check = |user: &Field<'_, '_>, errors: &mut Errors| {
        for name in ["resource", "name", "uid"] {
            errors.require(&user.get(name), "");
        }
    };
    set(&users, CONSUMERS_MAX, check, |user| user.get("uid").text(), errors);
    let before = Field::top(old, "status");
    if !users.is_empty() && !allocation.present() {
        errors.forbidden(&users, "may not be specified when `allocated` is not set");
    } else if meta::of(new).get("deletionTimestamp").present() {
        let known: BTreeSet<&str> = before.get("reservedFor").strings_of("uid").collect();
        if users.strings_of("uid").any(|uid| !known.contains(uid)) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&users, detail);
        }
    }
    let was = before.get("allocation");
    if allocation.present() && was.present() {
        errors.immutable(&allocation, was.value());
    } else if allocation.present() {
        allocated(&allocation, errors);
    }
}

fn allocated(allocation: &Field<'_, '_>, errors: &mut Errors) {
    let devices = allocation.get("devices");
    within_limit(&devices.get("results"), REQUESTS_MAX, errors, |result, errors| {
        driver_reference(&result.get("driver"), errors);
        pool(&result.get("pool"), errors);
        label(&result.get("device"), errors);
    });
    within_limit(&devices.get("config"), 2 * CONFIG_MAX, errors, |config, errors| {
        errors.one_of(&config.get("source"), &["FromClaim", "FromClass"]);
        configuration(config, errors);
    });
    if allocation.get("nodeSelector").present() {
        pod::node_selector(&allocation.get("nodeSelector"), errors);
    }
}

fn pool(name: &Field<'_, '_>, errors: &mut Errors) {
    if !errors.require(name, "") {
        return;
    }
    if name.len() > POOL_MAX {
        errors.too_long(name, POOL_MAX);
    }
    for part in name.text().split('/') {
        for complaint in names::dns_1123_subdomain(part) {
            errors.invalid_text(name, part, complaint);
        }
    }
}

pub(super) static CLASS: Kind = Kind {
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: |new, _, errors| {
        let spec = Field::top(new, "spec");
        selectors(&spec.get("selectors"), errors);
        within_limit(&spec.get("config"), CONFIG_MAX, errors, configuration);
        let name = spec.get("extendedResourceName");
        if name.present() && !pod::resources::is_extended(name.text()) {
            errors.invalid(&name, "must be a valid extended resource name");
        }
    },
    ..BASE
};

pub(super) static SLICE: Kind = Kind {
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: slice,
    fields: |slice| {
        vec![
            ("spec.driver", text(slice, &["spec", "driver"]).to_owned()),
            ("spec.nodeName", text(slice, &["spec", "nodeName"]).to_owned()),
        ]
    },
    field_names: &["spec.driver", "spec.nodeName"],
    ..BASE
};

fn slice(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    driver_reference(&spec.get("driver"), errors);
    let pool = spec.get("pool");
    self::pool(&pool.get("name"), errors);
    let (count, generation) = (pool.get("resourceSliceCount"), pool.get("generation"));
    if count.number() <= 0 {
        errors.invalid(&count.with(&json!(count.number())), NOT_POSITIVE);
    }
    if generation.number() < 0 {
        errors.invalid(&generation, "must be greater than or equal to zero");
    }
    if let Some(old) = old {
        let before = Field::top(old, "spec");
        let was = before.get("pool");
        errors.immutable(&pool.get("name"), was.get("name").value());
        for name in ["driver", "nodeName"] {
            errors.immutable(&spec.get(name), before.get(name).value());
        }
    }
    ways(&spec, errors);
    if spec.get("sharedCounters").present() && spec.get("devices").present() {
        errors.invalid_text(&spec, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    set(&spec.get("devices"), DEVICES_MAX, device, |device| device.get("name").text(), errors);
}

/// Checks which nodes have the devices: that is said in one way.
fn ways(spec: &Field<'_, '_>, errors: &mut Errors) {
    let mut said = Vec::new();
    let (node, selector) = (spec.get("nodeName"), spec.get("nodeSelector"));
    if node.present() && node.is_empty() {
        errors.invalid(&node, "must be either unset or set to a non-empty string");
    } else if node.present() {
        said.push("`nodeName`");
        meta::reference(&node, errors);
    }
    if selector.present() {
        said.push("`nodeSelector`");
        pod::node_selector(&selector, errors);
        let terms = selector.get("nodeSelectorTerms");
        if terms.len() != 1 {
            errors.invalid(&terms, "must have exactly one node selector term");
        }
    }
    for (name, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        let field = spec.get(name);
        if field.is_true() {
            said.push(shown);
        } else if field.present() {
            errors.invalid(&field, "must be either unset or set to true");
        }
    }
    match said.len() {
        0 => errors.required(spec, ONE_WAY),
        1 => {}
        _ => {
            let all = format!("{{{}}}", said.join(", "));
            errors.invalid_text(spec, &all, format!("{ONE_WAY}, but multiple fields are set"));
        }
    }
}

fn device(device: &Field<'_, '_>, errors: &mut Errors) {
    label(&device.get("name"), errors);
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    let all = i64::try_from(attributes.len() + capacity.len()).unwrap_or(i64::MAX);
    if all > ATTRIBUTES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid(&device.with(&json!(all)), detail);
    }
    for (name, _) in attributes.entries() {
        let attribute = attributes.key(name);
        qualified(&attribute, name, errors);
        let there = ["bool", "int", "string", "version"].iter().filter(|kind| attribute.get(kind).present()).count();
        for kind in ["string", "version"] {
            let text = attribute.get(kind);
            if kind == "version" && text.present() && !is_version(text.text()) {
                errors.invalid(&text, "must be a string compatible with semver.org spec 2.0.0");
            }
            if text.len() > TEXT_MAX {
                errors.too_long(&text, TEXT_MAX);
            }
        }
        match there {
            0 => errors.invalid_text(&attribute, "", "exactly one value must be specified"),
            1 => {}
            _ => errors.invalid(&attribute, "exactly one value must be specified"),
        }
    }
    for (name, _) in capacity.entries() {
        qualified(&capacity.key(name), name, errors);
    }
}

/// Whether a text is a version as semver.org has it.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, release) = text.split_once('-').map_or((text, None), |(core, release)| (core, Some(release)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let release_part = |part: &str| word(part) && (number(part) || part.bytes().any(|byte| !byte.is_ascii_digit()));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && release.is_none_or(|release| release.split('.').all(release_part))
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_semver() {
        for good in ["1.2.3", "0.0.0-alpha.1", "1.0.0+build-1.2"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3+"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
