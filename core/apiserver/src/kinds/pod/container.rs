//! The rules of containers: regular, init and ephemeral ones.

use std::collections::BTreeSet;

use windlass_api::names;

use super::env;
use super::mounts::{self, Volumes};
use super::probe;
use super::resources;
use super::security;
use crate::kinds::errors::Errors;
use crate::kinds::field::Field;

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const NOT_FOR_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "restartPolicy",
];

/// What the rules of a container need to know of its pod.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) volumes: Volumes<'a>,
    pub(super) claims: BTreeSet<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) restart_policy: &'a str,
    pub(super) own_users: bool,
}

/// Checks the regular containers.
pub(super) fn regular(list: &Field<'_, '_>, around: &Around<'_>, errors: &mut Errors) {
    if !errors.require(list, "") {
        return;
    }
    let mut seen = BTreeSet::new();
    for container in list.items() {
        shared(&container, around, errors);
        if !seen.insert(container.get("name").text()) {
            errors.duplicate(&container.get("name"));
        }
        probe::lifecycle(&container.get("lifecycle"), around.grace, errors);
        probe::all(&container, errors);
        restart_rules(&container, errors);
    }
    host_ports(list.items(), errors);
}

/// Checks the init containers, those that keep running included.
pub(super) fn init(list: &Field<'_, '_>, regular: &Field<'_, '_>, around: &Around<'_>, errors: &mut Errors) {
    let mut seen: BTreeSet<String> = regular.items().map(|c| c.get("name").text().to_owned()).collect();
    for container in list.items() {
        shared(&container, around, errors);
        let restart = container.get("restartPolicy");
        restart_rules(&container, errors);
        let name = container.get("name").text();
        if !name.is_empty() && !seen.insert(name.to_owned()) {
            errors.duplicate(&container.get("name"));
        }
        host_ports(std::iter::once(container), errors);
        if restart.text() == "Always" {
            probe::lifecycle(&container.get("lifecycle"), around.grace, errors);
            probe::all(&container, errors);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.get(field).present() {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(&container.get(field), detail);
                }
            }
        }
    }
}

/// Checks the ephemeral containers.
pub(super) fn ephemeral(spec: &Field<'_, '_>, around: &Around<'_>, errors: &mut Errors) {
    let lists = [spec.get("containers"), spec.get("initContainers")];
    let others: BTreeSet<String> =
        lists.iter().flat_map(|list| list.strings_of("name")).map(ToOwned::to_owned).collect();
    let mut seen = others.clone();
    for container in spec.get("ephemeralContainers").items() {
        shared(&container, around, errors);
        trimmed_image(&container, errors);
        let name = container.get("name");
        if !seen.insert(name.text().to_owned()) {
            errors.duplicate(&name);
        }
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.contains(target.text()) {
            errors.not_found(&target);
        }
        for field in NOT_FOR_EPHEMERAL {
            if !container.get(field).is_empty() {
                errors.forbidden(&container.get(field), "cannot be set for an Ephemeral Container");
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).is_empty() {
                    errors.forbidden(&mount.get(field), "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

/// Refuses an image with blanks around it, which only pods do.
pub(super) fn trimmed_image(container: &Field<'_, '_>, errors: &mut Errors) {
    let image = container.get("image");
    if image.text().trim().len() != image.text().len() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
}

fn shared(container: &Field<'_, '_>, around: &Around<'_>, errors: &mut Errors) {
    let name = container.get("name");
    if errors.require(&name, "") {
        errors.invalid_each(&name, names::dns_1123_label(name.text()));
    }
    errors.require(&container.get("image"), "");
    errors.one_of(&container.get("terminationMessagePolicy"), MESSAGE_POLICIES);
    ports(&container.get("ports"), errors);
    env::variables(&container.get("env"), errors);
    env::sources(&container.get("envFrom"), errors);
    mounts::mounts(container, around, errors);
    mounts::devices(container, &around.volumes, errors);
    errors.one_of(&container.get("imagePullPolicy"), PULL_POLICIES);
    resources::of_container(&container.get("resources"), &around.claims, errors);
    resize_policy(&container.get("resizePolicy"), around.restart_policy, errors);
    security::of_container(&container.get("securityContext"), around.own_users, errors);
}

/// Checks a container's own restart policy and the exit codes that it makes exceptions for.
fn restart_rules(container: &Field<'_, '_>, errors: &mut Errors) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    errors.optional_one_of(&policy, &["Always", "Never", "OnFailure"]);
    if !rules.is_empty() && policy.is_empty() {
        errors.required(&policy, "must specify restartPolicy when restart rules are used");
    }
    for rule in rules.items() {
        errors.one_of(&rule.get("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.get("exitCodes");
        if !codes.present() {
            errors.required(&codes, "must be specified");
            continue;
        }
        errors.one_of(&codes.get("operator"), &["In", "NotIn"]);
    }
}

fn ports(ports: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let complaints = names::port_name(name.text());
            if complaints.is_empty() && !seen.insert(name.text()) {
                errors.duplicate(&name);
            }
            errors.invalid_each(&name, complaints);
        }
        let number = port.get("containerPort");
        if number.number() == 0 {
            errors.required(&number, "");
        } else {
            errors.invalid_each(&number, names::port_number(number.number()));
        }
        let host = port.get("hostPort");
        if host.number() != 0 {
            errors.invalid_each(&host, names::port_number(host.number()));
        }
        errors.one_of(&port.get("protocol"), PROTOCOLS);
    }
}

fn host_ports<'p, 'v>(containers: impl Iterator<Item = Field<'p, 'v>>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for container in containers {
        for port in container.get("ports").items() {
            let host = port.get("hostPort").number();
            if host == 0 {
                continue;
            }
            let key = format!("{}/{}/{host}", port.get("protocol").text(), port.get("hostIP").text());
            if seen.contains(&key) {
                errors.duplicate_text(&port.get("hostPort"), &key);
            }
            seen.insert(key);
        }
    }
}

fn resize_policy(list: &Field<'_, '_>, pod_restart: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for policy in list.items() {
        let (resource, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if !seen.insert(resource.text()) {
            errors.duplicate_text(&policy, resource.text());
        }
        errors.one_of(&list.with(resource.value()), &["cpu", "memory"]);
        errors.one_of(&list.with(restart.value()), &["NotRequired", "RestartContainer"]);
        if pod_restart == "Never" && restart.text() != "NotRequired" {
            errors.invalid(&list.with(restart.value()), "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}
