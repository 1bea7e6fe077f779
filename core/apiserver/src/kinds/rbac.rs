//! Roles and role bindings, in a namespace and in the cluster.

use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_to, each, inside};
use super::errors::Errors;
use super::field::{Field, lookup, same, text};
use super::{BASE, Kind, NameRule, meta};

const GROUP: &str = "rbac.authorization.k8s.io";

const RBAC: Kind = Kind { name: NameRule::PathSegment, create_on_update: true, ..BASE };

pub(super) static ROLE: Kind = Kind { validate: |new, _, errors| rules(new, true, errors), ..RBAC };

pub(super) static CLUSTER_ROLE: Kind = Kind {
    validate: |new, _, errors| {
        let aggregation = Field::top(new, "aggregationRule");
        rules(new, false, errors);
        if aggregation.present() {
            let selectors = aggregation.get("clusterRoleSelectors");
            if selectors.is_empty() {
                let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.required(&selectors, detail);
            }
            for selector in selectors.items() {
                meta::selector(&selector, errors);
            }
        }
    },
    ..RBAC
};

pub(super) static BINDING: Kind =
    Kind { default: bind, validate: |new, old, errors| binding(new, old, &["Role", "ClusterRole"], errors), ..RBAC };

pub(super) static CLUSTER_BINDING: Kind =
    Kind { default: bind, validate: |new, old, errors| binding(new, old, &["ClusterRole"], errors), ..RBAC };

fn bind(binding: &mut Value) {
    inside(binding, "roleRef", |role| default_to(role, "apiGroup", GROUP));
    each(binding, "subjects", |subject| {
        if matches!(text(subject, &["kind"]), "User" | "Group") {
            default_to(subject, "apiGroup", GROUP);
        }
    });
}

fn rules(role: &Value, namespaced: bool, errors: &mut Errors) {
    for rule in Field::top(role, "rules").items() {
        errors.require(&rule.get("verbs"), "verbs must contain at least one value");
        let (urls, groups, resources) = (rule.get("nonResourceURLs"), rule.get("apiGroups"), rule.get("resources"));
        if !urls.is_empty() {
            if namespaced {
                errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            if !groups.is_empty() || !resources.is_empty() || !rule.get("resourceNames").is_empty() {
                errors.invalid(&urls, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        errors.require(&groups, "resource rules must supply at least one api group");
        errors.require(&resources, "resource rules must supply at least one resource");
    }
}

fn binding(new: &Value, old: Option<&Value>, kinds: &[&str], errors: &mut Errors) {
    let role = Field::top(new, "roleRef");
    if role.get("apiGroup").text() != GROUP {
        let group = role.get("apiGroup");
        errors.not_supported(&group.with(&json!(group.text())), &[GROUP]);
    }
    let (kind, name) = (role.get("kind"), role.get("name"));
    if !kinds.contains(&kind.text()) {
        errors.not_supported(&kind.with(&json!(kind.text())), kinds);
    }
    if errors.require(&name, "") {
        errors.invalid_each(&name, names::path_segment(name.text()));
    }
    for subject in Field::top(new, "subjects").items() {
        self::subject(&subject, errors);
    }
    if old.is_some_and(|old| !same(lookup(old, "roleRef"), role.value())) {
        // Upstream shows its internal type, whose fields have names of their own.
        let part = |name: &str| role.get(name).text();
        let shown = json!({"APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name")});
        errors.invalid(&role.with(&shown), "cannot change roleRef");
    }
}

fn subject(subject: &Field<'_, '_>, errors: &mut Errors) {
    let (kind, name, group) = (subject.get("kind"), subject.get("name"), subject.get("apiGroup"));
    errors.require(&name, "");
    match kind.text() {
        "ServiceAccount" => {
            if !name.is_empty() {
                meta::reference(&name, errors);
            }
            if !group.is_empty() {
                errors.not_supported(&group, &[""]);
            }
            errors.require(&subject.get("namespace"), "");
        }
        "User" | "Group" => {
            if group.text() != GROUP {
                errors.not_supported(&group.with(&json!(group.text())), &[GROUP]);
            }
        }
        other => errors.not_supported(&kind.with(&json!(other)), &["ServiceAccount", "User", "Group"]),
    }
}
