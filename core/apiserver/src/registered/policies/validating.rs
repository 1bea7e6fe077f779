//! Validating policies: their rules decide, their bindings say what follows.

use std::time::Duration;

use windlass_kernel::{
    Clock,
    error::{Cause, Error, ErrorKind, Result},
};

use super::{
    super::evaluation::{Evaluation, resulted},
    Binding, Invocation, Misfit, Policy,
    compile::Validation,
};
use crate::{cel, figures::Fault, registered::asked::Asked};

/// The longest message that an expression may make.
const MESSAGE: usize = 5 * 1024;

/// What a policy has against a request.
struct Objection {
    message: String,
    /// A reason of a Status; empty where none is given.
    reason: String,
    fault: Fault,
    /// Whether it is a failure that the policy ignores.
    ignored: bool,
    /// How long the expression took.
    took: Duration,
}

impl Objection {
    /// A failure of the policy.
    fn failure(policy: &Policy, message: String) -> Self {
        let (reason, ignored) = (String::new(), policy.ignores_failures);
        Self { message, reason, fault: Fault::Evaluation, ignored, took: Duration::ZERO }
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
            refused = refused.or_else(|| Some(refusal(asked, policy, binding, &Objection::failure(policy, why))));
        }
    }
    let server = asked.server;
    for Invocation { policy, binding, at, params } in invocations {
        let mut evaluation = Evaluation::of_policy(asked, at, &params).await?;
        for objection in objections(policy, &mut evaluation, &*server.parts.clock).await {
            let told = |action| {
                let names = (policy.name.as_str(), binding.name.as_str());
                server.parts.figures.checked(names, objection.fault, action, objection.took);
            };
            if objection.ignored {
                told("allow");
                continue;
            }
            if binding.warns {
                told("warn");
                let (policy, binding, message) = (&policy.name, &binding.name, &objection.message);
                asked.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                ));
            }
            if binding.denies {
                told("deny");
                refused = refused.or_else(|| Some(refusal(asked, policy, binding, &objection)));
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

async fn objections(policy: &Policy, evaluation: &mut Evaluation<'_>, clock: &dyn Clock) -> Vec<Objection> {
    match policy.conditions.hold_with(&policy.variables, evaluation).await {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(why) => return vec![Objection::failure(policy, why)],
    }
    let mut found = Vec::new();
    for validation in &policy.validations {
        let started = clock.uptime();
        let objection = objection(policy, validation, evaluation).await;
        let took = clock.uptime().saturating_sub(started);
        match objection {
            Ok(objection) => found.extend(objection.map(|objection| Objection { took, ..objection })),
            Err(why) => {
                let fault = if validation.rule.is_err() { Fault::Compile } else { Fault::Evaluation };
                let failure = Objection::failure(policy, resulted(&validation.text, &why));
                found.push(Objection { fault, took, ..failure });
            }
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
            let message = format!("audit annotation {key:?}: valueExpression resulted in error: {why}");
            found.push(Objection::failure(policy, message));
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
    let reason = validation.reason.clone();
    Ok(Some(Objection { message, reason, fault: Fault::None, ignored: false, took: Duration::ZERO }))
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
