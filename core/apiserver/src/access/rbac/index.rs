//! Roles and bindings, found by subject. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use windlass_kernel::{
    Identity,
    access::{Attributes, Decision},
    store::{Entry, Key},
};

use super::rules::PolicyRule;
use crate::followed;

/// Where a role or binding holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the whole cluster: a ClusterRole or ClusterRoleBinding.
    Cluster,
    /// In a namespace: a Role or RoleBinding.
    Namespace(String),
}

/// A role or binding as it is stored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    kind: String,
    metadata: Metadata,
    rules: Option<Vec<PolicyRule>>,
    aggregation_rule: Option<Aggregation>,
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Aggregation {
    cluster_role_selectors: Vec<Selector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RoleRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    /// The user or group that stands behind it, as an identity names it.
    fn who(&self, scope: &Scope) -> Who {
        match (self.kind.as_str(), scope) {
            ("Group", _) => Who::Group(self.name.clone()),
            ("ServiceAccount", Scope::Namespace(own)) if self.namespace.is_empty() => {
                Who::User(format!("system:serviceaccount:{own}:{}", self.name))
            }
            ("ServiceAccount", _) => Who::User(format!("system:serviceaccount:{}:{}", self.namespace, self.name)),
            _ => Who::User(self.name.clone()),
        }
    }

    fn describe(&self) -> String {
        match self.kind.as_str() {
            "ServiceAccount" => format!("ServiceAccount \"{}/{}\"", self.name, self.namespace),
            kind => format!("{kind} \"{}\"", self.name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    User(String),
    Group(String),
}

#[derive(Debug)]
struct Role {
    rules: Vec<PolicyRule>,
    labels: BTreeMap<String, String>,
    aggregates: Vec<Selector>,
}

#[derive(Debug)]
struct Bound {
    role: RoleRef,
    subjects: Vec<Subject>,
}

type Name = (Scope, String);

#[derive(Debug)]
enum Place {
    Role(Name),
    Binding(Name),
}

/// All roles and bindings.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: BTreeMap<Key, Place>,
    roles: BTreeMap<Name, Role>,
    bindings: BTreeMap<Name, Bound>,
    by_subject: BTreeMap<Who, BTreeSet<Name>>,
}

impl followed::Index for Index {
    fn put(&mut self, entry: &Arc<Entry>) {
        self.remove(&entry.key);
        if let Some(place) = super::parse(entry).and_then(|object| self.add(object)) {
            self.places.insert(entry.key.clone(), place);
        }
    }

    fn remove(&mut self, key: &Key) {
        match self.places.remove(key) {
            Some(Place::Role(name)) => {
                self.roles.remove(&name);
            }
            Some(Place::Binding(name)) => {
                let Some(bound) = self.bindings.remove(&name) else { return };
                for subject in &bound.subjects {
                    let who = subject.who(&name.0);
                    if let Some(names) = self.by_subject.get_mut(&who) {
                        names.remove(&name);
                        if names.is_empty() {
                            self.by_subject.remove(&who);
                        }
                    }
                }
            }
            None => {}
        }
    }
}

impl Index {
    fn add(&mut self, object: Object) -> Option<Place> {
        let cluster = object.kind.starts_with("Cluster");
        let scope = if cluster { Scope::Cluster } else { Scope::Namespace(object.metadata.namespace) };
        let name = (scope, object.metadata.name);
        match object.kind.as_str() {
            "Role" | "ClusterRole" => {
                let role = Role {
                    rules: object.rules.unwrap_or_default(),
                    labels: object.metadata.labels.unwrap_or_default(),
                    aggregates: object.aggregation_rule.map(|a| a.cluster_role_selectors).unwrap_or_default(),
                };
                self.roles.insert(name.clone(), role);
                Some(Place::Role(name))
            }
            "RoleBinding" | "ClusterRoleBinding" => {
                let subjects = object.subjects.unwrap_or_default();
                for subject in &subjects {
                    self.by_subject.entry(subject.who(&name.0)).or_default().insert(name.clone());
                }
                self.bindings.insert(name.clone(), Bound { role: object.role_ref, subjects });
                Some(Place::Binding(name))
            }
            _ => None,
        }
    }

    pub(super) fn decide(&self, identity: &Identity, wanted: &Attributes) -> Decision {
        let mut missing = Vec::new();
        for (name, bound, who) in self.bound_to(identity, &wanted.namespace) {
            let Some(mut rules) = self.role_rules(&name.0, &bound.role) else {
                missing.push(not_found(&bound.role));
                continue;
            };
            if rules.any(|rule| rule.allows(wanted)) {
                let subject = bound.subjects.iter().find(|subject| subject.who(&name.0) == who);
                let subject = subject.map(Subject::describe).unwrap_or_default();
                let binding = match &name.0 {
                    Scope::Cluster => format!("ClusterRoleBinding \"{}\"", name.1),
                    Scope::Namespace(namespace) => format!("RoleBinding \"{}/{namespace}\"", name.1),
                };
                let RoleRef { kind, name } = &bound.role;
                return Decision::Allow(format!("RBAC: allowed by {binding} of {kind} \"{name}\" to {subject}"));
            }
        }
        missing.sort();
        missing.dedup();
        Decision::NoOpinion(match missing.len() {
            0 => String::new(),
            1 => format!("RBAC: {}", missing[0]),
            _ => format!("RBAC: [{}]", missing.join(", ")),
        })
    }

    pub(super) fn rules_for(&self, identity: &Identity, namespace: &str) -> Vec<PolicyRule> {
        let bound = self.bound_to(identity, namespace);
        bound
            .flat_map(|(name, bound, _)| self.role_rules(&name.0, &bound.role).into_iter().flatten())
            .cloned()
            .collect()
    }

    pub(super) fn rules_of(&self, scope: &Scope, name: &str) -> Option<Vec<PolicyRule>> {
        let kind = if *scope == Scope::Cluster { "ClusterRole" } else { "Role" };
        Some(self.role_rules(scope, &RoleRef { kind: kind.into(), name: name.into() })?.cloned().collect())
    }

    /// The bindings of an identity that hold cluster-wide or in the namespace, and whom of the identity they name.
    fn bound_to<'i>(
        &'i self,
        identity: &'i Identity,
        namespace: &'i str,
    ) -> impl Iterator<Item = (&'i Name, &'i Bound, Who)> {
        let user = std::iter::once(Who::User(identity.name.clone()));
        let who = user.chain(identity.groups.iter().cloned().map(Who::Group));
        who.flat_map(move |who| {
            let names = self.by_subject.get(&who).into_iter().flatten();
            let here = names.filter(move |name| match &name.0 {
                Scope::Cluster => true,
                Scope::Namespace(own) => !namespace.is_empty() && own == namespace,
            });
            here.filter_map(move |name| Some((name, self.bindings.get(name)?, who.clone())))
        })
    }

    /// The rules of the role that a binding in `scope` refers to.
    fn role_rules(&self, scope: &Scope, role: &RoleRef) -> Option<impl Iterator<Item = &PolicyRule>> {
        let scope = if role.kind == "ClusterRole" { &Scope::Cluster } else { scope };
        let start = (scope.clone(), role.name.clone());
        let own = self.roles.get(&start)?;
        if own.aggregates.is_empty() {
            return Some(rules_in(vec![own]));
        }
        // Aggregated roles may aggregate others (view into edit into admin); each is taken once.
        let mut taken = BTreeSet::from([&role.name]);
        let mut roles = vec![own];
        let mut at = 0;
        while at < roles.len() {
            let selectors = &roles[at].aggregates;
            at += 1;
            if selectors.is_empty() {
                continue;
            }
            for ((scope, name), other) in &self.roles {
                let selected =
                    *scope == Scope::Cluster && selectors.iter().any(|selector| selector.matches(&other.labels));
                if selected && taken.insert(name) {
                    roles.push(other);
                }
            }
        }
        Some(rules_in(roles))
    }
}

fn rules_in(roles: Vec<&Role>) -> impl Iterator<Item = &PolicyRule> {
    roles.into_iter().flat_map(|role| &role.rules)
}

fn not_found(role: &RoleRef) -> String {
    format!("{}.rbac.authorization.k8s.io \"{}\" not found", role.kind.to_lowercase(), role.name)
}

impl Selector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let expression = |e: &Expression| {
            let value = labels.get(&e.key);
            match e.operator.as_str() {
                "In" => value.is_some_and(|value| e.values.contains(value)),
                "NotIn" => value.is_none_or(|value| !e.values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(expression)
    }
}
