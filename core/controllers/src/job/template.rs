//! The pods that a Job makes of its template.

use windlass_api::{
    batch::v1::Job,
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
};

use super::pod::{FAILURES, IGNORED, INDEX, TRACKED};
use crate::{claim, pods::from_template};

const VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// A generated name has room for five more characters.
const LONGEST_BASE: usize = 58;

/// A pod that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct New {
    pub(super) index: Option<u32>,
    /// How often its index failed before, and how many failures of it were ignored; kept where indexes fail apart.
    pub(super) failures: Option<(u32, u32)>,
}

/// The pod, as it is to be created.
pub(super) fn pod_of(job: &Job, new: New) -> Pod {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let owner = claim::reference(job);
    let mut pod = from_template(&job.spec.template, owner, job.metadata.namespace.as_ref());
    let Pod { metadata, spec, .. } = &mut pod;
    metadata.generate_name = Some(base(name, new.index));
    if !metadata.finalizers.iter().any(|own| own == TRACKED) {
        metadata.finalizers.push(TRACKED.into());
    }
    if let Some(index) = new.index {
        metadata.annotations.insert(INDEX.into(), index.to_string());
        metadata.labels.insert(INDEX.into(), index.to_string());
        spec.hostname = Some(format!("{name}-{index}"));
        spec.init_containers.iter_mut().chain(&mut spec.containers).for_each(tell_index);
    }
    if let Some((failures, ignored)) = new.failures {
        metadata.annotations.insert(FAILURES.into(), failures.to_string());
        if ignored > 0 {
            metadata.annotations.insert(IGNORED.into(), ignored.to_string());
        }
    }
    pod
}

fn base(job: &str, index: Option<u32>) -> String {
    let tail = index.map_or_else(|| "-".to_owned(), |index| format!("-{index}-"));
    let room = LONGEST_BASE.saturating_sub(tail.len());
    // Names are ASCII.
    format!("{}{tail}", job.get(..room).unwrap_or(job))
}

fn tell_index(container: &mut Container) {
    if container.env.iter().any(|own| own.name == VARIABLE) {
        return;
    }
    let field_path = format!("metadata.labels['{INDEX}']");
    let field_ref = Some(ObjectFieldSelector { field_path, ..ObjectFieldSelector::default() });
    let value_from = Some(EnvVarSource { field_ref, ..EnvVarSource::default() });
    container.env.push(EnvVar { name: VARIABLE.into(), value_from, ..EnvVar::default() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> Job {
        let spec = serde_json::json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "env": [
            {"name": VARIABLE, "value": "mine"}]}]}}});
        let mut job = Job { spec: serde_json::from_value(spec).unwrap(), ..Job::default() };
        job.metadata.name = Some(name.into());
        job
    }

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let pod = pod_of(&job("j"), New { index: Some(3), failures: Some((2, 0)) });
        let meta = &pod.metadata;
        assert_eq!((meta.generate_name.as_deref(), pod.spec.hostname.as_deref()), (Some("j-3-"), Some("j-3")));
        assert_eq!((meta.labels[INDEX].as_str(), meta.annotations[FAILURES].as_str()), ("3", "2"));
        assert!(!meta.annotations.contains_key(IGNORED));
        let source = pod.spec.containers[0].env[0].value_from.as_ref().unwrap();
        let path = source.field_ref.as_ref().unwrap().field_path.as_str();
        assert_eq!(path, "metadata.labels['batch.kubernetes.io/job-completion-index']");
        assert_eq!(pod.spec.containers[1].env[0].value.as_deref(), Some("mine"));
    }

    #[test]
    fn every_pod_waits_to_be_counted() {
        let pod = pod_of(&job("j"), New::default());
        assert_eq!(
            (pod.metadata.generate_name.as_deref(), pod.metadata.finalizers),
            (Some("j-"), vec![TRACKED.into()])
        );
        assert_eq!((pod.spec.hostname, pod.spec.containers[0].env.len()), (None, 0));
    }

    #[test]
    fn a_long_name_leaves_room_for_the_index() {
        let pod = pod_of(&job(&"x".repeat(60)), New { index: Some(12), failures: None });
        assert_eq!(pod.metadata.generate_name.unwrap(), format!("{}-12-", "x".repeat(54)));
    }
}
