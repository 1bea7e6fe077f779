//! Follows services and hands what changed to the rules.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use windlass_client::{Informers, Services};
use windlass_kernel::{
    Clock, ClockExt, ServiceRules, Stop,
    controller::ObjectKey,
    rules::{PortKey, RulesChange, ServicePort},
};

use crate::wanted;

/// How long to wait after the rules refused a change before everything is written anew.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps a node's service rules as the cluster wants them.
#[derive(Debug)]
pub struct Proxy {
    services: Services,
    rules: Arc<dyn ServiceRules>,
    clock: Arc<dyn Clock>,
    node: String,
    wanted: BTreeMap<ObjectKey, Vec<ServicePort>>,
}

impl Proxy {
    /// A proxy for the node `node`.
    #[must_use]
    pub fn new(informers: &Informers, rules: Arc<dyn ServiceRules>, node: impl Into<String>) -> Self {
        let clock = Arc::clone(&informers.parts().clock);
        Self { services: Services::new(informers), rules, clock, node: node.into(), wanted: BTreeMap::new() }
    }

    /// Runs until `stop`. The rules stay as they are then, so that connections live on without the proxy.
    pub async fn run(mut self, stop: Stop) {
        stop.race(self.follow()).await;
    }

    async fn follow(&mut self) {
        self.services.synced().await;
        while let Some(key) = self.services.take() {
            self.look(&key);
        }
        self.replace().await;
        loop {
            let mut changed = BTreeMap::new();
            let mut next = Some(self.services.next().await);
            // Whatever else changed meanwhile goes into the same batch; what a service wanted last counts.
            while let Some(key) = next {
                changed.extend(self.look(&key));
                next = self.services.take();
            }
            if changed.is_empty() {
                continue;
            }
            let mut change = RulesChange::default();
            for (key, port) in changed {
                match port {
                    Some(port) => change.put.push(port),
                    None => change.gone.push(key),
                }
            }
            if let Err(error) = self.rules.change(change).await {
                tracing::warn!(%error, "the rules refused a change; all are written anew");
                self.replace().await;
            }
        }
    }

    /// Writes everything, again and again until it works.
    async fn replace(&self) {
        while let Err(error) = self.rules.replace(self.wanted.values().flatten().cloned().collect()).await {
            tracing::error!(%error, "cannot write the service rules");
            self.clock.sleep(RETRY).await;
        }
    }

    /// What a service wants now and did not want before, and what it wants no more.
    fn look(&mut self, key: &ObjectKey) -> BTreeMap<PortKey, Option<ServicePort>> {
        let service = self.services.service(key);
        let now =
            service.map_or_else(Vec::new, |service| wanted::ports(&service, &self.services.slices(key), &self.node));
        let before =
            if now.is_empty() { self.wanted.remove(key) } else { self.wanted.insert(key.clone(), now.clone()) };
        let before = before.unwrap_or_default();
        let gone = before.iter().map(|port| (port.key.clone(), None));
        let put = now.iter().filter(|port| !before.contains(port)).map(|port| (port.key.clone(), Some(port.clone())));
        let kept = |key: &PortKey| now.iter().any(|port| port.key == *key);
        gone.filter(|(key, _)| !kept(key)).chain(put).collect()
    }
}
