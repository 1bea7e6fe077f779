//! What a namespace's conditions say of its content. Types, reasons and messages are those that clients show.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use windlass_api::{core::v1::NamespaceCondition, types::Time};
use windlass_kernel::Error;

use crate::resources::Deletable;

/// What is left in a namespace.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// How many objects, by `resource.group`.
    resources: BTreeMap<String, usize>,
    /// In how many of them, by finalizer.
    finalizers: BTreeMap<String, usize>,
    /// What went wrong, and the first of it.
    failures: Vec<String>,
    pub(super) error: Option<Error>,
    /// The resources among them that are defined and not built in.
    pub(super) custom: Vec<Arc<Deletable>>,
}

impl Remains {
    /// Adds what is left of a resource: the finalizers of each object.
    pub(super) fn add<'a>(&mut self, resource: &Arc<Deletable>, objects: impl ExactSizeIterator<Item = &'a [String]>) {
        if objects.len() > 0 {
            self.resources.insert(name(resource), objects.len());
        }
        for finalizer in objects.flatten() {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.failures.push(error.to_string());
        self.error.get_or_insert_with(|| error.duplicate());
    }

    pub(super) fn nothing(&self) -> bool {
        self.resources.is_empty() && self.failures.is_empty()
    }

    pub(super) fn holds(&self, resource: &Arc<Deletable>) -> bool {
        self.resources.contains_key(&name(resource))
    }
}

fn name(resource: &Deletable) -> String {
    format!("{}.{}", resource.resource.resource, resource.resource.group)
}

/// Brings the conditions up to date. Nothing changes where nothing is new.
pub(super) fn update(conditions: &mut Vec<NamespaceCondition>, remains: &Remains, now: Timestamp) {
    let ok = |reason: &str, message: &str| (false, reason.to_owned(), message.to_owned());
    let listed = |counts: &BTreeMap<String, usize>, words: &str| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {words} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let failed = if remains.failures.is_empty() {
        ok("ContentDeleted", "All content successfully deleted, may be waiting on finalization")
    } else {
        let failures = remains.failures.join(", ");
        let message = format!("Failed to delete all resource types, {} remaining: {failures}", remains.failures.len());
        (true, "ContentDeletionFailed".into(), message)
    };
    let content = if remains.resources.is_empty() {
        ok("ContentRemoved", "All content successfully removed")
    } else {
        let message = format!("Some resources are remaining: {}", listed(&remains.resources, "has"));
        (true, "SomeResourcesRemain".into(), message)
    };
    let finalizers = if remains.finalizers.is_empty() {
        ok("ContentHasNoFinalizers", "All content-preserving finalizers finished")
    } else {
        let list = listed(&remains.finalizers, "in");
        (true, "SomeFinalizersRemain".into(), format!("Some content in the namespace has finalizers remaining: {list}"))
    };
    let discovered = ok("ResourcesDiscovered", "All resources successfully discovered");
    let parsed = ok("ParsedGroupVersions", "All legacy kube types successfully parsed");
    for (type_, condition) in [
        ("NamespaceDeletionDiscoveryFailure", discovered),
        ("NamespaceDeletionGroupVersionParsingFailure", parsed),
        ("NamespaceDeletionContentFailure", failed),
        ("NamespaceContentRemaining", content),
        ("NamespaceFinalizersRemaining", finalizers),
    ] {
        set(conditions, type_, condition, now);
    }
}

fn set(
    all: &mut Vec<NamespaceCondition>,
    type_: &str,
    (holds, reason, message): (bool, String, String),
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let new = NamespaceCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    };
    match all.iter_mut().find(|own| own.type_ == type_) {
        None => all.push(new),
        Some(own) if own.status == status => {
            *own = NamespaceCondition { last_transition_time: own.last_transition_time, ..new };
        }
        Some(own) => *own = new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources;
    use windlass_kernel::ErrorKind;

    fn check(remains: &Remains, expect: &[(&str, &str)]) {
        let (mut conditions, at) = (Vec::new(), |second| Timestamp::from_second(second).unwrap());
        update(&mut conditions, remains, at(1));
        let before = conditions.clone();
        update(&mut conditions, remains, at(2));
        assert_eq!(conditions, before);
        let holds = conditions.iter().filter(|own| own.status == "True");
        let said: Vec<_> = holds.map(|own| (own.type_.as_str(), own.message.as_deref().unwrap())).collect();
        assert_eq!(said, expect);
    }

    #[test]
    fn what_is_left_is_said() {
        let pods = resources::built_in().into_iter().find(|own| own.is_core("pods")).unwrap();
        check(&Remains::default(), &[]);
        let mut remains = Remains::default();
        remains.add(&pods, [["a/b".to_owned()].as_slice(), &[]].into_iter());
        remains.failed(&Error::new(ErrorKind::Unavailable, "away"));
        let failure = "Failed to delete all resource types, 1 remaining: away";
        let content = "Some resources are remaining: pods. has 2 resource instances";
        let finalizers = "Some content in the namespace has finalizers remaining: a/b in 1 resource instances";
        check(
            &remains,
            &[
                ("NamespaceDeletionContentFailure", failure),
                ("NamespaceContentRemaining", content),
                ("NamespaceFinalizersRemaining", finalizers),
            ],
        );
    }
}
