//! The roles and bindings that upstream gives every cluster, as objects to create.
//!
//! The facts stand in `bootstrap/*.txt`; writing them to a store is the server's business.

use serde_json::{Value, json};

const ROLES: &str = include_str!("bootstrap/roles.txt");
const CONTROLLERS: &str = include_str!("bootstrap/controllers.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
/// The version of all objects here.
pub(crate) const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Every default ClusterRole, ClusterRoleBinding, Role and RoleBinding.
#[must_use]
pub fn objects() -> Vec<Value> {
    drafts().into_iter().flat_map(Draft::finish).collect()
}

/// A role, and its binding where it is bound, before they are objects.
pub(crate) fn drafts() -> Vec<Draft> {
    let mut drafts = read(ROLES, Draft::named);
    drafts.extend(read(CONTROLLERS, |name| {
        let mut draft = Draft::named(&format!("system:controller:{name}"));
        draft.subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}));
        draft
    }));
    drafts
}

#[derive(Default)]
pub(crate) struct Draft {
    namespace: Option<String>,
    name: String,
    labels: Vec<String>,
    aggregates: Option<String>,
    /// As they are written: most are never needed, because the objects are there.
    rules: Vec<&'static str>,
    subjects: Vec<Value>,
}

fn read(text: &'static str, begin: impl Fn(&str) -> Draft) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let is_rule = line == "events" || line.contains(" | ");
        match drafts.last_mut() {
            Some(draft) if is_rule || line.starts_with(['<', '>', '=']) => draft.line(line),
            _ => drafts.push(begin(line)),
        }
    }
    drafts
}

impl Draft {
    fn named(name: &str) -> Self {
        match name.split_once('/') {
            Some((namespace, name)) => Self { namespace: Some(namespace.into()), name: name.into(), ..Self::default() },
            None => Self { name: name.into(), ..Self::default() },
        }
    }

    /// The namespace, empty for the cluster's, the name, and the kinds of its objects.
    pub(crate) fn names(&self) -> (&str, &str, impl Iterator<Item = &'static str> + use<>) {
        let (role, binding) = self.kinds();
        let bound = (!self.subjects.is_empty()).then_some(binding);
        (self.namespace.as_deref().unwrap_or_default(), &self.name, [Some(role), bound].into_iter().flatten())
    }

    fn kinds(&self) -> (&'static str, &'static str) {
        if self.namespace.is_some() { ("Role", "RoleBinding") } else { ("ClusterRole", "ClusterRoleBinding") }
    }

    /// The rules of the role.
    pub(crate) fn rules(&self) -> Vec<Value> {
        self.rules.iter().map(|line| rule(line)).collect()
    }

    fn line(&mut self, line: &'static str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["events"] => self.rules.push("create update patch | core events.k8s.io | events"),
            ["<", target] => self.aggregates = Some(target.into()),
            [">", target] => self.labels.push(target.into()),
            ["=", kind, name] => self.subjects.push(subject(kind, name)),
            _ => self.rules.push(line),
        }
    }

    /// The objects.
    pub(crate) fn finish(self) -> Vec<Value> {
        let (role, binding) = self.kinds();
        let rules = self.rules();
        let mut metadata = json!({
            "name": self.name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        });
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        let mut out = Vec::new();
        if !self.subjects.is_empty() {
            out.push(json!({
                "apiVersion": VERSION, "kind": binding, "metadata": metadata,
                "roleRef": {"apiGroup": GROUP, "kind": role, "name": self.name}, "subjects": self.subjects,
            }));
        }
        for target in &self.labels {
            metadata["labels"][format!("{GROUP}/aggregate-to-{target}")] = "true".into();
        }
        let mut object = json!({
            "apiVersion": VERSION, "kind": role, "metadata": metadata, "rules": rules,
        });
        if let Some(target) = &self.aggregates {
            let label = format!("{GROUP}/aggregate-to-{target}");
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        out.push(object);
        out
    }
}

fn subject(kind: &str, name: &str) -> Value {
    match name.split_once('/') {
        Some((namespace, name)) if kind == "ServiceAccount" => {
            json!({"kind": kind, "name": name, "namespace": namespace})
        }
        _ => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
    }
}

fn rule(line: &str) -> Value {
    let mut parts = line.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>());
    let mut next = || parts.next().unwrap_or_default();
    let (verbs, groups, resources, names) = (next(), next(), next(), next());
    let verbs = match verbs[..] {
        ["read"] => vec!["get", "list", "watch"],
        ["write"] => vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        _ => verbs,
    };
    if groups == ["url"] {
        return json!({"verbs": verbs, "nonResourceURLs": resources});
    }
    let groups: Vec<&str> = groups.into_iter().map(|group| if group == "core" { "" } else { group }).collect();
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn every_default_is_a_whole_object_of_its_own_name() {
        let all = objects();
        let names: BTreeSet<String> = all
            .iter()
            .map(|o| format!("{} {} {}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
            .collect();
        assert_eq!(names.len(), all.len());
        for object in &all {
            for rule in object["rules"].as_array().into_iter().flatten() {
                assert!(!rule["verbs"].as_array().unwrap().is_empty(), "{object}");
                let about = rule.get("nonResourceURLs").or(rule.get("resources")).unwrap();
                assert!(!about.as_array().unwrap().is_empty(), "{object}");
            }
        }
    }

    #[test]
    fn the_well_known_roles_say_what_upstream_says() {
        let all = objects();
        let admin = named(&all, "ClusterRole", "admin");
        let label = "rbac.authorization.k8s.io/aggregate-to-admin";
        assert_eq!(admin["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"][label], "true");
        assert_eq!(named(&all, "ClusterRole", "edit")["metadata"]["labels"][label], "true");
        assert_eq!(named(&all, "ClusterRoleBinding", "cluster-admin")["subjects"][0]["name"], "system:masters");
        let gc = named(&all, "ClusterRoleBinding", "system:controller:generic-garbage-collector");
        assert_eq!(gc["subjects"][0]["namespace"], "kube-system");
        let bound =
            |object: &&Value| object["kind"] == "ClusterRoleBinding" && object["metadata"]["name"] == "system:node";
        assert_eq!(all.iter().find(bound), None, "nodes have an authorizer of their own");
    }
}
