//! How a node presents itself to its cluster, under the names of kubelet's flags.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgAction, Args as Arguments};
use windlass::{
    api::names::{label_value, qualified_name},
    apiserver::may_label,
    kernel::{Error, ErrorKind, Result},
    real::ContainerNode,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

#[derive(Debug, Arguments)]
pub(crate) struct Joining {
    /// Labels of the node beside those that every node has; of Kubernetes' own names only those that a node may give itself.
    #[arg(long, value_name = "KEY=VALUE,…")]
    node_labels: Vec<String>,
    /// Taints that the node starts with. They are written when its object is made, and later changes are the cluster's.
    #[arg(long, value_name = "KEY=VALUE:EFFECT,…")]
    register_with_taints: Vec<String>,
    /// Whether the node makes its object itself; else somebody else has to, and it is waited for.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    register_node: bool,
    /// How many pods fit.
    #[arg(long, value_name = "N", default_value_t = 110)]
    max_pods: u32,
}

impl Joining {
    /// Refuses labels and taints that cannot be, by name.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.register_node && !self.register_with_taints.is_empty() {
            return Err(invalid(
                "--register-with-taints needs --register-node: taints are written when the node is made",
            ));
        }
        labels(&self.node_labels)?;
        taints(&self.register_with_taints).map(drop)
    }

    /// Tells a node.
    pub(crate) fn tell(&self, node: &mut ContainerNode) -> Result<()> {
        node.labels = labels(&self.node_labels)?;
        node.taints = taints(&self.register_with_taints)?;
        node.register = self.register_node;
        node.max_pods = self.max_pods;
        Ok(())
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

/// What stands between commas, in however many flags.
fn words(flags: &[String]) -> impl Iterator<Item = &str> {
    flags.iter().flat_map(|flag| flag.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn labels(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for word in words(flags) {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| invalid(format!("--node-labels {word:?} is no label: expected KEY=VALUE")))?;
        check("--node-labels", word, key, value)?;
        if !may_label(key) {
            return Err(invalid(format!(
                "--node-labels {key:?}: of the names of kubernetes.io and k8s.io a node may only give itself those below \
                 kubelet.kubernetes.io and node.kubernetes.io, and those that say what it is; let an administrator set it"
            )));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn taints(flags: &[String]) -> Result<Vec<(String, String, String)>> {
    let mut seen = BTreeSet::new();
    let mut taints = Vec::new();
    for word in words(flags) {
        let wrong = |why: &str| {
            invalid(format!("--register-with-taints {word:?}: {why}; expected KEY=VALUE:EFFECT or KEY:EFFECT"))
        };
        let (what, effect) = word.split_once(':').ok_or_else(|| wrong("it has no effect"))?;
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        check("--register-with-taints", word, key, value)?;
        if !EFFECTS.contains(&effect) {
            return Err(wrong(&format!("{effect:?} is none of {}", EFFECTS.join(", "))));
        }
        if !seen.insert((key, effect)) {
            return Err(wrong("there is one of that key and effect already"));
        }
        taints.push((key.to_owned(), value.to_owned(), effect.to_owned()));
    }
    Ok(taints)
}

fn check(flag: &str, word: &str, key: &str, value: &str) -> Result<()> {
    let complaints: Vec<_> = qualified_name(key).into_iter().chain(label_value(value)).collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("{flag} {word:?}: {}", complaints.join("; ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Vec<String> {
        text.split(' ').map(Into::into).collect()
    }

    #[test]
    fn labels_are_those_that_a_node_may_give_itself() {
        let check = |text: &str, expect: &str| {
            let read = labels(&flags(text)).map(|labels| format!("{labels:?}"));
            let said = read.unwrap_or_else(|error| error.message().to_owned());
            assert!(said.contains(expect), "{said}");
        };
        check("a=b,node.kubernetes.io/c= d=e", r#"{"a": "b", "d": "e", "node.kubernetes.io/c": ""}"#);
        check("topology.kubernetes.io/zone=z1", "z1");
        check("a", "\"a\" is no label: expected KEY=VALUE");
        check("node-role.kubernetes.io/control-plane=", "let an administrator set it");
        check("node-restriction.kubernetes.io/a=b", "let an administrator set it");
        check("a=b/c", "a valid label must be");
        check("-a=b", "must consist of alphanumeric characters");
    }

    #[test]
    fn taints_have_a_key_and_an_effect() {
        let check = |text: &str, expect: &str| {
            let read = taints(&flags(text)).map(|taints| format!("{taints:?}"));
            let said = read.unwrap_or_else(|error| error.message().to_owned());
            assert!(said.contains(expect), "{said}");
        };
        check("a=b:NoSchedule,c:NoExecute", r#"[("a", "b", "NoSchedule"), ("c", "", "NoExecute")]"#);
        check("a=b:NoSchedule a=c:NoExecute", "NoExecute");
        check("a=b:NoSchedule a=c:NoSchedule", "there is one of that key and effect already");
        check("a=b", "it has no effect");
        check("a=b:Never", "\"Never\" is none of NoSchedule, PreferNoSchedule, NoExecute");
        check("a=b=c:NoSchedule", "a valid label must be");
    }
}
