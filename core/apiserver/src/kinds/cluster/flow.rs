//! Flow schemas and priority levels.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use crate::flows;
use crate::kinds::edit::{default_number, default_to, inside, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup, same, text};
use crate::kinds::{Kind, WITH_STATUS, meta};

const PRECEDENCE_MAX: i64 = 10000;
const QUEUES_MAX: i64 = 10_000_000;
/// How many bits of a hash deal a hand of queues.
const HASH_BITS: i64 = 60;
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
/// Each kind of subject with the field that says who it is.
const SUBJECTS: &[(&str, &str)] = &[("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

pub(in crate::kinds) static SCHEMA: Kind = Kind {
    default: |schema| inside(schema, "spec", |spec| default_number(spec, "matchingPrecedence", 1000)),
    validate: |new, _, errors| {
        schema(new, errors);
        fixed(new, "FlowSchema", errors);
        conditions(new, errors);
    },
    validate_status: |new, _, errors| conditions(new, errors),
    ..WITH_STATUS
};

fn schema(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let precedence = spec.get("matchingPrecedence");
    let shown = json!(precedence.number());
    let precedence = precedence.with(&shown);
    if precedence.number() <= 0 {
        errors.invalid(&precedence, "must be a positive value");
    }
    if precedence.number() > PRECEDENCE_MAX {
        errors.invalid(&precedence, format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence.number() == 1 && text(new, &["metadata", "name"]) != "exempt" {
        errors.invalid(&precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = spec.get("distinguisherMethod");
    let kind = method.get("type");
    if method.present() && !matches!(kind.text(), "ByNamespace" | "ByUser") {
        let shown = json!({"Type": kind.text()});
        errors.not_supported(&kind.with(&shown), &["ByNamespace", "ByUser"]);
    }
    let level = spec.get("priorityLevelConfiguration");
    let name = level.get("name");
    if errors.require(&name, "must reference a priority level") {
        meta::reference(&name, errors);
    }
    for rule in spec.get("rules").items() {
        let subjects = rule.get("subjects");
        errors.require(&subjects, "subjects must contain at least one value");
        for subject in subjects.items() {
            self::subject(&subject, errors);
        }
        let (resources, urls) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
        if resources.is_empty() && urls.is_empty() {
            errors.required(&rule, "at least one of resourceRules and nonResourceRules has to be non-empty");
        }
        for resource in resources.items() {
            resource_rule(&resource, errors);
        }
        for url in urls.items() {
            url_rule(&url, errors);
        }
    }
}

fn subject(subject: &Field<'_, '_>, errors: &mut Errors) {
    let kind = subject.get("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind.text()) else {
        errors.not_supported(&kind.with(&json!(kind.text())), &["Group", "ServiceAccount", "User"]);
        return;
    };
    let named = subject.get(own);
    if !named.present() {
        errors.required(&named, &format!("{own} is required when subject kind is '{}'", kind.text()));
    } else if *own == "serviceAccount" {
        account(&named, errors);
    } else {
        errors.require(&named.get("name"), "");
    }
    for (other, field) in SUBJECTS.iter().filter(|(_, field)| field != own) {
        if subject.get(field).present() {
            errors.forbidden(&subject.get(field), format!("{field} is forbidden when subject kind is not '{other}'"));
        }
    }
}

fn account(account: &Field<'_, '_>, errors: &mut Errors) {
    let (name, namespace) = (account.get("name"), account.get("namespace"));
    if errors.require(&name, "") && name.text() != "*" {
        meta::reference(&name, errors);
    }
    if errors.require(&namespace, "must specify namespace for service account") {
        errors.invalid_each(&namespace, names::dns_1123_label(namespace.text()));
    }
}

/// Whether a list has the wildcard, which must then stand alone.
fn wildcard(list: &Field<'_, '_>, what: &str, errors: &mut Errors) -> bool {
    let wild = list.strings().any(|item| item == "*");
    if wild && list.len() > 1 {
        errors.invalid(list, format!("if '*' is present, must not specify other {what}"));
    }
    wild
}

fn verbs(rule: &Field<'_, '_>, errors: &mut Errors) {
    let verbs = rule.get("verbs");
    if errors.require(&verbs, "verbs must contain at least one value")
        && !wildcard(&verbs, "verbs", errors)
        && !verbs.strings().all(|verb| VERBS.contains(&verb))
    {
        errors.not_supported(&verbs, VERBS);
    }
}

fn resource_rule(rule: &Field<'_, '_>, errors: &mut Errors) {
    verbs(rule, errors);
    let (groups, resources, spaces) = (rule.get("apiGroups"), rule.get("resources"), rule.get("namespaces"));
    if errors.require(&groups, "resource rules must supply at least one api group") {
        wildcard(&groups, "api groups", errors);
    }
    if errors.require(&resources, "resource rules must supply at least one resource") {
        wildcard(&resources, "resources", errors);
    }
    if spaces.is_empty() && !rule.get("clusterScope").is_true() {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&spaces, detail);
    } else if !wildcard(&spaces, "namespaces", errors) {
        for space in spaces.items() {
            for complaint in names::dns_1123_label(space.text()) {
                let intro = "each member of this list must be '*' or a DNS-1123 label; ";
                errors.invalid(&space, format!("{intro}{complaint}"));
            }
        }
    }
}

fn url_rule(rule: &Field<'_, '_>, errors: &mut Errors) {
    verbs(rule, errors);
    let urls = rule.get("nonResourceURLs");
    if !errors.require(&urls, "nonResourceURLs must contain at least one value")
        || wildcard(&urls, "non-resource URLs", errors)
    {
        return;
    }
    for url in urls.items() {
        let path = url.text();
        let stars = path.matches('*').count();
        let trouble = match path {
            "" => "must not be empty",
            "/" => continue,
            _ if !path.starts_with('/') => "must start with slash",
            _ if path.contains(' ') => "must not contain white-space",
            _ if path.contains("//") => "must not contain double slash",
            _ if stars > 1 || stars == 1 && !path.ends_with("/*") => "wildcard can only do suffix matching",
            _ => continue,
        };
        errors.invalid(&url, trouble);
    }
}

/// Objects without which nothing would be served are what upstream says they are.
fn fixed(new: &Value, kind: &str, errors: &mut Errors) {
    let name = text(new, &["metadata", "name"]);
    let Some(wanted) = flows::mandatory(kind, name) else { return };
    let (mut spec, mut wanted) = (lookup(new, "spec").clone(), lookup(&wanted, "spec").clone());
    let exempt = (kind, name) == ("PriorityLevelConfiguration", "exempt");
    if exempt {
        for spec in [&mut spec, &mut wanted] {
            crate::kinds::edit::remove(spec, "exempt");
        }
    }
    if !same(&spec, &wanted) {
        let but = if exempt {
            " except the 'spec.exempt.lendablePercent' and 'spec.exempt.nominalConcurrencyShares' fields"
        } else {
            ""
        };
        let spec = Field::top(new, "spec");
        errors.invalid(&spec, format!("spec of '{name}'{but} must equal the fixed value"));
    }
}

fn conditions(new: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for condition in Field::top(new, "status").get("conditions").items() {
        let kind = condition.get("type");
        if !seen.insert(kind.text()) {
            errors.duplicate(&kind);
        }
        errors.require(&kind, "must not be empty");
    }
}

pub(in crate::kinds) static LEVEL: Kind = Kind {
    default,
    validate: |new, _, errors| {
        level(new, errors);
        fixed(new, "PriorityLevelConfiguration", errors);
        conditions(new, errors);
    },
    validate_status: |new, _, errors| conditions(new, errors),
    ..WITH_STATUS
};

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

fn level(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    let shown = json!(kind.text());
    if (text(new, &["metadata", "name"]) == "exempt") != (kind.text() == "Exempt") {
        errors.invalid(&kind.with(&shown), "type must be 'Exempt' if and only if name is 'exempt'");
    }
    match kind.text() {
        "Exempt" => {
            if limited.present() {
                errors.forbidden(&limited, "must be nil if the type is not Limited");
            }
            if exempt.present() {
                shares(&exempt, errors);
            } else {
                errors.required(&exempt, "must not be empty when type is Exempt");
            }
        }
        "Limited" => {
            if exempt.present() {
                errors.forbidden(&exempt, "must be nil if the type is Limited");
            }
            if limited.present() {
                shares(&limited, errors);
                response(&limited.get("limitResponse"), errors);
            } else {
                errors.required(&limited, "must not be empty when type is Limited");
            }
        }
        _ => errors.not_supported(&kind.with(&shown), &["Exempt", "Limited"]),
    }
}

fn shares(level: &Field<'_, '_>, errors: &mut Errors) {
    let nominal = level.get("nominalConcurrencyShares");
    if nominal.int().is_some_and(|shares| shares < 0) {
        errors.invalid(&nominal, "must be a non-negative integer");
    }
    let borrowed = level.get("borrowingLimitPercent");
    if borrowed.int().is_some_and(|percent| percent < 0) {
        errors.invalid(&borrowed, "if specified, must be a non-negative integer");
    }
    errors.in_range(&level.get("lendablePercent"), 0, 100);
}

fn response(response: &Field<'_, '_>, errors: &mut Errors) {
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.text() {
        "Reject" if queuing.present() => {
            errors.forbidden(&queuing, "must be nil if limited.limitResponse.type is not Limited");
        }
        "Reject" => {}
        "Queue" if queuing.present() => self::queuing(&queuing, errors),
        "Queue" => errors.required(&queuing, "must not be empty if limited.limitResponse.type is Limited"),
        other => errors.not_supported(&kind.with(&json!(other)), &["Queue", "Reject"]),
    }
}

fn queuing(queuing: &Field<'_, '_>, errors: &mut Errors) {
    let (queues, hand) = (queuing.get("queues"), queuing.get("handSize"));
    for field in [&queuing.get("queueLengthLimit"), &queues, &hand] {
        if field.number() <= 0 {
            errors.invalid(field, "must be positive");
        }
    }
    if queues.number() > QUEUES_MAX {
        errors.invalid(&queues, format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand.number() <= 0 {
        return;
    }
    if hand.number() > queues.number() {
        errors.invalid(&hand, format!("should not be greater than queues ({})", queues.number()));
        return;
    }
    let bits = entropy(queues.number(), hand.number());
    if bits > HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {} and handSize {} should not be greater than {HASH_BITS}",
            queues.number(),
            hand.number()
        );
        errors.invalid(&hand, detail);
    }
}

/// How many bits it takes to deal a hand from a deck, card by card.
fn entropy(deck: i64, hand: i64) -> i64 {
    #[allow(clippy::cast_precision_loss, reason = "decks have at most ten million cards")]
    let bits = (deck as f64).log2();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
    let all = (bits * hand as f64).ceil() as i64;
    all
}
