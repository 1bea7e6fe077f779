//! One step of a rollout: a few pods at a time, or all old ones before the first new one.

use super::{plan::Rollout, working::Working};

impl Rollout<'_> {
    /// Grows the new set as far as the surge allows, or shrinks the old ones as far as availability does.
    pub(super) fn roll(&mut self) {
        let new = self.new.unwrap_or_else(|| self.create_new());
        let size = self.new_size(new);
        if size != self.sets[new].size() {
            self.resize(new, size);
            return;
        }
        let shrunk = self.shrink_old(new);
        if !shrunk && self.complete() {
            self.forget_history();
        }
    }

    /// Scales old sets to nothing, waits for their pods to end, then creates the new ones.
    pub(super) fn recreate(&mut self) {
        let old = self.old_active();
        if !old.is_empty() {
            old.into_iter().for_each(|at| self.resize(at, 0));
            return;
        }
        let running = |(at, set): (usize, &Working)| Some(at) != self.new && (set.pods() > 0 || !set.observed());
        if self.sets.iter().enumerate().any(running) {
            return;
        }
        let new = self.new.unwrap_or_else(|| self.create_new());
        let wanted = self.limits.replicas;
        if self.sets[new].size() != wanted {
            self.resize(new, wanted);
        }
        if self.complete() {
            self.forget_history();
        }
    }

    /// How large the new set may be now.
    pub(super) fn new_size(&self, new: usize) -> i32 {
        let (size, wanted) = (self.sets[new].size(), self.limits.replicas);
        if !self.limits.rolling || size >= wanted {
            return wanted;
        }
        let room = wanted.saturating_add(self.limits.surge) - self.total();
        size + room.clamp(0, wanted - size)
    }

    /// Whether an old set was made smaller.
    fn shrink_old(&mut self, new: usize) -> bool {
        let least = self.limits.least();
        let unavailable_new = self.sets[new].size() - self.sets[new].available();
        let most = self.total() - least - unavailable_new;
        if most <= 0 {
            return false;
        }
        let ill = self.shrink_by(most, |set| set.size() - set.available());
        let available: i32 = self.sets.iter().map(Working::available).sum();
        let healthy = self.shrink_by(available - least, Working::size);
        ill + healthy > 0
    }

    /// Takes at most `most` pods from old sets, oldest first, and of each at most what `spare` says.
    fn shrink_by(&mut self, most: i32, spare: impl Fn(&Working) -> i32) -> i32 {
        let mut taken = 0;
        for at in self.old_active() {
            let take = spare(&self.sets[at]).min(most - taken);
            if take > 0 {
                let size = self.sets[at].size() - take;
                self.resize(at, size);
                taken += take;
            }
        }
        taken
    }

    /// Whether the Deployment's own status says that all pods are new and available.
    fn complete(&self) -> bool {
        super::conditions::complete(self.deployment, &self.deployment.status)
    }
}
