//! Gives pods that run the resources that they ask for now (KEP-1287).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    ErrorKind, Result,
    runtime::{ContainerState, ContainerStatus, Resources},
};

use super::{prepare::whole, worker::Round};
use crate::{
    make::resources,
    pod::{self, Observed, resize},
};

/// A change that the runtime refused is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);

impl Round<'_> {
    /// The pod as the node can have it: with new resources if there is room for them, else with those that it has.
    pub(super) fn given(&mut self, pod: &Arc<Pod>) -> Arc<Pod> {
        let records = &mut self.memo.records;
        let known = records.given.get_or_insert_with(|| resize::given(pod)).clone();
        let asked = resize::asked(pod);
        records.pending = None;
        if asked != known {
            let uid = pod::uid(pod);
            let others: Vec<_> = self.inner.handles().iter().map(|handle| handle.desired().pod).collect();
            let others = others.iter().filter(|other| pod::uid(other) != uid && !pod::ended(other));
            let records = &mut self.memo.records;
            records.pending = resize::no_room(pod, others.map(|other| &**other), &self.inner.machine.allocatable);
            if records.pending.is_none() {
                records.given = Some(asked);
            }
        }
        self.handle.wait_for_room(self.memo.records.pending.is_some());
        let given = self.memo.records.given.as_ref().unwrap_or(&known);
        let shown = resize::as_given(pod, given);
        self.memo.records.actual.get_or_insert(known);
        shown
    }

    /// Lets what runs have what it was given. Says when to try again what was refused.
    pub(super) async fn resize(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Result<Resized> {
        let actual = self.memo.records.actual.clone().unwrap_or_default();
        let due: Vec<(&Container, &ContainerStatus)> = resize::resizable(pod)
            .filter(|container| actual.get(&container.name).is_some_and(|has| *has != container.resources))
            .filter_map(|container| Some((container, observed.current(&container.name)?)))
            .filter(|(_, status)| status.container.state == ContainerState::Running)
            .collect();
        if due.is_empty() {
            self.memo.records.resizing = None;
            return Ok(Resized::Not);
        }
        let refused = match self.memo.records.resizing {
            Some((_, again)) if again > self.now() => return Ok(Resized::Later(again)),
            _ => self.change(pod, observed, due).await?,
        };
        let Some(why) = refused else { return Ok(Resized::Yes) };
        let again = self.now().checked_add(RETRY).unwrap_or(Timestamp::MAX);
        self.memo.records.resizing = Some((why, again));
        // Once more round, so that it is told.
        Ok(Resized::Yes)
    }

    /// Changes the limits of the pod and its containers; answers why one could not be changed.
    async fn change(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        due: Vec<(&Container, &ContainerStatus)>,
    ) -> Result<Option<String>> {
        let before = resize::as_given(pod, &self.memo.records.actual.clone().unwrap_or_default());
        let (old, new) = (resources::of_pod(&before), resources::of_pod(pod));
        // No container may have more than its pod, at any time.
        if let Err(why) = self.limit_pod(pod, larger(&old, &new)).await? {
            return Ok(Some(why));
        }
        for (container, status) in due {
            let had = self.memo.records.actual.as_ref().and_then(|actual| actual.get(&container.name)).cloned();
            let id = &status.container.id;
            if had.is_some_and(|had| resize::restarts(container, &had)) {
                self.stop(pod, observed, id, &container.name, pod::Why::Resize).await?;
                continue;
            }
            let limits =
                Resources { oom_score_adj: None, ..resources::of_container(pod, container, self.inner.machine.memory) };
            match self.inner.needs.runtime.update_container(id, &limits).await {
                Ok(()) => self.has(container),
                Err(error) if error.is(ErrorKind::Unavailable) => return Err(error),
                Err(error) => return Ok(Some(whole(&error))),
            }
        }
        Ok(self.limit_pod(pod, new).await?.err())
    }

    /// A container that runs has what it asks for.
    pub(super) fn has(&mut self, container: &Container) {
        let actual = self.memo.records.actual.get_or_insert_default();
        actual.insert(container.name.clone(), container.resources.clone());
    }

    async fn limit_pod(&self, pod: &Pod, limits: Resources) -> Result<Result<(), String>> {
        let group = self.inner.layout.cgroup(pod);
        if group.is_empty() {
            return Ok(Ok(()));
        }
        let done = self.blocking(move || crate::cgroup::make(&group, &limits)).await?;
        Ok(done.map_err(|error| format!("cannot change the limits of the pod: {error}")))
    }
}

/// What came of a look at a pod's resources.
pub(super) enum Resized {
    /// They are as they should be.
    Not,
    /// Something was changed.
    Yes,
    /// What was refused is tried again then.
    Later(Timestamp),
}

/// The larger of two limits each; no limit is the largest.
fn larger(one: &Resources, other: &Resources) -> Resources {
    let most = |one: Option<i64>, other: Option<i64>| Some(one?.max(other?));
    Resources {
        cpu_shares: most(one.cpu_shares, other.cpu_shares),
        cpu_period: most(one.cpu_period, other.cpu_period),
        cpu_quota: most(one.cpu_quota, other.cpu_quota),
        memory_limit: most(one.memory_limit, other.memory_limit),
        ..Resources::default()
    }
}
