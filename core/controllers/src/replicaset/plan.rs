//! Whether pods are too few or too many, and which of them go.

use std::sync::Arc;

use jiff::Timestamp;

use super::rank::first_to_go;
use crate::pods::PodView;

/// At most so many pods are created or deleted before looking again.
const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Debug)]
pub(super) enum Step {
    Create(usize),
    Delete(Vec<Arc<PodView>>),
    Rest,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        let uids = |pods: &[Arc<PodView>]| pods.iter().map(|pod| pod.uid.clone()).collect::<Vec<_>>();
        match (self, other) {
            (Self::Create(one), Self::Create(two)) => one == two,
            (Self::Delete(one), Self::Delete(two)) => uids(one) == uids(two),
            (Self::Rest, Self::Rest) => true,
            _ => false,
        }
    }
}

/// Compares what is wanted with what is active. `related` are the pods that victims are ranked against.
pub(super) fn plan(
    wanted: usize,
    active: &[Arc<PodView>],
    related: impl FnOnce() -> Vec<Arc<PodView>>,
    now: Timestamp,
) -> Step {
    if active.len() < wanted {
        return Step::Create((wanted - active.len()).min(BURST));
    }
    match active.len() - wanted {
        0 => Step::Rest,
        surplus => {
            let mut victims = first_to_go(active, &related(), now);
            victims.truncate(surplus.min(BURST));
            Step::Delete(victims)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: usize, active: usize, expect: &str) {
        let pods: Vec<_> = (0..active).map(|at| PodView { uid: format!("{at:04}"), ..PodView::default() }).collect();
        let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let said = match plan(wanted, &pods, Vec::new, Timestamp::UNIX_EPOCH) {
            Step::Create(count) => format!("create {count}"),
            Step::Delete(pods) => format!("delete {}", pods.len()),
            Step::Rest => "rest".into(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn the_difference_is_made_up_in_bounded_steps() {
        check(3, 1, "create 2");
        check(3, 3, "rest");
        check(1, 3, "delete 2");
        check(0, 0, "rest");
        check(1000, 0, "create 500");
        check(0, 1000, "delete 500");
    }
}
