//! The Deployment controller: replaces pods of one template by those of the next, through ReplicaSets.
//!
//! All decisions are in `plan`; pods are looked at only through the statuses of their ReplicaSets.

mod conditions;
mod plan;
mod rollout;
mod scale;
mod status;
mod working;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, ErrorKind, Result,
    api::{Options, Preconditions, Propagation},
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{Plan, Write};
use crate::{
    adopt,
    claim::{self, ORPHANS},
    owned::Owned,
    registry::Tools,
    template,
    written::{Writing, Written},
};

/// The annotation that numbers a Deployment's templates.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Rolls out each Deployment's template.
#[derive(Debug)]
pub struct Deployments {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    deployments: Cache<Arc<Deployment>>,
    sets: Owned<ReplicaSet>,
    written: Written,
}

impl Deployments {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            recorder: tools.recorder(),
            deployments: tools.informers.typed(Select::all()),
            sets: tools.sets.clone(),
            written: Written::new(gvr::<ReplicaSet>()),
        }
    }

    async fn carry_out(&self, deployment: &Deployment, plan: Plan) -> Result<Requeue> {
        let key = claim::key(&deployment.metadata);
        if !plan.writes.is_empty() {
            let writing = self.written.begin(&key);
            let mut done = Ok(true);
            for write in plan.writes {
                done = self.write(deployment, write, &writing).await;
                if !matches!(done, Ok(true)) {
                    break;
                }
            }
            writing.end(&done);
            // Whoever wrote in between wakes this controller again.
            if !done? {
                return Ok(Requeue::OnChange);
            }
        }
        let mut base = deployment.clone();
        if let Some(revision) = plan.revision {
            base.metadata.annotations.insert(REVISION.into(), revision);
            match self.client.update(&base).await {
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    return Ok(Requeue::OnChange);
                }
                updated => base.metadata.clone_from(&updated?.metadata),
            }
        }
        self.write_status(&base, plan.status).await?;
        Ok(plan.next.map_or(Requeue::OnChange, Requeue::After))
    }

    /// Whether to go on with the plan: not where somebody else changed what it was made for.
    async fn write(&self, deployment: &Deployment, write: Write, writing: &Writing<'_>) -> Result<bool> {
        match write {
            Write::Create(set) => self.create(deployment, &set, writing).await,
            Write::Update { set, scaled, renumbered } => {
                // An older state of the Deployment beside sets of a newer one looks like an undo.
                if renumbered && !self.is_latest(deployment).await? {
                    return Ok(false);
                }
                let updated = match self.client.update(&*set).await {
                    Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                        return Ok(false);
                    }
                    updated => updated?,
                };
                writing.wrote_version(updated.metadata.resource_version.as_deref());
                if let Some((from, to)) = scaled {
                    self.scaled(deployment, &set, from, to);
                }
                Ok(true)
            }
            Write::Delete(set) => {
                let key = claim::key(&set.metadata);
                let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
                let propagation = Some(Propagation::Background);
                let options = Options { preconditions, propagation, ..Options::default() };
                match self.client.delete_with::<ReplicaSet>(&key.namespace, &key.name, options).await {
                    Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Err(error),
                    _ => Ok(true),
                }
            }
        }
    }

    /// Whether what is known of a Deployment's spec is what it is now.
    async fn is_latest(&self, deployment: &Deployment) -> Result<bool> {
        let key = claim::key(&deployment.metadata);
        let now = self.client.get_opt::<Deployment>(&key.namespace, &key.name).await?;
        Ok(now.is_some_and(|now| now.metadata.generation == deployment.metadata.generation))
    }

    async fn create(&self, deployment: &Deployment, set: &ReplicaSet, writing: &Writing<'_>) -> Result<bool> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let error = match self.client.create(set).await {
            Ok(created) => {
                writing.wrote_version(created.metadata.resource_version.as_deref());
                let size = set.spec.replicas.unwrap_or(0);
                if size > 0 {
                    self.scaled(deployment, set, 0, size);
                }
                return Ok(true);
            }
            Err(error) => error,
        };
        if error.is(ErrorKind::AlreadyExists) {
            return self.collided(deployment, set, name).await;
        }
        if !claim::terminating(&error) {
            let message = format!("Failed to create new replica set {name:?}: {error}");
            self.recorder.event(deployment, Severity::Warning, "ReplicaSetCreateError", message.clone());
            let status = conditions::creation_failed(deployment, message, self.clock.now());
            self.write_status(deployment, status).await?;
            return Err(error);
        }
        Ok(false)
    }

    /// The name of the new set is taken: by itself, not seen yet, or by another, which asks for another name.
    async fn collided(&self, deployment: &Deployment, set: &ReplicaSet, name: &str) -> Result<bool> {
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let Some(there) = self.client.get_opt::<ReplicaSet>(namespace, name).await? else { return Ok(false) };
        let own =
            claim::controller_of(&there.metadata).map(|owner| owner.uid.as_str()) == deployment.metadata.uid.as_deref();
        if !own || !template::same(&there.spec.template, &set.spec.template) {
            let mut status = deployment.status.clone();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            self.write_status(deployment, status).await?;
        }
        Ok(false)
    }

    fn scaled(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.event(deployment, Severity::Normal, "ScalingReplicaSet", message);
    }

    async fn write_status(&self, deployment: &Deployment, status: DeploymentStatus) -> Result<()> {
        if status == deployment.status {
            return Ok(());
        }
        crate::status::write(&self.client, &Deployment { status, ..deployment.clone() }).await
    }
}

#[async_trait]
impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Deployment>(), keys: claim::own_key },
            Watched { resource: gvr::<ReplicaSet>(), keys: claim::controller_key::<Deployment> },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        (key.name == ORPHANS).then(|| {
            let all = self.deployments.in_namespace(&key.namespace);
            self.sets.adopters(&key.namespace, all.iter().map(|(_, own)| (&own.metadata, &own.spec.selector)))
        })
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.written.seen_in(key, &self.sets.0, &self.client).await?;
        let Some(deployment) = self.deployments.get(key) else { return Ok(Requeue::OnChange) };
        let selector = &deployment.spec.selector;
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.event(&*deployment, Severity::Warning, "SelectingAll", message);
            let status =
                DeploymentStatus { observed_generation: deployment.metadata.generation, ..deployment.status.clone() };
            return self.write_status(&deployment, status).await.map(|()| Requeue::OnChange);
        }
        let own = adopt::claim::<Deployment, _>(&self.client, (&deployment.metadata, selector), &self.sets).await?;
        let plan = plan::plan(&deployment, &own, self.clock.now());
        self.carry_out(&deployment, plan).await
    }
}
