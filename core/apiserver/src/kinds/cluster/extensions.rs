//! Definitions of aggregated API services.

use crate::kinds::edit::{default_number, inside};
use crate::kinds::field::{Field, lookup, same};
use crate::kinds::{Kind, NameRule, WITH_STATUS, meta, prepare};

/// Nothing is passed on to other servers, so that whoever asks for it is told at once.
const AGGREGATION: &str = "aggregated API servers are not supported: define the resources as custom resources, or let clients reach their server by itself";

pub(in crate::kinds) static API_SERVICE: Kind = Kind {
    name: NameRule::PathSegment,
    default: |service| {
        inside(service, "spec", |spec| inside(spec, "service", |own| default_number(own, "port", 443)));
    },
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: |new, old, errors| {
        let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
        let (group, version) = (spec.get("group"), spec.get("version"));
        let (name, wanted) = (meta.get("name"), format!("{}.{}", version.text(), group.text()));
        if name.text() != wanted {
            let trimmed = wanted.trim_end_matches('.');
            if name.text() != trimmed || !group.is_empty() {
                errors.invalid(&name, format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"));
            }
        }
        let (minimum, priority) = (spec.get("groupPriorityMinimum"), spec.get("versionPriority"));
        if !(1..=20000).contains(&minimum.number()) {
            errors.invalid(&minimum, "must be positive and less than 20000");
        }
        if !(1..=1000).contains(&priority.number()) {
            errors.invalid(&priority, "must be positive and less than 1000");
        }
        let service = spec.get("service");
        if service.present() {
            for field in ["namespace", "name"] {
                errors.require(&service.get(field), "");
            }
            if old.is_none_or(|old| !same(lookup(old, "spec"), lookup(new, "spec"))) {
                errors.forbidden(&service, AGGREGATION);
            }
            if spec.get("insecureSkipTLSVerify").is_true() && !spec.get("caBundle").is_empty() {
                errors.invalid(&spec.get("insecureSkipTLSVerify"), "may not be true if caBundle is present");
            }
        } else if spec.get("insecureSkipTLSVerify").is_true() {
            let field = spec.get("insecureSkipTLSVerify");
            errors.invalid(&field, "local APIServices may not have insecureSkipTLSVerify");
        }
    },
    unconditional_update: false,
    ..WITH_STATUS
};
