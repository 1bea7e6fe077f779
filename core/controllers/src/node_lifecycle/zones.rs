//! How fast nodes are given up: zone by zone, slower where many ail at once, and not at all where all do. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::view::{NodeView, Ready};

/// Between two nodes of a zone.
const EVERY: Duration = Duration::from_secs(10);
/// Between two nodes of a large zone of which most ail.
const RARELY: Duration = Duration::from_secs(100);
/// A zone with more nodes than this is large.
const LARGE: usize = 50;

/// When each zone last gave up a node, by uptime.
pub(super) type Last = BTreeMap<String, Duration>;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes whose pods are to be evicted, or no longer, each with the key of its taint.
    pub(super) marks: Vec<(Arc<NodeView>, Option<&'static str>)>,
    /// When a zone may give up the next node.
    pub(super) again: Option<Duration>,
}

#[derive(Debug, Default)]
struct Zone {
    well: usize,
    ailing: usize,
    waiting: Vec<Arc<NodeView>>,
}

impl Zone {
    fn dark(&self) -> bool {
        self.well == 0 && self.ailing > 0
    }

    /// The time between two nodes; `None` where none may be given up.
    fn pace(&self) -> Option<Duration> {
        let size = self.well + self.ailing;
        let most = self.ailing > 2 && self.ailing * 100 >= size * 55;
        if self.dark() || !most {
            return Some(EVERY);
        }
        (size > LARGE).then_some(RARELY)
    }
}

/// Decides whose pods are evicted, noting in `last` what it decides.
pub(super) fn plan(nodes: impl IntoIterator<Item = Arc<NodeView>>, last: &mut Last, now: Duration) -> Plan {
    let mut zones = BTreeMap::<String, Zone>::new();
    let (mut plan, mut swaps, mut tainted) = (Plan::default(), Vec::new(), Vec::new());
    for node in nodes {
        let Some(ready) = node.ready else { continue };
        let zone = zones.entry(node.zone.clone()).or_default();
        match ready {
            _ if node.excluded => {}
            Ready::Yes => zone.well += 1,
            Ready::No | Ready::Unknown => zone.ailing += 1,
        }
        match ready.taint() {
            None if node.ailing.is_empty() => {}
            None => plan.marks.push((node, None)),
            Some(_) if node.ailing.is_empty() => zone.waiting.push(node),
            Some(key) if node.ailing == [key] => tainted.push(node),
            Some(key) => swaps.push((node, Some(key))),
        }
    }
    let judged = || zones.values().filter(|zone| zone.well + zone.ailing > 0);
    if judged().count() > 0 && judged().all(Zone::dark) {
        // Everything seems lost: more likely it is us who are cut off.
        plan.marks.extend(tainted.into_iter().map(|node| (node, None)));
        plan.marks.extend(swaps.into_iter().map(|(node, _)| (node, None)));
        return plan;
    }
    plan.marks.append(&mut swaps);
    last.retain(|name, _| zones.contains_key(name));
    for (name, mut zone) in zones {
        let Some(pace) = zone.pace() else { continue };
        zone.waiting.sort_by(|a, b| (a.since, &a.name).cmp(&(b.since, &b.name)));
        let mut waiting = zone.waiting.into_iter();
        let free = last.get(&name).is_none_or(|last| now >= *last + pace);
        if let Some(node) = free.then(|| waiting.next()).flatten() {
            last.insert(name.clone(), now);
            let key = node.ready.and_then(Ready::taint);
            plan.marks.push((node, key));
        }
        if waiting.len() > 0 {
            let next = last.get(&name).map_or(now, |last| *last + pace).saturating_sub(now);
            plan.again = Some(plan.again.map_or(next, |again| again.min(next)));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes are words `zone:status:count`, where a status is `up`, `lost`, `down`, `marked` (and lost) or `back`
    /// (marked and up). Answers what is marked at once and when to look again.
    #[track_caller]
    fn check(nodes: &str, last: Option<u64>, expect: &str) {
        let mut views = Vec::new();
        for word in nodes.split_whitespace() {
            let parts: Vec<&str> = word.split(':').collect();
            for _ in 0..parts[2].parse::<usize>().unwrap() {
                let (ready, marked) = match parts[1] {
                    "up" => (Ready::Yes, vec![]),
                    "lost" => (Ready::Unknown, vec![]),
                    "down" => (Ready::No, vec![]),
                    "marked" => (Ready::Unknown, vec![Ready::Unknown.taint().unwrap()]),
                    "swap" => (Ready::No, vec![Ready::Unknown.taint().unwrap()]),
                    _ => (Ready::Yes, vec![Ready::Unknown.taint().unwrap()]),
                };
                views.push(Arc::new(NodeView {
                    name: format!("{}{}", parts[0], views.len()),
                    uid: String::new(),
                    zone: parts[0].into(),
                    excluded: false,
                    ready: Some(ready),
                    since: None,
                    heartbeat: None,
                    mismatched: false,
                    ailing: marked,
                }));
            }
        }
        let mut last = last.map(|at| ("a".to_owned(), Duration::from_secs(at))).into_iter().collect();
        let plan = plan(views, &mut last, Duration::from_secs(1000));
        let marks = plan.marks.iter().map(|(node, key)| {
            format!("{}={}", node.name, key.map_or("clear", |key| key.trim_start_matches("node.kubernetes.io/")))
        });
        let again = plan.again.map(|again| format!("again {}", again.as_secs()));
        assert_eq!(marks.chain(again).collect::<Vec<_>>().join(" "), expect, "{nodes}");
    }

    #[test]
    fn nodes_are_given_up_one_by_one() {
        check("a:up:3 a:lost:1", None, "a3=unreachable");
        check("a:up:3 a:down:2", None, "a3=not-ready again 10");
        check("a:up:3 a:lost:1", Some(994), "again 4");
        check("a:up:3 a:lost:1", Some(990), "a3=unreachable");
    }

    #[test]
    fn a_node_that_is_back_is_cleared_at_once() {
        check("a:up:3 a:back:1", Some(999), "a3=clear");
        check("a:up:3 a:swap:1", Some(999), "a3=not-ready");
    }

    #[test]
    fn where_most_nodes_ail_only_large_zones_give_up_any() {
        check("a:up:2 a:lost:3", None, "");
        check("a:up:20 a:lost:1 a:marked:32", Some(990), "again 90");
        check("a:up:1 a:lost:2", None, "a1=unreachable again 10");
    }

    #[test]
    fn a_dark_zone_is_given_up_while_another_lives() {
        check("a:lost:1 b:up:1", None, "a0=unreachable");
    }

    #[test]
    fn when_every_zone_is_dark_nothing_is_given_up() {
        check("a:lost:1", None, "");
        check("a:lost:1 b:lost:2 b:marked:1", None, "b3=clear");
    }
}
