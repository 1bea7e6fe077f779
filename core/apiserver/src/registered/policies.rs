//! Admission policies and their bindings (KEP-3488, KEP-3962): which of them a request concerns.

mod compile;
mod mutating;
mod params;
mod types;
mod validating;
mod written;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_kernel::{error::Result, store::Key};

use self::{
    compile::{Mutation, Validation, Variables},
    params::{ParamKind, Params},
};
pub(crate) use self::{
    types::type_checked,
    written::{check_conditions, check_policy},
};
use super::{asked::Asked, evaluation::Conditions, matching::Matching, rounds::Rounds};
use crate::{cel::Expression, object};

/// All policies and bindings, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    validating: BTreeMap<Key, Arc<Policy>>,
    mutating: BTreeMap<Key, Arc<Policy>>,
    validating_bindings: BTreeMap<Key, Arc<Binding>>,
    mutating_bindings: BTreeMap<Key, Arc<Binding>>,
}

/// A policy that was read.
#[derive(Debug)]
pub(super) struct Policy {
    name: String,
    matching: Matching,
    conditions: Conditions,
    variables: Variables,
    param_kind: Option<ParamKind>,
    ignores_failures: bool,
    validations: Vec<Validation>,
    annotations: Vec<(String, Result<Expression, String>)>,
    mutations: Vec<Mutation>,
    wants_again: bool,
}

/// A binding that was read.
#[derive(Debug)]
pub(super) struct Binding {
    name: String,
    policy: String,
    matching: Matching,
    params: Params,
    denies: bool,
    warns: bool,
}

impl Policy {
    fn read(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let list = |field: &str| spec[field].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let named = |entry: &Value, name: &str, expression: &str| {
            let text = entry[expression].as_str().unwrap_or_default();
            (entry[name].as_str().unwrap_or_default().to_owned(), Expression::compile(text))
        };
        Self {
            name: object::name(policy).to_owned(),
            matching: Matching::read(&spec["matchConstraints"]),
            conditions: Conditions::read(&spec["matchConditions"]),
            variables: list("variables").map(|entry| named(entry, "name", "expression")).collect(),
            param_kind: ParamKind::read(&spec["paramKind"]),
            ignores_failures: spec["failurePolicy"] == "Ignore",
            validations: list("validations").map(Validation::read).collect(),
            annotations: list("auditAnnotations").map(|entry| named(entry, "key", "valueExpression")).collect(),
            mutations: list("mutations").map(Mutation::read).collect(),
            wants_again: spec["reinvocationPolicy"] == "IfNeeded",
        }
    }
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let does =
            |action: &str| spec["validationActions"].as_array().is_some_and(|all| all.iter().any(|own| own == action));
        Self {
            name: object::name(binding).to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            matching: Matching::read(&spec["matchResources"]),
            params: Params::read(&spec["paramRef"]),
            denies: does("Deny"),
            warns: does("Warn"),
        }
    }
}

/// A policy that is to be evaluated, with one of its parameters.
struct Invocation<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    at: usize,
    params: Value,
}

/// A policy that cannot be evaluated as it is configured.
struct Misfit<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    why: String,
}

impl Policies {
    pub(super) fn is_empty(&self) -> bool {
        self.validating_bindings.is_empty() && self.mutating_bindings.is_empty()
    }

    pub(super) fn put(&mut self, key: &Key, kind: &str, object: &Value) {
        let key = key.clone();
        match kind {
            "ValidatingAdmissionPolicy" => _ = self.validating.insert(key, Arc::new(Policy::read(object))),
            "MutatingAdmissionPolicy" => _ = self.mutating.insert(key, Arc::new(Policy::read(object))),
            "ValidatingAdmissionPolicyBinding" => {
                self.validating_bindings.insert(key, Arc::new(Binding::read(object)));
            }
            "MutatingAdmissionPolicyBinding" => _ = self.mutating_bindings.insert(key, Arc::new(Binding::read(object))),
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.validating.remove(key);
        self.mutating.remove(key);
        self.validating_bindings.remove(key);
        self.mutating_bindings.remove(key);
    }

    /// Lets policies change the object.
    pub(super) async fn mutate(&self, asked: &mut Asked<'_>, rounds: &mut Rounds) -> Result<()> {
        if self.mutating_bindings.is_empty() {
            return Ok(());
        }
        let (invocations, misfits) = concerning(&self.mutating, &self.mutating_bindings, asked).await?;
        mutating::run(invocations, misfits, asked, rounds).await
    }

    /// Lets policies refuse the request.
    pub(super) async fn validate(&self, asked: &mut Asked<'_>) -> Result<()> {
        if self.validating_bindings.is_empty() {
            return Ok(());
        }
        let (invocations, misfits) = concerning(&self.validating, &self.validating_bindings, asked).await?;
        validating::run(invocations, misfits, asked).await
    }
}

/// What is to be evaluated for a request, and what cannot be.
async fn concerning<'p>(
    policies: &'p BTreeMap<Key, Arc<Policy>>,
    bindings: &'p BTreeMap<Key, Arc<Binding>>,
    asked: &Asked<'_>,
) -> Result<(Vec<Invocation<'p>>, Vec<Misfit<'p>>)> {
    let (mut invocations, mut misfits) = (Vec::new(), Vec::new());
    for policy in policies.values() {
        let Some(at) = policy.matching.select(&asked.names(), asked.labels()) else { continue };
        for binding in bindings.values().filter(|binding| binding.policy == policy.name) {
            if !binding.matching.admits(&asked.names(), asked.labels()) {
                continue;
            }
            match params::find(asked, policy.param_kind.as_ref(), &binding.params).await? {
                Ok(found) => {
                    invocations.extend(found.into_iter().map(|params| Invocation { policy, binding, at, params }));
                }
                Err(why) => misfits.push(Misfit { policy, binding, why }),
            }
        }
    }
    Ok((invocations, misfits))
}
