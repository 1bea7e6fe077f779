//! Who owns whom, by uid; and which objects a change concerns. It knows no API.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use windlass_api::meta::v1::OwnerReference;

use super::node::{Deletion, Node, Uid};
use crate::resources::Deletable;

/// All objects and their dependents.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Uid, Arc<Node>>,
    /// By owner, whether that exists or not.
    dependents: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Arc<Node>> {
        self.nodes.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Arc<Node>> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get(uid)).cloned().collect()
    }

    /// Follows a change of one object and answers whom to look at.
    pub(super) fn change(&mut self, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>) -> Vec<Uid> {
        let mut woken = BTreeSet::new();
        if let Some(before) = before.filter(|before| after.is_none_or(|after| after.uid != before.uid)) {
            self.remove(before, &mut woken);
        }
        if let Some(after) = after {
            let before = self.nodes.insert(Arc::clone(&after.uid), Arc::clone(after));
            self.link(before.as_deref(), after, &mut woken);
        }
        woken.into_iter().collect()
    }

    /// Forgets the objects of a resource that is no more.
    pub(super) fn forget(&mut self, resource: &Deletable) -> Vec<Uid> {
        let gone: Vec<_> = self.nodes.values().filter(|node| *node.resource == *resource).cloned().collect();
        let mut woken = BTreeSet::new();
        gone.iter().for_each(|node| self.remove(node, &mut woken));
        woken.into_iter().collect()
    }

    /// Whether everything that an object refers to is known to exist and not to wait for it.
    pub(super) fn at_peace(&self, node: &Node) -> bool {
        node.owners.iter().all(|owner| self.holds(node, owner))
    }

    /// Whether an owner is there, and stays.
    pub(super) fn holds(&self, node: &Node, owner: &OwnerReference) -> bool {
        self.nodes
            .get(owner.uid.as_str())
            .is_some_and(|known| known.is_meant(owner, &node.key.namespace) && known.state != Deletion::Foreground)
    }

    fn link(&mut self, before: Option<&Node>, after: &Node, woken: &mut BTreeSet<Uid>) {
        let owners = before.map(|before| before.owners.as_slice()).unwrap_or_default();
        if owners != after.owners.as_slice() {
            for owner in owners {
                self.unlink(&owner.uid, &after.uid);
                // It may have waited for this one.
                self.wake_waiting(&owner.uid, woken);
            }
            for owner in &after.owners {
                let uid = Uid::from(owner.uid.as_str());
                self.dependents.entry(uid).or_default().insert(Arc::clone(&after.uid));
            }
        }
        if !self.at_peace(after) {
            woken.insert(Arc::clone(&after.uid));
        }
        let deleting = after.state;
        if before.is_some_and(|before| before.state == deleting) {
            return;
        }
        match deleting {
            Deletion::None | Deletion::Pending => {}
            Deletion::Orphaning => drop(woken.insert(Arc::clone(&after.uid))),
            Deletion::Foreground => {
                woken.insert(Arc::clone(&after.uid));
                woken.extend(self.dependents.get(&after.uid).into_iter().flatten().cloned());
            }
        }
    }

    fn remove(&mut self, node: &Node, woken: &mut BTreeSet<Uid>) {
        if self.nodes.remove(&node.uid).is_none() {
            return;
        }
        for owner in &node.owners {
            self.unlink(&owner.uid, &node.uid);
            self.wake_waiting(&owner.uid, woken);
        }
        woken.extend(self.dependents.get(&node.uid).into_iter().flatten().cloned());
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    fn wake_waiting(&self, uid: &str, woken: &mut BTreeSet<Uid>) {
        if let Some(owner) = self.nodes.get(uid).filter(|owner| owner.state == Deletion::Foreground) {
            woken.insert(Arc::clone(&owner.uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources;
    use windlass_kernel::controller::ObjectKey;

    /// Reads `a of=b,c foreground`.
    fn node(text: &str) -> Arc<Node> {
        let resource = resources::built_in().into_iter().find(|own| own.is_core("configmaps")).unwrap();
        let mut words = text.split(' ');
        let name = words.next().unwrap();
        let mut node = Node {
            uid: name.into(),
            resource,
            key: ObjectKey::new("ns", name),
            owners: Vec::new(),
            state: Deletion::None,
        };
        for word in words {
            match word {
                "foreground" => node.state = Deletion::Foreground,
                "orphaning" => node.state = Deletion::Orphaning,
                owners => {
                    let names = owners.strip_prefix("of=").unwrap().split(',');
                    node.owners = names.map(owner).collect();
                }
            }
        }
        Arc::new(node)
    }

    fn owner(name: &str) -> OwnerReference {
        OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: name.into(),
            uid: name.into(),
            ..OwnerReference::default()
        }
    }

    /// What the last of some changes wakes; `-a` is the end of `a`.
    fn check(changes: &[&str], expect: &str) {
        let mut graph = Graph::default();
        let mut woken = Vec::new();
        for change in changes {
            woken = match change.strip_prefix('-') {
                Some(gone) => {
                    let node = graph.get(gone).cloned();
                    graph.change(node.as_ref(), None)
                }
                None => {
                    let node = node(change);
                    let before = graph.get(&node.uid).cloned();
                    graph.change(before.as_ref(), Some(&node))
                }
            };
        }
        assert_eq!(woken.join(" "), expect, "{changes:?}");
    }

    #[test]
    fn only_those_whose_owners_are_not_there_are_looked_at() {
        check(&["a"], "");
        check(&["b of=a"], "b");
        check(&["a", "b of=a"], "");
        check(&["a foreground", "b of=a"], "b");
    }

    #[test]
    fn an_end_concerns_dependents_and_waiting_owners() {
        check(&["a", "b of=a", "c of=a", "d", "-a"], "b c");
        check(&["a foreground", "b of=a", "-b"], "a");
        check(&["a", "b of=a", "-b"], "");
        check(&["a foreground", "b of=a", "b"], "a");
    }

    #[test]
    fn a_deletion_in_the_foreground_concerns_all_dependents() {
        check(&["a", "b of=a", "c of=a", "a foreground"], "a b c");
        check(&["a", "b of=a", "a orphaning"], "a");
        check(&["a foreground", "a foreground"], "");
    }
}
