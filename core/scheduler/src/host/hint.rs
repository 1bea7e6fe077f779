//! The sentence that tells the user of a pod without a node what would help. Finding it looks at every node, so only so
//! many are found in a second; a pod whose reasons are as before keeps the sentence that it has.

use std::time::Duration;

use windlass_kernel::{
    Scheduler,
    scheduler::{PodView, Remedy, Turn},
};

/// So many nodes are looked at in a second: ten sentences where there are 5,000.
const NODES: u64 = 50_000;
/// What the sentence begins with.
const BEGINNING: &str = " It would fit with the smallest change: ";

/// Whether a pod that fits nowhere is told what would help.
#[derive(Debug)]
pub(super) enum Hint {
    /// It is, where there is something.
    Found(Option<Remedy>),
    /// It was not looked for: what was said before is said again.
    AsBefore,
}

impl Hint {
    /// What would help a pod.
    pub(super) fn of(scheduler: &dyn Scheduler, turn: Turn<'_>) -> Self {
        let key = turn.pod.key.clone();
        Self::Found(scheduler.diagnoses().and_then(|own| {
            own.remedy(turn).unwrap_or_else(|error| {
                tracing::warn!(pod = %key, %error, "cannot find out what would help a pod");
                None
            })
        }))
    }

    /// What the pod is told, beyond `said`.
    pub(super) fn extend(self, said: String, pod: &PodView) -> String {
        match self {
            Self::Found(Some(remedy)) => format!("{said}{BEGINNING}{remedy}."),
            Self::Found(None) => said,
            Self::AsBefore => {
                let before = pod.complaint.as_ref().map(|(_, message)| message);
                let is_same =
                    |before: &&String| before.strip_prefix(&*said).is_some_and(|hint| hint.starts_with(BEGINNING));
                before.filter(is_same).cloned().unwrap_or(said)
            }
        }
    }
}

/// Counts what is looked at for hints.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The second that is counted.
    second: u64,
    /// How many nodes were looked at in it.
    looked: u64,
}

impl Hints {
    /// Whether one more may be looked for.
    pub(super) fn allows(&mut self, nodes: usize, now: Duration) -> bool {
        if now.as_secs() != self.second {
            (self.second, self.looked) = (now.as_secs(), 0);
        }
        // The first of a second is always looked for, however many nodes there are.
        let allowed = self.looked < NODES;
        self.looked += u64::try_from(nodes).unwrap_or(u64::MAX).max(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_nodes_are_looked_at_in_a_second() {
        let mut hints = Hints::default();
        let mut allowed = |millis, nodes| hints.allows(nodes, Duration::from_millis(millis));
        assert_eq!([allowed(0, 40_000), allowed(1, 20_000), allowed(999, 1)], [true, true, false]);
        assert_eq!([allowed(1000, 1_000_000), allowed(1001, 1), allowed(2000, 1)], [true, false, true]);
    }
}
