//! A scheduler that remembers why pods fit nowhere, for those who ask. The decisions are another's.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_kernel::{
    Result, Scheduler,
    scheduler::{Change, Decision, Diagnose, Explanation, PodView, Turn},
};

/// So many pods are remembered; the oldest are forgotten first.
const PODS: usize = 10_000;

/// Wraps a scheduler and remembers the explanation of each pod that fitted nowhere at its last turn. Clones share it.
#[derive(Clone)]
pub struct Explained {
    scheduler: Arc<dyn Scheduler>,
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    explanations: BTreeMap<String, Explanation>,
    order: VecDeque<String>,
}

impl Explained {
    /// Remembers for `scheduler`.
    #[must_use]
    pub fn new(scheduler: impl Scheduler) -> Self {
        Self { scheduler: Arc::new(scheduler), last: Arc::default() }
    }

    /// Why the pod with that uid fitted nowhere at its last turn. `None` where it got a node, or had no turn yet.
    #[must_use]
    pub fn explanation(&self, uid: &str) -> Option<Explanation> {
        self.last.lock().explanations.get(uid).cloned()
    }
}

impl fmt::Debug for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explained").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

// A method that fell back to a trait default would skip the scheduler's own version of it.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Scheduler for Explained {
    async fn schedule(&self, turn: Turn<'_>) -> Result<Decision> {
        let uid = turn.pod.uid.clone();
        let decision = self.scheduler.schedule(turn).await?;
        let mut last = self.last.lock();
        match &decision {
            Decision::Place(_) => drop(last.explanations.remove(&uid)),
            Decision::Nowhere(nowhere) => {
                if last.explanations.insert(uid.clone(), nowhere.explanation.clone()).is_none() {
                    last.order.push_back(uid);
                }
                while last.order.len() > PODS {
                    let oldest = last.order.pop_front().unwrap_or_default();
                    last.explanations.remove(&oldest);
                }
            }
        }
        drop(last);
        Ok(decision)
    }

    fn helped_by(&self, pod: &PodView, refused_by: &[&'static str], change: &Change<'_>) -> bool {
        self.scheduler.helped_by(pod, refused_by, change)
    }

    fn diagnoses(&self) -> Option<&dyn Diagnose> {
        self.scheduler.diagnoses()
    }
}

#[cfg(test)]
mod tests {
    use windlass_kernel::{
        Entropy,
        scheduler::{Cycle, NodeIndex, NodeView, Nodes, Resources},
    };

    use super::*;
    use crate::Framework;

    #[derive(Debug)]
    struct NoChance;

    impl Entropy for NoChance {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0);
        }
    }

    #[test]
    fn what_refused_a_pod_is_remembered_until_it_has_a_node() {
        let explained = Explained::new(Framework::default());
        let pod = Arc::new(PodView { uid: "u".into(), requests: Resources::new(3000, 0), ..PodView::default() });
        let turn = |cpu| {
            let nodes = [NodeView::named("n1").offering(Resources::new(cpu, 1 << 30), 110)];
            let index = NodeIndex::of(&nodes);
            let mut cycle = Cycle::new();
            let turn = Turn { pod: &pod, nodes: Nodes::new(&nodes, &index), cycle: &mut cycle, entropy: &NoChance };
            futures::executor::block_on(explained.schedule(turn)).unwrap();
            explained.explanation("u")
        };
        let refusals = turn(2000).unwrap().refusals;
        assert_eq!((refusals[0].plugin, &*refusals[0].node), ("NodeResourcesFit", "n1"));
        assert_eq!(turn(4000), None);
    }
}
