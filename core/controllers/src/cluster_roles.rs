//! The ClusterRole aggregation controller: roles that collect the rules of others by label, such as `admin` and `view`.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::rbac::v1::{ClusterRole, PolicyRule};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Controller, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

/// The key that stands for all roles that collect: no role has such a name.
const ALL: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Keeps the rules of roles that collect those of others.
#[derive(Debug)]
pub(crate) struct ClusterRoles {
    client: Client,
    roles: Cache<Arc<ClusterRole>>,
}

impl ClusterRoles {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self { client: tools.client.clone(), roles: tools.informers.typed(Select::all()) }
    }
}

#[async_trait]
impl Controller for ClusterRoles {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<ClusterRole>(), keys: |_| vec![ALL] }]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let collects = |(_, role): &(&ObjectKey, &Arc<ClusterRole>)| role.aggregation_rule.is_some();
        (*key == ALL).then(|| self.roles.with(|roles| roles.filter(collects).map(|(key, _)| key.clone()).collect()))
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(role) = self.roles.get(key) else { return Ok(Requeue::OnChange) };
        let rules = collected(&role, &self.roles.values())?;
        if rules != role.rules {
            let collect = |role: &mut ClusterRole| role.rules.clone_from(&rules);
            claim::settled(self.client.modify("", &key.name, collect).await.map(drop))?;
        }
        Ok(Requeue::OnChange)
    }
}

/// The rules of the roles that a role selects, each once, by selector and then by name; its own where it collects none.
fn collected(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Result<Vec<PolicyRule>> {
    let Some(aggregation) = &role.aggregation_rule else { return Ok(role.rules.clone()) };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in &aggregation.cluster_role_selectors {
        let selector = claim::labels(selector)?;
        let others = all.iter().filter(|other| other.metadata.name != role.metadata.name);
        for rule in others.filter(|other| selector.matches(&other.metadata.labels)).flat_map(|other| &other.rules) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Arc<ClusterRole> {
        let rules: Vec<Value> =
            verbs.iter().map(|verb| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]})).collect();
        let metadata = json!({"name": name, "labels": {label: "true"}});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "rules": rules})).unwrap())
    }

    #[track_caller]
    fn check(selected: &[&str], expect: &[&str]) {
        let selectors: Vec<Value> = selected.iter().map(|label| json!({"matchLabels": {*label: "true"}})).collect();
        let mut own = ClusterRole::clone(&role("all", "x", &["own"]));
        own.aggregation_rule = serde_json::from_value(json!({"clusterRoleSelectors": selectors})).unwrap();
        let others = [role("a", "x", &["get", "list"]), role("b", "y", &["list", "watch"]), Arc::new(own.clone())];
        let rules = collected(&own, &others).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.verbs[0].as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn rules_are_collected_once_from_those_that_are_selected() {
        check(&["x"], &["get", "list"]);
        check(&["x", "y"], &["get", "list", "watch"]);
        check(&["y", "x"], &["list", "watch", "get"]);
        check(&["z"], &[]);
    }
}
