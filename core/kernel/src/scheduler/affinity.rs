//! Affinity to nodes and to other pods, compiled from the API's form. What cannot be read matches nothing.

use std::collections::BTreeMap;

use windlass_api::{
    core::v1 as api,
    meta::v1::LabelSelector,
    selector::{Labels, Operator, Requirement},
};

use super::{node::NodeView, pod::PodView};

/// Something that counts more or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted<T> {
    /// How much; 1 to 100.
    pub weight: i64,
    /// What.
    pub term: T,
}

/// What one term asks of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTerm {
    labels: Labels,
    /// Whether the name must, or must not, be among these.
    names: Vec<(bool, Vec<String>)>,
}

impl NodeTerm {
    /// A term that asks for labels only.
    #[must_use]
    pub const fn labelled(labels: Labels) -> Self {
        Self { labels, names: Vec::new() }
    }

    /// Reads the API's form. An empty term matches nothing.
    #[must_use]
    pub fn of(term: &api::NodeSelectorTerm) -> Self {
        if term.match_expressions.is_empty() && term.match_fields.is_empty() {
            return Self::labelled(Labels::nothing());
        }
        let labels = term.match_expressions.iter().map(requirement).collect::<Option<Vec<_>>>();
        let names = term.match_fields.iter().map(name).collect::<Option<Vec<_>>>();
        match (labels, names) {
            (Some(labels), Some(names)) => Self { labels: Labels::all(labels), names },
            _ => Self::labelled(Labels::nothing()),
        }
    }

    /// Whether a node answers to it.
    #[must_use]
    pub fn matches(&self, node: &NodeView) -> bool {
        self.names.iter().all(|(wanted, names)| names.iter().any(|name| *name == *node.name) == *wanted)
            && self.labels.matches(&node.labels)
    }

    /// What is asked of labels and is not so on a node.
    pub fn unmet<'a>(&'a self, node: &'a NodeView) -> impl Iterator<Item = &'a Requirement> {
        let found = |key: &str| node.labels.get(key).map(String::as_str);
        self.labels.requirements().iter().filter(move |asked| !asked.holds(found(asked.key())))
    }

    /// Labels with which a node would answer to it; `None` where labels alone do not do.
    #[must_use]
    pub fn lacks(&self, node: &NodeView) -> Option<Vec<(String, String)>> {
        let named = self.names.iter().all(|(wanted, names)| names.iter().any(|own| *own == *node.name) == *wanted);
        if self.labels.is_nothing() || !named {
            return None;
        }
        let label = |asked: &Requirement| {
            let first = asked.values().first();
            let beside = |by: i64| first?.parse::<i64>().ok()?.checked_add(by).map(|number| number.to_string());
            let value = match asked.operator() {
                Operator::Equals | Operator::DoubleEquals | Operator::In => first?.clone(),
                Operator::Exists => String::new(),
                Operator::GreaterThan => beside(1)?,
                Operator::LessThan => beside(-1)?,
                Operator::NotEquals | Operator::NotIn | Operator::DoesNotExist => return None,
            };
            Some((asked.key().to_owned(), value))
        };
        self.unmet(node).map(label).collect()
    }

    /// The names that a node must have one of, where the term says so.
    fn names(&self) -> Option<&[String]> {
        self.names.iter().find(|(wanted, _)| *wanted).map(|(_, names)| names.as_slice())
    }
}

fn requirement(asked: &api::NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match asked.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    Requirement::new(asked.key.clone(), operator, asked.values.clone()).ok()
}

fn name(asked: &api::NodeSelectorRequirement) -> Option<(bool, Vec<String>)> {
    match (asked.key.as_str(), asked.operator.as_str()) {
        ("metadata.name", "In") => Some((true, asked.values.clone())),
        ("metadata.name", "NotIn") => Some((false, asked.values.clone())),
        _ => None,
    }
}

/// Terms of which a node must answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTerms(pub Vec<NodeTerm>);

impl NodeTerms {
    /// Reads the API's form. No terms match nothing.
    #[must_use]
    pub fn of(selector: &api::NodeSelector) -> Self {
        Self(selector.node_selector_terms.iter().map(NodeTerm::of).collect())
    }

    /// Whether a node answers to one of them.
    #[must_use]
    pub fn matches(&self, node: &NodeView) -> bool {
        self.0.iter().any(|term| term.matches(node))
    }

    /// The only nodes that can match, where every term names its own.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        let named = self.0.iter().map(NodeTerm::names).collect::<Option<Vec<_>>>()?;
        let mut names: Vec<&str> = named.into_iter().flatten().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

/// In which namespaces a pod term looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// By name.
    pub names: Vec<String>,
    /// By their labels.
    pub selector: Labels,
}

impl Namespaces {
    /// Whether a namespace is among them. `labels` finds a namespace's labels.
    pub fn contain<'a>(&self, name: &str, labels: impl FnOnce() -> Option<&'a BTreeMap<String, String>>) -> bool {
        self.names.iter().any(|own| own == name)
            || self.selector.is_everything()
            || (!self.selector.is_nothing() && labels().is_some_and(|labels| self.selector.matches(labels)))
    }
}

/// What one term asks of the pods nearby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTerm {
    /// Which pods.
    pub selector: Labels,
    /// Where they live.
    pub namespaces: Namespaces,
    /// The node label whose value says what is nearby.
    pub topology: String,
}

impl PodTerm {
    /// Reads the API's form, for a pod in `namespace`. The API server has merged label keys into the selector.
    #[must_use]
    pub fn of(term: &api::PodAffinityTerm, namespace: &str) -> Self {
        let names = if term.namespaces.is_empty() && term.namespace_selector.is_none() {
            vec![namespace.to_owned()]
        } else {
            term.namespaces.clone()
        };
        let namespaces = Namespaces { names, selector: labels(term.namespace_selector.as_ref()) };
        Self { selector: labels(term.label_selector.as_ref()), namespaces, topology: term.topology_key.clone() }
    }

    /// Whether it means a pod. `labels` finds the labels of the pod's namespace.
    pub fn matches<'a>(&self, pod: &PodView, labels: impl FnOnce() -> Option<&'a BTreeMap<String, String>>) -> bool {
        self.selector.matches(&pod.labels) && self.namespaces.contain(&pod.key.namespace, labels)
    }
}

/// Which pods a pod wants, or does not want, nearby.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAffinity {
    /// Those that must be nearby.
    pub required: Vec<PodTerm>,
    /// Those that should be nearby.
    pub preferred: Vec<Weighted<PodTerm>>,
    /// Those that must not be nearby.
    pub anti_required: Vec<PodTerm>,
    /// Those that should not be nearby.
    pub anti_preferred: Vec<Weighted<PodTerm>>,
}

impl PodAffinity {
    /// Reads the API's form, for a pod in `namespace`; `None` where nothing is asked for.
    #[must_use]
    pub fn of(affinity: &api::Affinity, namespace: &str) -> Option<Self> {
        let term = |term: &api::PodAffinityTerm| PodTerm::of(term, namespace);
        let weighted = |weighted: &api::WeightedPodAffinityTerm| Weighted {
            weight: weighted.weight.into(),
            term: term(&weighted.pod_affinity_term),
        };
        let mut own = Self::default();
        if let Some(near) = &affinity.pod_affinity {
            own.required = near.required_during_scheduling_ignored_during_execution.iter().map(term).collect();
            own.preferred = near.preferred_during_scheduling_ignored_during_execution.iter().map(weighted).collect();
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            own.anti_required = far.required_during_scheduling_ignored_during_execution.iter().map(term).collect();
            own.anti_preferred =
                far.preferred_during_scheduling_ignored_during_execution.iter().map(weighted).collect();
        }
        (own != Self::default()).then_some(own)
    }
}

/// Reads a typed label selector: absent selects nothing, and so does what cannot be read.
pub(super) fn labels(selector: Option<&LabelSelector>) -> Labels {
    let tree = selector.and_then(|selector| serde_json::to_value(selector).ok());
    Labels::from_json(tree.as_ref()).unwrap_or_else(|_| Labels::nothing())
}
