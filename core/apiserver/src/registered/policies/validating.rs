//! Validating policies: their rules decide, their bindings say what follows.

use windlass_kernel::error::{Cause, Error, ErrorKind, Result};

use super::{
    super::evaluation::{Evaluation, resulted},
    Binding, Invocation, Misfit, Policy,
    compile::Validation,
};
use crate::{cel, registered::asked::Asked};

/// The longest message that an expression may make.
const MESSAGE: usize = 5 * 1024;

/// What a policy has against a request.
struct Objection {
    message: String,
    /// A reason of a Status; empty where none is given.
    reason: String,
}

impl Objection {
    fn new(message: String) -> Self {
        Self { message, reason: String::new() }
    }
}

/// Evaluates what concerns a request. All are evaluated; the first objection is the refusal.
pub(super) async fn run(
    invocations: Vec<Invocation<'_>>,
    misfits: Vec<Misfit<'_>>,
    asked: &mut Asked<'_>,
) -> Result<()> {
    let mut refused = None;
    for Misfit { policy, binding, why } in misfits {
        if !policy.ignores_failures {
            refused = refused.or_else(|| Some(refusal(asked, policy, binding, &Objection::new(why))));
        }
    }
    for Invocation { policy, binding, at, params } in invocations {
        let mut evaluation = Evaluation::of_policy(asked, at, &params).await?;
        for objection in objections(policy, &mut evaluation).await {
            if binding.warns {
                let (policy, binding, message) = (&policy.name, &binding.name, &objection.message);
                asked.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                ));
            }
            if binding.denies {
                refused = refused.or_else(|| Some(refusal(asked, policy, binding, &objection)));
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

async fn objections(policy: &Policy, evaluation: &mut Evaluation<'_>) -> Vec<Objection> {
    match policy.conditions.hold_with(&policy.variables, evaluation).await {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(_) if policy.ignores_failures => return Vec::new(),
        Err(why) => return vec![Objection::new(why)],
    }
    let mut found = Vec::new();
    for validation in &policy.validations {
        match objection(policy, validation, evaluation).await {
            Ok(objection) => found.extend(objection),
            Err(_) if policy.ignores_failures => {}
            Err(why) => found.push(Objection::new(resulted(&validation.text, &why))),
        }
    }
    // Nothing is audited here, but a policy whose annotations fail does not pass.
    for (key, expression) in &policy.annotations {
        let said = match expression {
            Ok(expression) => evaluation.with(&policy.variables, expression).await,
            Err(why) => Err(format!("compilation failed: {why}")),
        };
        let why = match said {
            Ok(cel::Value::String(_) | cel::Value::Null) => continue,
            Ok(_) => "it is neither a text nor null".to_owned(),
            Err(why) => why,
        };
        if !policy.ignores_failures {
            found.push(Objection::new(format!("audit annotation {key:?}: valueExpression resulted in error: {why}")));
        }
    }
    found
}

async fn objection(
    policy: &Policy,
    validation: &Validation,
    evaluation: &mut Evaluation<'_>,
) -> Result<Option<Objection>, String> {
    let rule = validation.rule.as_ref().map_err(|why| format!("compilation failed: {why}"))?;
    match evaluation.with(&policy.variables, rule).await? {
        cel::Value::Bool(true) => return Ok(None),
        cel::Value::Bool(false) => {}
        _ => return Err("it is no boolean".into()),
    }
    let mut message = String::new();
    if let Some(rule) = &validation.message_rule
        && let Ok(cel::Value::String(text)) = evaluation.with(&policy.variables, rule).await
    {
        let text = text.trim();
        if text.len() <= MESSAGE && !text.contains('\n') {
            message = text.to_owned();
        }
    }
    if message.is_empty() {
        message.clone_from(&validation.message);
    }
    if message.is_empty() {
        message = format!("failed expression: {}", validation.text);
    }
    Ok(Some(Objection { message, reason: validation.reason.clone() }))
}

fn refusal(asked: &Asked<'_>, policy: &Policy, binding: &Binding, objection: &Objection) -> Error {
    let (name, by) = (&policy.name, &binding.name);
    let said = format!("ValidatingAdmissionPolicy '{name}' with binding '{by}' denied request: {}", objection.message);
    let kind = match objection.reason.as_str() {
        "Unauthorized" => ErrorKind::Unauthorized,
        "Forbidden" => ErrorKind::Forbidden,
        "RequestEntityTooLarge" => ErrorKind::TooLarge,
        _ => ErrorKind::Invalid,
    };
    let forbidden = asked.forbidden(&said);
    let mut details = forbidden.details().cloned().unwrap_or_default();
    details.causes.push(Cause { message: said, ..Cause::default() });
    Error::new(kind, forbidden.message()).with_details(details)
}
