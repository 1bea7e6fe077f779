//! What watches over one run of a container: its hooks, its probes, and the wish that it ends.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{Either, pending, select},
};
use windlass_api::core::v1::Probe;
use windlass_kernel::{ClockExt, Stop};

use super::{
    super::{
        pod::Signs,
        sessions,
        surroundings::{Contact, Probing, Surroundings},
    },
    Instance, Within,
    player::{Part, Player, Role},
};

/// Why a container is killed that its pod has not done with.
enum Ill {
    Startup,
    Liveness,
    /// Its hook after the start failed.
    Hook,
}

impl Player {
    /// Watches over a run until it has to end, lets it know by `stop`, and returns when its time is over.
    pub(super) async fn watch(&self, part: &Part<'_>, instance: &Arc<Instance>, stop: &Stop) {
        let ended = part.end.wait();
        let why = match &self.around {
            None => {
                part.started.stop();
                ended.await;
                None
            }
            Some(around) => {
                let contact = self.contact(part, instance);
                let health = self.health(part, instance, around.as_ref(), &contact);
                match select(Box::pin(ended), Box::pin(health)).await {
                    Either::Left(_) => None,
                    Either::Right((ill, _)) => Some(ill),
                }
            }
        };
        let grace = self.grace(part, why.as_ref());
        self.announce(part, why.as_ref());
        let began = self.clock.uptime();
        self.pre_stop(part, instance, grace).await;
        stop.stop();
        if why.is_none() && part.role != Role::Sidecar {
            // How long a pod that is to end is waited for is its agent's business.
            return pending().await;
        }
        self.clock.sleep(grace.saturating_sub(self.clock.uptime().saturating_sub(began))).await;
    }

    /// How long a run may take to end.
    fn grace(&self, part: &Part<'_>, why: Option<&Ill>) -> Duration {
        let probe = match why {
            Some(Ill::Startup) => part.container.startup_probe.as_ref(),
            Some(Ill::Liveness) => part.container.liveness_probe.as_ref(),
            Some(Ill::Hook) | None => None,
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        let seconds = own.or(self.pod.spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    fn announce(&self, part: &Part<'_>, why: Option<&Ill>) {
        let name = &part.container.name;
        let text = match why {
            Some(Ill::Startup) => format!("Container {name} failed startup probe, will be restarted"),
            Some(Ill::Liveness) => format!("Container {name} failed liveness probe, will be restarted"),
            Some(Ill::Hook) => "FailedPostStartHook".into(),
            None => format!("Stopping container {name}"),
        };
        self.notice(Some(part), "Normal", "Killing", text);
    }

    fn contact(&self, part: &Part<'_>, instance: &Arc<Instance>) -> Contact {
        let own = Arc::clone(instance);
        let exec = move |command: Vec<String>| {
            let output = sessions::run(&command, Some(&own));
            async move { output }.boxed()
        };
        Contact {
            container: part.container.clone(),
            ip: self.ip.clone(),
            exec: Arc::new(exec),
            dial: Arc::new(Within { life: Arc::clone(&self.life), ip: self.ip.clone() }),
            spawn: Arc::clone(&self.spawn),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Follows how a container is until it cannot go on.
    async fn health(
        &self,
        part: &Part<'_>,
        instance: &Arc<Instance>,
        around: &dyn Surroundings,
        contact: &Contact,
    ) -> Ill {
        let lifecycle = part.container.lifecycle.as_ref();
        if let Some(hook) = lifecycle.and_then(|own| own.post_start.as_ref())
            && let Err(why) = around.hook(contact, hook).await
        {
            self.notice(Some(part), "Warning", "FailedPostStartHook", format!("PostStartHook failed: {why}"));
            return Ill::Hook;
        }
        if part.role == Role::Init {
            return pending().await;
        }
        if let Some(probe) = &part.container.startup_probe {
            let fine = self.probe(part, around, contact, (Probing::Startup, probe), &mut |_| ()).await;
            if !fine {
                return Ill::Startup;
            }
            self.sign(part, instance, |signs| signs.started = true);
        }
        part.started.stop();
        let liveness = async {
            match &part.container.liveness_probe {
                Some(probe) => self.probe(part, around, contact, (Probing::Liveness, probe), &mut |_| ()).await,
                None => pending().await,
            }
        };
        let readiness = async {
            let Some(probe) = &part.container.readiness_probe else { return pending().await };
            let mut told = |verdict| self.sign(part, instance, |signs| signs.probed = verdict);
            self.probe(part, around, contact, (Probing::Readiness, probe), &mut told).await
        };
        select(Box::pin(liveness), Box::pin(readiness)).await;
        Ill::Liveness
    }

    /// Probes until the verdict is final, and tells each.
    async fn probe(
        &self,
        part: &Part<'_>,
        around: &dyn Surroundings,
        contact: &Contact,
        (what, probe): (Probing, &Probe),
        told: &mut (dyn FnMut(bool) + Send),
    ) -> bool {
        let mut last = true;
        let mut answers = around.probe(contact, what, probe);
        while let Some((wrong, verdict)) = answers.next().await {
            if let Some(why) = wrong {
                self.notice(Some(part), "Warning", "Unhealthy", format!("{what:?} probe failed: {why}"));
            }
            if let Some(verdict) = verdict {
                last = verdict;
                told(verdict);
            }
        }
        last
    }

    fn sign(&self, part: &Part<'_>, instance: &Instance, change: impl FnOnce(&mut Signs)) {
        let signs = instance.sign(change);
        self.step(&mut |running, _| running.set_signs(&part.container.name, signs));
    }

    async fn pre_stop(&self, part: &Part<'_>, instance: &Arc<Instance>, grace: Duration) {
        let hook = part.container.lifecycle.as_ref().and_then(|own| own.pre_stop.as_ref());
        let (Some(hook), Some(around)) = (hook, &self.around) else { return };
        let contact = self.contact(part, instance);
        if let Some(Err(why)) = self.clock.within(grace, around.hook(&contact, hook)).await {
            self.notice(Some(part), "Warning", "FailedPreStopHook", format!("PreStopHook failed: {why}"));
        }
    }
}
