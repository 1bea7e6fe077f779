//! Roles that collect the rules of others follow them.

use std::sync::Arc;

use serde_json::json;
use windlass_api::rbac::v1::ClusterRole;
use windlass_client::{Cache, Select};
use windlass_kernel::controller::ObjectKey;

use crate::laws;

/// Whether a role may do something with `things`.
fn may(role: &str, verb: &str) -> impl Fn(&Cache<Arc<ClusterRole>>) -> bool {
    let (key, verb) = (ObjectKey::new("", role), verb.to_owned());
    move |roles| {
        let rules = roles.get(&key).map(|role| role.rules.clone()).unwrap_or_default();
        rules.iter().any(|rule| rule.resources == ["things"] && rule.verbs.contains(&verb))
    }
}

#[test]
fn a_role_that_is_labelled_for_another_is_part_of_it() {
    laws::hold("clusterrole-aggregation-controller", |cluster| {
        let roles: Cache<Arc<ClusterRole>> = cluster.informers.typed(Select::all());
        let metadata = json!({"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}});
        let rules = json!([{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}]);
        let api_version = "rbac.authorization.k8s.io/v1";
        cluster.create(
            "clusterroles",
            json!({"apiVersion": api_version, "kind": "ClusterRole", "metadata": metadata, "rules": rules}),
        );
        for role in ["view", "edit", "admin"] {
            cluster.until(&roles, may(role, "get"));
        }
        cluster.executor.run_until(cluster.admin.delete::<ClusterRole>("", "things")).unwrap();
        cluster.until(&roles, |roles| !may("admin", "get")(roles));
        cluster.settle();
        let counts = ["view", "edit", "admin"].map(|role| roles.get(&ObjectKey::new("", role)).unwrap().rules.len());
        assert!(counts[0] > 0 && counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
        counts
    });
}
