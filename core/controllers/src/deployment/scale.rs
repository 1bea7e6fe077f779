//! Sizes: how many pods a Deployment may have and lack, and how a change of its size is shared among ReplicaSets.

use windlass_api::{apps::v1::Deployment, types::IntOrString};

use super::{plan::Rollout, working::Working};
use crate::amount::{Round, share};

/// What a Deployment's spec allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) replicas: i32,
    /// So many pods more than wanted may exist.
    pub(super) surge: i32,
    /// So many pods fewer than wanted may be available.
    pub(super) unavailable: i32,
    /// Whether pods are replaced a few at a time.
    pub(super) rolling: bool,
}

impl Limits {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let spec = &deployment.spec;
        let replicas = spec.replicas.unwrap_or(1);
        if spec.strategy.type_.as_deref() == Some("Recreate") {
            return Self { replicas, surge: 0, unavailable: 0, rolling: false };
        }
        let rolling = spec.strategy.rolling_update.clone().unwrap_or_default();
        let quarter = || IntOrString::from("25%");
        let surge = share(&rolling.max_surge.unwrap_or_else(quarter), replicas, Round::Up);
        let unavailable = share(&rolling.max_unavailable.unwrap_or_else(quarter), replicas, Round::Down);
        // With neither more nor fewer pods allowed nothing could ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, surge, unavailable: unavailable.min(replicas), rolling: true }
    }

    /// So many pods must be available.
    pub(super) fn least(&self) -> i32 {
        self.replicas - self.unavailable
    }
}

impl Rollout<'_> {
    /// Brings the sets to the Deployment's size without going on with the rollout.
    pub(super) fn scale(&mut self) {
        let replicas = self.limits.replicas;
        if let Some(at) = self.active_or_latest() {
            self.resize(at, replicas);
        } else if self.new.is_some_and(|at| self.saturated(&self.sets[at])) {
            for at in self.old_active() {
                self.resize(at, 0);
            }
        } else if self.limits.rolling {
            self.share();
        }
    }

    /// The one set that counts: the only one with pods, or the latest where none has any.
    fn active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = (0..self.sets.len()).filter(|at| self.sets[*at].size() > 0).collect();
        match active[..] {
            [] => self.new.or_else(|| self.sets.len().checked_sub(1)),
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether a set has all pods of its Deployment.
    fn saturated(&self, set: &Working) -> bool {
        let all = self.limits.replicas;
        set.size() == all && set.desired() == Some(all) && set.available() == all
    }

    /// Shares what is to be added or removed among the sets with pods, in proportion to their sizes.
    fn share(&mut self) {
        let Limits { replicas, surge, .. } = self.limits;
        let mut active: Vec<usize> = (0..self.sets.len()).filter(|at| self.sets[*at].size() > 0).collect();
        let allowed = if replicas > 0 { replicas.saturating_add(surge) } else { 0 };
        let change = allowed - self.total();
        // What cannot be shared goes to the largest; of equals to the newer when growing, the older when shrinking.
        active.sort_by_key(|at| (-self.sets[*at].size(), if change > 0 { self.sets.len() - at } else { *at }));
        let mut left = change;
        let mut sizes = Vec::with_capacity(active.len());
        for at in &active {
            let set = &self.sets[*at];
            let share = self.fraction(set);
            let share = if change > 0 { share.min(left) } else { share.max(left) };
            let share = if left == 0 { 0 } else { share };
            left -= share;
            sizes.push(set.size() + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + left).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.resize(at, size);
        }
    }

    /// By how much a set would change if it kept its part of the whole.
    fn fraction(&self, set: &Working) -> i32 {
        let Limits { replicas, surge, .. } = self.limits;
        if replicas == 0 {
            return -set.size();
        }
        let before = set.maximum().filter(|all| *all != 0).or(self.deployment.status.replicas).filter(|all| *all != 0);
        let before = i64::from(before.unwrap_or(1));
        let wanted = i64::from(set.size()) * i64::from(replicas.saturating_add(surge));
        // Rounds half away from zero; both sides are positive.
        let rounded = (2 * wanted + before).div_euclid(2 * before);
        i32::try_from(rounded).unwrap_or(i32::MAX) - set.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(replicas: i32, surge: &str, unavailable: &str, expect: (i32, i32)) {
        let read = |text: &str| text.parse::<i32>().map_or_else(|_| IntOrString::from(text), IntOrString::Int);
        let mut deployment = Deployment::default();
        deployment.spec.replicas = Some(replicas);
        let rolling = deployment.spec.strategy.rolling_update.get_or_insert_default();
        (rolling.max_surge, rolling.max_unavailable) = (Some(read(surge)), Some(read(unavailable)));
        let limits = Limits::of(&deployment);
        assert_eq!((limits.surge, limits.unavailable), expect, "{replicas} {surge} {unavailable}");
    }

    #[test]
    fn a_surge_rounds_up_and_a_lack_rounds_down() {
        check(10, "25%", "25%", (3, 2));
        check(4, "25%", "25%", (1, 1));
        check(1, "25%", "25%", (1, 0));
        check(3, "1", "0", (1, 0));
        check(2, "0", "5", (0, 2));
    }

    #[test]
    fn something_can_always_move() {
        check(3, "0", "0", (0, 1));
        check(3, "0", "10%", (0, 1));
        check(0, "25%", "25%", (0, 0));
    }
}
