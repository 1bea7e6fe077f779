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
        fully_qualified(&name, errors);
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
        errors.optional_one_of(&hook.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
        client(&hook.get("clientConfig"), errors);
        #[cfg(feature = "cel")]
        crate::registered::check_conditions(&hook.get("matchConditions"), errors);
        review_versions(&hook.get("admissionReviewVersions"), errors);
        if !name.is_empty() && !seen.insert(name.text()) {
            errors.duplicate(&name);
        }
    }
}

/// Checks a name of at least three labels.
fn fully_qualified(name: &Field<'_, '_>, errors: &mut Errors) {
    if !errors.require(name, "") {
        return;
    }
    let complaints = names::dns_1123_subdomain(name.text());
    if !complaints.is_empty() {
        errors.invalid(name, complaints.join(","));
    } else if name.text().split('.').count() < 3 {
        errors.invalid(name, "should be a domain with at least three segments separated by dots");
    }
}

fn review_versions(versions: &Field<'_, '_>, errors: &mut Errors) {
    if !errors.require(versions, "must specify one of v1, v1beta1") {
        return;
    }
    let mut seen = BTreeSet::new();
    for version in versions.items() {
        if seen.insert(version.text()) {
            errors.invalid_each(&version, names::dns_1035_label(version.text()));
        } else {
            errors.invalid(&version, "duplicate version");
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        errors.invalid(versions, "must include at least one of v1, v1beta1");
    } else if !seen.contains("v1") {
        errors.invalid(versions, "must include v1: this server does not speak AdmissionReview v1beta1");
    }
}

fn client(client: &Field<'_, '_>, errors: &mut Errors) {
    let (url, service) = (client.get("url"), client.get("service"));
    if url.present() == service.present() {
        errors.required(client, "exactly one of url or service is required");
    } else if url.present() {
        self::url(&url, errors);
    } else {
        self::service(&service, errors);
    }
}

/// Checks where a webhook is called.
pub(in crate::kinds) fn url(url: &Field<'_, '_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.text().split_once("://").unwrap_or(("", url.text()));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = if scheme.is_empty() { ("", rest) } else { rest.split_at(end) };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    if scheme != "https" {
        errors.invalid_text(url, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid_text(url, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        errors.invalid_text(url, user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid_text(url, fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid_text(url, query, "query parameters are not permitted in the URL");
    }
}

/// Checks by which service a webhook is called.
pub(in crate::kinds) fn service(service: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["name", "namespace"] {
        errors.require(&service.get(name), &format!("service {name} is required"));
    }
    let port = service.get("port");
    let complaints = names::port_number(port.number());
    if !complaints.is_empty() {
        errors.invalid(&port, format!("port is not valid: {}", complaints.join(", ")));
    }
    let path = service.get("path");
    match path.text() {
        "" | "/" => return,
        "//" => {
            errors.invalid(&path, "segment[0] may not be empty");
            return;
        }
        text if !text.starts_with('/') => errors.invalid(&path, "must start with a '/'"),
        _ => {}
    }
    let inner = path.text().get(1..).unwrap_or_default();
    for (at, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&path, format!("segment[{at}] may not be empty"));
            continue;
        }
        for complaint in names::dns_1123_subdomain(step) {
            errors.invalid(&path, format!("segment[{at}]: {complaint}"));
        }
    }
}

fn rule(rule: &Field<'_, '_>, errors: &mut Errors) {
    let operations = rule.get("operations");
    errors.require(&operations, "");
    alone(&operations, "operations", errors);
    for operation in operations.items() {
        errors.optional_one_of(&operation, OPERATIONS);
    }
    let (groups, versions) = (rule.get("apiGroups"), rule.get("apiVersions"));
    errors.require(&groups, "");
    alone(&groups, "API groups", errors);
    errors.require(&versions, "");
    alone(&versions, "API versions", errors);
    for version in versions.items() {
        errors.require(&version, "");
    }
    resources(&rule.get("resources"), errors);
    errors.optional_one_of(&rule.get("scope"), &["*", "Cluster", "Namespaced"]);
}

/// A wildcard stands alone.
fn alone(list: &Field<'_, '_>, what: &str, errors: &mut Errors) {
    if list.len() > 1 && list.strings().any(|item| item == "*") {
        errors.invalid(list, format!("if '*' is present, must not specify other {what}"));
    }
}

/// Checks which resources and sub-resources a rule is about: nothing is said twice by a wildcard.
fn resources(list: &Field<'_, '_>, errors: &mut Errors) {
    errors.require(list, "");
    let (mut any_sub, mut any_resource) = (BTreeSet::new(), BTreeSet::new());
    let mut last_is_plain = false;
    for item in list.items() {
        if !errors.require(&item, "") {
            continue;
        }
        let Some((resource, sub)) = item.text().split_once('/') else {
            last_is_plain = item.text() != "*";
            continue;
        };
        if any_sub.contains(resource) {
            errors.invalid(&item, format!("if '{resource}/*' is present, must not specify {}", item.text()));
        }
        if any_resource.contains(sub) {
            errors.invalid(&item, format!("if '*/{sub}' is present, must not specify {}", item.text()));
        }
        if sub == "*" {
            any_sub.insert(resource);
        }
        if resource == "*" {
            any_resource.insert(sub);
        }
    }
    let has = |wanted: &str| list.strings().any(|item| item == wanted);
    if list.len() > 1 && has("*/*") {
        errors.invalid(list, "if '*/*' is present, must not specify other resources");
    }
    if has("*") && last_is_plain {
        errors.invalid(list, "if '*' is present, must not specify other resources without subresources");
    }
}

/// Checks what a policy or a binding is about.
fn match_resources(matches: &Field<'_, '_>, errors: &mut Errors) {
    errors.optional_one_of(&matches.get("matchPolicy"), &["Equivalent", "Exact"]);
    meta::selector(&matches.get("namespaceSelector"), errors);
    meta::selector(&matches.get("objectSelector"), errors);
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in matches.get(list).items() {
            let mut seen = BTreeSet::new();
            for name in rule.get("resourceNames").items() {
                errors.invalid_each(&name, names::path_segment(name.text()));
                if !seen.insert(name.text()) {
                    errors.duplicate(&name);
                }
            }
            self::rule(&rule, errors);
        }
    }
}

/// Checks the kind of a policy's parameters.
fn param_kind(kind: &Field<'_, '_>, errors: &mut Errors) {
    let (version, name) = (kind.get("apiVersion"), kind.get("kind"));
    if errors.require(&version, "") {
        let (group, own) = version.text().rsplit_once('/').unwrap_or(("", version.text()));
        if group.contains('/') {
            errors.invalid(&version, format!("unexpected GroupVersion string: {}", version.text()));
        } else {
            let complaints = names::dns_1123_subdomain(group);
            if !group.is_empty() && !complaints.is_empty() {
                errors.invalid_text(&version, group, complaints.join(","));
            }
            let complaints = names::dns_1035_label(own);
            if own.is_empty() {
                errors.invalid(&version, "version must be specified");
            } else if !complaints.is_empty() {
                errors.invalid_text(&version, own, complaints.join(","));
            }
        }
    }
    if errors.require(&name, "") {
        let complaints = names::dns_1035_label(&name.text().to_lowercase());
        if !complaints.is_empty() {
            let intro = "may have mixed case, but should otherwise match: ";
            errors.invalid(&name, format!("{intro}{}", complaints.join(",")));
        }
    }
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
        let (kind, matches) = (spec.get("paramKind"), spec.get("matchConstraints"));
        if kind.present() {
            param_kind(&kind, errors);
        }
        match_resources(&matches, errors);
        errors.require(&matches.get("resourceRules"), "");
        let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
        if lookup(new, "kind") == "ValidatingAdmissionPolicy" && validations.is_empty() && annotations.is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&validations, detail);
            errors.required(&annotations, detail);
        }
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
        let reference = spec.get("paramRef");
        if reference.present() {
            param_reference(&reference, errors);
        }
        match_resources(&spec.get("matchResources"), errors);
        if lookup(new, "kind") != "ValidatingAdmissionPolicyBinding" {
            return;
        }
        let actions = spec.get("validationActions");
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
        errors.require(&actions, "at least one validation action is required");
    },
    unconditional_update: false,
    ..BASE
};

fn param_reference(reference: &Field<'_, '_>, errors: &mut Errors) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selector) = (reference.get("name"), reference.get("selector"));
    if !name.is_empty() {
        errors.invalid_each(&name, names::path_segment(name.text()));
    }
    match (name.is_empty(), selector.present()) {
        (false, true) => {
            errors.forbidden(&name, EXCLUSIVE);
            meta::selector(&selector, errors);
            errors.forbidden(&selector, EXCLUSIVE);
        }
        (true, true) => meta::selector(&selector, errors),
        (true, false) => errors.required(reference, "one of name or selector must be specified"),
        (false, false) => {}
    }
    errors.one_of(&reference.get("parameterNotFoundAction"), &["Deny", "Allow"]);
}
