//! Objects that controllers claim, in caches that find them by their controller.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::{
    apps::v1::{ControllerRevision, ReplicaSet},
    batch::v1::Job,
    core::v1::Pod,
    meta::v1::{LabelSelector, ObjectMeta},
    types::Resource,
};
use windlass_client::{Cache, Informers, Selection, informer::Index};
use windlass_kernel::controller::ObjectKey;

use crate::{
    claim::{self, Candidate, Claim, Claimer},
    pods::PodView,
};

const BY_CONTROLLER: &str = "controller";

/// What a claim is decided by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) uid: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The uid of the controller.
    pub(crate) controller: Option<&'a str>,
    /// Whether nobody adopts it any more.
    pub(crate) going: bool,
}

impl<'a> Facts<'a> {
    fn of(meta: &'a ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().unwrap_or_default(),
            labels: &meta.labels,
            controller: claim::controller_of(meta).map(|owner| owner.uid.as_str()),
            going: meta.deletion_timestamp.is_some(),
        }
    }
}

/// An object that controllers claim, as a cache holds it.
pub(crate) trait Claimed: Send + Sync + Sized + 'static {
    /// The object itself.
    type Object: Resource;

    fn key(&self) -> ObjectKey;

    fn facts(&self) -> Facts<'_>;

    /// What the cache will hold of an object.
    fn view(object: Arc<Self::Object>) -> Arc<Self>;

    /// What a claimer does about it, which may be out of the question for other reasons than its labels.
    fn claim(&self, claimer: &Claimer, possible: bool) -> Claim {
        let Facts { labels, controller, going, .. } = self.facts();
        let matches = possible && claimer.selector.matches(labels);
        claimer.decide(Candidate { controller, matches, deleting: going })
    }
}

impl Claimed for PodView {
    type Object = Pod;

    fn key(&self) -> ObjectKey {
        self.key.clone()
    }

    fn facts(&self) -> Facts<'_> {
        // A pod that ended is of no more use than one that is going.
        let going = self.deleting || self.ended();
        Facts { uid: &self.uid, labels: &self.labels, controller: self.controller.as_deref(), going }
    }

    fn view(object: Arc<Pod>) -> Arc<Self> {
        Arc::new(Self::of(&object))
    }
}

/// An object that caches hold as it is.
pub(crate) trait Whole: Resource {}

impl Whole for ControllerRevision {}
impl Whole for Job {}
impl Whole for ReplicaSet {}

impl<T: Whole> Claimed for T {
    type Object = T;

    fn key(&self) -> ObjectKey {
        claim::key(self.metadata())
    }

    fn facts(&self) -> Facts<'_> {
        Facts::of(self.metadata())
    }

    fn view(object: Arc<T>) -> Arc<T> {
        object
    }
}

/// The keys of those of a namespace's owners that would adopt a pod or a revision.
pub(crate) fn adopters<'a>(
    namespace: &str,
    owners: impl Iterator<Item = (&'a ObjectMeta, &'a LabelSelector)> + Clone,
    (pods, revisions): (&Owned<PodView>, &Owned<ControllerRevision>),
) -> Vec<ObjectKey> {
    let of_pods = pods.adopters(namespace, owners.clone());
    of_pods.into_iter().chain(revisions.adopters(namespace, owners)).collect()
}

/// All objects of a kind, findable by controller.
#[derive(Debug)]
pub(crate) struct Owned<P>(pub(crate) Cache<Arc<P>>);

impl<P> Clone for Owned<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Claimed> Owned<P> {
    /// The index that such a cache must have.
    pub(crate) fn index() -> Index<Arc<P>> {
        Index {
            name: BY_CONTROLLER,
            values: |key, object: &Arc<P>| {
                let Facts { controller, labels, .. } = object.facts();
                if let Some(uid) = controller {
                    return vec![uid.to_owned()];
                }
                let labels = labels.iter().map(|(label, value)| claim::labelled(&key.namespace, label, value));
                labels.chain([claim::orphans_of(&key.namespace)]).collect()
            },
        }
    }

    /// The objects whose controller has the uid, by name.
    pub(crate) fn controlled_by(&self, uid: &str) -> Vec<Arc<P>> {
        self.0.indexed(BY_CONTROLLER, uid)
    }

    /// The objects of a namespace that nobody controls and that a selector may match, by name. There may be thousands
    /// of others.
    pub(crate) fn orphans(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<P>> {
        let first = selector.match_labels.iter().next();
        let by_label = first.map(|(label, value)| claim::labelled(namespace, label, value));
        self.controlled_by(&by_label.unwrap_or_else(|| claim::orphans_of(namespace)))
    }

    /// Those of `owners` in a namespace that would adopt something.
    pub(crate) fn adopters<'a>(
        &self,
        namespace: &str,
        owners: impl IntoIterator<Item = (&'a ObjectMeta, &'a LabelSelector)>,
    ) -> Vec<ObjectKey> {
        let adopts = |(meta, selector): &(&ObjectMeta, &LabelSelector)| {
            // A selector that cannot be read is for the owner's own reconcile to complain about.
            let Ok(claimer) = Claimer::new(meta, selector) else { return false };
            let orphans = self.orphans(namespace, selector);
            orphans.iter().any(|orphan| orphan.claim(&claimer, true) == Claim::Adopt)
        };
        owners.into_iter().filter(adopts).map(|(meta, _)| claim::key(meta)).collect()
    }
}

impl<P: Whole> Owned<P> {
    /// Whole objects.
    pub(crate) fn whole(informers: &Informers) -> Self {
        Self(informers.cache(&Selection::all::<P>(), vec![Self::index()], |document| {
            let object = document.typed::<P>();
            object.inspect_err(|error| tracing::error!(?document, %error, "an object cannot be decoded")).ok()
        }))
    }
}
