//! Which requests a webhook, a policy or a binding is about: rules and selectors. Pure.

use serde_json::Value;
use windlass_api::selector::Labels;

use crate::object;

/// What is done, as rules call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request as rules see it: one of the names of its resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'r> {
    pub(crate) operation: Operation,
    pub(crate) group: &'r str,
    pub(crate) version: &'r str,
    pub(crate) resource: &'r str,
    pub(crate) subresource: &'r str,
    /// A namespace is in itself.
    pub(crate) namespace: &'r str,
    pub(crate) name: &'r str,
}

impl Named<'_> {
    fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces"
    }
}

/// The labels that selectors look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labelled<'r> {
    pub(crate) old: Option<&'r Value>,
    pub(crate) new: Option<&'r Value>,
    /// The labels of the namespace; `None` for what is in none.
    pub(crate) namespace: Option<&'r Value>,
}

/// One rule (`RuleWithOperations`, or one with names).
#[derive(Debug, Default)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    names: Vec<String>,
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let texts = |field: &str| -> Vec<String> {
            rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
            names: texts("resourceNames"),
        }
    }

    fn covers(&self, asked: &Named<'_>) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|own| own == "*" || own == wanted);
        any(&self.operations, asked.operation.as_str())
            && any(&self.groups, asked.group)
            && any(&self.versions, asked.version)
            && self.resources.iter().any(|own| covers_resource(own, asked))
            && self.in_scope(asked)
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
    }

    fn in_scope(&self, asked: &Named<'_>) -> bool {
        let cluster = asked.is_namespace() || asked.namespace.is_empty();
        match self.scope.as_str() {
            "Namespaced" => !cluster,
            "Cluster" => cluster,
            _ => true,
        }
    }
}

fn covers_resource(own: &str, asked: &Named<'_>) -> bool {
    let (resource, subresource) = own.split_once('/').unwrap_or((own, ""));
    (resource == "*" || resource == asked.resource) && (subresource == "*" || subresource == asked.subresource)
}

/// What requests are matched by.
#[derive(Debug)]
pub(crate) struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    equivalent: bool,
    namespaces: Labels,
    objects: Labels,
}

impl Matching {
    /// Reads a webhook (`rules`) or `MatchResources` (`resourceRules`). What is absent selects everything.
    pub(crate) fn read(from: &Value) -> Self {
        let rules = |field: &str| from[field].as_array().into_iter().flatten().map(Rule::read).collect();
        let labels = |field: &str| match &from[field] {
            Value::Null => Labels::everything(),
            selector => Labels::from_json(Some(selector)).unwrap_or(Labels::nothing()),
        };
        Self {
            rules: rules(if from["rules"].is_array() { "rules" } else { "resourceRules" }),
            excluded: rules("excludeResourceRules"),
            equivalent: from["matchPolicy"] != "Exact",
            namespaces: labels("namespaceSelector"),
            objects: labels("objectSelector"),
        }
    }

    /// The name by which the request is matched: its own first, then, where that is wanted, its others.
    ///
    /// `own` is the first of `names`.
    pub(crate) fn select(&self, names: &[Named<'_>], labels: Labelled<'_>) -> Option<usize> {
        let own = names.first()?;
        if !self.selects(own, labels) {
            return None;
        }
        let known = if self.equivalent { names } else { &names[..1] };
        if known.iter().any(|name| self.excluded.iter().any(|rule| rule.covers(name))) {
            return None;
        }
        known.iter().position(|name| self.rules.iter().any(|rule| rule.covers(name)))
    }

    /// As [`select`](Self::select), where no rules match everything (bindings).
    #[cfg(feature = "cel")]
    pub(crate) fn admits(&self, names: &[Named<'_>], labels: Labelled<'_>) -> bool {
        if !self.rules.is_empty() {
            return self.select(names, labels).is_some();
        }
        let known = if self.equivalent { names } else { &names[..names.len().min(1)] };
        names.first().is_some_and(|own| self.selects(own, labels))
            && !known.iter().any(|name| self.excluded.iter().any(|rule| rule.covers(name)))
    }

    fn selects(&self, own: &Named<'_>, labels: Labelled<'_>) -> bool {
        let namespace = if own.is_namespace() {
            // A namespace is selected by what it will be, or was.
            labels.new.or(labels.old).map(|object| object::meta(object, "labels"))
        } else {
            labels.namespace
        };
        let in_namespace = namespace.is_none_or(|labels| self.namespaces.matches_json(Some(labels)));
        let objects = [labels.new, labels.old].into_iter().flatten();
        let mut objects = objects.map(|object| object::meta(object, "labels"));
        in_namespace && (self.objects.is_everything() || objects.any(|labels| self.objects.matches_json(Some(labels))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(text: &str) -> Named<'_> {
        let words: Vec<&str> = text.split(' ').collect();
        let [operation, group, version, path, namespace, name] = words[..] else { panic!("{text}") };
        let operations = [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];
        let operation = operations.into_iter().find(|own| own.as_str() == operation).unwrap();
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        let empty = |text| if text == "-" { "" } else { text };
        let (group, namespace) = (empty(group), empty(namespace));
        Named { operation, group, version, resource, subresource, namespace, name }
    }

    #[track_caller]
    fn check(hook: &Value, names: &[&str], labels: Labelled<'_>, expect: Option<usize>) {
        let names: Vec<Named<'_>> = names.iter().map(|text| named(text)).collect();
        assert_eq!(Matching::read(hook).select(&names, labels), expect);
    }

    const NONE: Labelled<'static> = Labelled { old: None, new: None, namespace: None };

    #[test]
    fn a_rule_covers_what_it_names() {
        let hook = |resources: &str, scope: &str| {
            json!({"rules": [{"operations": ["CREATE", "CONNECT"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
                "resources": [resources], "scope": scope}]})
        };
        check(&hook("pods", "*"), &["CREATE - v1 pods ns p"], NONE, Some(0));
        check(&hook("pods", "*"), &["UPDATE - v1 pods ns p"], NONE, None);
        check(&hook("pods", "*"), &["CREATE - v1 pods/status ns p"], NONE, None);
        check(&hook("pods/*", "*"), &["CONNECT - v1 pods/attach ns p"], NONE, Some(0));
        check(&hook("*/scale", "*"), &["CREATE apps v1 deployments/scale ns d"], NONE, Some(0));
        check(&hook("*", "*"), &["CREATE apps v1 deployments ns d"], NONE, Some(0));
        check(&hook("*", "*"), &["CREATE apps v1 deployments/scale ns d"], NONE, None);
        check(&hook("*/*", "Namespaced"), &["CREATE - v1 nodes - n"], NONE, None);
        check(&hook("*/*", "Namespaced"), &["CREATE - v1 namespaces n n"], NONE, None);
        check(&hook("*/*", "Cluster"), &["CREATE - v1 namespaces n n"], NONE, Some(0));
    }

    #[test]
    fn another_name_of_the_resource_matches_unless_it_must_be_exact() {
        let rules = json!([{"operations": ["*"], "apiGroups": ["g"], "apiVersions": ["v2"], "resources": ["*"]}]);
        let names = ["CREATE g v1 ws ns w", "CREATE g v2 ws ns w"];
        check(&json!({"rules": rules}), &names, NONE, Some(1));
        check(&json!({"rules": rules, "matchPolicy": "Exact"}), &names, NONE, None);
        check(&json!({"resourceRules": rules, "excludeResourceRules": rules}), &names, NONE, None);
    }

    #[test]
    fn selectors_look_at_both_states_and_at_the_namespace() {
        let rules = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]);
        let hook = json!({"rules": rules, "objectSelector": {"matchLabels": {"a": "b"}},
            "namespaceSelector": {"matchLabels": {"n": "1"}}});
        let (with, without) = (json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {}}));
        let (one, two) = (json!({"n": "1"}), json!({"n": "2"}));
        let request = ["UPDATE - v1 pods ns p"];
        let labels = |old, new, namespace| Labelled { old: Some(old), new: Some(new), namespace: Some(namespace) };
        check(&hook, &request, labels(&with, &without, &one), Some(0));
        check(&hook, &request, labels(&without, &with, &one), Some(0));
        check(&hook, &request, labels(&without, &without, &one), None);
        check(&hook, &request, labels(&with, &with, &two), None);
        check(&hook, &["CREATE - v1 nodes - n"], Labelled { namespace: None, ..labels(&with, &with, &two) }, Some(0));
    }
}
