//! What may I do: the rules that hold for an identity in a namespace, as far as the authorizer can list them.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_kernel::{
    Identity,
    api::Request,
    error::{Error, ErrorKind, Result},
};

use crate::{access::Rbac, errors, server::ApiServer};

/// Rules in the form of `rbac.authorization.k8s.io/v1` PolicyRule.
pub type PolicyRules = Vec<Value>;

/// Lists what an identity may do.
#[async_trait]
pub trait RuleSource: Debug + Send + Sync + 'static {
    /// The rules that hold for `identity` in `namespace`.
    async fn rules(&self, identity: &Identity, namespace: &str) -> Result<PolicyRules>;
}

#[async_trait]
impl RuleSource for Rbac {
    async fn rules(&self, identity: &Identity, namespace: &str) -> Result<PolicyRules> {
        let rules = self.rules_for(identity, namespace).await?;
        rules
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a rule as JSON").with_source(error))
    }
}

pub(super) async fn answer(server: &ApiServer, request: &Request, review: &Value) -> Result<Value> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(errors::bad_request("no namespace on request"));
    }
    let Some(source) = &server.parts.rules else {
        let error = "the authorizer cannot list rules";
        return Ok(json!({"resourceRules": [], "nonResourceRules": [], "incomplete": true, "evaluationError": error}));
    };
    let rules = source.rules(&request.identity, namespace).await?;
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        rules.into_iter().partition(|rule| !crate::object::is_empty(&rule["nonResourceURLs"]));
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}
