//! What was found out about making room on each node for pods of one class, for as long as it is still so there.

use std::sync::Arc;

use parking_lot::Mutex;
use windlass_kernel::scheduler::PodView;

use super::choice::Candidate;

/// A fact from the framework: what earlier pods of the class found out. It holds where all filters look at the node
/// alone; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms(Arc<Mutex<Vec<Option<Room>>>>);

/// What was found out about one node, and of whom that depends.
#[derive(Debug)]
struct Room {
    below: i32,
    pods: Vec<Arc<PodView>>,
    /// For whom room was made there already.
    prior: Vec<Arc<PodView>>,
    found: Option<Arc<Candidate>>,
}

impl Rooms {
    /// Forgets a node that offers something else now.
    pub(crate) fn forget(&self, place: usize) {
        if let Some(room) = self.0.lock().get_mut(place) {
            *room = None;
        }
    }

    /// What is remembered of the node at a place with these pods; else what `find` says, which is remembered.
    pub(super) fn at(
        &self,
        place: usize,
        below: i32,
        pods: &[Arc<PodView>],
        prior: &[&Arc<PodView>],
        find: impl FnOnce() -> Option<Arc<Candidate>>,
    ) -> Option<Arc<Candidate>> {
        let same = |own: &Arc<PodView>, other: &Arc<PodView>| Arc::ptr_eq(own, other);
        let known = |room: &&Room| {
            room.below == below
                && room.pods.len() == pods.len()
                && room.prior.len() == prior.len()
                && room.pods.iter().zip(pods).all(|(own, other)| same(own, other))
                && room.prior.iter().zip(prior).all(|(own, other)| same(own, other))
        };
        if let Some(room) = self.0.lock().get(place).and_then(Option::as_ref).filter(known) {
            return room.found.clone();
        }
        let found = find();
        let prior = prior.iter().map(|pod| Arc::clone(pod)).collect();
        let mut rooms = self.0.lock();
        if rooms.len() <= place {
            rooms.resize_with(place + 1, || None);
        }
        rooms[place] = Some(Room { below, pods: pods.to_vec(), prior, found: found.clone() });
        found
    }
}
