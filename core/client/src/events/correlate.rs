//! Which happenings become new events, which are counted in an old one, and which are too many. Pure.
//!
//! The figures are those of upstream's recorder.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use windlass_api::core::v1::ObjectReference;

use super::Severity;

/// How many different events are remembered.
const REMEMBERED: usize = 4096;
/// So many different messages of one reason within [`SIMILAR_WINDOW`] are told apart; further ones are combined.
const SIMILAR: usize = 10;
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// So many events about one object may come at once, and then one in each [`REFILL`].
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);

/// What somebody recorded.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) about: ObjectReference,
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Everything that makes two happenings the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    group: Group,
    message: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    object: Object,
    severity: Severity,
    reason: Arc<str>,
}

/// An object, shared by all who remember it; what tells objects apart comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object(Arc<[Option<String>; 6]>);

/// What is to be written.
#[derive(Debug)]
pub(super) enum Step {
    Create(Key, Happening),
    Count { key: Key, name: String, count: i32, happening: Happening },
    Drop,
}

/// A map that forgets what was not used for longest.
struct Recent<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    uses: BTreeMap<u64, K>,
    next: u64,
}

struct Known {
    name: String,
    count: i32,
}

#[derive(Default)]
struct Similar {
    messages: BTreeSet<Arc<str>>,
    last: Duration,
}

struct Budget {
    tokens: u32,
    filled: Duration,
}

#[derive(Default)]
pub(super) struct Correlator {
    known: Recent<Key, Known>,
    similar: Recent<Group, Similar>,
    budgets: Recent<Object, Budget>,
}

impl Correlator {
    pub(super) fn correlate(&mut self, mut happening: Happening, now: Duration) -> Step {
        let key = self.key(&mut happening, now);
        if !self.budgets.get_or(&key.group.object, || Budget { tokens: BURST, filled: now }).spend(now) {
            return Step::Drop;
        }
        match self.known.get(&key) {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                Step::Count { name: known.name.clone(), count: known.count, key, happening }
            }
            None => Step::Create(key, happening),
        }
    }

    pub(super) fn created(&mut self, key: &Key, name: String) {
        let known = self.known.get_or(key, || Known { name: String::new(), count: 1 });
        *known = Known { name, count: 1 };
    }

    /// The key of a happening; of one too many of its kind, the kind's, with a message that says so.
    fn key(&mut self, happening: &mut Happening, now: Duration) -> Key {
        let about = &happening.about;
        let names = [&about.uid, &about.name, &about.namespace, &about.field_path, &about.kind, &about.api_version];
        let object = Object(Arc::new(names.map(Clone::clone)));
        let group = Group { object, severity: happening.severity, reason: happening.reason.as_str().into() };
        let message: Arc<str> = happening.message.as_str().into();
        let similar = self.similar.get_or(&group, Similar::default);
        if now.saturating_sub(mem::replace(&mut similar.last, now)) > SIMILAR_WINDOW {
            similar.messages.clear();
        }
        similar.messages.insert(Arc::clone(&message));
        if similar.messages.len() <= SIMILAR {
            return Key { group, message };
        }
        similar.messages.pop_first();
        happening.message.insert_str(0, "(combined from similar events): ");
        Key { group, message: "".into() }
    }
}

impl Budget {
    fn spend(&mut self, now: Duration) -> bool {
        while self.tokens < BURST && now.saturating_sub(self.filled) >= REFILL {
            self.tokens += 1;
            self.filled += REFILL;
        }
        if self.tokens == BURST {
            self.filled = now;
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), uses: BTreeMap::new(), next: 0 }
    }
}

impl<K: Ord + Clone, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.uses.remove(used);
        self.next += 1;
        *used = self.next;
        self.uses.insert(self.next, key.clone());
        Some(value)
    }

    fn get_or(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) {
            if self.entries.len() >= REMEMBERED
                && let Some((_, oldest)) = self.uses.pop_first()
            {
                self.entries.remove(&oldest);
            }
            self.entries.insert(key.clone(), (0, new()));
        }
        self.get(key).expect("it was inserted above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(object: &str, message: &str) -> Happening {
        let about = ObjectReference { name: Some(object.into()), ..ObjectReference::default() };
        Happening { about, severity: Severity::Normal, reason: "Done".into(), message: message.into() }
    }

    /// One word for each happening, `object:message` each: `new`, `x2` for a second one of the same, `-` for dropped.
    fn check(correlator: &mut Correlator, happenings: &[String], at: u64, expect: &[&str]) {
        let steps = happenings.iter().map(|text| {
            let (object, message) = text.split_once(':').unwrap();
            match correlator.correlate(happening(object, message), Duration::from_secs(at)) {
                Step::Drop => "-".to_owned(),
                Step::Count { count, .. } => format!("x{count}"),
                Step::Create(key, _) => {
                    correlator.created(&key, "name".into());
                    "new".into()
                }
            }
        });
        assert_eq!(steps.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_same_happening_is_counted() {
        let happenings = ["a:x", "a:x", "b:x", "a:y", "a:x"].map(str::to_owned);
        check(&mut Correlator::default(), &happenings, 0, &["new", "x2", "new", "new", "x3"]);
    }

    #[test]
    fn many_messages_of_one_reason_are_combined() {
        let mut correlator = Correlator::default();
        let happenings: Vec<_> = (0..13).map(|number| format!("a:{number:02}")).collect();
        let mut expect = vec!["new"; 11];
        expect.extend(["x2", "x3"]);
        check(&mut correlator, &happenings, 0, &expect);
        check(&mut correlator, &["a:new".into()], 601, &["new"]);
    }

    #[test]
    fn too_many_about_one_object_are_dropped_until_time_passes() {
        let mut correlator = Correlator::default();
        let same = |count| vec!["a:x".to_owned(); count];
        for event in same(25) {
            assert!(!matches!(correlator.correlate(happening(&event[..1], "x"), Duration::ZERO), Step::Drop));
        }
        check(&mut correlator, &same(1), 299, &["-"]);
        assert!(!matches!(correlator.correlate(happening("a", "x"), Duration::from_secs(301)), Step::Drop));
        check(&mut correlator, &same(1), 302, &["-"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..REMEMBERED + 10 {
            recent.get_or(&number, || ());
        }
        assert_eq!((recent.entries.len(), recent.uses.len()), (REMEMBERED, REMEMBERED));
        assert!(recent.get(&0).is_none() && recent.get(&20).is_some());
    }
}
