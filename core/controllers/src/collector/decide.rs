//! What becomes of one object, given what is known of its owners and dependents. No I/O.

use windlass_kernel::api::Propagation;

use super::node::{Deletion, Meta};

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is there.
    Solid,
    /// It is there and goes when its dependents have gone.
    Waiting,
    /// There is no such object.
    Dangling,
}

/// What is known of the dependents of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    pub(super) any: bool,
    /// Whether one keeps the object from going in the foreground.
    pub(super) blocking: bool,
    /// Whether one waits for its own dependents, which may be a circle.
    pub(super) waiting: bool,
}

/// What is done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    /// Its dependents are looked at.
    WakeDependents,
    /// Its dependents lose their reference to it, and it its finalizer.
    Orphan,
    /// It loses its finalizer.
    Release,
    /// It loses the references to owners that are not solid.
    Disown,
    /// It is deleted; its references stop blocking first, where that would be a circle.
    Delete {
        propagation: Propagation,
        unblock: bool,
    },
}

/// Decides about an object by the deletion that it asks for itself, or else by its owners.
pub(super) fn decide(meta: &Meta, owners: &[Owner], dependents: Dependents) -> Step {
    match meta.state() {
        Deletion::Pending => return Step::Rest,
        Deletion::Orphaning => return Step::Orphan,
        Deletion::Foreground if dependents.blocking => return Step::WakeDependents,
        Deletion::Foreground => return Step::Release,
        Deletion::None => {}
    }
    let has = |kind: Owner| owners.contains(&kind);
    if owners.is_empty() || !has(Owner::Dangling) && !has(Owner::Waiting) {
        return Step::Rest;
    }
    if has(Owner::Solid) {
        return Step::Disown;
    }
    if has(Owner::Waiting) && dependents.any {
        return Step::Delete { propagation: Propagation::Foreground, unblock: dependents.waiting };
    }
    let propagation = match () {
        () if meta.orphans() => Propagation::Orphan,
        () if meta.waits() => Propagation::Foreground,
        () => Propagation::Background,
    };
    Step::Delete { propagation, unblock: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: &str, owners: &str, dependents: &str, expect: Step) {
        let mut meta = json!({"finalizers": object.split(' ').filter(|word| !matches!(*word, "" | "deleting")).collect::<Vec<_>>()});
        if object.contains("deleting") {
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let owners: Vec<_> = owners
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                "solid" => Owner::Solid,
                "waiting" => Owner::Waiting,
                _ => Owner::Dangling,
            })
            .collect();
        let has = |word| dependents.split(' ').any(|own| own == word);
        let dependents = Dependents { any: !dependents.is_empty(), blocking: has("blocking"), waiting: has("waiting") };
        let meta = serde_json::from_value(meta).unwrap();
        assert_eq!(decide(&meta, &owners, dependents), expect, "{object}: {owners:?} {dependents:?}");
    }

    const fn delete(propagation: Propagation) -> Step {
        Step::Delete { propagation, unblock: false }
    }

    #[test]
    fn an_object_lives_as_long_as_one_owner() {
        check("", "", "", Step::Rest);
        check("", "solid solid", "", Step::Rest);
        check("", "solid dangling", "", Step::Disown);
        check("", "solid waiting", "", Step::Disown);
        check("", "dangling", "any", delete(Propagation::Background));
    }

    #[test]
    fn what_a_waiting_owner_waits_for_goes_dependents_first() {
        check("", "waiting", "", delete(Propagation::Background));
        check("", "waiting dangling", "any", delete(Propagation::Foreground));
        check("", "waiting", "waiting", Step::Delete { propagation: Propagation::Foreground, unblock: true });
    }

    #[test]
    fn finalizers_say_how_an_object_goes() {
        check("orphan", "dangling", "", delete(Propagation::Orphan));
        check("foregroundDeletion", "dangling", "", delete(Propagation::Foreground));
        check("example.com/mine", "dangling", "", delete(Propagation::Background));
    }

    #[test]
    fn an_object_that_is_being_deleted_follows_its_own_wish() {
        check("deleting", "dangling", "blocking", Step::Rest);
        check("deleting orphan", "", "any", Step::Orphan);
        check("deleting foregroundDeletion", "", "blocking", Step::WakeDependents);
        check("deleting foregroundDeletion", "dangling", "any", Step::Release);
    }
}
