//! Mutating policies: what their expressions make is applied to the object, or patches it.

use serde_json::Value;
use windlass_api::{apply, patch};
use windlass_kernel::error::{Cause, Error, ErrorKind, Result};

use super::{
    super::evaluation::{Evaluation, resulted},
    Invocation, Misfit, Policy,
    compile::Mutation,
};
use crate::{
    cel::{self, Making},
    figures::Fault,
    object,
    registered::{asked::Asked, rounds::Rounds},
};

/// Carries out what concerns a request, one after the other.
pub(super) async fn run(
    invocations: Vec<Invocation<'_>>,
    misfits: Vec<Misfit<'_>>,
    asked: &mut Asked<'_>,
    rounds: &mut Rounds,
) -> Result<()> {
    let mut failed = Vec::new();
    let mut fail = |policy: &Policy, binding: &str, why: &str| {
        if !policy.ignores_failures {
            failed.push(format!("policy '{}' with binding '{binding}' denied request: {why}", policy.name));
        }
    };
    for Misfit { policy, binding, why } in misfits {
        fail(policy, &binding.name, &why);
    }
    for Invocation { policy, binding, at, params } in invocations {
        let parameter = format!("{}/{}", object::meta_text(&params, "namespace"), object::name(&params));
        let own = (format!("{}\0{}\0{parameter}", policy.name, binding.name), 0);
        let mut evaluation = Evaluation::of_policy(asked, at, &params).await?;
        match policy.conditions.hold_with(&policy.variables, &mut evaluation).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                fail(policy, &binding.name, &why);
                continue;
            }
        }
        if rounds.skips(&own) {
            continue;
        }
        let mut changed = false;
        for mutation in policy.mutations.iter().filter(|_| asked.new.is_some()).collect::<Vec<_>>() {
            // Each sees what those before it did.
            let mut evaluation = Evaluation::of_policy(asked, at, &params).await?;
            let parts = &asked.server.parts;
            let started = parts.clock.uptime();
            let done = match made(policy, mutation, &mut evaluation).await {
                Ok(value) => mutated(asked, at, mutation, value).await?,
                Err(why) => Err(why),
            };
            let fault = match done {
                Ok(_) => Fault::None,
                Err(_) if mutation.rule.is_err() => Fault::Compile,
                Err(_) => Fault::Evaluation,
            };
            parts.figures.mutated((&policy.name, &binding.name), fault, parts.clock.uptime().saturating_sub(started));
            match done {
                Ok(differs) => changed |= differs,
                Err(why) => fail(policy, &binding.name, &resulted(&mutation.text, &why)),
            }
        }
        rounds.asked(own, changed, policy.wants_again);
    }
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let details = asked.forbidden("").details().cloned().unwrap_or_default();
            let error = Error::new(ErrorKind::Invalid, first.clone()).with_details(details);
            let causes = failed.iter().map(|why| Cause { message: why.clone(), ..Cause::default() }).collect();
            Err(error.detailed(|details| details.causes = causes))
        }
    }
}

/// What the expression of a mutation makes, as JSON.
async fn made(policy: &Policy, mutation: &Mutation, evaluation: &mut Evaluation<'_>) -> Result<Value, String> {
    let rule = mutation.rule.as_ref().map_err(|why| format!("compilation failed: {why}"))?;
    cel::to_json(&evaluation.with(&policy.variables, rule).await?)
}

/// Makes the change. The inner error says why it does not fit the object.
async fn mutated(
    asked: &mut Asked<'_>,
    at: usize,
    mutation: &Mutation,
    made: Value,
) -> Result<std::result::Result<bool, String>> {
    let object = asked.shown(at, asked.new.as_ref()).await?;
    let changed = if mutation.kind == Making::Patches {
        let mut patched = object;
        patch::json(&mut patched, &without_nulls(made)).map(|()| patched).map_err(|error| error.to_string())
    } else {
        applied(asked, at, &object, made)
    };
    match changed {
        Ok(changed) => asked.change(at, changed).await.map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// Patches without the fields that an operation does not have.
fn without_nulls(mut patches: Value) -> Value {
    for patch in patches.as_array_mut().into_iter().flatten() {
        object::as_map(patch).retain(|field, value| field == "value" || !value.is_null());
    }
    patches
}

/// The object with a configuration applied as its type merges it.
fn applied(asked: &Asked<'_>, at: usize, live: &Value, mut config: Value) -> Result<Value, String> {
    if !config.is_object() {
        return Err("it made no Object".into());
    }
    for field in ["apiVersion", "kind"] {
        let own = object::as_map(&mut config).entry(field).or_insert_with(|| live[field].clone());
        if *own != live[field] {
            return Err(format!("{field} may not be changed"));
        }
    }
    let served = asked.form(at);
    let kind = crate::owners::type_of(&served.info);
    let write = apply::Write {
        manager: "admission",
        api_version: &served.api_version(),
        subresource: "",
        now: "",
        kind,
        ignored: None,
    };
    match apply::apply(Some(live), &config, Vec::new(), true, &write) {
        Ok(applied) => Ok(applied.object),
        Err(apply::Refusal::Forbidden(why) | apply::Refusal::Misfit(why)) => Err(why),
        Err(apply::Refusal::Conflicts(conflicts)) => Err(conflicts.to_string()),
    }
}
