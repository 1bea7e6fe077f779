//! The cycle state: what plugins remember between the points of one turn. Nothing outlives the turn.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::Arc,
};

use windlass_api::selector::Labels;

use super::pod::PodView;

/// A fact from the host: which pods are the pod's kin, by the services and controllers it belongs to.
#[derive(Clone, Debug)]
pub struct Siblings(pub Labels);

/// A fact from the host: the labels of namespaces, by name.
#[derive(Clone, Debug, Default)]
pub struct NamespaceLabels(pub Arc<BTreeMap<String, BTreeMap<String, String>>>);

/// A fact from the host: the pods that others were evicted for and that are not placed yet, by node.
#[derive(Clone, Debug, Default)]
pub struct Nominated(pub Arc<BTreeMap<String, Vec<Arc<PodView>>>>);

impl Nominated {
    /// Those on a node that go before a pod: they are at least as important, and others.
    pub fn before(&self, pod: &PodView, node: &str) -> impl Iterator<Item = &Arc<PodView>> {
        let all = self.0.get(node).into_iter().flatten();
        all.filter(|other| other.uid != pod.uid && other.priority >= pod.priority)
    }
}

/// A fact from the host: disruption budgets, which those who make room should respect.
#[derive(Clone, Debug, Default)]
pub struct Budgets(pub Arc<Vec<Budget>>);

/// How many of some pods may be disrupted.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Where the pods live.
    pub namespace: String,
    /// Which they are.
    pub selector: Labels,
    /// How many more.
    pub allowed: i64,
}

trait Slot: Any + Send + Sync {
    fn copy(&self) -> Box<dyn Slot>;
    fn any(&self) -> &dyn Any;
    fn any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Any + Clone + Send + Sync> Slot for T {
    fn copy(&self) -> Box<dyn Slot> {
        Box::new(self.clone())
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What plugins remember during one turn: at most one value of each type.
///
/// A clone is a copy: what-if questions change copies.
#[derive(Default)]
pub struct Cycle {
    // A handful of values: a scan of a list is faster than any map.
    slots: Vec<(TypeId, Box<dyn Slot>)>,
}

impl Cycle {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a value, in place of another of its type.
    pub fn set<T: Any + Clone + Send + Sync>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        self.slots.retain(|(own, _)| *own != id);
        self.slots.push((id, Box::new(value)));
    }

    /// The value of a type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        let (_, slot) = self.slots.iter().find(|(own, _)| *own == id)?;
        (**slot).any().downcast_ref()
    }

    /// Forgets the value of a type, and gives it back.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        let id = TypeId::of::<T>();
        let at = self.slots.iter().position(|(own, _)| *own == id)?;
        let (_, slot) = self.slots.swap_remove(at);
        slot.into_any().downcast().ok().map(|value| *value)
    }

    /// The value of a type, to be changed.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        let id = TypeId::of::<T>();
        let (_, slot) = self.slots.iter_mut().find(|(own, _)| *own == id)?;
        (**slot).any_mut().downcast_mut()
    }
}

impl Clone for Cycle {
    fn clone(&self) -> Self {
        Self { slots: self.slots.iter().map(|(id, slot)| (*id, (**slot).copy())).collect() }
    }
}

impl fmt::Debug for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cycle").field("values", &self.slots.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_what_is_changed_later() {
        let mut cycle = Cycle::new();
        cycle.set(1_u8);
        let before = cycle.clone();
        *cycle.get_mut::<u8>().unwrap() = 2;
        cycle.set("text");
        assert_eq!((before.get::<u8>(), before.get::<&str>()), (Some(&1), None));
        assert_eq!((cycle.get::<u8>(), cycle.get::<&str>()), (Some(&2), Some(&"text")));
        assert_eq!((cycle.take::<u8>(), cycle.take::<u8>(), cycle.get::<&str>()), (Some(2), None, Some(&"text")));
    }
}
