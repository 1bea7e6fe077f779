//! Views made of the API's objects: what a pod asks for, and what a node offers. Pure.

use windlass_api::{
    core::v1::{Container, ContainerStatus, Node, Pod},
    quantity::Amount,
};

use super::{
    affinity::{NodeTerm, NodeTerms, PodAffinity, Weighted},
    node::{Image, NodeView},
    pod::{ClaimRef, HostPort, Owner, PodView},
    resources::Resources,
    spread::Spread,
    taint::{Effect, Taint, Toleration},
};
use crate::controller::ObjectKey;

/// What a container that says nothing is taken to use, for scores: a tenth of a CPU and 200 MiB.
const GUESS: (i64, i64) = (100, 200 * 1024 * 1024);

impl PodView {
    /// The view of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let (meta, spec, status) = (&pod.metadata, &pod.spec, &pod.status);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let namespace = text(&meta.namespace);
        let affinity = spec.affinity.as_ref();
        let near = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
        let controller = meta.owner_references.iter().find(|owner| owner.controller == Some(true));
        let unscheduled = status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
        let (requests, estimated) = requests(pod);
        let preferences = near.map(|near| near.preferred_during_scheduling_ignored_during_execution.as_slice());
        Self {
            uid: text(&meta.uid),
            key: ObjectKey::new(namespace.clone(), text(&meta.name)),
            generation: meta.generation.unwrap_or_default(),
            scheduler: text(&spec.scheduler_name),
            node: spec.node_name.clone().filter(|name| !name.is_empty()),
            nominated: status.nominated_node_name.clone().filter(|name| !name.is_empty()),
            priority: spec.priority.unwrap_or_default(),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            labels: meta.labels.clone(),
            owner: controller.map(|owner| Owner {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            }),
            created: meta.creation_timestamp.map(|time| time.0),
            started: status.start_time.map(|time| time.0),
            terminating: meta.deletion_timestamp.is_some(),
            requests,
            estimated,
            ports: ports(pod),
            tolerations: spec.tolerations.iter().map(Toleration::of).collect(),
            node_selector: spec.node_selector.clone(),
            node_terms: near
                .and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref())
                .map(NodeTerms::of),
            node_preferences: preferences
                .unwrap_or_default()
                .iter()
                .filter(|preference| preference.weight != 0)
                // An empty preference is no preference.
                .filter(|p| !(p.preference.match_expressions.is_empty() && p.preference.match_fields.is_empty()))
                .map(|p| Weighted { weight: p.weight.into(), term: NodeTerm::of(&p.preference) })
                .collect(),
            affinity: affinity.and_then(|affinity| PodAffinity::of(affinity, &namespace)).map(Box::new),
            spread: spec.topology_spread_constraints.iter().map(|c| Spread::of(c, &meta.labels)).collect(),
            gates: spec.scheduling_gates.iter().map(|gate| gate.name.clone()).collect(),
            images: spec.init_containers.iter().chain(&spec.containers).map(|c| text(&c.image)).collect(),
            claims: claims(pod),
            complaint: unscheduled.map(|condition| (text(&condition.reason), text(&condition.message))),
        }
    }
}

/// The claims that a pod names, and those that are made for it under its own name and the volume's.
fn claims(pod: &Pod) -> Vec<ClaimRef> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let claim = |volume: &windlass_api::core::v1::Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(ClaimRef { name: source.claim_name.clone(), ephemeral: false }),
        (None, Some(_)) => Some(ClaimRef { name: format!("{name}-{}", volume.name), ephemeral: true }),
        (None, None) => None,
    };
    pod.spec.volumes.iter().filter_map(claim).collect()
}

fn restarts(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| restarts(container));
    let all = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    all.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let protocol = if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.clone() };
        Some(HostPort { ip: port.host_ip.clone().unwrap_or_default(), protocol, port: number })
    })
    .collect()
}

/// What containers need together, as they are added up.
#[derive(Default)]
struct Sum {
    total: Resources,
    sidecars: Resources,
    peak: Resources,
}

impl Sum {
    fn container(&mut self, needs: &Resources) {
        self.total.add(needs);
    }

    fn init(&mut self, mut needs: Resources, restarts: bool) {
        if restarts {
            self.sidecars.add(&needs);
            self.peak.raise(&self.sidecars);
        } else {
            needs.add(&self.sidecars);
            self.peak.raise(&needs);
        }
    }

    /// With what is stated for the whole pod instead, and its overhead.
    fn end(mut self, stated: Option<&(Resources, Vec<&String>)>, overhead: &Resources) -> Resources {
        self.total.add(&self.sidecars);
        self.total.raise(&self.peak);
        if let Some((stated, names)) = stated {
            for name in names {
                match name.as_str() {
                    "cpu" => self.total.cpu = stated.cpu,
                    "memory" => self.total.memory = stated.memory,
                    name if name.starts_with("hugepages-") => self.total.set(name, stated.extended(name)),
                    _ => {}
                }
            }
        }
        self.total.add(overhead);
        self.total
    }
}

/// What a pod needs: its containers together, or its hungriest init container beside the sidecars before it, whichever
/// is more; what is stated for the whole pod instead; and its overhead. And the same with a guess for containers that do
/// not say.
fn requests(pod: &Pod) -> (Resources, Resources) {
    let (mut said, mut guessed) = (Sum::default(), Sum::default());
    for container in &pod.spec.containers {
        let needs = needs(container, &pod.status.container_statuses);
        guessed.container(&guess(container, &needs));
        said.container(&needs);
    }
    for container in &pod.spec.init_containers {
        let needs = needs(container, &pod.status.init_container_statuses);
        guessed.init(guess(container, &needs), restarts(container));
        said.init(needs, restarts(container));
    }
    let whole = pod.spec.resources.as_ref();
    let stated = whole.map(|whole| (Resources::of(&whole.requests), whole.requests.keys().collect()));
    let overhead = Resources::of(&pod.spec.overhead);
    (said.end(stated.as_ref(), &overhead), guessed.end(stated.as_ref(), &overhead))
}

/// What a container needs, or still has while it is being made smaller.
fn needs(container: &Container, statuses: &[ContainerStatus]) -> Resources {
    let mut needs = Resources::of(&container.resources.requests);
    if let Some(status) = statuses.iter().find(|status| status.name == container.name) {
        if let Some(actual) = &status.resources {
            needs.raise(&Resources::of(&actual.requests));
        }
        needs.raise(&Resources::of(&status.allocated_resources));
    }
    needs
}

/// The same with a guess for what the container does not say.
fn guess(container: &Container, needs: &Resources) -> Resources {
    let (asked, mut needs) = (&container.resources.requests, needs.clone());
    if !asked.contains_key("cpu") {
        needs.cpu = needs.cpu.max(GUESS.0);
    }
    if !asked.contains_key("memory") {
        needs.memory = needs.memory.max(GUESS.1);
    }
    needs
}

impl NodeView {
    /// The view of a node, as yet without pods.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let pods = node.status.allocatable.get("pods").and_then(|pods| pods.0.parse::<Amount>().ok());
        let taint = |taint: &windlass_api::core::v1::Taint| {
            let value = taint.value.clone().unwrap_or_default();
            Some(Taint::new(taint.key.clone(), value, Effect::of(&taint.effect)?))
        };
        let images = node.status.images.iter().flat_map(|image| {
            image.names.iter().map(|name| (Image::normalized(name).into_owned(), image.size_bytes.unwrap_or_default()))
        });
        let mut view = Self::named(name);
        view.labels = node.metadata.labels.clone();
        view.taints = node.spec.taints.iter().filter_map(taint).collect();
        view.unschedulable = node.spec.unschedulable == Some(true);
        view.allocatable = Resources::of(&node.status.allocatable);
        view.max_pods = pods.map_or(0, Amount::as_i64);
        view.images = images.collect();
        view
    }
}
