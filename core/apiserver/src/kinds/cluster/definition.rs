//! CustomResourceDefinitions: names, versions, conversion. Their schemas are checked in `definition/`.

mod schema;
mod structural;
mod version;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use crate::custom::{Approval, approval, protected};
use crate::kinds::edit::{default_number, default_to, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, items, lookup, text};
use crate::kinds::{Kind, WITH_STATUS, meta, prepare};

const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVAL_SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

pub(in crate::kinds) static DEFINITION: Kind = Kind {
    default,
    prepare_create: |definition| {
        prepare::count(definition);
        let stored: Vec<Value> = storage_versions(definition).map(Value::from).collect();
        set(
            definition,
            "status",
            json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}),
        );
    },
    prepare_update: |new, old| {
        prepare::keep_status_and_count(new, old);
        let stored: Vec<String> = storage_versions(new).map(str::to_owned).collect();
        inside(new, "status", |status| {
            let mut all = lookup(status, "storedVersions").as_array().cloned().unwrap_or_default();
            for version in stored {
                if !all.iter().any(|known| *known == version) {
                    all.push(version.into());
                }
            }
            set(status, "storedVersions", all);
        });
    },
    validate,
    validate_status: |new, _, errors| {
        let stored = Field::top(new, "status");
        let stored = stored.get("storedVersions");
        if stored.is_empty() {
            errors.invalid(&stored.with(&json!([])), "must have at least one stored version");
        }
        for version in storage_versions(new).filter(|version| !stored.strings().any(|own| own == *version)) {
            errors.invalid(&stored, format!("must have the storage version {version}"));
        }
        check_stored(new, errors);
    },
    unconditional_update: false,
    ..WITH_STATUS
};

fn storage_versions(definition: &Value) -> impl Iterator<Item = &str> {
    items(definition, &["spec", "versions"])
        .filter(|version| lookup(version, "storage").as_bool() == Some(true))
        .map(|version| text(version, &["name"]))
}

fn default(definition: &mut Value) {
    inside(definition, "spec", |spec| {
        inside(spec, "names", |names| {
            let kind = text(names, &["kind"]).to_owned();
            if !kind.is_empty() {
                default_to(names, "singular", kind.to_lowercase());
                default_to(names, "listKind", format!("{kind}List"));
            }
        });
        within(spec, "conversion", |conversion| {
            default_to(conversion, "strategy", "None");
            inside(conversion, "webhook", |webhook| {
                inside(webhook, "clientConfig", |client| {
                    inside(client, "service", |service| default_number(service, "port", 443));
                });
            });
        });
    });
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
    let (name, group, names, versions) = (meta.get("name"), spec.get("group"), spec.get("names"), spec.get("versions"));
    let wanted = format!("{}.{}", names.get("plural").text(), group.text());
    if name.text() != wanted {
        errors.invalid(&name, "must be spec.names.plural+\".\"+spec.group");
    }
    check_group(&group, errors);
    if old.is_none() {
        check_approval(new, &group, errors);
    }
    errors.one_of(&spec.get("scope"), &["Cluster", "Namespaced"]);
    if spec.get("preserveUnknownFields").is_true() {
        errors.invalid(&spec.get("preserveUnknownFields"), "must be false");
    }
    let mut seen = BTreeSet::new();
    for version in versions.items() {
        let own = version.get("name");
        let complaints = names::dns_1035_label(own.text());
        if !complaints.is_empty() {
            errors.invalid(&own, complaints.join(","));
        }
        seen.insert(own.text());
        version::check(&version, errors);
    }
    if seen.len() < versions.len() {
        errors.invalid(&versions, "must contain unique version names");
    }
    if storage_versions(new).count() != 1 {
        errors.invalid(&versions, "must have exactly one version marked as storage version");
    }
    check_names(&names, errors);
    check_conversion(&spec.get("conversion"), errors);
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let established = items(old, &["status", "conditions"])
        .any(|c| text(c, &["type"]) == "Established" && text(c, &["status"]) == "True");
    if established {
        errors.immutable(&spec.get("scope"), lookup(before, "scope"));
        errors.immutable(&names.get("kind"), lookup(lookup(before, "names"), "kind"));
    }
    errors.immutable(&group, lookup(before, "group"));
    errors.immutable(&names.get("plural"), lookup(lookup(before, "names"), "plural"));
    check_stored(new, errors);
}

fn check_group(group: &Field<'_, '_>, errors: &mut Errors) {
    let complaints = names::dns_1123_subdomain(group.text());
    if group.is_empty() {
        errors.required(group, "");
    } else if !complaints.is_empty() {
        errors.invalid(group, complaints.join(","));
    } else if group.text().split('.').count() < 2 {
        errors.invalid(group, "should be a domain with at least one dot");
    }
}

/// A group that belongs to Kubernetes is defined by it, or says that it is not (KEP-1111).
fn check_approval(new: &Value, group: &Field<'_, '_>, errors: &mut Errors) {
    if !protected(group.text()) {
        return;
    }
    let meta = meta::of(new);
    let annotations = meta.get("annotations");
    let place = annotations.key(APPROVAL);
    match approval(new) {
        Approval::Url(_) | Approval::Bypassed(_) => {}
        Approval::Missing => {
            let why = format!("protected groups must have approval annotation {APPROVAL:?}, {APPROVAL_SEE}");
            errors.required(&place, &why);
        }
        Approval::Invalid => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting \
                 with \"unapproved\", {APPROVAL_SEE}"
            );
            errors.invalid(&place, why);
        }
    }
}

fn check_names(names: &Field<'_, '_>, errors: &mut Errors) {
    let required = ["plural", "singular", "kind", "listKind"];
    for field in required {
        errors.require(&names.get(field), "");
    }
    for field in required.into_iter().filter(|field| !names.get(field).is_empty()) {
        let own = names.get(field);
        let mixed = matches!(field, "kind" | "listKind");
        let complaints = names::dns_1035_label(&if mixed { own.text().to_lowercase() } else { own.text().to_owned() });
        if !complaints.is_empty() {
            let before = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.invalid(&own, format!("{before}{}", complaints.join(",")));
        }
    }
    if !names.get("kind").is_empty() && names.get("kind").text() == names.get("listKind").text() {
        errors.invalid(&names.get("listKind"), "kind and listKind may not be the same");
    }
    for list in ["shortNames", "categories"] {
        for item in names.get(list).items() {
            let complaints = names::dns_1035_label(item.text());
            if !complaints.is_empty() {
                errors.invalid(&item, complaints.join(","));
            }
        }
    }
}

fn check_conversion(conversion: &Field<'_, '_>, errors: &mut Errors) {
    let (strategy, webhook) = (conversion.get("strategy"), conversion.get("webhook"));
    errors.optional_one_of(&strategy, &["None", "Webhook"]);
    let (client, reviews) = (webhook.get("clientConfig"), webhook.get("conversionReviewVersions"));
    // The names of these fields are those that upstream's messages have.
    let client_place = conversion.get("webhookClientConfig");
    let client = client.renamed(&client_place);
    let review_place = conversion.get("conversionReviewVersions");
    let reviews = reviews.renamed(&review_place);
    if strategy.text() != "Webhook" {
        if client.present() {
            errors.forbidden(&client, "should not be set when strategy is not set to Webhook");
        }
        if !reviews.is_empty() {
            errors.forbidden(&reviews, "should not be set when strategy is not set to Webhook");
        }
        return;
    }
    if !client.present() {
        errors.required(&client, "required when strategy is set to Webhook");
    } else {
        let (url, service) = (client.get("url"), client.get("service"));
        if url.present() == service.present() {
            errors.required(&client, "exactly one of url or service is required");
        } else if url.present() {
            if !url.text().starts_with("https://") {
                errors.invalid(&url, "'https' is the only allowed URL scheme; desired format: https://host[/path]");
            }
        } else {
            for field in ["namespace", "name"] {
                errors.require(&service.get(field), &format!("service {field} is required"));
            }
            errors.in_range(&service.get("port"), 1, 65535);
        }
    }
    if reviews.is_empty() {
        errors.required(&reviews, "");
    } else if !reviews.strings().any(|version| matches!(version, "v1" | "v1beta1")) {
        errors.invalid(&reviews, "must include at least one of v1, v1beta1");
    }
}

/// A version that objects may be stored in stays defined.
fn check_stored(new: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let stored = status.get("storedVersions");
    for version in stored.items() {
        let name = version.text();
        if !items(new, &["spec", "versions"]).any(|own| text(own, &["name"]) == name) {
            errors.invalid(
                &version,
                format!(
                    "missing from spec.versions; {name} was previously a storage version, and must remain in \
                     spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                     {name} from status.storedVersions"
                ),
            );
        }
    }
}
