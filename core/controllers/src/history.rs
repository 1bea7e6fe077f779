//! ControllerRevisions: the numbered templates that a DaemonSet or StatefulSet had, for `kubectl rollout history` and `undo`.
//!
//! The latest number is the owner's present template. A template that comes back keeps its revision and gets a new number.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    apps::v1::ControllerRevision,
    core::v1::PodTemplateSpec,
    meta::v1::{ObjectMeta, OwnerReference},
    types::Resource,
};
use windlass_client::Client;
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Options, Preconditions},
};

use crate::{claim, template};

/// The label that says which revision a pod is of (`apps/v1 ControllerRevisionHashLabelKey`).
pub(crate) const REVISION: &str = "controller-revision-hash";

/// The longest beginning of a revision's name: its hash must fit behind it.
const NAME_MAX: usize = 223;

/// A template of an owner, as a revision is to hold it.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) owner: &'a ObjectMeta,
    pub(crate) reference: OwnerReference,
    pub(crate) template: &'a PodTemplateSpec,
    pub(crate) collision_count: Option<i32>,
    /// The label of the revision that has its hash.
    pub(crate) label: &'static str,
}

/// What makes an owner's template its latest revision.
#[derive(Debug)]
enum Step {
    /// It is.
    Rest(Arc<ControllerRevision>),
    /// It is known under another number.
    Renumber(ControllerRevision),
    Create(ControllerRevision),
}

impl Snapshot<'_> {
    /// Compares the template with the owner's revisions.
    fn plan(&self, revisions: &[Arc<ControllerRevision>]) -> Step {
        let (equal, others): (Vec<_>, Vec<_>) = revisions.iter().partition(|own| holds(own, self.template));
        let next = others.iter().map(|own| own.revision).max().unwrap_or(0) + 1;
        match equal.into_iter().max_by_key(|own| order(own)) {
            None => Step::Create(self.revision(next)),
            Some(known) if known.revision < next => {
                Step::Renumber(ControllerRevision { revision: next, ..ControllerRevision::clone(known) })
            }
            Some(known) => Step::Rest(Arc::clone(known)),
        }
    }

    fn revision(&self, number: i64) -> ControllerRevision {
        let hash = template::hash(self.template, self.collision_count);
        let owner = self.owner.name.as_deref().unwrap_or_default();
        let owner: String = owner.chars().take(NAME_MAX).collect();
        let mut labels = self.template.metadata.labels.clone();
        labels.insert(self.label.into(), hash.clone());
        let metadata = ObjectMeta {
            name: Some(format!("{owner}-{hash}")),
            namespace: self.owner.namespace.clone(),
            labels,
            annotations: self.owner.annotations.clone(),
            owner_references: vec![self.reference.clone()],
            ..ObjectMeta::default()
        };
        ControllerRevision { metadata, data: Some(data(self.template)), revision: number }
    }
}

/// Makes a template the latest of its owner's revisions; `None` where the name of a new one belongs to another, which
/// another collision count changes.
///
/// # Errors
///
/// Those of the API; a conflict where somebody else changed the revision, or the owner's template is another by now.
pub(crate) async fn settle<O: Resource>(
    client: &Client,
    snapshot: &Snapshot<'_>,
    revisions: &mut Vec<Arc<ControllerRevision>>,
) -> Result<Option<Arc<ControllerRevision>>> {
    let step = snapshot.plan(revisions);
    if matches!(step, Step::Renumber(_)) {
        // Whoever saw a later revision but not yet the change that it was made for would take that change back.
        present::<O>(client, snapshot.owner).await?;
    }
    let Some(latest) = carry_out(client, step).await? else { return Ok(None) };
    revisions.retain(|own| name(own) != name(&latest));
    revisions.push(Arc::clone(&latest));
    Ok(Some(latest))
}

/// Fails where an owner is not what it was when it was seen.
async fn present<O: Resource>(client: &Client, owner: &ObjectMeta) -> Result<()> {
    let key = claim::key(owner);
    let fresh = client.get_opt::<O>(&key.namespace, &key.name).await?;
    let same = |fresh: &ObjectMeta| fresh.uid == owner.uid && fresh.generation == owner.generation;
    if fresh.is_some_and(|fresh| same(fresh.metadata())) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format!("{} {key} is not what it was when its history was read", O::KIND)))
}

async fn carry_out(client: &Client, step: Step) -> Result<Option<Arc<ControllerRevision>>> {
    let revision = match step {
        Step::Rest(revision) => return Ok(Some(revision)),
        Step::Renumber(revision) => return client.update(&revision).await.map(Some),
        Step::Create(revision) => revision,
    };
    match client.create(&revision).await {
        Err(error) if error.is(ErrorKind::AlreadyExists) => {
            let key = claim::key(&revision.metadata);
            let there = client.get::<ControllerRevision>(&key.namespace, &key.name).await?;
            let owner = |of: &ControllerRevision| claim::controller_of(&of.metadata).map(|owner| owner.uid.clone());
            // It may be one that was not seen yet, or an orphan that is about to be adopted.
            let own = owner(&there).is_none_or(|uid| Some(uid) == owner(&revision));
            let same = template_of(&revision).is_some_and(|template| holds(&there, &template));
            Ok((own && same).then_some(there))
        }
        created => created.map(Some),
    }
}

/// Deletes revisions.
pub(crate) async fn forget(client: &Client, revisions: &[Arc<ControllerRevision>]) -> Result<()> {
    for revision in revisions {
        let key = claim::key(&revision.metadata);
        let preconditions = Preconditions { uid: revision.metadata.uid.clone(), resource_version: None };
        let options = Options { preconditions, ..Options::default() };
        match client.delete_with::<ControllerRevision>(&key.namespace, &key.name, options).await {
            Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The oldest revisions beyond the limit, of those that are not in use.
pub(crate) fn surplus(
    revisions: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Vec<Arc<ControllerRevision>> {
    let mut idle: Vec<_> = revisions.iter().filter(|own| !in_use(own)).cloned().collect();
    idle.sort_by_key(|own| order(own));
    idle.truncate(idle.len().saturating_sub(usize::try_from(limit.unwrap_or(10)).unwrap_or(0)));
    idle
}

/// The name of a revision.
pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// Whether a revision holds that template.
pub(crate) fn holds(revision: &ControllerRevision, wanted: &PodTemplateSpec) -> bool {
    template_of(revision).is_some_and(|own| template::same(&own, wanted))
}

/// The template that a revision holds; `None` where it is none of ours.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let template = revision.data.as_ref()?.pointer("/spec/template")?;
    serde_json::from_value(template.clone()).ok()
}

/// The patch that gives an owner the template (strategic, as `kubectl rollout undo` sends it).
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// From the oldest to the latest.
fn order(revision: &ControllerRevision) -> impl Ord + use<> {
    let meta = &revision.metadata;
    (revision.revision, meta.creation_timestamp, meta.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        let object = json!({
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]},
        });
        serde_json::from_value(object).unwrap()
    }

    fn snapshot<'a>(owner: &'a ObjectMeta, template: &'a PodTemplateSpec) -> Snapshot<'a> {
        let reference = OwnerReference::default();
        Snapshot { owner, reference, template, collision_count: None, label: REVISION }
    }

    /// Revisions are `image=number`; answers what is done about the image `wanted`.
    #[track_caller]
    fn check(revisions: &str, wanted: &str, expect: &str) {
        let owner = ObjectMeta { name: Some("web".into()), ..ObjectMeta::default() };
        let of = |word: &str| {
            let (image, number) = word.split_once('=').unwrap();
            Arc::new(snapshot(&owner, &template(image)).revision(number.parse().unwrap()))
        };
        let revisions: Vec<_> = revisions.split_whitespace().map(of).collect();
        let said = match snapshot(&owner, &template(wanted)).plan(&revisions) {
            Step::Rest(revision) => format!("rest {}", revision.revision),
            Step::Renumber(revision) => format!("renumber {}", revision.revision),
            Step::Create(revision) => format!("create {}", revision.revision),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn the_present_template_has_the_highest_number() {
        check("", "a", "create 1");
        check("a=1", "a", "rest 1");
        check("a=1", "b", "create 2");
        check("a=1 b=2", "a", "renumber 3");
        check("a=3 b=2", "a", "rest 3");
        check("a=1 a=4 b=2", "a", "rest 4");
    }

    #[test]
    fn a_revision_is_named_and_labelled_by_its_hash() {
        let owner = ObjectMeta { name: Some("web".into()), ..ObjectMeta::default() };
        let revision = snapshot(&owner, &template("a")).revision(1);
        let hash = &revision.metadata.labels[REVISION];
        assert_eq!(name(&revision), format!("web-{hash}"));
        assert_eq!(revision.metadata.labels["app"], "web");
        assert_eq!(template_of(&revision), Some(template("a")));
        assert_eq!(revision.data.unwrap()["spec"]["template"]["$patch"], "replace");
    }

    #[test]
    fn the_oldest_revisions_out_of_use_are_surplus() {
        let owner = ObjectMeta { name: Some("web".into()), ..ObjectMeta::default() };
        let of = |(image, number): (&str, i64)| Arc::new(snapshot(&owner, &template(image)).revision(number));
        let revisions: Vec<_> = [("c", 3), ("a", 1), ("d", 4), ("b", 2)].map(of).into();
        let numbers = |limit| {
            let surplus = surplus(&revisions, limit, |own| own.revision == 4 || own.revision == 1);
            surplus.iter().map(|own| own.revision).collect::<Vec<_>>()
        };
        assert_eq!(numbers(Some(0)), [2, 3]);
        assert_eq!(numbers(Some(1)), [2]);
        assert_eq!(numbers(None), [] as [i64; 0]);
    }
}
