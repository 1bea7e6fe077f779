//! Which pods are of no more use to anybody.

use std::sync::Arc;

use crate::pods::PodView;

/// Whether a pod is being deleted and has no node that could end it.
pub(super) fn stranded(pod: &PodView) -> bool {
    pod.deleting && pod.node.is_empty()
}

/// The oldest ended pods beyond `kept`, oldest first.
pub(super) fn surplus(pods: &mut dyn Iterator<Item = &Arc<PodView>>, kept: usize) -> Vec<Arc<PodView>> {
    let ended: Vec<&Arc<PodView>> = pods.filter(|pod| pod.ended()).collect();
    let Some(surplus) = ended.len().checked_sub(kept).filter(|surplus| *surplus > 0) else { return Vec::new() };
    let mut ended: Vec<_> = ended.into_iter().cloned().collect();
    ended.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
    ended.truncate(surplus);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Phase;
    use windlass_kernel::controller::ObjectKey;

    fn check(kept: usize, ended: &[i64], expect: &[&str]) {
        let pod = |at: &i64| {
            let created = jiff::Timestamp::from_second(*at).ok();
            let phase = if *at < 0 { Phase::Running } else { Phase::Failed };
            Arc::new(PodView { key: ObjectKey::new("ns", at.to_string()), phase, created, ..PodView::default() })
        };
        let pods: Vec<_> = ended.iter().map(pod).collect();
        let names: Vec<_> = surplus(&mut pods.iter(), kept).into_iter().map(|pod| pod.key.name.clone()).collect();
        assert_eq!(names, expect);
    }

    #[test]
    fn the_oldest_ended_pods_go_first() {
        check(2, &[5, 3, -1, 4], &["3"]);
        check(3, &[5, 3, -1, 4], &[]);
        check(0, &[5, 3], &["3", "5"]);
    }

    #[test]
    fn a_pod_without_a_node_ends_at_once() {
        let pod = |deleting, node: &str| PodView { deleting, node: node.into(), ..PodView::default() };
        assert_eq!([pod(true, ""), pod(true, "n"), pod(false, "")].map(|pod| stranded(&pod)), [true, false, false]);
    }
}
