//! Requests and limits as control-group numbers, and the pod's quality-of-service class. Pure.

use std::{collections::BTreeMap, ops::Add};

use windlass_api::{
    core::v1::{Container, Pod, ResourceRequirements},
    quantity::Amount,
    types::Quantity,
};
use windlass_kernel::runtime::Resources;

use crate::pod::sidecar;

/// How much a pod was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod: the one that was written down, or as its requests and limits say.
pub(crate) fn class(pod: &Pod) -> Class {
    let all = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let mut sets: Vec<&ResourceRequirements> = all.map(|container| &container.resources).collect();
    if let Some(whole) = &pod.spec.resources
        && (!whole.limits.is_empty() || !whole.requests.is_empty())
    {
        sets = vec![whole];
    }
    let some = |amounts: &BTreeMap<String, Quantity>| ["cpu", "memory"].iter().any(|name| milli(amounts, name) > 0);
    if sets.iter().all(|set| !some(&set.requests) && !some(&set.limits)) {
        return Class::BestEffort;
    }
    let guaranteed = |set: &&ResourceRequirements| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = milli(&set.limits, name);
            let request = if set.requests.contains_key(*name) { milli(&set.requests, name) } else { limit };
            limit > 0 && request == limit
        })
    };
    if sets.iter().all(guaranteed) { Class::Guaranteed } else { Class::Burstable }
}

pub(crate) fn amount(amounts: &BTreeMap<String, Quantity>, name: &str) -> Option<Amount> {
    amounts.get(name)?.0.parse().ok()
}

fn milli(amounts: &BTreeMap<String, Quantity>, name: &str) -> i64 {
    amount(amounts, name).map_or(0, Amount::milli_value)
}

fn bytes(amounts: &BTreeMap<String, Quantity>, name: &str) -> Option<i64> {
    amount(amounts, name).map(Amount::as_i64).filter(|bytes| *bytes > 0)
}

const PERIOD: i64 = 100_000;

fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu * 1024 / 1000).clamp(2, 262_144)
}

fn quota(milli_cpu: i64) -> Option<i64> {
    (milli_cpu > 0).then(|| (milli_cpu * PERIOD / 1000).max(1000))
}

/// The limits of one container. `memory` is the node's, in bytes.
pub(crate) fn of_container(pod: &Pod, container: &Container, memory: i64) -> Resources {
    let set = &container.resources;
    let cpu = if set.requests.contains_key("cpu") { milli(&set.requests, "cpu") } else { milli(&set.limits, "cpu") };
    let limit = quota(milli(&set.limits, "cpu"));
    let memory_limit = bytes(&set.limits, "memory");
    Resources {
        cpu_shares: Some(shares(cpu)),
        cpu_period: limit.map(|_| PERIOD),
        cpu_quota: limit,
        memory_limit,
        memory_swap_limit: memory_limit,
        oom_score_adj: Some(oom_score(pod, container, memory)),
        ..Resources::default()
    }
}

/// How readily the kernel ends it. Negative scores need a capability that the agent may lack, so none is asked for.
fn oom_score(pod: &Pod, container: &Container, memory: i64) -> i64 {
    match class(pod) {
        Class::Guaranteed => 0,
        Class::BestEffort => 1000,
        Class::Burstable => {
            let request = bytes(&container.resources.requests, "memory").unwrap_or(0);
            (1000 - 1000 * request / memory.max(1)).clamp(3, 999)
        }
    }
}

/// What the pod as a whole may use: limits only where every container has one.
pub(crate) fn of_pod(pod: &Pod) -> Resources {
    let limit = sum(pod, "cpu", true).and_then(quota);
    Resources {
        cpu_shares: Some(shares(sum(pod, "cpu", false).unwrap_or(0))),
        cpu_period: limit.map(|_| PERIOD),
        cpu_quota: limit,
        memory_limit: sum(pod, "memory", true).filter(|bytes| *bytes > 0),
        ..Resources::default()
    }
}

/// What a pod asks for: thousandths of a CPU, and bytes of memory.
pub(crate) fn requested(pod: &Pod) -> [i64; 2] {
    ["cpu", "memory"].map(|name| request(pod, name))
}

/// What a pod asks for of one resource; nothing where it does not say.
pub(crate) fn request(pod: &Pod, name: &str) -> i64 {
    sum(pod, name, false).unwrap_or(0)
}

/// An amount in the unit that its resource is counted in here.
pub(crate) fn spread(name: &str, text: &str) -> Option<i64> {
    text.parse().ok().map(|amount| unit(name, amount))
}

fn unit(name: &str, amount: Amount) -> i64 {
    if name == "cpu" { amount.milli_value() } else { amount.as_i64() }
}

/// The requests or limits of a whole pod; `None` where a container has no limit.
fn sum(pod: &Pod, name: &str, limits: bool) -> Option<i64> {
    let pick = |set: &ResourceRequirements| -> Option<i64> {
        let amounts = if limits { &set.limits } else { &set.requests };
        let found = amount(amounts, name).or_else(|| (!limits).then(|| amount(&set.limits, name)).flatten());
        found.map(|amount| unit(name, amount))
    };
    if let Some(own) = pod.spec.resources.as_deref().and_then(pick) {
        return Some(own);
    }
    let of = |container: &Container| {
        let value = pick(&container.resources);
        if limits { value } else { Some(value.unwrap_or(0)) }
    };
    let overhead = amount(&pod.spec.overhead, name).map_or(0, |amount| unit(name, amount));
    Some(most(pod, of)? + overhead)
}

/// The most that a pod's containers have at a time, where `of` says how much each has: init containers run one by one, with the
/// sidecars that were started before. `None` where it does not say of one.
pub(crate) fn most<T>(pod: &Pod, of: impl Fn(&Container) -> Option<T>) -> Option<T>
where
    T: Copy + Default + Ord + Add<Output = T>,
{
    let (mut beside, mut most) = (T::default(), T::default());
    for container in &pod.spec.init_containers {
        let together = beside + of(container)?;
        if sidecar(container) {
            beside = together;
        }
        most = most.max(together);
    }
    let mut mains = beside;
    for container in &pod.spec.containers {
        mains = mains + of(container)?;
    }
    Some(most.max(mains))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn check(containers: serde_json::Value, expect: &str) {
        let pod = pod(containers);
        let (one, all) = (of_container(&pod, &pod.spec.containers[0], 1 << 30), of_pod(&pod));
        let show = |value: Option<i64>| value.map_or("-".into(), |value| value.to_string());
        let words = format!(
            "{} shares={} quota={} memory={} oom={} pod: shares={} quota={} memory={}",
            class(&pod).as_str(),
            show(one.cpu_shares),
            show(one.cpu_quota),
            show(one.memory_limit),
            show(one.oom_score_adj),
            show(all.cpu_shares),
            show(all.cpu_quota),
            show(all.memory_limit),
        );
        assert_eq!(words, expect);
    }

    #[test]
    fn classes_and_numbers_follow_requests_and_limits() {
        check(json!([{"name": "a"}]), "BestEffort shares=2 quota=- memory=- oom=1000 pod: shares=2 quota=- memory=-");
        check(
            json!([{"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}]),
            "Guaranteed shares=512 quota=50000 memory=67108864 oom=0 pod: shares=512 quota=50000 memory=67108864",
        );
        check(
            json!([{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "512Mi"}}}, {"name": "b"}]),
            "Burstable shares=1024 quota=- memory=- oom=500 pod: shares=1024 quota=- memory=-",
        );
    }
}
