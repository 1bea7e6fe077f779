//! Evaluating the expressions of webhooks and policies over a request.

use serde_json::Value;
use windlass_kernel::{Authorizer, error::Result};

use super::asked::Asked;
use crate::cel::{self, Actual, Expression, Questions, Scope};

/// The most steps that the expressions of one policy may take together.
const PER_POLICY: u64 = 10_000_000;
/// The most steps that the conditions of one webhook may take together.
const PER_CONDITIONS: u64 = 2_500_000;
/// How often an expression is evaluated anew because it asked the authorizer something.
const ROUNDS: usize = 32;
const EXHAUSTED: &str = "validation failed due to running out of cost budget, no further validation rules will be run";

/// What expressions see, and what they may still cost.
pub(super) struct Evaluation<'a> {
    authorizer: &'a dyn Authorizer,
    scope: Scope<'static>,
    /// What is bound, for the estimate of costs.
    seen: Vec<(&'static str, Value)>,
    questions: Questions,
    budget: u64,
    variables: Vec<(String, Result<cel::Value, String>)>,
}

impl<'a> Evaluation<'a> {
    /// What the conditions of a webhook see.
    pub(super) async fn of_webhook(asked: &Asked<'a>, at: usize) -> Result<Self> {
        let mut own = Self::of(asked, at).await?;
        own.budget = PER_CONDITIONS;
        Ok(own)
    }

    /// What a policy sees.
    pub(super) async fn of_policy(asked: &Asked<'a>, at: usize, params: &Value) -> Result<Self> {
        let mut own = Self::of(asked, at).await?;
        own.bind("params", params.clone());
        let mut namespace = asked.namespace.clone().unwrap_or_default();
        if let Some(meta) = namespace["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
        own.bind("namespaceObject", namespace);
        Ok(own)
    }

    async fn of(asked: &Asked<'a>, at: usize) -> Result<Self> {
        let identity = &asked.request.identity;
        let mut own = Self {
            authorizer: &*asked.server.parts.authorizer,
            scope: Scope::with_authorizers(),
            seen: Vec::new(),
            questions: Questions::default(),
            budget: PER_POLICY,
            variables: Vec::new(),
        };
        own.bind("object", asked.shown(at, asked.new.as_ref()).await?);
        own.bind("oldObject", asked.shown(at, asked.old.as_ref()).await?);
        own.bind("request", asked.request(at));
        own.scope.bind("authorizer", own.questions.authorizer(identity));
        own.scope.bind(cel::REQUESTED, own.questions.about(identity, asked.attributes()));
        Ok(own)
    }

    fn bind(&mut self, name: &'static str, value: Value) {
        self.scope.bind(name, cel::plain(&value));
        self.seen.retain(|(own, _)| *own != name);
        self.seen.push((name, value));
    }

    /// The value of an expression that uses no variables of a policy.
    ///
    /// # Errors
    ///
    /// Why it has none, for people.
    pub(super) async fn value(&mut self, expression: &Expression) -> Result<cel::Value, String> {
        for _ in 0..ROUNDS {
            let seen: Vec<(&str, Actual<'_>)> =
                self.seen.iter().map(|(name, value)| (*name, Actual::of(value))).collect();
            let steps = cel::cost(expression.tree(), &seen)?;
            self.budget = self.budget.checked_sub(steps).ok_or(EXHAUSTED)?;
            let said = expression.evaluate(&self.scope);
            let open = self.questions.open();
            if open.is_empty() {
                return said;
            }
            for question in open {
                let answer = self.authorizer.authorize(&question.identity, &question.attributes).await;
                self.questions.answer(&question, answer.map_err(|error| error.message().to_owned()));
            }
        }
        Err("the expression asks the authorizer too much".into())
    }

    /// The value of an expression that may use these variables, each of which is evaluated at most once.
    ///
    /// # Errors
    ///
    /// Why it has none, for people.
    pub(super) async fn with(
        &mut self,
        variables: &[(String, Result<Expression, String>)],
        expression: &Expression,
    ) -> Result<cel::Value, String> {
        for name in needed(variables, expression) {
            if self.variables.iter().any(|(own, _)| own == name) {
                continue;
            }
            let Some((_, program)) = variables.iter().find(|(own, _)| own == name) else { continue };
            self.bind_variables();
            let value = match program {
                Ok(program) => self.value(program).await,
                Err(why) => Err(why.clone()),
            };
            self.variables.push((name.to_owned(), value));
        }
        self.bind_variables();
        self.value(expression).await.map_err(|why| {
            let failed = |(name, value): &(String, Result<cel::Value, String>)| {
                let own = value.as_ref().err().filter(|_| why == format!("no such key: {name}"))?;
                Some(format!("composited variable {name:?} fails to evaluate: {own}"))
            };
            self.variables.iter().find_map(failed).unwrap_or(why)
        })
    }

    /// Binds those variables that have a value; the others are no keys of the map, so that only their use fails.
    fn bind_variables(&mut self) {
        let known = self.variables.iter().filter_map(|(name, value)| Some((name, value.as_ref().ok()?)));
        let sizes = known.clone().map(|(name, value)| (name.clone(), cel::to_json(value).unwrap_or_default()));
        let sizes: Value = sizes.collect::<serde_json::Map<_, _>>().into();
        let values = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.scope.bind("variables", cel::map(values));
        self.seen.retain(|(own, _)| *own != "variables");
        self.seen.push(("variables", sizes));
    }
}

/// The variables that an expression needs, those that others need first.
fn needed<'v>(variables: &'v [(String, Result<Expression, String>)], expression: &Expression) -> Vec<&'v str> {
    let mut wanted = vec![expression.fields_of("variables")];
    let mut out = Vec::new();
    for (name, program) in variables.iter().rev() {
        // Where the map itself is used, every variable may be.
        let is_wanted = wanted.iter().any(|fields| fields.as_ref().is_none_or(|fields| fields.contains(name)));
        if is_wanted {
            out.push(name.as_str());
            wanted.extend(program.as_ref().ok().map(|program| program.fields_of("variables")));
        }
    }
    out.reverse();
    out
}

/// Conditions that must all hold for somebody to be asked (`matchConditions`).
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<(String, Result<Expression, String>)>);

impl Conditions {
    pub(super) fn read(list: &Value) -> Self {
        let read = |condition: &Value| {
            let text = condition["expression"].as_str().unwrap_or_default();
            (text.trim().to_owned(), Expression::compile(text))
        };
        Self(list.as_array().into_iter().flatten().map(read).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they hold: one that does not outweighs others that fail.
    ///
    /// # Errors
    ///
    /// Those of the conditions that have no answer.
    pub(super) async fn hold(&self, evaluation: &mut Evaluation<'_>) -> Result<bool, String> {
        self.hold_with(&[], evaluation).await
    }

    /// As [`hold`](Self::hold), with the variables of a policy.
    pub(super) async fn hold_with(
        &self,
        variables: &[(String, Result<Expression, String>)],
        evaluation: &mut Evaluation<'_>,
    ) -> Result<bool, String> {
        let mut failed = Vec::new();
        for (text, program) in &self.0 {
            let said = match program {
                Ok(program) => evaluation.with(variables, program).await,
                Err(why) => Err(format!("compilation failed: {why}")),
            };
            match said {
                Ok(cel::Value::Bool(true)) => {}
                Ok(cel::Value::Bool(false)) => return Ok(false),
                Ok(_) => failed.push(resulted(text, "it is no boolean")),
                Err(why) => failed.push(resulted(text, &why)),
            }
        }
        match failed.len() {
            0 => Ok(true),
            1 => Err(failed.remove(0)),
            _ => Err(format!("[{}]", failed.join(", "))),
        }
    }
}

/// What is said of an expression that has no value.
pub(super) fn resulted(text: &str, why: &str) -> String {
    format!("expression '{text}' resulted in error: {why}")
}
