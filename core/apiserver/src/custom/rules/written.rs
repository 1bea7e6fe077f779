//! Checking rules when a definition is written: that they compile, what they may see, and what they may cost.

use super::{
    super::schema::{List, Node},
    Rule,
    bounds::{Allowed, most},
};
use crate::{
    cel::{self, Checker, Expression, PER_RULE, PER_SCHEMA, Type},
    kinds::{Errors, Field},
};

const REASONS: [&str; 4] = ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];
const TRY: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
                   strings are declared)";

/// Checks the rules of a schema.
pub(crate) fn check(schema: &Field<'_, '_>, errors: &mut Errors) {
    let mut total = 0;
    place(schema, At { times: 1, correlates: true, root: true }, &mut total, errors);
    if total > PER_SCHEMA {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(schema, format!("{} {TRY}", exceeds(what, total, PER_SCHEMA)));
    }
}

/// Where in a schema a place is, as far as rules are concerned.
#[derive(Clone, Copy)]
struct At {
    /// How often an object may have such a value.
    times: u64,
    /// Whether it can be told which value of an old object it was.
    correlates: bool,
    root: bool,
}

fn place(schema: &Field<'_, '_>, at: At, total: &mut u64, errors: &mut Errors) {
    let node = Node::read(schema.value());
    let own = schema.get("x-kubernetes-validations");
    for rule in own.items() {
        one(&rule, &node, at, total, errors);
    }
    let below = At { root: false, ..at };
    let properties = schema.get("properties");
    for (name, _) in properties.entries() {
        place(&properties.key(name), below, total, errors);
    }
    let times = at.times.saturating_mul(most(&node));
    let items = schema.get("items");
    if items.value().is_object() {
        let correlates = at.correlates && matches!(node.list, List::Map(_));
        place(&items, At { times, correlates, root: false }, total, errors);
    }
    let additional = schema.get("additionalProperties");
    if additional.value().is_object() {
        place(&additional, At { times, ..below }, total, errors);
    }
}

fn one(rule: &Field<'_, '_>, node: &Node, at: At, total: &mut u64, errors: &mut Errors) {
    let text = rule.get("rule");
    let message = rule.get("message");
    if text.text().trim().is_empty() {
        errors.required(&text, "rule is not specified");
        return;
    }
    if message.present() && message.text().trim().is_empty() {
        errors.invalid(&message, "message must be non-empty if specified");
    } else if message.text().contains('\n') {
        errors.invalid(&message, "message must not contain line breaks");
    } else if !message.present() && text.text().trim().contains('\n') {
        errors.required(&message, "message must be specified if rule contains line breaks");
    }
    errors.optional_one_of(&rule.get("reason"), &REASONS);
    field_path(&rule.get("fieldPath"), node, errors);
    let read = Rule::read(rule.value());
    let program = match &read.program {
        Ok(program) => program,
        Err(why) => {
            errors.invalid(&text, format!("compilation failed: {why}"));
            return;
        }
    };
    if read.compares() && !at.correlates {
        errors.invalid(&text, "oldSelf cannot be used on the uncorrelatable portion of the schema");
    }
    let optional = rule.get("optionalOldSelf");
    if optional.is_true() && !read.compares() {
        errors.invalid(&optional, "may not be set if oldSelf is not used in rule");
    }
    let compares = if optional.is_true() { Compares::Optionally } else { Compares::Always };
    if bounded(&text, program, "estimated rule cost", node, at, total, errors) {
        typed(&text, program, node, at, (compares, "bool", "cel expression must evaluate to a bool"), errors);
    }
    let message = rule.get("messageExpression");
    if !message.present() {
        return;
    }
    match Expression::compile(message.text()) {
        _ if message.text().trim().is_empty() => {
            errors.required(&message, "messageExpression must be non-empty if specified");
        }
        Ok(program) => {
            if bounded(&message, &program, "estimated messageExpression cost", node, at, total, errors) {
                let wanted = (compares, "string", "messageExpression must evaluate to a string");
                typed(&message, &program, node, at, wanted, errors);
            }
        }
        Err(why) => errors.invalid(&message, format!("messageExpression compilation failed: {why}")),
    }
}

fn bounded(
    text: &Field<'_, '_>,
    program: &Expression,
    what: &str,
    node: &Node,
    at: At,
    total: &mut u64,
    errors: &mut Errors,
) -> bool {
    let seen = [("self", Allowed::Of(node, at.root)), ("oldSelf", Allowed::Of(node, at.root))];
    match cel::cost(program.tree(), &seen) {
        Err(why) => {
            errors.invalid(text, format!("compilation failed: {why}"));
            false
        }
        Ok(steps) => {
            let steps = steps.saturating_mul(at.times);
            *total = total.saturating_add(steps);
            if steps > PER_RULE {
                errors.forbidden(text, format!("{} {TRY}", exceeds(what, steps, PER_RULE)));
            }
            true
        }
    }
}

/// What `oldSelf` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compares {
    /// A value like `self`.
    Always,
    /// Such a value, or none.
    Optionally,
}

/// Refuses an expression whose types cannot fit, or whose value is not of the type that is wanted.
fn typed(
    text: &Field<'_, '_>,
    program: &Expression,
    node: &Node,
    at: At,
    (compares, wanted, why): (Compares, &str, &str),
    errors: &mut Errors,
) {
    let own = Type::of_place(node, at.root);
    let old = if compares == Compares::Optionally { Type::Unknown } else { own.clone() };
    let mut checker = Checker::knowing([("self", own), ("oldSelf", old)]);
    let kind = checker.infer(program.tree());
    let complaints = checker.complaints();
    if !complaints.is_empty() {
        errors.invalid(text, format!("compilation failed: {}", complaints.join("; ")));
    } else if kind.is_other_than(wanted) {
        errors.invalid(text, why);
    }
}

fn field_path(path: &Field<'_, '_>, node: &Node, errors: &mut Errors) {
    if !path.present() {
        return;
    }
    let read = crate::custom::path::JsonPath::read(path.text());
    let Some(names) = read.as_ref().and_then(|path| path.fields()).filter(|names| !names.is_empty()) else {
        errors.invalid(path, "fieldPath must be a valid path");
        return;
    };
    let mut at = Some(node);
    for name in names {
        at = at.and_then(|node| node.field(name));
    }
    if at.is_none() {
        errors
            .invalid(path, format!("fieldPath must be a valid path: does not refer to a valid field: {}", path.text()));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    if factor > 100.0 {
        format!("{what} exceeds budget by factor of more than 100x")
    } else {
        format!("{what} exceeds budget by factor of {factor:.1}x")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use windlass_api::path::Path;

    fn said(schema: &Value) -> String {
        let mut errors = Errors::new();
        check(&Field::at(Path::new("s"), schema), &mut errors);
        errors.sentence()
    }

    fn with(rule: &str, list: &Value) -> Value {
        json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}],
            "properties": {"list": list, "n": {"type": "integer"}}})
    }

    #[test]
    fn rules_may_cost_only_so_much() {
        let bounded = json!({"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}});
        let open = json!({"type": "array", "items": {"type": "string"}});
        let nested = "self.list.all(a, self.list.all(b, a == b))";
        assert_eq!(said(&with(nested, &bounded)), "[]");
        assert!(said(&with(nested, &open)).contains("estimated rule cost exceeds budget by factor of more than 100x"));
        assert_eq!(said(&with("self.list.size() < 3 && self.n > 1", &open)), "[]");
    }

    #[test]
    fn rules_whose_types_cannot_fit_are_refused() {
        let list = json!({"type": "array", "maxItems": 9, "items": {"type": "string", "maxLength": 9}});
        let refused = |rule: &str, why: &str| {
            let wrong = said(&with(rule, &list));
            assert!(wrong.contains(why), "{rule}: {wrong}");
        };
        refused(
            "self.n == 'a'",
            "compilation failed: found no matching overload for '_==_' applied to '(int, string)'",
        );
        refused("self.list.all(x, x > 1)", "found no matching overload for '_>_' applied to '(string, int)'");
        refused("self.n + 1", "cel expression must evaluate to a bool");
        refused("self.list", "cel expression must evaluate to a bool");
        let message = |text: &str| {
            let mut schema = with("self.n > 1", &list);
            schema["x-kubernetes-validations"][0]["messageExpression"] = text.into();
            said(&schema)
        };
        assert!(message("self.n").contains("messageExpression must evaluate to a string"));
        assert_eq!(message("'n is ' + string(self.n)"), "[]");
        assert_eq!(said(&with("self == oldSelf && self.n == oldSelf.n", &list)), "[]");
        let mut optional = with("oldSelf.hasValue() && oldSelf.value().n == self.n", &list);
        optional["x-kubernetes-validations"][0]["optionalOldSelf"] = true.into();
        assert_eq!(said(&optional), "[]");
    }

    #[test]
    fn rules_may_speak_only_of_what_there_is() {
        let list = json!({"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
        let wrong = said(&with("other > 1", &list));
        assert!(wrong.contains("undeclared reference to 'other'"), "{wrong}");
        assert!(wrong.contains("oldSelf cannot be used on the uncorrelatable portion"), "{wrong}");
        let wrong = said(&with("self.m > 1", &json!({"type": "array", "items": {"type": "string"}})));
        assert!(wrong.contains("s.x-kubernetes-validations[0].rule: Invalid value: \"self.m > 1\": compilation failed: undefined field 'm'"), "{wrong}");
    }
}
