//! Priority and fairness: which flow schema and priority level a request belongs to (`flowcontrol.apiserver.k8s.io`).
//!
//! Answers name them, as upstream's do. Nothing is queued or refused by them.

mod defaults;
mod kept;
mod schema;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_kernel::{
    Document, Identity, Result,
    access::Attributes,
    store::{Entry, Key},
};

use self::schema::Schema;
pub(crate) use self::{
    defaults::{mandatory, objects},
    kept::keep,
};
use crate::{followed::Index, object};

/// Where the API server keeps flow schemas and priority levels.
pub(crate) const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/";

/// What a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The `FlowSchema`.
    pub schema: Named,
    /// Its `PriorityLevelConfiguration`.
    pub level: Named,
}

/// One object of `flowcontrol.apiserver.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

impl Named {
    fn of(object: &Value) -> Self {
        Self { name: object::name(object).into(), uid: object::meta_text(object, "uid").into() }
    }
}

/// Every flow schema, in the order in which they are asked, and every priority level.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// By precedence, then name.
    schemas: BTreeMap<(i64, String), Schema>,
    /// By name.
    levels: BTreeMap<String, Named>,
    places: BTreeMap<Key, Place>,
}

#[derive(Debug)]
enum Place {
    Schema((i64, String)),
    Level(String),
}

impl Flows {
    /// The first flow schema that the request matches and whose level exists.
    pub(crate) fn of(&self, identity: &Identity, request: &Attributes) -> Option<Flow> {
        let found = self.schemas.values().filter(|schema| schema.matches(identity, request));
        let mut found = found.filter_map(|schema| Some((schema, self.levels.get(&schema.level)?)));
        found.next().map(|(schema, level)| Flow { schema: schema.own.clone(), level: level.clone() })
    }

    fn take(&mut self, key: &Key, object: &Value) {
        self.remove(key);
        let name = object::name(object).to_owned();
        let place = if object["kind"] == "FlowSchema" {
            let place = (object["spec"]["matchingPrecedence"].as_i64().unwrap_or_default(), name);
            self.schemas.insert(place.clone(), Schema::read(object));
            Place::Schema(place)
        } else {
            self.levels.insert(name.clone(), Named::of(object));
            Place::Level(name)
        };
        self.places.insert(key.clone(), place);
    }
}

impl Index for Flows {
    fn put(&mut self, entry: &Arc<Entry>) {
        // What is in the store was written here; what cannot be read matches nothing.
        let Ok(object) = Document::stored(Arc::clone(entry)).and_then(|document| document.value()) else { return };
        self.take(&entry.key, &object);
    }

    fn remove(&mut self, key: &Key) {
        match self.places.remove(key) {
            Some(Place::Schema(place)) => _ = self.schemas.remove(&place),
            Some(Place::Level(name)) => _ = self.levels.remove(&name),
            None => {}
        }
    }
}

impl crate::ApiServer {
    /// The flow schema and priority level that a request of `identity` belongs to; `None` where somebody took them away.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn flow(&self, identity: &Identity, request: &Attributes) -> Result<Option<Flow>> {
        self.parts.flows.with(|flows| flows.of(identity, request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the flow schema and the level.
    fn check(identity: &Identity, request: [&str; 5], expect: &str) {
        let [verb, path, group, resource, namespace] = request.map(str::to_owned);
        let request = Attributes { verb, path, group, resource, namespace, ..Attributes::default() };
        let mut flows = Flows::default();
        for mut object in objects() {
            let name = object::name(&object).to_owned();
            object["metadata"]["uid"] = name.as_str().into();
            let kind = object["kind"].as_str().unwrap_or_default();
            flows.take(&format!("{kind}/{name}").into(), &object);
        }
        let flow = flows.of(identity, &request).map(|flow| format!("{} {}", flow.schema.uid, flow.level.name));
        assert_eq!(flow.as_deref(), Some(expect), "{identity:?} {request:?}");
    }

    #[test]
    fn requests_belong_where_upstream_puts_them() {
        let all = "system:authenticated";
        let get_pods = ["get", "", "", "pods", "default"];
        check(&Identity::new("admin", &["system:masters", all]), get_pods, "exempt exempt");
        check(&Identity::new("alice", &[all]), get_pods, "global-default global-default");
        check(&Identity::anonymous(), ["get", "/livez", "", "", ""], "probes exempt");
        check(&Identity::anonymous(), ["get", "/version", "", "", ""], "global-default global-default");
        let node = Identity::new("system:node:n", &["system:nodes", all]);
        check(&node, ["update", "", "coordination.k8s.io", "leases", "kube-node-lease"], "system-node-high node-high");
        check(&node, ["get", "", "", "nodes", ""], "system-node-high node-high");
        check(&node, get_pods, "system-nodes system");
        let scheduler = Identity::new("system:kube-scheduler", &[all]);
        let lease = ["update", "", "coordination.k8s.io", "leases", "kube-system"];
        check(&scheduler, lease, "system-leader-election leader-election");
        check(&scheduler, get_pods, "kube-scheduler workload-high");
        let account = |namespace: &str| {
            Identity::new(&format!("system:serviceaccount:{namespace}:robot"), &["system:serviceaccounts", all])
        };
        check(&account("kube-system"), lease, "system-leader-election leader-election");
        check(&account("kube-system"), get_pods, "kube-system-service-accounts workload-high");
        check(&account("default"), get_pods, "service-accounts workload-low");
    }

    #[test]
    fn a_schema_without_its_level_is_passed_over() {
        let mut flows = Flows::default();
        let schema = |name: &str, precedence: i64, level: &str| {
            serde_json::json!({"kind": "FlowSchema", "metadata": {"name": name, "uid": name}, "spec": {
                "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": [{
                    "subjects": [{"kind": "User", "user": {"name": "*"}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/a*"]}]}]}})
        };
        flows.take(&"s1".into(), &schema("first", 1, "absent"));
        flows.take(&"s2".into(), &schema("second", 2, "there"));
        let level =
            serde_json::json!({"kind": "PriorityLevelConfiguration", "metadata": {"name": "there", "uid": "l"}});
        flows.take(&"l".into(), &level);
        let of = |flows: &Flows, path: &str| {
            let request = Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
            flows.of(&Identity::new("a", &[]), &request).map(|flow| flow.schema.name.to_string())
        };
        assert_eq!(of(&flows, "/abc").as_deref(), Some("second"));
        assert_eq!(of(&flows, "/b"), None);
        flows.remove(&"s2".into());
        assert_eq!(of(&flows, "/abc"), None);
    }
}
