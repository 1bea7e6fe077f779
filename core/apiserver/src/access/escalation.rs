//! Nobody grants more than they have: writes of roles and bindings are checked against the writer's own rules.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{
    Admission, Authorizer, Result,
    access::{Admitting, Attributes, Decision},
    api::{Request, Verb},
    error::{Error, ErrorKind},
};

use super::rbac::{PolicyRule, Rbac, Scope, uncovered};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses roles and bindings that would give what their writer does not hold.
///
/// The verbs `escalate` (on roles) and `bind` (on the role that is bound) lift the check.
#[derive(Clone, Debug)]
pub struct Escalation {
    rbac: Arc<Rbac>,
    authorizer: Arc<dyn Authorizer>,
}

impl Escalation {
    /// Asks `authorizer` for the verbs that lift the check, and `rbac` for the rules.
    #[must_use]
    pub fn new(rbac: Arc<Rbac>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rbac, authorizer }
    }

    async fn lifted(&self, request: &Request, verb: &str, resource: &str, name: &str) -> Result<bool> {
        if request.identity.belongs_to("system:masters") {
            return Ok(true);
        }
        let ask = Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            version: "v1".into(),
            resource: resource.into(),
            namespace: request.namespace.clone(),
            name: name.into(),
            ..Attributes::default()
        };
        Ok(matches!(self.authorizer.authorize(&request.identity, &ask).await?, Decision::Allow(_)))
    }

    async fn role(&self, request: &Request, old: Option<&Value>, new: &Value) -> Result<()> {
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
        if same("rules") && same("aggregationRule") {
            return Ok(());
        }
        if self.lifted(request, "escalate", &request.resource.resource, name).await? {
            return Ok(());
        }
        let mut wanted = rules(new)?;
        let aggregates = new["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|all| !all.is_empty());
        if aggregates && !same("aggregationRule") {
            // What will be aggregated is not known yet, so it counts as everything.
            wanted.extend(PolicyRule::everything());
        }
        self.check(request, name, &wanted).await
    }

    async fn binding(&self, request: &Request, old: Option<&Value>, new: &Value) -> Result<()> {
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        if old.is_some_and(|old| old["roleRef"] == new["roleRef"] && old["subjects"] == new["subjects"]) {
            return Ok(());
        }
        let role = new["roleRef"]["name"].as_str().unwrap_or_default();
        let cluster = new["roleRef"]["kind"] == "ClusterRole";
        let resource = if cluster { "clusterroles" } else { "roles" };
        if self.lifted(request, "bind", resource, role).await? {
            return Ok(());
        }
        let scope = if cluster { Scope::Cluster } else { Scope::Namespace(request.namespace.clone()) };
        let Some(wanted) = self.rbac.rules_of(&scope, role).await? else {
            let message = format!("{resource}.{GROUP} \"{role}\" not found");
            return Err(Error::new(ErrorKind::NotFound, message).detailed(|details| {
                (details.name, details.group, details.kind) = (role.into(), GROUP.into(), resource.into());
            }));
        };
        self.check(request, name, &wanted).await
    }

    async fn check(&self, request: &Request, name: &str, wanted: &[PolicyRule]) -> Result<()> {
        let identity = &request.identity;
        let owned = self.rbac.rules_for(identity, &request.namespace).await?;
        let missing = uncovered(&owned, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = missing.iter().map(PolicyRule::describe).collect();
        let message = format!(
            "{}.{GROUP} \"{name}\" is forbidden: user \"{}\" (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            request.resource.resource,
            identity.name,
            identity.groups,
            missing.join("\n")
        );
        Err(Error::new(ErrorKind::Forbidden, message).detailed(|details| {
            details.name = name.into();
            details.group = GROUP.into();
            details.kind = request.resource.resource.to_string();
        }))
    }
}

fn rules(role: &Value) -> Result<Vec<PolicyRule>> {
    let rules: Option<Vec<PolicyRule>> = serde_json::from_value(role["rules"].clone())
        .map_err(|error| Error::new(ErrorKind::BadRequest, format!("cannot read the rules: {error}")))?;
    Ok(rules.unwrap_or_default())
}

#[async_trait]
impl Admission for Escalation {
    fn name(&self) -> &str {
        "RoleEscalation"
    }

    fn handles(&self, request: &Request) -> bool {
        request.resource.group == GROUP && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let (request, old) = (admitting.request, admitting.old);
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        match &*request.resource.resource {
            "roles" | "clusterroles" => self.role(request, old, new).await,
            "rolebindings" | "clusterrolebindings" => self.binding(request, old, new).await,
            _ => Ok(()),
        }
    }
}
