//! What changed about nodes, in order: whoever remembers something of them looks at those again, and at no others.

use std::{collections::VecDeque, sync::Arc};

use super::pod::PodView;

/// So many steps are kept; whoever is further behind begins anew.
const KEPT: usize = 16_384;

/// One step from the nodes as they were to the nodes as they are.
#[derive(Clone, Debug)]
pub enum Step {
    /// A pod came to the node at a place.
    Came(usize, Arc<PodView>),
    /// A pod left the node at a place.
    Left(usize, Arc<PodView>),
    /// The node at a place offers other amounts.
    Offers(usize),
}

/// The changes of one batch of nodes, kept by whoever owns the views.
///
/// # Contract
///
/// 1. **Complete.** Between two states of the nodes with one [`shape`](Changes::shape), the steps between their
///    [`end`](Changes::end)s are all that changed which a filter or a score can see, but for times and conditions of
///    pods that stay where they are.
/// 2. **One history.** Values made apart are never [`same`](Changes::same).
#[derive(Debug, Default)]
pub struct Changes {
    history: Arc<()>,
    first: u64,
    steps: VecDeque<Step>,
    shape: u64,
}

impl Clone for Changes {
    /// A history of its own: what is noted in one is not noted in the other.
    fn clone(&self) -> Self {
        Self { shape: self.shape, ..Self::default() }
    }
}

impl Changes {
    /// Notes a step.
    pub fn push(&mut self, step: Step) {
        if self.steps.len() == KEPT {
            self.steps.pop_front();
            self.first += 1;
        }
        self.steps.push_back(step);
    }

    /// Notes that nodes came, went, or are others than they were: what steps cannot say.
    pub fn reshape(&mut self) {
        self.shape += 1;
        // Steps name places, which mean nothing across this.
        self.first += u64::try_from(self.steps.len()).unwrap_or_default();
        self.steps.clear();
    }

    /// A number for the nodes themselves: the same number means the same nodes at the same places.
    #[must_use]
    pub const fn shape(&self) -> u64 {
        self.shape
    }

    /// The number of the next step.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + u64::try_from(self.steps.len()).unwrap_or_default()
    }

    /// The steps from a number on; `None` where they are not kept any more.
    #[must_use]
    pub fn since(&self, number: u64) -> Option<impl Iterator<Item = &Step>> {
        let skipped = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (skipped <= self.steps.len()).then(|| self.steps.range(skipped..))
    }

    /// What tells this history from all others, for as long as it is held.
    #[must_use]
    pub fn history(&self) -> Arc<()> {
        Arc::clone(&self.history)
    }

    /// Whether a mark is this history's.
    #[must_use]
    pub fn same(&self, history: &Arc<()>) -> bool {
        Arc::ptr_eq(&self.history, history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_far_behind_is_told_so() {
        let mut changes = Changes::default();
        (0..KEPT + 2).for_each(|place| changes.push(Step::Offers(place)));
        assert!(changes.since(1).is_none());
        assert_eq!(changes.since(2).unwrap().count(), KEPT);
        assert_eq!(changes.since(changes.end()).unwrap().count(), 0);
        assert!(changes.since(changes.end() + 1).is_none());
    }

    #[test]
    fn steps_do_not_reach_across_another_shape() {
        let mut changes = Changes::default();
        changes.push(Step::Offers(1));
        changes.reshape();
        changes.push(Step::Offers(2));
        assert!(changes.since(0).is_none());
        assert_eq!((changes.since(1).unwrap().count(), changes.shape()), (1, 1));
    }

    #[test]
    fn histories_are_told_apart() {
        let (one, other) = (Changes::default(), Changes::default());
        assert!(one.same(&one.history()) && !one.same(&other.history()) && !one.clone().same(&one.history()));
    }
}
