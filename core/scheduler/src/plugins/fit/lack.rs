//! How much a node lacks to take a pod, and what would make up for it. For explanations: the filter itself is quicker.

use std::{cmp::Reverse, sync::Arc};

use windlass_kernel::scheduler::{Cure, Detail, Edit, NodeView, PodView};

const MIB: i64 = 1024 * 1024;

/// A resource of which there is not enough.
pub(super) struct Lack {
    resource: Arc<str>,
    requested: i64,
    used: i64,
    allocatable: i64,
}

impl Lack {
    pub(super) fn detail(self) -> Detail {
        let Self { resource, requested, used, allocatable } = self;
        Detail::Lacks { resource, requested, used, allocatable }
    }

    /// The most that could be asked for, in whole MiB where it is bytes and that much.
    fn left(&self) -> i64 {
        let left = self.allocatable.saturating_sub(self.used).max(0);
        let bytes = matches!(&*self.resource, "memory" | "ephemeral-storage");
        if bytes && left > MIB { left / MIB * MIB } else { left }
    }
}

/// What a node lacks of what counts, pods among it.
pub(super) fn of(pod: &PodView, node: &NodeView, counts: impl Fn(&str) -> bool) -> Vec<Lack> {
    let (own, used, offered) = (&pod.requests, &node.used, &node.allocatable);
    let usual = [
        ("cpu", own.cpu, used.cpu, offered.cpu),
        ("memory", own.memory, used.memory, offered.memory),
        ("ephemeral-storage", own.ephemeral, used.ephemeral, offered.ephemeral),
    ];
    let usual = usual.map(|(name, requested, used, allocatable)| (name.into(), requested, used, allocatable));
    let others = own.others().filter(|(name, _)| counts(name));
    let others = others.map(|(name, asked)| (Arc::clone(name), asked, used.extended(name), offered.extended(name)));
    let pods = i64::try_from(node.pods().len()).unwrap_or(i64::MAX);
    let all = [("pods".into(), 1, pods, node.max_pods)].into_iter().chain(usual).chain(others);
    all.filter(|(_, requested, used, allocatable)| *requested > 0 && *requested > allocatable.saturating_sub(*used))
        .map(|(resource, requested, used, allocatable)| Lack { resource, requested, used, allocatable })
        .collect()
}

/// To ask for what is left; where there are too many pods, without the least important of them. Or a larger node.
pub(super) fn cures(pod: &PodView, node: &NodeView, counts: impl Fn(&str) -> bool) -> Vec<Cure> {
    let lacks = of(pod, node, counts);
    let grow = |lack: &Lack| {
        let (resource, to) = (Arc::clone(&lack.resource), lack.used.saturating_add(lack.requested));
        Edit::GrowNode { node: Arc::clone(&node.name), resource, to }
    };
    let larger = lacks.iter().map(grow).collect();
    let lower = |lack: &Lack| match &*lack.resource {
        "pods" => {
            let least = node.pods().iter().min_by_key(|other| (other.priority, Reverse(other.started), &other.uid))?;
            Some(Edit::RemovePod { pod: least.key.clone(), node: Arc::clone(&node.name) })
        }
        _ => {
            let (resource, from, to) = (Arc::clone(&lack.resource), lack.requested, lack.left());
            Some(Edit::LowerRequest { resource, from, to })
        }
    };
    lacks.iter().map(lower).collect::<Option<Cure>>().into_iter().chain([larger]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, node, with};

    #[track_caller]
    fn check(pod: &PodView, others: &[(i64, i64)], expect: &[&str]) {
        let node = with(node("a", &[], json!({})), others.iter().map(|(cpu, memory)| asking(*cpu, *memory)));
        let told: Vec<_> = cures(pod, &node, |_| true)
            .iter()
            .map(|cure| cure.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))
            .collect();
        assert_eq!(told, expect);
    }

    #[test]
    fn what_is_left_can_be_asked_for_or_a_larger_node_added() {
        check(&asking(2000, 10), &[(2500, 10)], &["request cpu 1500m instead of 2", "give node a cpu 4500m"]);
        check(
            &asking(1000, 1024),
            &[(4000, 7 * 1024 + 512)],
            &[
                "request no cpu instead of 1 and request memory 512Mi instead of 1Gi",
                "give node a cpu 5 and give node a memory 8704Mi",
            ],
        );
        check(&asking(1, 1), &[(1, 1); 10], &["remove pod ns/p from node a", "give node a pods 11"]);
    }
}
