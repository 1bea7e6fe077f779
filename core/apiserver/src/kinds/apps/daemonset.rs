//! DaemonSets.

use serde_json::Value;

use super::{at_most_all, collisions, counts, fixed_selector, is_nothing, number_or_percent, selector, template};
use crate::kinds::edit::{default_to, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, same, text};
use crate::kinds::pod::defaults;
use crate::kinds::{Kind, WITH_STATUS, prepare};

/// The annotation in which the server counts changes of the template (`apps/v1 DeprecatedTemplateGeneration`).
const GENERATION: &str = "deprecated.daemonset.template.generation";
const TEMPLATE: &[&str] = &["spec", "template"];

pub(in crate::kinds) static DAEMON_SET: Kind = Kind {
    default,
    prepare_create: |set| {
        prepare::clear_status_and_count(set);
        inside(set, "spec", |spec| default_to(spec, "revisionHistoryLimit", 10));
        let sent = generation(set).filter(|sent| *sent > 0).unwrap_or(1);
        count_template(set, sent);
    },
    prepare_update: |new, old| {
        prepare::keep_status_and_count(new, old);
        let changed = !same(dig(new, TEMPLATE), dig(old, TEMPLATE));
        count_template(new, generation(old).unwrap_or(0) + i64::from(changed));
    },
    prepare_status: |new, old| {
        prepare::only_status(new, old);
        count_template(new, generation(old).unwrap_or(0));
    },
    validate,
    validate_status: |new, old, errors| {
        let names = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ];
        let status = Field::top(new, "status");
        counts(&status, &names, errors);
        collisions(&status, old, errors);
    },
    ..WITH_STATUS
};

/// Which template of the set it has: counted by the server, whatever a client says of it.
fn generation(set: &Value) -> Option<i64> {
    text(set, &["metadata", "annotations", GENERATION]).parse().ok()
}

fn count_template(daemons: &mut Value, number: i64) {
    within(daemons, "metadata", |meta| {
        within(meta, "annotations", |annotations| set(annotations, GENERATION, number.to_string()));
    });
}

fn default(set: &mut Value) {
    within(set, "spec", |spec| {
        within(spec, "updateStrategy", |strategy| {
            default_to(strategy, "type", "RollingUpdate");
            if text(strategy, &["type"]) == "RollingUpdate" {
                within(strategy, "rollingUpdate", |rolling| {
                    default_to(rolling, "maxUnavailable", 1);
                    default_to(rolling, "maxSurge", 0);
                });
            }
        });
        default_to(spec, "revisionHistoryLimit", 10);
        defaults::template(spec);
    });
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    selector(&spec.get("selector"), "daemonset", errors);
    template(&spec, "DaemonSet", errors);
    errors.non_negative(&spec.get("minReadySeconds"));
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.present() => errors.required(&rolling, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number_or_percent(&unavailable, errors);
            number_or_percent(&surge, errors);
            match (is_nothing(&unavailable), is_nothing(&surge)) {
                (true, true) => errors.required(&unavailable, "cannot be 0 when maxSurge is 0"),
                (false, false) => errors.invalid(&surge, "may not be set when maxUnavailable is non-zero"),
                _ => {}
            }
            at_most_all(&unavailable, errors);
            at_most_all(&surge, errors);
        }
        _ => errors.not_supported(&strategy.get("type"), &["RollingUpdate", "OnDelete"]),
    }
    errors.non_negative(&spec.get("revisionHistoryLimit"));
    if let Some(old) = old {
        fixed_selector(&spec, old, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_server_counts_the_templates() {
        let mut old = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {"hostNetwork": true}}}});
        (DAEMON_SET.prepare_create)(&mut old);
        assert_eq!(generation(&old), Some(1));
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({GENERATION: "9", "mine": "too"});
        (DAEMON_SET.prepare_update)(&mut new, &old);
        assert_eq!((generation(&new), &new["metadata"]["annotations"]["mine"]), (Some(1), &json!("too")));
        new["spec"]["template"]["spec"]["hostNetwork"] = false.into();
        (DAEMON_SET.prepare_update)(&mut new, &old);
        assert_eq!(generation(&new), Some(2));
        (DAEMON_SET.prepare_status)(&mut old, &new);
        assert_eq!(generation(&old), Some(2));
    }
}
