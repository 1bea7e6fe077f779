//! Ends a pod that has to make room, and one that comes while the node is short of something.

use std::sync::Arc;

use windlass_api::core::v1::Pod;

use super::worker::Round;
use crate::{
    eviction::{EVICTED, refusal},
    pod::Observed,
};

impl Round<'_> {
    /// Notes that the pod was chosen to make room, if it was: also where it was deleted before anybody looked.
    pub(super) fn make_room(&mut self, pod: &Arc<Pod>) {
        if self.memo.records.failed.is_some() || crate::pod::ended(pod) {
            return;
        }
        if let Some(eviction) = self.handle.evicted() {
            self.memo.records.disrupted = eviction.disruption;
            self.memo.records.failed = Some((EVICTED.into(), eviction.message));
        }
    }

    /// Notes whether the pod is to end as failed because it is not let in. What has begun was let in.
    pub(super) fn turn_away(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let begun = !observed.sandboxes.is_empty() || !observed.containers.is_empty();
        let first = !std::mem::replace(&mut self.memo.admitted, true);
        if self.memo.records.failed.is_some() || crate::pod::ended(pod) {
            return;
        }
        if first
            && !begun
            && let Some(why) = refusal(&self.inner.pressures.now(), pod)
        {
            self.event(pod, None, "Warning", EVICTED, &why);
            self.memo.records.failed = Some((EVICTED.into(), format!("Pod was rejected: {why}")));
        }
    }
}
