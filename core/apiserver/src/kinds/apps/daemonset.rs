//! DaemonSets.

use serde_json::Value;

use super::{at_most_all, counts, fixed_selector, is_nothing, number_or_percent, selector, template};
use crate::kinds::edit::{default_to, inside, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, text};
use crate::kinds::pod::defaults;
use crate::kinds::{Kind, WITH_STATUS, prepare};

pub(in crate::kinds) static DAEMON_SET: Kind = Kind {
    default,
    prepare_create: |set| {
        prepare::clear_status_and_count(set);
        inside(set, "spec", |spec| default_to(spec, "revisionHistoryLimit", 10));
    },
    validate,
    validate_status: |new, _, errors| {
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
        counts(&Field::top(new, "status"), &names, errors);
    },
    ..WITH_STATUS
};

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
