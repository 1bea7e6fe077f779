//! The rules of probes and lifecycle hooks.

use serde_json::json;

use crate::kinds::errors::Errors;
use crate::kinds::field::Field;

/// Checks the three probes of a container.
pub(super) fn all(container: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if !probe.present() {
            continue;
        }
        handler(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, errors);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            errors.non_negative(&probe.get(field));
        }
        let grace = probe.get("terminationGracePeriodSeconds");
        if grace.int().is_some_and(|seconds| seconds <= 0) {
            errors.invalid(&grace, "must be greater than 0");
        }
        let successes = probe.get("successThreshold");
        if name == "readinessProbe" {
            if grace.present() {
                errors.invalid(&grace, "must not be set for readinessProbes");
            }
        } else if successes.number() != 1 {
            errors.invalid(&successes.with(&json!(successes.number())), "must be 1");
        }
    }
}

/// Checks the hooks of a container.
pub(super) fn lifecycle(lifecycle: &Field<'_, '_>, grace: Option<i64>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let hook = lifecycle.get(hook);
        if hook.present() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, errors);
        }
    }
    let signal = lifecycle.get("stopSignal");
    if signal.present() && !signal.text().starts_with("SIG") {
        errors.invalid(&signal, "must be a valid signal name");
    }
}

fn handler(holder: &Field<'_, '_>, kinds: &[&str], grace: Option<i64>, errors: &mut Errors) {
    let mut found = 0;
    for kind in kinds {
        let action = holder.get(kind);
        if !action.present() {
            continue;
        }
        found += 1;
        if found > 1 {
            errors.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" => {
                errors.require(&action.get("command"), "");
            }
            "httpGet" => http(&action, errors),
            "sleep" => sleep(&action, grace, errors),
            _ => errors.port_or_name(&action.get("port")),
        }
    }
    if found == 0 {
        errors.required(holder, "must specify a handler type");
    }
}

fn http(http: &Field<'_, '_>, errors: &mut Errors) {
    errors.require(&http.get("path"), "");
    errors.port_or_name(&http.get("port"));
    errors.optional_one_of(&http.get("scheme"), &["HTTP", "HTTPS"]);
    let headers = http.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").text();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid_text(&headers, name, detail);
        }
    }
}

fn sleep(sleep: &Field<'_, '_>, grace: Option<i64>, errors: &mut Errors) {
    let Some(grace) = grace else { return };
    let seconds = json!(sleep.get("seconds").number());
    if !(0..=grace).contains(&sleep.get("seconds").number()) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(&sleep.with(&seconds), detail);
    }
}
