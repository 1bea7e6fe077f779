//! The CEL rules of a schema (`x-kubernetes-validations`): written down, checked, and carried out on objects.

mod bounds;
mod values;
mod written;

use std::collections::BTreeMap;

use serde_json::Value;
use windlass_kernel::error::Cause;

use self::values::to_cel;
pub(crate) use self::written::check as check_rules;
use super::{
    schema::{Additional, List, Node},
    unique::keyed,
};
use crate::{
    cel::{self, Actual, Expression, PER_OBJECT, Scope},
    kinds::Errors,
};

/// The rules at a place of a schema and below it; places without rules are left out.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    own: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    values: Option<Box<Rules>>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    text: String,
    /// The rule, or why it cannot be compiled.
    program: Result<Expression, String>,
    message: Option<String>,
    message_program: Option<Expression>,
    reason: String,
    field_path: String,
    optional_old: bool,
}

impl Rule {
    pub(super) fn read(rule: &Value) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        let message_program = rule["messageExpression"].as_str().and_then(|text| Expression::compile(text).ok());
        Self {
            program: Expression::compile(&text("rule")),
            text: text("rule").trim().to_owned(),
            message: Some(text("message")).filter(|message| !message.is_empty()),
            message_program,
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old: rule["optionalOldSelf"] == true,
        }
    }

    /// Whether it compares with what was.
    pub(super) fn compares(&self) -> bool {
        self.program.as_ref().is_ok_and(|program| program.mentions("oldSelf"))
    }
}

impl Rules {
    /// The rules of a schema.
    pub(crate) fn read(node: &Node) -> Self {
        let below = |node: &Node| Some(Self::read(node)).filter(|rules| !rules.is_empty());
        Self {
            own: node.checks.rules.iter().map(Rule::read).collect(),
            properties: node.properties.iter().filter_map(|(name, node)| Some((name.clone(), below(node)?))).collect(),
            items: node.items.as_deref().and_then(below).map(Box::new),
            values: match &node.additional {
                Additional::Each(each) => below(each).map(Box::new),
                Additional::Unsaid | Additional::Any => None,
            },
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.properties.is_empty() && self.items.is_none() && self.values.is_none()
    }

    /// Checks an object against the rules; `old` is what it was.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>, node: &Node, errors: &mut Errors) {
        if self.is_empty() {
            return;
        }
        let base = Scope::new();
        let mut walk = Walk { base: &base, budget: PER_OBJECT, exhausted: false, found: Vec::new() };
        walk.visit(self, object, old, node, "", Place::Root);
        walk.found.into_iter().for_each(|cause| errors.add(cause));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Below,
}

struct Walk<'w> {
    base: &'w Scope<'static>,
    budget: u64,
    exhausted: bool,
    found: Vec<Cause>,
}

impl Walk<'_> {
    fn visit(&mut self, rules: &Rules, value: &Value, old: Option<&Value>, node: &Node, path: &str, place: Place) {
        if self.exhausted || value.is_null() {
            return;
        }
        // What did not change is taken as it is, but for the rules that compare.
        let same = old == Some(value);
        if !rules.own.is_empty() {
            self.own(rules, value, old.filter(|old| !old.is_null()), node, path, place);
        }
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let of = rules.properties.get(name).or(rules.values.as_deref());
                    let (Some(of), Some(node)) = (of, node.field(name)) else { continue };
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let below = if rules.properties.contains_key(name) { below } else { format!("{path}[{name}]") };
                    self.visit(of, inner, old.and_then(|old| old.get(name)), node, &below, Place::Below);
                }
            }
            Value::Array(items) => {
                let (Some(of), Some(inner)) = (&rules.items, &node.items) else { return };
                let before = old.and_then(Value::as_array);
                for (at, item) in items.iter().enumerate() {
                    let before = match &node.list {
                        List::Map(keys) => {
                            let own = keyed(item, keys, node);
                            before.and_then(|all| all.iter().find(|other| keyed(other, keys, node) == own))
                        }
                        _ if same => Some(item),
                        List::Set | List::Atomic => None,
                    };
                    self.visit(of, item, before, inner, &format!("{path}[{at}]"), Place::Below);
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, rules: &Rules, value: &Value, old: Option<&Value>, node: &Node, path: &str, place: Place) {
        let root = place == Place::Root;
        let mut scope = self.base.within();
        scope.bind("self", to_cel(value, node, root));
        let shown = Value::from(node.kind.map_or("", super::schema::Kind::as_str));
        for rule in &rules.own {
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    self.refuse(path, rule, &shown, &format!("rule compile error: {why}"));
                    continue;
                }
            };
            let compares = rule.compares();
            if compares && old.is_none() && !rule.optional_old || !compares && old == Some(value) {
                continue;
            }
            let mut seen = vec![("self", Actual::of(value))];
            seen.extend(old.map(|old| ("oldSelf", Actual::of(old))));
            let steps = cel::cost(program.tree(), &seen).unwrap_or(1);
            let Some(left) = self.budget.checked_sub(steps) else {
                self.exhausted = true;
                let why =
                    "validation failed due to running out of cost budget, no further validation rules will be run";
                let message = format!("Invalid value: {shown}: {why}");
                self.found.push(cause("FieldValueInvalid", path, message));
                return;
            };
            self.budget = left;
            let mut own = scope.within();
            let before = || old.map(|old| to_cel(old, node, root));
            match (compares, rule.optional_old) {
                (true, true) => own.bind_optional("oldSelf", before()),
                (true, false) => own.bind("oldSelf", before().unwrap_or(cel::Value::Null)),
                (false, _) => {}
            }
            match program.evaluate(&own) {
                Ok(cel::Value::Bool(true)) => {}
                Ok(cel::Value::Bool(false)) => {
                    let why = rule.said(&own);
                    self.refuse(path, rule, &shown, &why);
                }
                Ok(_) => {
                    let why = "cel expression evaluated to no boolean";
                    self.refuse(path, rule, &shown, &format!("{why}: {}", rule.shown()));
                }
                Err(why) => self.refuse(path, rule, &shown, &format!("{why} evaluating rule: {}", rule.shown())),
            }
        }
    }

    fn refuse(&mut self, path: &str, rule: &Rule, shown: &Value, why: &str) {
        let path = match (path, rule.field_path.as_str()) {
            (path, "") => path.to_owned(),
            ("", below) => below.trim_start_matches('.').to_owned(),
            (path, below) if below.starts_with('[') => format!("{path}{below}"),
            (path, below) => format!("{path}.{}", below.trim_start_matches('.')),
        };
        let (reason, message) = match rule.reason.as_str() {
            "FieldValueForbidden" => ("FieldValueForbidden", format!("Forbidden: {why}")),
            "FieldValueRequired" => ("FieldValueRequired", format!("Required value: {why}")),
            "FieldValueDuplicate" => ("FieldValueDuplicate", format!("Duplicate value: {shown}")),
            _ => ("FieldValueInvalid", format!("Invalid value: {shown}: {why}")),
        };
        self.found.push(cause(reason, &path, message));
    }
}

fn cause(reason: &str, path: &str, message: String) -> Cause {
    let field = if path.is_empty() { "<nil>" } else { path };
    Cause { reason: reason.into(), message, field: field.into() }
}

impl Rule {
    /// What is said of an object that breaks the rule.
    fn said(&self, scope: &Scope<'_>) -> String {
        let computed = self.message_program.as_ref().and_then(|program| match program.evaluate(scope).ok()? {
            cel::Value::String(text) => {
                Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\n'))
            }
            _ => None,
        });
        computed.or_else(|| self.message.clone()).unwrap_or_else(|| format!("failed rule: {}", self.text))
    }

    /// The rule as messages name it.
    fn shown(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text)
    }
}
