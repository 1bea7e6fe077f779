//! What follows a decision: permission, preparation and the binding, in a task of its own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use windlass_client::{
    Client,
    events::{Recorder, Severity},
};
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result,
    scheduler::{Bound, Cycle, Fit, NodeView, PodView},
};

use super::{guarded, report::reference, storage::Stores};
use crate::{framework::fault, profile::Profile};

/// How long the API may take to bind a pod.
const ANSWER: Duration = Duration::from_secs(60);

/// A pod on its way to a node.
pub(super) struct Carry {
    pub(super) profile: Arc<Profile>,
    pub(super) recorder: Recorder,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pod: Arc<PodView>,
    pub(super) node: Arc<str>,
    pub(super) cycle: Cycle,
    /// When its turn began.
    pub(super) began: Duration,
    /// How many turns it had with that one, and when the first began.
    pub(super) tries: (u32, Option<Duration>),
    /// For a pod with claims: how long they may take, where they are followed, and the node.
    pub(super) volumes: Option<(Duration, Stores, NodeView)>,
}

/// A task of the host that has ended.
pub(super) struct Ended {
    pub(super) task: u64,
    pub(super) carried: Option<Carried>,
}

/// How it went.
pub(super) struct Carried {
    pub(super) pod: Arc<PodView>,
    pub(super) profile: Arc<Profile>,
    pub(super) cycle: Cycle,
    pub(super) node: Arc<str>,
    pub(super) recorder: Recorder,
    pub(super) failure: Option<Failure>,
    pub(super) began: Duration,
    pub(super) tries: (u32, Option<Duration>),
}

/// Why a pod did not get to its node.
pub(super) enum Failure {
    /// A plugin refused it, with these words.
    Refused(&'static str, String),
    /// Something went wrong.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Carry {
    pub(super) async fn run(self) -> Carried {
        let failure = self.carry().await.err();
        if failure.is_none() {
            let message = format!("Successfully assigned {} to {}", self.pod.key, self.node);
            self.recorder.event_on(reference(&self.pod), Severity::Normal, "Scheduled", message);
        }
        let Self { profile, recorder, pod, node, cycle, began, tries, .. } = self;
        Carried { pod, profile, cycle, node, recorder, failure, began, tries }
    }

    async fn carry(&self) -> Result<(), Failure> {
        let (cycle, pod, node) = (&self.cycle, &*self.pod, &*self.node);
        for plugin in &self.profile.permits {
            let fit = guarded(plugin.name(), plugin.permit(cycle, pod, node)).await?;
            if let Fit::No(reasons) | Fit::Never(reasons) = fit {
                let said: Vec<_> = reasons.as_slice().iter().map(ToString::to_string).collect();
                return Err(Failure::Refused(plugin.name(), said.join(", ")));
            }
        }
        if let Some((within, stores, there)) = &self.volumes
            && stores.bind(&self.client, pod, there).await?
        {
            let late = |_| Error::new(ErrorKind::Timeout, format!("binding volumes of pod {}: timed out", pod.key));
            self.clock.timeout(*within, stores.bound(pod, there)).await.map_err(late)??;
        }
        for plugin in &self.profile.pre_binds {
            guarded(plugin.name(), plugin.pre_bind(cycle, pod, node)).await?;
        }
        for plugin in &self.profile.binds {
            if guarded(plugin.name(), plugin.bind(cycle, pod, node)).await? == Bound::Done {
                return Ok(());
            }
        }
        let bind = self.client.bind(&pod.key.namespace, &pod.key.name, Some(&pod.uid), node);
        Ok(self.clock.timeout(ANSWER, bind).await.flatten()?)
    }
}

/// Gives back what was set aside, in the opposite order.
pub(super) fn unreserve(profile: &Profile, cycle: &Cycle, pod: &PodView, node: &str) {
    for plugin in profile.reserves.iter().rev() {
        // One that panics must not keep the others from giving back what is theirs.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| plugin.unreserve(cycle, pod, node))) {
            let error = fault(plugin.name(), panic.as_ref());
            tracing::error!(pod = %pod.key, %error, "what was set aside for a pod may be lost");
        }
    }
}
