//! Who is asked again because somebody later changed the object (`reinvocationPolicy`).

use std::collections::BTreeSet;

/// One that mutates: its configuration, and its place in it.
pub(super) type Mutator = (String, usize);

/// The rounds of one write. There are at most two.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    second: bool,
    changed: bool,
    /// Those that were asked and want to be asked again.
    asked: Vec<Mutator>,
    again: BTreeSet<Mutator>,
}

impl Rounds {
    /// Whether somebody is not asked in this round.
    pub(super) fn skips(&self, mutator: &Mutator) -> bool {
        self.second && !self.again.contains(mutator)
    }

    /// Notes that somebody was asked: whether that changed the object, and whether it wants to know of later changes.
    pub(super) fn asked(&mut self, mutator: Mutator, changed: bool, wants_again: bool) {
        if changed {
            self.changed = true;
            self.again.extend(self.asked.drain(..));
        }
        if wants_again {
            self.asked.push(mutator);
        }
    }

    /// Whether the object was changed, so that another round begins.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// Begins the second round; `changed` tells whether built-in plugins changed the object meanwhile.
    pub(crate) fn again(&mut self, changed: bool) {
        self.second = true;
        if changed {
            self.again.extend(self.asked.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(at: usize) -> Mutator {
        ("c".into(), at)
    }

    #[test]
    fn who_was_asked_before_a_change_is_asked_again_if_it_wants() {
        let mut rounds = Rounds::default();
        rounds.asked(own(0), false, true);
        rounds.asked(own(1), false, false);
        rounds.asked(own(2), true, true);
        assert!(rounds.changed());
        rounds.again(false);
        assert_eq!([0, 1, 2].map(|at| rounds.skips(&own(at))), [false, true, true]);
    }

    #[test]
    fn what_plugins_changed_meanwhile_concerns_everyone_who_was_asked() {
        let mut rounds = Rounds::default();
        rounds.asked(own(0), true, true);
        rounds.again(true);
        assert!(!rounds.skips(&own(0)));
    }
}
