//! What a pod uses: itself while it has not ended, and the requests and limits of its containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Usage;
use crate::quantity::Amount;

/// What a container must say where a quota limits it.
const SPECIFIED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Resources that a whole pod may ask for instead of its containers (KEP-2837).
const WHOLE: [&str; 2] = ["cpu", "memory"];

type Amounts = BTreeMap<String, Amount>;

pub(super) fn tracks(name: &str) -> bool {
    let own = matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let asked = |rest: &str| rest != "storage";
    own || name.strip_prefix("requests.").is_some_and(asked)
        || matches!(name, "limits.cpu" | "limits.memory" | "limits.ephemeral-storage")
}

pub(super) fn usage(pod: &Value, usage: &mut Usage) {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return;
    }
    usage.one("pods");
    let spec = &pod["spec"];
    name(&total(spec, "requests"), &total(spec, "limits"), usage);
}

/// Counts amounts under the names that quotas have for them.
fn name(requests: &Amounts, limits: &Amounts, usage: &mut Usage) {
    for (resource, amount) in requests {
        let native = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if native || resource.starts_with("hugepages-") {
            usage.count(resource, *amount);
        }
        if native || resource.starts_with("hugepages-") || resource.contains('/') {
            usage.count(&format!("requests.{resource}"), *amount);
        }
    }
    for (resource, amount) in limits {
        if matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.count(&format!("limits.{resource}"), *amount);
        }
    }
}

fn amounts(holder: &Value, list: &str) -> Amounts {
    let each = holder["resources"][list].as_object().into_iter().flatten();
    each.filter_map(|(name, value)| Some((name.clone(), Amount::from_json(value).ok()?))).collect()
}

fn add(into: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *into.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(into: &mut Amounts, to: &Amounts) {
    for (name, amount) in to {
        let own = into.entry(name.clone()).or_default();
        *own = (*own).max(*amount);
    }
}

/// What the pod needs at most at one time (KEP-753): all that run together, or one that initializes beside those that
/// were started before it and go on.
fn total(spec: &Value, list: &str) -> Amounts {
    let mut together = Amounts::new();
    for container in each(spec, "containers") {
        add(&mut together, &amounts(container, list));
    }
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in each(spec, "initContainers") {
        let mut now = amounts(container, list);
        if container["restartPolicy"] == "Always" {
            add(&mut together, &now);
            add(&mut beside, &now);
            now.clone_from(&beside);
        } else {
            add(&mut now, &beside);
        }
        raise(&mut most, &now);
    }
    raise(&mut together, &most);
    for (name, amount) in amounts(spec, list) {
        if WHOLE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            together.insert(name, amount);
        }
    }
    let overhead = spec["overhead"].as_object().into_iter().flatten();
    for (name, value) in overhead {
        // A pod without a limit stays without one.
        if list == "requests" || together.get(name).is_some_and(|amount| !amount.is_zero()) {
            *together.entry(name.clone()).or_default() += Amount::from_json(value).unwrap_or_default();
        }
    }
    together
}

fn each<'v>(spec: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    spec[list].as_array().into_iter().flatten()
}

/// What containers leave open that a quota limits.
pub(super) fn unspecified(pod: &Value, limited: &Usage) -> Option<String> {
    let spec = &pod["spec"];
    let required: Vec<&str> = SPECIFIED.into_iter().filter(|name| limited.get(name).is_some()).collect();
    let said = |holder: &Value| {
        let mut usage = Usage::default();
        name(&amounts(holder, "requests"), &amounts(holder, "limits"), &mut usage);
        usage
    };
    let whole = said(spec);
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in each(spec, "containers").chain(each(spec, "initContainers")) {
        let own = said(container);
        for name in required.iter().filter(|name| own.get(name).is_none() && whole.get(name).is_none()) {
            missing.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
        }
    }
    if missing.is_empty() {
        return None;
    }
    let line = |(name, containers): (&str, BTreeSet<&str>)| {
        format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
    };
    Some(format!("must specify {}", missing.into_iter().map(line).collect::<Vec<_>>().join("; ")))
}
