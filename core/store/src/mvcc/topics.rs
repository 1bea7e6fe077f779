//! Who watches what: one topic per range that somebody watches, however many do.
//!
//! A topic knows the sequence numbers of its range's changes, not the changes, so that a watcher costs what it
//! receives and not what happens elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_kernel::store::{Change, Key, KeyRange, Pick};

use super::History;

/// A range that somebody watches, or what is picked from one.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(super) range: KeyRange,
    pick: Option<Pick>,
    index: Mutex<Index>,
    /// Changes only while the registry is locked.
    watchers: AtomicUsize,
    /// Told of each batch of changes in the range.
    pub(super) changed: Event,
}

#[derive(Debug)]
struct Index {
    /// From this sequence number on, no change of the range is missing below.
    from: u64,
    changes: VecDeque<u64>,
}

impl Topic {
    /// The first change of the range at or after `sequence`, if it has happened.
    pub(super) fn next(&self, sequence: u64) -> Option<u64> {
        let index = self.index.lock();
        if sequence < index.from {
            // Some changes since were forgotten together with the history; whoever asks will find them gone.
            return Some(sequence);
        }
        index.changes.get(index.changes.partition_point(|change| *change < sequence)).copied()
    }

    fn holds(&self, change: &Change) -> bool {
        self.range.contains(change.key().as_str()) && self.pick.as_ref().is_none_or(|pick| pick.wants(change))
    }

    /// Extends the index back to `sequence`.
    fn cover(&self, sequence: u64, history: &History) {
        let mut index = self.index.lock();
        let missing = history.from(sequence).take_while(|(at, _)| *at < index.from);
        let missing: Vec<u64> = missing.filter(|(_, change)| self.holds(change)).map(|(at, _)| at).collect();
        missing.into_iter().rev().for_each(|at| index.changes.push_front(at));
        index.from = index.from.min(sequence);
    }

    /// Notes a change and forgets those before `first`. Whether it is the first one since `batch`.
    fn note(&self, sequence: u64, first: u64, batch: u64) -> bool {
        let mut index = self.index.lock();
        while index.changes.front().is_some_and(|oldest| *oldest < first) {
            let forgotten = index.changes.pop_front().map_or(0, |at| at + 1);
            index.from = index.from.max(forgotten);
        }
        let new = index.changes.back().is_none_or(|newest| *newest < batch);
        index.changes.push_back(sequence);
        new
    }
}

/// All topics, found by the keys they hold.
#[derive(Debug, Default)]
pub(super) struct Topics {
    prefixes: BTreeMap<Key, Arc<Topic>>,
    /// Ranges that are no prefix, such as a single key.
    keys: BTreeMap<Key, Arc<Topic>>,
    others: Vec<Arc<Topic>>,
    picked: Vec<Family>,
}

/// What is picked from one range by one name. A change costs its few, however many there are.
#[derive(Debug)]
struct Family {
    range: KeyRange,
    pick: Pick,
    topics: BTreeMap<String, Arc<Topic>>,
}

impl Family {
    fn is_of(&self, range: &KeyRange, pick: &Pick) -> bool {
        self.pick.name == pick.name && self.range == *range
    }

    fn holding(&self, change: &Change, found: impl FnMut(&Arc<Topic>)) {
        if !self.range.contains(change.key().as_str()) {
            return;
        }
        let said = |entry: &Option<_>| entry.as_ref().and_then(self.pick.says);
        let (before, after) = (said(&change.before), said(&change.after));
        let both = before.as_ref().filter(|before| after.as_ref() != Some(before)).into_iter().chain(&after);
        both.filter_map(|said| self.topics.get(said)).for_each(found);
    }
}

enum Shape {
    Prefix,
    Key,
    Other,
}

fn shape(range: &KeyRange) -> Shape {
    if *range == KeyRange::prefix(range.start.as_str()) {
        Shape::Prefix
    } else if range.end.as_ref().is_some_and(|end| end.as_str().strip_prefix(range.start.as_str()) == Some("\0")) {
        Shape::Key
    } else {
        Shape::Other
    }
}

impl Topics {
    /// The topic of a range, with an index that reaches back to `sequence`.
    pub(super) fn join(
        &mut self,
        range: &KeyRange,
        pick: Option<Pick>,
        sequence: u64,
        history: &History,
    ) -> Arc<Topic> {
        let picked = pick.clone();
        let new = || {
            let index = Index { from: history.end(), changes: VecDeque::new() };
            Arc::new(Topic {
                range: range.clone(),
                pick: picked,
                index: Mutex::new(index),
                watchers: AtomicUsize::new(0),
                changed: Event::new(),
            })
        };
        let topic = match shape(range) {
            _ if pick.is_some() => self.pick(range, pick, new),
            Shape::Prefix => Arc::clone(self.prefixes.entry(range.start.clone()).or_insert_with(new)),
            Shape::Key => Arc::clone(self.keys.entry(range.start.clone()).or_insert_with(new)),
            Shape::Other => match self.others.iter().find(|topic| topic.range == *range) {
                Some(topic) => Arc::clone(topic),
                None => {
                    self.others.push(new());
                    Arc::clone(&self.others[self.others.len() - 1])
                }
            },
        };
        topic.cover(sequence, history);
        topic.watchers.fetch_add(1, Ordering::Relaxed);
        topic
    }

    fn pick(&mut self, range: &KeyRange, pick: Option<Pick>, new: impl FnOnce() -> Arc<Topic>) -> Arc<Topic> {
        let Some(pick) = pick else { return new() };
        let at = match self.picked.iter().position(|family| family.is_of(range, &pick)) {
            Some(at) => at,
            None => {
                let (range, pick) = (range.clone(), pick.clone());
                self.picked.push(Family { range, pick, topics: BTreeMap::new() });
                self.picked.len() - 1
            }
        };
        Arc::clone(self.picked[at].topics.entry(pick.wanted).or_insert_with(new))
    }

    /// Forgets a topic with its last watcher.
    pub(super) fn leave(&mut self, topic: &Arc<Topic>) {
        if topic.watchers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if let Some(pick) = &topic.pick {
            let own = self.picked.iter_mut().filter(|family| family.is_of(&topic.range, pick));
            own.for_each(|family| drop(family.topics.remove(&pick.wanted)));
            self.picked.retain(|family| !family.topics.is_empty());
            return;
        }
        match shape(&topic.range) {
            Shape::Prefix => drop(self.prefixes.remove(&topic.range.start)),
            Shape::Key => drop(self.keys.remove(&topic.range.start)),
            Shape::Other => self.others.retain(|other| !Arc::ptr_eq(other, topic)),
        }
    }

    /// Every topic.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        let picked = self.picked.iter().flat_map(|family| family.topics.values());
        self.prefixes.values().chain(self.keys.values()).chain(&self.others).chain(picked).cloned().collect()
    }

    /// Notes the changes from `batch` on. The topics that they touch, for whoever wakes their watchers.
    pub(super) fn note(&self, history: &History, batch: u64) -> Vec<Arc<Topic>> {
        let mut touched = vec![];
        for (sequence, change) in history.from(batch) {
            let mut noted = |topic: &Arc<Topic>| {
                if topic.note(sequence, history.first(), batch) {
                    touched.push(Arc::clone(topic));
                }
            };
            self.holding(change.key().as_str(), &mut noted);
            self.picked.iter().for_each(|family| family.holding(change, &mut noted));
        }
        touched
    }

    fn holding(&self, key: &str, mut found: impl FnMut(&Arc<Topic>)) {
        let mut below = Bound::Included(key);
        while let Some((start, topic)) = self.prefixes.range::<str, _>((Bound::Unbounded, below)).next_back() {
            if key.starts_with(start.as_str()) {
                found(topic);
                below = Bound::Excluded(start.as_str());
            } else {
                // Whatever prefix of the key is left has no more in common with it than this neighbour.
                let shared = start.as_str().bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
                below = Bound::Included(&key[..key.floor_char_boundary(shared)]);
            }
        }
        self.keys.get(key).into_iter().for_each(&mut found);
        self.others.iter().filter(|topic| topic.range.contains(key)).for_each(&mut found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranges: &[(&str, Option<&str>)], key: &str, expect: &[&str]) {
        let mut topics = Topics::default();
        for (start, end) in ranges {
            let range = match end {
                Some(end) => KeyRange { start: (*start).into(), end: Some((*end).into()) },
                None => KeyRange::prefix(start),
            };
            topics.join(&range, None, 0, &History::default());
        }
        let mut found = vec![];
        topics.holding(key, |topic| found.push(topic.range.start.as_str().to_owned()));
        found.sort();
        assert_eq!(found, expect);
    }

    #[test]
    fn a_key_is_found_by_every_range_that_holds_it_and_no_other() {
        let prefixes = [("", None), ("/a/", None), ("/a/b", None), ("/a/c", None), ("/b/", None), ("/a/bé", None)];
        check(&prefixes, "/a/bx", &["", "/a/", "/a/b"]);
        check(&prefixes, "/a/bè", &["", "/a/", "/a/b"]);
        check(&prefixes, "/a/béx", &["", "/a/", "/a/b", "/a/bé"]);
        check(&prefixes, "/a", &[""]);
        check(&[("/a", Some("/a\0")), ("/a/", None)], "/a", &["/a"]);
        check(&[("/a", Some("/a\0")), ("/a/", None)], "/a/", &["/a/"]);
        check(&[("/b", Some("/d")), ("/c", Some("/c/x"))], "/c/y", &["/b"]);
    }
}
