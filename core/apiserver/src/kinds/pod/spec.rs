//! The rules of a pod's spec, whether the pod exists or is a template.

use std::collections::BTreeSet;

use windlass_api::names;

use super::container::{self, Around};
use super::{affinity, resources, security, volumes};
use crate::kinds::errors::Errors;
use crate::kinds::field::Field;
use crate::kinds::meta;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// Whether a spec is that of a pod, with its name, or of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds) enum Of<'a> {
    Pod(&'a str),
    Template,
}

/// Checks a pod template at a field.
pub(in crate::kinds) fn template(template: &Field<'_, '_>, errors: &mut Errors) {
    template_metadata(template, errors);
    let spec = template.get("spec");
    check(&spec, Of::Template, errors);
    if !spec.get("ephemeralContainers").is_empty() {
        errors.forbidden(&spec.get("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// Checks the metadata of a template, and not what is in it.
pub(in crate::kinds) fn template_metadata(template: &Field<'_, '_>, errors: &mut Errors) {
    meta::labels(&template.get("metadata").get("labels").renamed(&template.get("labels")), errors);
    meta::annotations(&template.get("metadata").get("annotations").renamed(&template.get("annotations")), errors);
}

/// Checks a pod's spec at a field.
pub(in crate::kinds) fn check(spec: &Field<'_, '_>, of: Of<'_>, errors: &mut Errors) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if !grace.present() {
        errors.required(&grace, "");
    }
    let pod_name = if let Of::Pod(name) = of { name } else { "" };
    let known = volumes::all(spec, pod_name, errors);
    claims(&spec.get("resourceClaims"), errors);
    let around = Around {
        volumes: known,
        claims: spec.get("resourceClaims").strings_of("name").filter(|name| !name.is_empty()).collect(),
        grace: grace.int(),
        restart_policy: spec.get("restartPolicy").text(),
        own_users: spec.get("hostUsers").value().as_bool() == Some(false),
    };
    container::regular(&spec.get("containers"), &around, errors);
    container::init(&spec.get("initContainers"), &spec.get("containers"), &around, errors);
    container::ephemeral(spec, &around, errors);
    resources::of_pod(spec, errors);
    host_network(spec, of, errors);
    errors.one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    errors.one_of(&spec.get("dnsPolicy"), &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    meta::labels(&spec.get("nodeSelector"), errors);
    security::of_pod(spec, errors);
    affinity::affinity(&spec.get("affinity"), errors);
    dns(spec, errors);
    gates(spec, errors);
    affinity::spreading(&spec.get("topologySpreadConstraints"), errors);
    security::host_users(spec, errors);
    names_of_others(spec, errors);
    rest(spec, errors);
}

fn claims(list: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for claim in list.items() {
        let name = claim.get("name");
        if errors.require(&name, "") {
            if seen.insert(name.text()) {
                errors.invalid_each(&name, names::dns_1123_label(name.text()));
            } else {
                errors.duplicate(&name);
            }
        }
        match (claim.get("resourceClaimName").present(), claim.get("resourceClaimTemplateName").present()) {
            (true, true) => errors
                .invalid(&claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
            (false, false) => {
                errors.invalid(&claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
            }
            _ => {}
        }
    }
}

fn host_network(spec: &Field<'_, '_>, of: Of<'_>, errors: &mut Errors) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let (host, own) = (port.get("hostPort"), port.get("containerPort"));
            if (of != Of::Template || host.number() != 0) && host.number() != own.number() {
                let shown = host.number().into();
                errors.invalid(&host.with(&shown), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns(spec: &Field<'_, '_>, errors: &mut Errors) {
    let config = spec.get("dnsConfig");
    let servers = config.get("nameservers");
    if spec.get("dnsPolicy").text() == "None" {
        if !config.present() {
            errors.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors.required(&servers, "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        errors.invalid(&servers, format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for server in servers.items() {
        errors.ip(&server);
    }
    let searches = config.get("searches");
    if searches.len() > MAX_SEARCHES {
        errors.invalid(&searches, format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    let spaces = searches.len().saturating_sub(1);
    if searches.strings().map(str::len).sum::<usize>() + spaces > MAX_SEARCH_CHARS {
        let detail =
            format!("must not have more than {MAX_SEARCH_CHARS} characters (including spaces) in the search list");
        errors.invalid(&searches, detail);
    }
    for search in searches.items() {
        let text = search.text();
        let text = text.strip_suffix('.').unwrap_or(text).replace('_', "-");
        if !text.is_empty() && !names::dns_1123_subdomain(text.trim_matches('-')).is_empty() {
            errors.invalid_each(&search, names::dns_1123_subdomain(search.text()));
        }
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            errors.required(&option, "must not be empty");
        }
    }
}

fn gates(spec: &Field<'_, '_>, errors: &mut Errors) {
    for gate in spec.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        errors.invalid_each(&kind, names::qualified_name(kind.text()));
    }
    let mut seen = BTreeSet::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name").text();
        for complaint in names::qualified_name(name) {
            errors.invalid_text(&gate, name, complaint);
        }
        if !seen.insert(name) {
            errors.duplicate_text(&gate, name);
        }
    }
}

fn names_of_others(spec: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["serviceAccountName", "nodeName"] {
        let field = spec.get(name);
        if !field.is_empty() {
            meta::reference(&field, errors);
        }
    }
    errors.in_range(&spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    for name in ["hostname", "subdomain"] {
        let field = spec.get(name);
        if !field.is_empty() {
            errors.invalid_each(&field, names::dns_1123_label(field.text()));
        }
    }
    let hostname = spec.get("hostnameOverride");
    if !hostname.is_empty() {
        errors.invalid_each(&hostname, names::dns_1123_subdomain(hostname.text()));
    }
    affinity::tolerations(&spec.get("tolerations"), errors);
    for alias in spec.get("hostAliases").items() {
        errors.ip(&alias.get("ip"));
        for name in alias.get("hostnames").items() {
            errors.invalid_each(&name, names::dns_1123_subdomain(name.text()));
        }
    }
    let class = spec.get("priorityClassName");
    if !class.is_empty() {
        meta::reference(&class, errors);
    }
    let runtime = spec.get("runtimeClassName");
    if runtime.present() {
        meta::reference(&runtime, errors);
    }
}

fn rest(spec: &Field<'_, '_>, errors: &mut Errors) {
    errors.optional_one_of(&spec.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    resources::overhead(&spec.get("overhead"), errors);
    let os = spec.get("os");
    if !os.present() {
        return;
    }
    if errors.require(&os.get("name"), "cannot be empty") {
        errors.optional_one_of(&os.with(os.get("name").value()), &["linux", "windows"]);
        security::operating_system(spec, errors);
    }
}
