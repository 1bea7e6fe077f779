//! Probes an instance over and over, and tells its worker when the verdict changes.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use windlass_api::core::v1::{Container, Pod, Probe};
use windlass_kernel::{
    SpawnExt,
    node::{About, Notice},
    runtime::{ContainerState, ContainerStatus},
};

use super::{
    Ask, Kind, Target,
    answers::{answers, patience},
    ask,
};
use crate::{
    agent::{Handle, Needs, Round},
    pod::{self, Health, Observed, Role},
};

impl Round<'_> {
    /// Starts the probes of what runs, and ends those of what does not.
    pub(crate) fn probe(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let mut kept = std::collections::BTreeMap::new();
        for (container, init) in pod::containers(pod) {
            let Some(status) = observed.current(&container.name) else { continue };
            let probed = !init || pod::sidecar(container);
            if status.container.state != ContainerState::Running || !probed {
                continue;
            }
            let health = self.fresh_health(&container.name, status);
            let started = container.startup_probe.is_none() || health.startup == Some(true);
            let probes = [
                (Kind::Startup, &container.startup_probe, health.startup.is_none()),
                (Kind::Liveness, &container.liveness_probe, started && health.liveness != Some(false)),
                (Kind::Readiness, &container.readiness_probe, started),
            ];
            for (kind, probe, wanted) in probes {
                let Some(probe) = probe.as_ref().filter(|_| wanted) else { continue };
                let key = (container.name.clone(), kind);
                let id = &status.container.id;
                let known = self.memo.probes.remove(&key).filter(|(known, _)| known == id);
                let one = known.unwrap_or_else(|| {
                    let target = self.target(pod, id, observed);
                    let watch = Watch {
                        needs: self.inner.needs.clone(),
                        handle: Arc::clone(self.handle),
                        pod: Arc::clone(pod),
                        ask: Ask::of_probe(probe, container),
                        container: container.clone(),
                        role: if init { Role::Init } else { Role::Main },
                        target,
                        kind,
                        probe: Probe::clone(probe),
                        started: status.started.unwrap_or(status.container.created),
                    };
                    (id.clone(), self.inner.needs.spawn.spawn("node.probe", watch.run()))
                });
                kept.insert(key, one);
            }
        }
        self.memo.probes = kept;
    }

    /// What is known of an instance; nothing of one that is new.
    fn fresh_health(&self, name: &str, status: &ContainerStatus) -> Health {
        let mut all = self.handle.health.lock();
        let health = all.entry(name.to_owned()).or_insert_with(|| Health::of(status.container.id.clone()));
        if health.id != status.container.id {
            *health = Health::of(status.container.id.clone());
        }
        health.clone()
    }
}

struct Watch {
    needs: Needs,
    handle: Arc<Handle>,
    pod: Arc<Pod>,
    container: Container,
    role: Role,
    target: Target,
    kind: Kind,
    probe: Probe,
    ask: Ask,
    started: Timestamp,
}

impl Watch {
    async fn run(self) {
        let clock = &self.needs.clock;
        let age = Duration::try_from(clock.now().duration_since(self.started)).unwrap_or_default();
        let patience = Some(patience(&self.probe));
        let (needs, target, question) = (self.needs.clone(), self.target.clone(), self.ask.clone());
        let once = move || {
            let (needs, target, question) = (needs.clone(), target.clone(), question.clone());
            async move { ask(&needs, &target, &question, patience).await }.boxed()
        };
        let mut answers = answers(Arc::clone(clock), self.kind, &self.probe, age, once);
        while let Some(answer) = answers.next().await {
            if let Some(why) = &answer.wrong {
                self.complain(why);
            }
            if let Some(verdict) = answer.verdict {
                self.tell(verdict);
            }
        }
    }

    fn tell(&self, verdict: bool) {
        let mut all = self.handle.health.lock();
        let Some(health) = all.get_mut(&self.container.name).filter(|health| health.id == self.target.container) else {
            return;
        };
        let slot = match self.kind {
            Kind::Startup => &mut health.startup,
            Kind::Liveness => &mut health.liveness,
            Kind::Readiness => &mut health.readiness,
        };
        if *slot != Some(verdict) {
            *slot = Some(verdict);
            drop(all);
            self.handle.poke();
        }
    }

    fn complain(&self, why: &str) {
        self.needs.context.notice(Notice {
            about: About::Pod(Arc::clone(&self.pod)),
            kind: "Warning",
            reason: "Unhealthy".into(),
            message: format!("{} probe failed: {why}", self.kind.word()),
            field_path: pod::field_path(&self.container.name, self.role),
        });
    }
}
