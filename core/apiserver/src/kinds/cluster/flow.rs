//! Flow schemas and priority levels.

use serde_json::{Value, json};

use crate::kinds::edit::{default_number, default_to, inside, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup, text};
use crate::kinds::{Kind, WITH_STATUS};

const PRECEDENCE_MAX: i64 = 10000;

pub(in crate::kinds) static SCHEMA: Kind = Kind {
    default: |schema| inside(schema, "spec", |spec| default_number(spec, "matchingPrecedence", 1000)),
    validate: |new, _, errors| {
        let spec = Field::top(new, "spec");
        let precedence = spec.get("matchingPrecedence");
        let named = text(new, &["metadata", "name"]);
        if precedence.number() <= 0 {
            errors.invalid(&precedence, "must be a positive value");
        }
        if precedence.number() > PRECEDENCE_MAX {
            errors.invalid(&precedence, format!("must not be greater than {PRECEDENCE_MAX}"));
        }
        if precedence.number() == 1 && named != "exempt" {
            errors.invalid(&precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
        }
        let method = spec.get("distinguisherMethod");
        if method.present() {
            errors.optional_one_of(&method.get("type"), &["ByNamespace", "ByUser"]);
        }
        let level = spec.get("priorityLevelConfiguration");
        errors.require(&level.get("name"), "must reference a priority level");
        for rule in spec.get("rules").items() {
            errors.require(&rule.get("subjects"), "subjects must contain at least one value");
            if rule.get("resourceRules").is_empty() && rule.get("nonResourceRules").is_empty() {
                errors.required(&rule, "at least one of resourceRules and nonResourceRules has to be non-empty");
            }
        }
    },
    ..WITH_STATUS
};

pub(in crate::kinds) static LEVEL: Kind = Kind { default, validate, ..WITH_STATUS };

fn default(level: &mut Value) {
    inside(level, "spec", |spec| match text(spec, &["type"]) {
        "Limited" => inside(spec, "limited", |limited| {
            if lookup(limited, "nominalConcurrencyShares").is_null() {
                default_to(limited, "nominalConcurrencyShares", 30);
            }
            default_to(limited, "lendablePercent", 0);
            inside(limited, "limitResponse", |response| {
                if text(response, &["type"]) == "Queue" {
                    within(response, "queuing", |queuing| {
                        default_number(queuing, "queues", 64);
                        default_number(queuing, "handSize", 8);
                        default_number(queuing, "queueLengthLimit", 50);
                    });
                }
            });
        }),
        "Exempt" => within(spec, "exempt", |exempt| {
            default_to(exempt, "nominalConcurrencyShares", 0);
            default_to(exempt, "lendablePercent", 0);
        }),
        _ => {}
    });
}

fn validate(new: &Value, _: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (kind, limited) = (spec.get("type"), spec.get("limited"));
    match kind.text() {
        "Exempt" if limited.present() => {
            errors.forbidden(&limited, "must be nil if the type is not Limited");
        }
        "Exempt" => {}
        "Limited" if !limited.present() => errors.required(&limited, "must not be empty when type is Limited"),
        "Limited" => {
            let shares = limited.get("nominalConcurrencyShares");
            errors.non_negative(&shares);
            errors.in_range(&limited.get("lendablePercent"), 0, 100);
            let response = limited.get("limitResponse");
            errors.optional_one_of(&response.get("type"), &["Queue", "Reject"]);
            let queuing = response.get("queuing");
            if response.get("type").text() == "Reject" && queuing.present() {
                errors.forbidden(&queuing, "must be nil if limited.limitResponse.type is not Limited");
            }
        }
        other => errors.not_supported(&kind.with(&json!(other)), &["Exempt", "Limited"]),
    }
}
