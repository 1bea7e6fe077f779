//! One flow schema: whom and what it is about.

use serde_json::Value;
use windlass_kernel::{Identity, access::Attributes};

use super::Named;

const ACCOUNT: &str = "system:serviceaccount:";

/// A flow schema that was read.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) own: Named,
    /// The name of its priority level.
    pub(super) level: String,
    rules: Vec<Rule>,
}

/// Whoever is one of the subjects and does one of the things.
#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

#[derive(Debug)]
struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    names: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

#[derive(Debug)]
struct Paths {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Schema {
    pub(super) fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            own: Named::of(object),
            level: text(&spec["priorityLevelConfiguration"]["name"]),
            rules: all(&spec["rules"], Rule::read),
        }
    }

    pub(super) fn matches(&self, identity: &Identity, request: &Attributes) -> bool {
        self.rules.iter().any(|rule| {
            let is_resource = request.path.is_empty();
            let what = if is_resource {
                rule.resources.iter().any(|own| own.matches(request))
            } else {
                rule.paths.iter().any(|own| own.matches(request))
            };
            what && rule.subjects.iter().any(|own| own.is(identity))
        })
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            subjects: all(&rule["subjects"], Subject::read).into_iter().flatten().collect(),
            resources: all(&rule["resourceRules"], Resources::read),
            paths: all(&rule["nonResourceRules"], Paths::read),
        }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        Some(match subject["kind"].as_str()? {
            "User" => Self::User(text(&subject["user"]["name"])),
            "Group" => Self::Group(text(&subject["group"]["name"])),
            "ServiceAccount" => Self::Account {
                namespace: text(&subject["serviceAccount"]["namespace"]),
                name: text(&subject["serviceAccount"]["name"]),
            },
            _ => return None,
        })
    }

    fn is(&self, identity: &Identity) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == identity.name,
            Self::Group(name) => name == "*" || identity.belongs_to(name),
            Self::Account { namespace, name } => {
                let account = identity.name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
                account.is_some_and(|(own, account)| own == namespace && (name == "*" || account == name))
            }
        }
    }
}

impl Resources {
    fn read(rule: &Value) -> Self {
        Self {
            verbs: all(&rule["verbs"], text),
            groups: all(&rule["apiGroups"], text),
            names: all(&rule["resources"], text),
            namespaces: all(&rule["namespaces"], text),
            cluster: rule["clusterScope"] == true,
        }
    }

    fn matches(&self, request: &Attributes) -> bool {
        let Attributes { resource, subresource, namespace, .. } = request;
        let named = |own: &String| match own.split_once('/') {
            Some((plural, sub)) => plural == resource && sub == subresource,
            None => own == "*" || (own == resource && subresource.is_empty()),
        };
        let placed = if namespace.is_empty() { self.cluster } else { holds(&self.namespaces, namespace) };
        placed
            && holds(&self.verbs, &request.verb)
            && holds(&self.groups, &request.group)
            && self.names.iter().any(named)
    }
}

impl Paths {
    fn read(rule: &Value) -> Self {
        Self { verbs: all(&rule["verbs"], text), paths: all(&rule["nonResourceURLs"], text) }
    }

    fn matches(&self, request: &Attributes) -> bool {
        let fits = |own: &String| match own.strip_suffix('*') {
            Some(prefix) => request.path.starts_with(prefix),
            None => *own == request.path,
        };
        holds(&self.verbs, &request.verb) && self.paths.iter().any(fits)
    }
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

fn all<T>(list: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    list.as_array().into_iter().flatten().map(read).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
