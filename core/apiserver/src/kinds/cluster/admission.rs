//! Webhook configurations and admission policies; their expressions are compiled elsewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::{default_number, default_to, each, inside, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup};
use crate::kinds::{BASE, Kind, WITH_STATUS, meta, prepare};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

const WEBHOOKS: Kind = Kind {
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["webhooks"]),
    validate: |new, _, errors| webhooks(new, errors),
    unconditional_update: false,
    ..BASE
};

pub(in crate::kinds) static VALIDATING: Kind = Kind { default: |config| each(config, "webhooks", webhook), ..WEBHOOKS };

pub(in crate::kinds) static MUTATING: Kind = Kind {
    default: |config| {
        each(config, "webhooks", |hook| {
            webhook(hook);
            default_to(hook, "reinvocationPolicy", "Never");
        });
    },
    ..WEBHOOKS
};

fn webhook(hook: &mut Value) {
    default_to(hook, "failurePolicy", "Fail");
    default_to(hook, "timeoutSeconds", 10);
    matching(hook, "rules");
    inside(hook, "clientConfig", |client| {
        inside(client, "service", |service| default_number(service, "port", 443));
    });
}

/// What requests are matched by, where it was left out.
fn matching(holder: &mut Value, rules: &str) {
    default_to(holder, "matchPolicy", "Equivalent");
    default_to(holder, "namespaceSelector", json!({}));
    default_to(holder, "objectSelector", json!({}));
    for list in [rules, "excludeResourceRules"] {
        each(holder, list, |rule| default_to(rule, "scope", "*"));
    }
}

fn webhooks(new: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for hook in Field::top(new, "webhooks").items() {
        let name = hook.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            let complaints = names::dns_1123_subdomain(name.text());
            if complaints.is_empty() && name.text().split('.').count() < 3 {
                errors.invalid(&name, "should be a domain with at least three segments separated by dots");
            }
            errors.invalid_each(&name, complaints);
            if !seen.insert(name.text()) {
                errors.duplicate(&name);
            }
        }
        let versions = hook.get("admissionReviewVersions");
        if versions.is_empty() {
            errors.required(&versions, "must specify one of v1, v1beta1");
        } else if !versions.strings().any(|version| matches!(version, "v1" | "v1beta1")) {
            errors.invalid(&versions, "must include at least one of v1, v1beta1");
        } else if !versions.strings().any(|version| version == "v1") {
            errors.invalid(&versions, "must include v1: this server does not speak AdmissionReview v1beta1");
        }
        for rule in hook.get("rules").items() {
            self::rule(&rule, errors);
        }
        errors.optional_one_of(&hook.get("failurePolicy"), &["Fail", "Ignore"]);
        errors.optional_one_of(&hook.get("matchPolicy"), &["Equivalent", "Exact"]);
        let effects = hook.get("sideEffects");
        if effects.present() {
            errors.optional_one_of(&effects, &["None", "NoneOnDryRun"]);
        } else {
            errors.required(&effects, "must specify one of None, NoneOnDryRun");
        }
        let timeout = hook.get("timeoutSeconds");
        if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
            errors.invalid(&timeout, "the timeout value must be between 1 and 30 seconds");
        }
        meta::selector(&hook.get("namespaceSelector"), errors);
        meta::selector(&hook.get("objectSelector"), errors);
        #[cfg(feature = "cel")]
        crate::registered::check_conditions(&hook.get("matchConditions"), errors);
        client(&hook.get("clientConfig"), errors);
    }
}

fn client(client: &Field<'_, '_>, errors: &mut Errors) {
    let (url, service) = (client.get("url"), client.get("service"));
    if url.present() == service.present() {
        errors.required(client, "exactly one of url or service is required");
    } else if url.present() {
        if !url.text().starts_with("https://") {
            let scheme = url.text().split_once("://").map_or("", |(scheme, _)| scheme);
            let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errors.invalid_text(&url, scheme, detail);
        }
    } else {
        for name in ["name", "namespace"] {
            errors.require(&service.get(name), &format!("service {name} is required"));
        }
        let port = service.get("port");
        errors.invalid_each(&port, names::port_number(port.number()));
    }
}

fn rule(rule: &Field<'_, '_>, errors: &mut Errors) {
    let operations = rule.get("operations");
    errors.require(&operations, "");
    if operations.len() > 1 && operations.strings().any(|operation| operation == "*") {
        errors.invalid(&operations, "if '*' is present, must not specify other operations");
    }
    for operation in operations.items() {
        errors.optional_one_of(&operation, OPERATIONS);
    }
    for name in ["apiGroups", "apiVersions", "resources"] {
        let list = rule.get(name);
        errors.require(&list, "");
        if name != "resources" && list.len() > 1 && list.strings().any(|item| item == "*") {
            let what = if name == "apiGroups" { "API groups" } else { "API versions" };
            errors.invalid(&list, format!("if '*' is present, must not specify other {what}"));
        }
    }
    errors.optional_one_of(&rule.get("scope"), &["*", "Cluster", "Namespaced"]);
}

pub(in crate::kinds) static POLICY: Kind = Kind {
    default: |policy| {
        inside(policy, "spec", |spec| {
            default_to(spec, "failurePolicy", "Fail");
            within(spec, "matchConstraints", |matches| matching(matches, "resourceRules"));
        });
    },
    validate: |new, _, errors| {
        let spec = Field::top(new, "spec");
        errors.optional_one_of(&spec.get("failurePolicy"), &["Fail", "Ignore"]);
        let matches = spec.get("matchConstraints");
        let rules = matches.get("resourceRules");
        errors.require(&rules, "");
        for rule in rules.items() {
            self::rule(&rule, errors);
        }
        let kind = spec.get("paramKind");
        if kind.present() {
            for name in ["apiVersion", "kind"] {
                errors.require(&kind.get(name), "");
            }
        }
        let validations = spec.get("validations");
        let audited = !spec.get("auditAnnotations").is_empty();
        if lookup(new, "kind") == "ValidatingAdmissionPolicy" && validations.is_empty() && !audited {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&validations, detail);
        }
        meta::selector(&matches.get("namespaceSelector"), errors);
        meta::selector(&matches.get("objectSelector"), errors);
        if lookup(new, "kind") == "MutatingAdmissionPolicy" {
            errors.require(&spec.get("mutations"), "");
            errors.one_of(&spec.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
        }
        #[cfg(feature = "cel")]
        crate::registered::check_policy(&spec, errors);
        #[cfg(not(feature = "cel"))]
        errors.invalid(&spec, "this server was built without the feature \"cel\", so it evaluates no policies");
    },
    unconditional_update: false,
    ..WITH_STATUS
};

pub(in crate::kinds) static BINDING: Kind = Kind {
    default: |binding| {
        inside(binding, "spec", |spec| inside(spec, "matchResources", |matches| matching(matches, "resourceRules")));
    },
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: |new, _, errors| {
        let spec = Field::top(new, "spec");
        let name = spec.get("policyName");
        if errors.require(&name, "") {
            meta::reference(&name, errors);
        }
        let actions = spec.get("validationActions");
        if lookup(new, "kind") == "ValidatingAdmissionPolicyBinding" {
            errors.require(&actions, "");
        }
        let mut seen = BTreeSet::new();
        for action in actions.items() {
            errors.optional_one_of(&action, &["Audit", "Deny", "Warn"]);
            if !seen.insert(action.text()) {
                errors.duplicate(&action);
            }
        }
        if seen.contains("Deny") && seen.contains("Warn") {
            errors.invalid(&actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
        }
        let reference = spec.get("paramRef");
        if reference.present() {
            let (name, selector) = (reference.get("name"), reference.get("selector"));
            if name.is_empty() && !selector.present() {
                errors.required(&reference, "one of name or selector must be specified");
            } else if !name.is_empty() && selector.present() {
                errors.forbidden(&name, "name and selector are mutually exclusive");
            }
            errors.one_of(&reference.get("parameterNotFoundAction"), &["Allow", "Deny"]);
        }
    },
    unconditional_update: false,
    ..BASE
};
