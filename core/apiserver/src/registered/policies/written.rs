//! Checking expressions when a policy or a webhook is written: that they compile, and what they may mention.

use std::collections::BTreeSet;

use windlass_api::names;

use crate::{
    cel::{self, Checker, Expression, Extent, Making, Type},
    kinds::{Errors, Field},
};

const REASONS: [&str; 4] = ["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"];
/// The most conditions that a webhook or policy may have.
const CONDITIONS: usize = 64;

/// What the value of an expression has to be.
#[derive(Clone, Copy)]
enum Wanted {
    Anything,
    Scalar(&'static str),
    Patches,
    Object,
}

impl Wanted {
    fn making(self) -> Making {
        match self {
            Self::Object => Making::Objects,
            Self::Patches => Making::Patches,
            _ => Making::Nothing,
        }
    }

    /// What is wanted, where a value of this type is certainly something else.
    fn refuses(self, kind: &Type<'_>) -> Option<&'static str> {
        match self {
            Self::Anything => None,
            Self::Scalar(name) => kind.is_other_than(name).then_some(name),
            Self::Patches => kind.scalar().map(|_| "list(JSONPatch)"),
            Self::Object => kind.scalar().map(|_| "Object"),
        }
    }
}

/// What every expression may mention.
const REQUEST: [&str; 5] = ["object", "oldObject", "request", "authorizer", cel::REQUESTED];

/// Checks `matchConditions` of a webhook.
pub(crate) fn check_conditions(list: &Field<'_, '_>, errors: &mut Errors) {
    conditions(list, &Known::new(&REQUEST), errors);
}

/// Checks the expressions of a policy's `spec`.
pub(crate) fn check_policy(spec: &Field<'_, '_>, errors: &mut Errors) {
    let mut known = Known::new(&REQUEST);
    known.names.push("namespaceObject");
    if spec.get("paramKind").present() {
        known.names.push("params");
    }
    variables(spec, &mut known, errors);
    conditions(&spec.get("matchConditions"), &known, errors);
    for validation in spec.get("validations").items() {
        expression(&validation.get("expression"), &known, Wanted::Scalar("bool"), errors);
        let message = validation.get("message");
        if message.present() && message.text().trim().is_empty() {
            errors.invalid(&message, "message must be non-empty if specified");
        } else if message.text().trim().contains('\n') {
            errors.invalid(&message, "message must not contain line breaks");
        } else if !message.present() && validation.get("expression").text().trim().contains('\n') {
            errors.required(&message, "message must be specified if expression contains line breaks");
        }
        if validation.get("messageExpression").present() {
            expression(&validation.get("messageExpression"), &known, Wanted::Scalar("string"), errors);
        }
        errors.optional_one_of(&validation.get("reason"), &REASONS);
    }
    for annotation in spec.get("auditAnnotations").items() {
        let key = annotation.get("key");
        if errors.require(&key, "") {
            errors.invalid_each(&key, names::qualified_name(key.text()));
        }
        expression(&annotation.get("valueExpression"), &known, Wanted::Scalar("string"), errors);
    }
    for mutation in spec.get("mutations").items() {
        let (apply, patch) = (mutation.get("applyConfiguration"), mutation.get("jsonPatch"));
        match mutation.get("patchType").text() {
            "ApplyConfiguration" if apply.present() => {
                expression(&apply.get("expression"), &known, Wanted::Object, errors);
            }
            "ApplyConfiguration" => errors.required(&apply, "must be specified when patchType is ApplyConfiguration"),
            "JSONPatch" if patch.present() => expression(&patch.get("expression"), &known, Wanted::Patches, errors),
            "JSONPatch" => errors.required(&patch, "must be specified when patchType is JSONPatch"),
            _ => errors.one_of(&mutation.get("patchType"), &["ApplyConfiguration", "JSONPatch"]),
        }
    }
}

fn variables<'v>(spec: &Field<'_, 'v>, known: &mut Known<'v>, errors: &mut Errors) {
    for variable in spec.get("variables").items() {
        let name = variable.get("name");
        if errors.require(&name, "name is not specified") && !is_identifier(name.text()) {
            errors.invalid(&name, "name is not a valid CEL identifier");
        } else if known.variables.contains(&name.text()) {
            errors.duplicate(&name);
        }
        known.names.push("variables");
        expression(&variable.get("expression"), known, Wanted::Anything, errors);
        known.variables.push(name.text());
    }
}

fn conditions(list: &Field<'_, '_>, known: &Known<'_>, errors: &mut Errors) {
    if list.len() > CONDITIONS {
        errors.too_many(list, CONDITIONS);
    }
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        expression(&condition.get("expression"), known, Wanted::Scalar("bool"), errors);
        let name = condition.get("name");
        if errors.require(&name, "") {
            errors.invalid_each(&name, names::qualified_name(name.text()));
            if !seen.insert(name.text()) {
                errors.duplicate(&name);
            }
        }
    }
}

fn expression(text: &Field<'_, '_>, known: &Known<'_>, wanted: Wanted, errors: &mut Errors) {
    if text.text().trim().is_empty() {
        errors.required(text, "");
        return;
    }
    let compiled = Expression::making(text.text(), wanted.making());
    let bounded = compiled.and_then(|program| {
        let bound: Vec<(&str, Seen<'_>)> = known.bound();
        cel::cost(program.tree(), &bound)?;
        Ok(Checker::knowing([]).infer(program.tree()))
    });
    match bounded {
        Err(why) => errors.invalid(text, format!("compilation failed: {why}")),
        // What the objects look like is not known here: only what holds for all of them is refused.
        Ok(kind) => {
            if let Some(name) = wanted.refuses(&kind) {
                errors.invalid(text, format!("must evaluate to {name} but got {}", kind.scalar().unwrap_or("dyn")));
            }
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let start = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    start
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && cel::escaped(name).as_deref() == Some(name)
}

/// What an expression may mention.
struct Known<'k> {
    names: Vec<&'static str>,
    /// The variables of the policy so far.
    variables: Vec<&'k str>,
}

impl<'k> Known<'k> {
    fn new(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), variables: Vec::new() }
    }

    fn bound<'s>(&'s self) -> Vec<(&'s str, Seen<'s>)> {
        let kind = |name: &&'static str| {
            (*name, if *name == "variables" { Seen::Variables(&self.variables) } else { Seen::Anything })
        };
        self.names.iter().map(kind).collect()
    }
}

/// A value that an expression mentions.
#[derive(Clone, Debug)]
enum Seen<'k> {
    Anything,
    Variables(&'k [&'k str]),
}

impl Extent for Seen<'_> {
    fn sized(_: u64) -> Self {
        Self::Anything
    }

    fn named(name: &str) -> Result<Self, String> {
        let unknown = || format!("undeclared reference to '{name}' (in container '')");
        if cel::declares(name) { Ok(Self::Anything) } else { Err(unknown()) }
    }

    fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Variables(known) if !known.contains(&name) => Err(format!("undefined field '{name}'")),
            _ => Ok(Self::Anything),
        }
    }

    fn each(&self) -> Self {
        Self::Anything
    }

    fn size(&self) -> u64 {
        1
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_api::path::Path;

    use super::*;

    #[track_caller]
    fn check(spec: &Value, expect: &[&str]) {
        let mut errors = Errors::new();
        check_policy(&Field::at(Path::new("spec"), spec), &mut errors);
        let said: Vec<String> =
            errors.causes().iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(said, expect);
    }

    #[test]
    fn expressions_may_mention_what_there_is() {
        check(&json!({"validations": [{"expression": "object.spec.replicas < 5 && has(request.userInfo)"}]}), &[]);
        check(
            &json!({"validations": [{"expression": "params.x > 1"}]}),
            &[
                "spec.validations[0].expression: Invalid value: \"params.x > 1\": compilation failed: undeclared reference to 'params' (in container '')",
            ],
        );
        check(
            &json!({"paramKind": {"kind": "K"}, "validations": [{"expression": "params.x > 1", "reason": "Because"}]}),
            &[
                "spec.validations[0].reason: Unsupported value: \"Because\": supported values: \"Unauthorized\", \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ],
        );
    }

    #[test]
    fn variables_may_mention_those_before_them() {
        let variables =
            json!([{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.a + variables.c"}]);
        check(
            &json!({"variables": variables, "validations": [{"expression": "variables.b > variables.a"}]}),
            &[
                "spec.variables[1].expression: Invalid value: \"variables.a + variables.c\": compilation failed: undefined field 'c'",
            ],
        );
    }

    #[test]
    fn expressions_have_the_type_that_is_wanted_of_them() {
        check(
            &json!({"validations": [{"expression": "'a' + 'b'", "messageExpression": "1 > 2"}],
                "matchConditions": [{"name": "a", "expression": "size('a')"}, {"name": "b", "expression": "f(1)"}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "'x'"}}]}),
            &[
                "spec.matchConditions[0].expression: Invalid value: \"size('a')\": must evaluate to bool but got int",
                "spec.matchConditions[1].expression: Invalid value: \"f(1)\": compilation failed: undeclared reference to 'f' (in container '')",
                "spec.validations[0].expression: Invalid value: \"'a' + 'b'\": must evaluate to bool but got string",
                "spec.validations[0].messageExpression: Invalid value: \"1 > 2\": must evaluate to string but got bool",
                "spec.mutations[0].jsonPatch.expression: Invalid value: \"'x'\": must evaluate to list(JSONPatch) but got string",
            ],
        );
    }

    #[test]
    fn only_mutations_make_objects() {
        let made = "Object{spec: Object.spec{replicas: 1}}";
        check(
            &json!({"mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": made}}]}),
            &[],
        );
        check(
            &json!({"matchConditions": [{"name": "a", "expression": made}]}),
            &[
                "spec.matchConditions[0].expression: Invalid value: \"Object{spec: Object.spec{replicas: 1}}\": compilation failed: undeclared reference to 'Object.spec' (in container '')",
            ],
        );
    }
}
