//! What surrounds the programs of fake nodes: environments, volumes, probes and hooks, borrowed from the reference agent.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use windlass_api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use windlass_kernel::{
    Clock, Spawn,
    node::{NodeContext, Notice},
};
use windlass_node::borrowed;
use windlass_testkit::agent::{Answer, Contact, Folders, Own, PodVolumes, Probing, Surroundings};

use super::node::NodeParts;

/// Does for programs what a kubelet does for containers.
#[derive(Debug)]
pub(super) struct Kubelet {
    context: Arc<dyn NodeContext>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

impl Kubelet {
    pub(super) fn new(parts: &NodeParts) -> Self {
        let NodeParts { context, clock, spawn, .. } = parts;
        Self { context: Arc::clone(context), clock: Arc::clone(clock), spawn: Arc::clone(spawn) }
    }
}

#[async_trait]
impl Surroundings for Kubelet {
    async fn environment(&self, own: &Own, container: &Container) -> Result<Vec<(String, String)>, String> {
        borrowed::environment(self.context.as_ref(), &own.pod, container, (&own.ip, &own.host_ip)).await
    }

    fn volumes(&self, own: &Own, folders: Folders) -> Box<dyn PodVolumes> {
        let Folders { pod, node, claims } = folders;
        let addresses = (own.ip.parse().ok(), own.host_ip.parse().ok());
        let (context, clock, spawn) = (Arc::clone(&self.context), Arc::clone(&self.clock), Arc::clone(&self.spawn));
        Box::new(Volumes(borrowed::Volumes::new(
            context,
            clock,
            spawn,
            borrowed::Folders { pod, node, claims },
            addresses,
        )))
    }

    fn mounts(
        &self,
        container: &Container,
        env: &[(String, String)],
        volumes: &BTreeMap<String, PathBuf>,
    ) -> Result<Vec<(String, PathBuf)>, String> {
        borrowed::mounts(container, env, volumes)
    }

    fn probe(&self, contact: &Contact, what: Probing, probe: &Probe) -> BoxStream<'static, Answer> {
        let kind = match what {
            Probing::Startup => borrowed::Kind::Startup,
            Probing::Liveness => borrowed::Kind::Liveness,
            Probing::Readiness => borrowed::Kind::Readiness,
        };
        borrowed::probe(&asked(contact), kind, probe).map(|answer| (answer.wrong, answer.verdict)).boxed()
    }

    async fn hook(&self, contact: &Contact, hook: &LifecycleHandler) -> Result<(), String> {
        borrowed::hook(&asked(contact), hook).await
    }

    fn notice(&self, notice: Notice) {
        self.context.notice(notice);
    }
}

fn asked(contact: &Contact) -> borrowed::Asked {
    let Contact { container, ip, exec, dial, spawn, clock } = contact.clone();
    borrowed::Asked { container, ip: ip.parse().ok(), exec, dial, spawn, clock }
}

struct Volumes(borrowed::Volumes);

#[async_trait]
impl PodVolumes for Volumes {
    async fn make(&mut self, pod: &Pod) -> Result<BTreeMap<String, PathBuf>, String> {
        self.0.make(pod).await
    }

    async fn outdated(&self, pod: &Pod) {
        self.0.outdated(pod).await;
    }
}
