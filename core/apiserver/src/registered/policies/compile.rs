//! The parts of a policy that are expressions, compiled.

use serde_json::Value;

use crate::cel::{Expression, Making};

/// The variables of a policy by name, in the order in which they may use each other.
pub(super) type Variables = Vec<(String, Result<Expression, String>)>;

/// One rule of a validating policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) text: String,
    pub(super) rule: Result<Expression, String>,
    pub(super) message: String,
    pub(super) message_rule: Option<Expression>,
    pub(super) reason: String,
}

impl Validation {
    pub(super) fn read(validation: &Value) -> Self {
        let text = |field: &str| validation[field].as_str().unwrap_or_default();
        Self {
            text: text("expression").trim().to_owned(),
            rule: Expression::compile(text("expression")),
            message: text("message").trim().to_owned(),
            message_rule: validation["messageExpression"].as_str().and_then(|text| Expression::compile(text).ok()),
            reason: text("reason").to_owned(),
        }
    }
}

/// One change that a mutating policy makes.
#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) text: String,
    pub(super) kind: Making,
    pub(super) rule: Result<Expression, String>,
}

impl Mutation {
    pub(super) fn read(mutation: &Value) -> Self {
        let (field, kind) = match mutation["patchType"].as_str() {
            Some("JSONPatch") => ("jsonPatch", Making::Patches),
            _ => ("applyConfiguration", Making::Objects),
        };
        let text = mutation[field]["expression"].as_str().unwrap_or_default();
        Self { text: text.trim().to_owned(), kind, rule: Expression::making(text, kind) }
    }
}
