//! Facts beyond nodes and pods that plugins are handed: kin by services and controllers, namespaces' labels, budgets,
//! and for whom room was made.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use windlass_api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{Namespace, ReplicationController, Service},
    meta::v1::LabelSelector,
    policy::v1::PodDisruptionBudget,
    selector::{Labels, Operator, Requirement},
};
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Budget, Budgets, Cycle, NamespaceLabels, Nominated, PodView, Siblings},
};

use super::{crashes, storage::Stores};

/// What is followed for plugins.
pub(super) struct Facts {
    crashes: crashes::Followed,
    services: Cache<Arc<Labels>>,
    controllers: [(&'static str, Cache<Arc<Labels>>); 3],
    namespaces: Cache<()>,
    labels: Arc<Mutex<NamespaceLabels>>,
    budgets: Cache<Arc<Budget>>,
    stores: Stores,
    nominated: Nominated,
    nominations: BTreeMap<ObjectKey, String>,
}

impl Facts {
    pub(super) fn new(informers: &Informers) -> Self {
        let services = informers
            .projected(Select::all(), Vec::new(), |service: &Service| equal(&service.spec.selector).map(Arc::new));
        let sets = informers
            .projected(Select::all(), Vec::new(), |set: &ReplicaSet| Some(Arc::new(read(Some(&set.spec.selector)))));
        let stateful = informers
            .projected(Select::all(), Vec::new(), |set: &StatefulSet| Some(Arc::new(read(Some(&set.spec.selector)))));
        let replication = informers.projected(Select::all(), Vec::new(), |controller: &ReplicationController| {
            equal(&controller.spec.selector).map(Arc::new)
        });
        let budgets = informers.projected(Select::all(), Vec::new(), |budget: &PodDisruptionBudget| {
            Some(Arc::new(Budget {
                namespace: budget.metadata.namespace.clone().unwrap_or_default(),
                selector: read(budget.spec.selector.as_ref()),
                allowed: budget.status.disruptions_allowed.into(),
            }))
        });
        let labels = Arc::<Mutex<NamespaceLabels>>::default();
        let held = Arc::clone(&labels);
        let namespaces = informers.projected(Select::all(), Vec::new(), move |namespace: &Namespace| {
            let name = namespace.metadata.name.clone().unwrap_or_default();
            Arc::make_mut(&mut held.lock().0).insert(name, namespace.metadata.labels.clone());
            Some(())
        });
        let held = Arc::clone(&labels);
        namespaces.on_change(move |update| {
            if update.after.is_none() {
                Arc::make_mut(&mut held.lock().0).remove(&update.key.name);
            }
        });
        let controllers = [("ReplicaSet", sets), ("StatefulSet", stateful), ("ReplicationController", replication)];
        Self {
            crashes: crashes::Followed::new(informers),
            services,
            controllers,
            namespaces,
            labels,
            budgets,
            stores: Stores::new(informers),
            nominated: Nominated::default(),
            nominations: BTreeMap::new(),
        }
    }

    pub(super) async fn synced(&self) {
        self.services.synced().await;
        for (_, cache) in &self.controllers {
            cache.synced().await;
        }
        self.crashes.synced().await;
        self.namespaces.synced().await;
        self.budgets.synced().await;
        self.stores.synced().await;
    }

    /// Claims, volumes and storage classes.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Notes that room was made for a pod on a node, or that this is over.
    pub(super) fn nominate(&mut self, key: &ObjectKey, node: Option<&str>, pod: Option<&Arc<PodView>>) {
        let node = node.filter(|_| pod.is_some_and(|pod| pod.node.is_none() && !pod.terminating));
        if node.is_none() && !self.nominations.contains_key(key) {
            return;
        }
        let all = Arc::make_mut(&mut self.nominated.0);
        if let Some(before) = self.nominations.remove(key)
            && let Some(pods) = all.get_mut(&before)
        {
            pods.retain(|pod| pod.key != *key);
            if pods.is_empty() {
                all.remove(&before);
            }
        }
        if let (Some(node), Some(pod)) = (node, pod) {
            all.entry(node.into()).or_default().push(Arc::clone(pod));
            self.nominations.insert(key.clone(), node.into());
        }
    }

    /// Takes back that room was made on a node for pods less important than one. Which those are.
    pub(super) fn outrank(&mut self, pod: &PodView, node: &str) -> Vec<Arc<PodView>> {
        let others = self.nominated.0.get(node).into_iter().flatten();
        let less: Vec<_> = others.filter(|other| other.priority < pod.priority).map(Arc::clone).collect();
        less.iter().for_each(|other| self.nominate(&other.key, None, None));
        less
    }

    /// Puts the facts that matter to a pod into its turn.
    pub(super) fn tell(&self, cycle: &mut Cycle, pod: &PodView) {
        if !self.nominations.is_empty() {
            cycle.set(self.nominated.clone());
        }
        cycle.set(NamespaceLabels(Arc::clone(&self.labels.lock().0)));
        if !pod.claims.is_empty() {
            cycle.set(self.stores.now());
        }
        if pod.preempts && !self.budgets.is_empty() {
            let budgets = self.budgets.values().iter().map(|budget| Budget::clone(budget)).collect();
            cycle.set(Budgets(Arc::new(budgets)));
        }
        if let Some(crashes) = self.crashes.of(pod) {
            cycle.set(crashes);
        }
        if pod.spread.is_empty()
            && !pod.labels.is_empty()
            && let Some(siblings) = self.siblings(pod)
        {
            cycle.set(siblings);
        }
    }

    /// Who the pod's kin is: the pods that every service of the pod selects, and its controller too.
    fn siblings(&self, pod: &PodView) -> Option<Siblings> {
        let services: Vec<Arc<Labels>> = self.services.with_in(&pod.key.namespace, |all| {
            all.map(|(_, selector)| selector).filter(|own| own.matches(&pod.labels)).cloned().collect()
        });
        let controller = pod.owner.as_ref().and_then(|owner| {
            let (_, cache) = self.controllers.iter().find(|(kind, _)| *kind == owner.kind)?;
            cache.get(&ObjectKey::new(pod.key.namespace.clone(), owner.name.clone()))
        });
        let all: Vec<Requirement> =
            services.into_iter().chain(controller).flat_map(|selector| selector.requirements().to_vec()).collect();
        (!all.is_empty()).then(|| Siblings(Labels::all(all)))
    }
}

/// The selector of those who select by equal labels; none selects nobody.
fn equal(labels: &BTreeMap<String, String>) -> Option<Labels> {
    let requirement =
        |(key, value): (&String, &String)| Requirement::new(key.clone(), Operator::Equals, vec![value.clone()]).ok();
    let all = labels.iter().map(requirement).collect::<Option<Vec<_>>>()?;
    (!all.is_empty()).then(|| Labels::all(all))
}

fn read(selector: Option<&LabelSelector>) -> Labels {
    let tree = selector.and_then(|selector| serde_json::to_value(selector).ok());
    Labels::from_json(tree.as_ref()).unwrap_or_else(|_| Labels::nothing())
}
