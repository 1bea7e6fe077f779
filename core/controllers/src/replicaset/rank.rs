//! Which pods a ReplicaSet lets go first. The order is part of the API (`controller.kubernetes.io/pod-deletion-cost`).

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::pods::PodView;

/// The pods in the order in which they go. Those that share a node with more of `related` go earlier.
pub(crate) fn first_to_go(pods: &[Arc<PodView>], related: &[Arc<PodView>], now: Timestamp) -> Vec<Arc<PodView>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.iter().filter(|pod| pod.active()) {
        *on_node.entry(&pod.node).or_default() += 1;
    }
    let neighbours = |pod: &PodView| on_node.get(pod.node.as_str()).copied().unwrap_or(0);
    let mut ranked = pods.to_vec();
    ranked.sort_by(|a, b| compare(a, b, (neighbours(a), neighbours(b)), now));
    ranked
}

/// Less goes first.
fn compare(a: &PodView, b: &PodView, neighbours: (usize, usize), now: Timestamp) -> Ordering {
    let placed = (!a.node.is_empty()).cmp(&!b.node.is_empty());
    placed
        .then(a.phase.cmp(&b.phase))
        .then(a.ready.cmp(&b.ready))
        .then(a.deletion_cost.cmp(&b.deletion_cost))
        .then(neighbours.1.cmp(&neighbours.0))
        .then_with(|| if a.ready && b.ready { younger(a.ready_since, b.ready_since, now) } else { Ordering::Equal })
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| younger(a.created, b.created, now))
        .then_with(|| a.uid.cmp(&b.uid))
}

/// The younger goes first, by the order of magnitude of its age: among pods of about one age, chance decides (KEP-2185).
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let magnitude = |since: Option<Timestamp>| {
        let age = since.map(|since| now.duration_since(since).as_nanos());
        age.map_or(0, |age| u128::try_from(age).ok().and_then(u128::checked_ilog2).map_or(1, |log| log + 2))
    };
    magnitude(a).cmp(&magnitude(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Phase;

    /// Reads pods such as `a on=n1 ready=60 cost=-1 restarts=2 age=100 pending`, one per line.
    fn pods(text: &str) -> Vec<Arc<PodView>> {
        let pod = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            let mut pod = PodView { uid: name.into(), phase: Phase::Running, ..PodView::default() };
            for word in words {
                let (what, value) = word.split_once('=').unwrap_or((word, ""));
                let ago = || Timestamp::from_second(1_000_000 - value.parse::<i64>().unwrap()).ok();
                match what {
                    "on" => pod.node = value.into(),
                    "ready" => (pod.ready, pod.ready_since) = (true, ago()),
                    "age" => pod.created = ago(),
                    "cost" => pod.deletion_cost = value.parse().unwrap(),
                    "restarts" => pod.restarts = (value.parse().unwrap(), 0),
                    "pending" => pod.phase = Phase::Pending,
                    other => panic!("{other}"),
                }
            }
            Arc::new(pod)
        };
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect()
    }

    fn check(text: &str, expect: &str) {
        let pods = pods(text);
        let ranked = first_to_go(&pods, &pods, Timestamp::from_second(1_000_000).unwrap());
        assert_eq!(ranked.iter().map(|pod| pod.uid.as_str()).collect::<Vec<_>>().join(" "), expect);
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        check(
            "settled on=n1 ready=100\n fresh on=n2 ready=1\n unready on=n3\n pending on=n4 pending\n unplaced pending",
            "unplaced pending unready fresh settled",
        );
    }

    #[test]
    fn cost_comes_before_crowding_and_crowding_before_age() {
        check("a on=n1 ready=9 cost=5\n b on=n1 ready=9\n c on=n2 ready=9 cost=-1", "c b a");
        check("alone on=n2 ready=1\n one on=n1 ready=9000\n two on=n1 ready=9000", "one two alone");
    }

    #[test]
    fn about_one_age_is_one_age() {
        check("b on=n1 ready=60 restarts=1\n a on=n2 ready=61", "b a");
        check("b on=n1 age=100\n a on=n2 age=101", "a b");
        check("b on=n1 age=10\n a on=n2 age=1000", "b a");
    }
}
