//! The ReplicaSet and ReplicationController controllers: as many pods of a template as wanted.
//!
//! One machinery for both kinds (`kind`); the decisions are in `plan`, `rank` and `status`.

mod kind;
mod plan;
pub(crate) mod rank;
mod status;

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use windlass_api::{apps::v1::ReplicaSet, core::v1::Pod};
use windlass_client::{Client, events, gvr};
use windlass_kernel::{
    Clock, Controller, Result,
    controller::{ObjectKey, Requeue, Wakes, Watched},
};

pub(crate) use self::kind::Replicas;
use self::{
    plan::Step,
    status::{Failure, Observed},
};
use crate::{
    adopt,
    amount::seconds,
    claim::{self, ORPHANS},
    owned::Owned,
    pods::{self, Changes, PodView, Pods},
    registry::Tools,
    written::Written,
};

/// Keeps the pods of each object of kind `K` as many as wanted.
#[derive(Debug)]
pub(crate) struct ReplicaSets<K> {
    client: Client,
    clock: Arc<dyn Clock>,
    changes: Changes,
    sets: Owned<ReplicaSet>,
    pods: Pods,
    written: Written,
    kind: PhantomData<fn() -> K>,
}

impl<K: Replicas> ReplicaSets<K> {
    pub(crate) fn new(tools: &Tools) -> Self {
        let recorder = tools.recorder();
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            changes: Changes::new(&tools.client, &recorder),
            sets: K::sets(tools),
            pods: tools.pods.clone(),
            written: Written::new(gvr::<Pod>()),
            kind: PhantomData,
        }
    }

    /// Creates or deletes pods, as planned.
    async fn carry_out(&self, set: &ReplicaSet, step: Step) -> Result<()> {
        if step == Step::Rest {
            return Ok(());
        }
        let key = claim::key(&set.metadata);
        let about = events::reference_to::<K>(&set.metadata);
        let writing = self.written.begin(&key);
        let done = match step {
            Step::Rest => Ok(()),
            Step::Create(count) => {
                let owner = claim::reference_to::<K>(&set.metadata);
                let pod = pods::from_template(&set.spec.template, owner, set.metadata.namespace.as_ref());
                self.changes.create(&about, std::iter::repeat_n(&pod, count), &writing).await
            }
            Step::Delete(victims) => self.changes.delete(&about, &victims, &writing).await,
        };
        writing.end(&done);
        done
    }

    async fn write_status(&self, set: &ReplicaSet, observed: &Observed<'_>) -> Result<()> {
        let mut status = status::of(set, observed, self.clock.now());
        if !K::COUNTS_TERMINATING {
            // What the kind cannot hold would be a difference for ever.
            status.terminating_replicas = None;
        }
        if status == set.status {
            return Ok(());
        }
        crate::status::write(&self.client, &K::from_set(ReplicaSet { status, ..set.clone() })).await
    }

    /// The active pods of the sets that share this one's controller: those that it should not double up with.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<PodView>> {
        let Some(owner) = claim::controller_of(&set.metadata) else {
            return self.pods.controlled_by(set.metadata.uid.as_deref().unwrap_or_default());
        };
        let siblings = self.sets.controlled_by(&owner.uid).into_iter();
        siblings.flat_map(|set| self.pods.controlled_by(set.metadata.uid.as_deref().unwrap_or_default())).collect()
    }
}

#[async_trait]
impl<K: Replicas> Controller for ReplicaSets<K> {
    fn name(&self) -> &'static str {
        K::CONTROLLER
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<K>(), keys: claim::own_key }]
    }

    /// By pods, but only where something has changed that is counted or chosen by: there may be very many.
    fn wakes(&self) -> Option<Wakes> {
        Some(self.pods.wakes::<K>())
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        (key.name == ORPHANS).then(|| {
            let sets = self.sets.0.in_namespace(&key.namespace);
            self.pods.adopters(&key.namespace, sets.iter().map(|(_, set)| (&set.metadata, &set.spec.selector)))
        })
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.written.seen_in(key, &self.pods.0, &self.client).await?;
        let Some(set) = self.sets.0.get(key) else { return Ok(Requeue::OnChange) };
        let own = adopt::claim::<K, _>(&self.client, (&set.metadata, &set.spec.selector), &self.pods).await?;
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let now = self.clock.now();
        let (mut failed, mut done) = (None, false);
        if set.metadata.deletion_timestamp.is_none() {
            let active: Vec<_> = own.iter().filter(|pod| pod.active()).cloned().collect();
            let step = plan::plan(wanted, &active, || self.related(&set), now);
            let creates = matches!(step, Step::Create(_));
            done = step != Step::Rest;
            if let Err(error) = self.carry_out(&set, step).await {
                failed = Some((if creates { Failure::Create } else { Failure::Delete }, error));
            }
        }
        let failure = failed.as_ref().map(|(failure, error)| (*failure, error.to_string()));
        let observed = Observed { pods: &own, failure };
        self.write_status(&set, &observed).await?;
        match failed {
            Some((_, error)) => Err(error),
            None => {
                let then = pods::available_next(&own, seconds(set.spec.min_ready_seconds), now);
                // What was begun goes on at once.
                let rest = if done { Duration::ZERO } else { pods::rest(own.len()) };
                Ok(Requeue::Gather { rest, then })
            }
        }
    }
}
