//! Walks over values by type: which fields a value has, and which fields differ between two values.
//!
//! Order never matters here: a list of objects that is only rearranged has not changed.

use serde_json::{Map, Value};

use super::element::{Element, Scalar};
use super::set::FieldSet;
use super::types::{Division, Keys, TypeRef};

/// What differs between two values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The fields that are new or have another value.
    pub changed: FieldSet,
    /// The fields that are gone.
    pub removed: FieldSet,
}

/// The fields that a configuration speaks of, which its applier is to own.
#[must_use]
pub fn fields_of(value: &Value, kind: TypeRef<'_>) -> FieldSet {
    fields(value, kind).below
}

/// The fields that differ between two objects; names, versions and other bookkeeping aside.
///
/// Without an old object the new one is compared with the zero value of its type.
#[must_use]
pub fn changed(old: Option<&Value>, new: &Value, kind: TypeRef<'_>) -> Changes {
    let old = old.map_or(Old::Zero, Old::Value);
    let delta = differ(old, Some(new), kind, Depth::Root);
    Changes { changed: delta.changed.below, removed: delta.removed.below }
}

/// Whether a place, and which places below it, belong to a set.
#[derive(Default)]
struct Part {
    member: bool,
    below: FieldSet,
}

fn fields(value: &Value, kind: TypeRef<'_>) -> Part {
    let mut part = Part::default();
    match (kind.divide(value), value) {
        (Division::Leaf, _) => part.member = true,
        (division @ (Division::Struct(_) | Division::Map(_)), Value::Object(map)) => {
            part.below.nodes.reserve_exact(map.len());
            for (name, value) in map {
                let member = division.member(name);
                let sub = fields(value, member.kind);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                part.below.push(|| member.element(name), sub.member || empty || !member.declared, sub.below);
            }
        }
        (Division::ListMap(keys, kind), Value::Array(items)) => {
            for (element, group) in groups(&items_by_key(items, keys)) {
                let below = if let [(_, only)] = group { fields(only, kind).below } else { FieldSet::new() };
                part.below.push(|| element.clone(), true, below);
            }
        }
        (Division::Set, Value::Array(items)) => {
            for (element, _) in groups(&items_by_value(items)) {
                part.below.push(|| element.clone(), true, FieldSet::new());
            }
        }
        _ => {}
    }
    part
}

/// What was there before.
#[derive(Clone, Copy)]
enum Old<'a> {
    Absent,
    /// The zero value of the type.
    Zero,
    Value(&'a Value),
}

/// How far from the root a value is: bookkeeping lives in the first two levels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Root,
    Metadata,
    Below,
}

impl Depth {
    fn skips(self, name: &str) -> bool {
        match self {
            Self::Root => matches!(name, "apiVersion" | "kind"),
            Self::Metadata => super::update::is_bookkeeping(name),
            Self::Below => false,
        }
    }

    fn of(self, name: &str) -> Self {
        if self == Self::Root && name == "metadata" { Self::Metadata } else { Self::Below }
    }
}

#[derive(Default)]
struct Delta {
    changed: Part,
    removed: Part,
}

impl Delta {
    fn take(&mut self, element: impl Fn() -> Element, sub: Self) {
        self.changed.below.push(&element, sub.changed.member, sub.changed.below);
        self.removed.below.push(&element, sub.removed.member, sub.removed.below);
    }
}

fn differ(old: Old<'_>, new: Option<&Value>, kind: TypeRef<'_>, depth: Depth) -> Delta {
    let before = if let Old::Value(value) = old { Some(value).filter(|v| !v.is_null()) } else { None };
    let after = new.filter(|v| !v.is_null());
    let Some(sample) = after.or(before) else { return leaf(old, new) };
    let division = kind.divide(sample);
    if let (Some(before), Some(after)) = (before, after) {
        let alike = before.is_object() == after.is_object() && before.is_array() == after.is_array();
        let leaf_before = || matches!(kind.divide(before), Division::Leaf);
        if !alike || !matches!(division, Division::Leaf) && before.is_array() && leaf_before() {
            return swap(old, new, kind);
        }
    }
    if matches!(division, Division::Leaf) || is_empty(before) && is_empty(after) {
        return leaf(old, new);
    }
    let mut delta = match division {
        Division::ListMap(keys, kind) => lists(list(before), list(after), keys, kind),
        Division::Set => sets(list(before), list(after)),
        _ => objects(old, after, division, depth),
    };
    delta.changed.member = matches!(old, Old::Absent) && new.is_some();
    delta.removed.member = new.is_none();
    delta
}

fn leaf(old: Old<'_>, new: Option<&Value>) -> Delta {
    let mut delta = Delta::default();
    match (old, new) {
        (Old::Absent, Some(_)) => delta.changed.member = true,
        (Old::Zero, Some(new)) => delta.changed.member = !is_zero(new),
        (Old::Value(old), Some(new)) => delta.changed.member = old != new,
        (Old::Value(_), None) => delta.removed.member = true,
        (Old::Absent | Old::Zero, None) => {}
    }
    delta
}

/// One kind of JSON gives way to another: everything below is gone, everything that replaces it is new.
fn swap(old: Old<'_>, new: Option<&Value>, kind: TypeRef<'_>) -> Delta {
    let mut removed = differ(old, None, kind, Depth::Below).removed;
    removed.member = false;
    let mut changed = differ(Old::Absent, new, kind, Depth::Below).changed;
    changed.member = true;
    Delta { changed, removed }
}

fn objects(old: Old<'_>, new: Option<&Value>, division: Division<'_>, depth: Depth) -> Delta {
    let mut delta = Delta::default();
    let before = if let Old::Value(Value::Object(map)) = old { Some(map) } else { None };
    if before.is_none() {
        delta.changed.below.nodes.reserve_exact(new.and_then(Value::as_object).map_or(0, Map::len));
    }
    let mut before = before.into_iter().flatten().peekable();
    let mut after = new.and_then(Value::as_object).into_iter().flatten().peekable();
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return delta,
        };
        let a = before.next_if(|_| order.is_le());
        let b = after.next_if(|_| order.is_ge());
        let Some((name, _)) = a.or(b) else { return delta };
        if depth.skips(name) {
            continue;
        }
        let (a, b) = (a.map(|(_, v)| v), b.map(|(_, v)| v));
        // Most of what an update sends is as it was; then the type need not be asked.
        if a.is_some() && a == b {
            continue;
        }
        let member = division.member(name);
        let mut sub = match (a, old) {
            (Some(a), _) => differ(Old::Value(a), b, member.kind, depth.of(name)),
            (None, Old::Zero) if member.in_zero => differ(Old::Zero, b, member.kind, depth.of(name)),
            (None, _) => differ(Old::Absent, b, member.kind, depth.of(name)),
        };
        if depth.of(name) == Depth::Metadata {
            (sub.changed.member, sub.removed.member) = (false, false);
        }
        delta.take(|| member.element(name), sub);
    }
}

fn lists(old: &[Value], new: &[Value], keys: Keys<'_>, kind: TypeRef<'_>) -> Delta {
    let mut delta = Delta::default();
    // Most writes leave the items of a list in place; then no key has to be copied.
    if old.len() == new.len() && old.iter().zip(new).all(|(a, b)| keys.same(a, b)) {
        for (a, b) in old.iter().zip(new).filter(|(a, b)| a != b) {
            delta.take(|| keys.lenient(b), differ(Old::Value(a), Some(b), kind, Depth::Below));
        }
        delta.changed.below.sort();
        delta.removed.below.sort();
        return delta;
    }
    join(&mut delta, &items_by_key(old, keys), &items_by_key(new, keys), |a, b| differ(a, b, kind, Depth::Below));
    delta
}

fn sets(old: &[Value], new: &[Value]) -> Delta {
    let mut delta = Delta::default();
    if old != new {
        join(&mut delta, &items_by_value(old), &items_by_value(new), leaf);
    }
    delta
}

type Keyed<'a> = (Element, &'a Value);

/// Compares the items that have the same key; items that share a key are compared together.
fn join<'a>(
    delta: &mut Delta,
    old: &[Keyed<'a>],
    new: &[Keyed<'a>],
    differ: impl Fn(Old<'a>, Option<&'a Value>) -> Delta,
) {
    let mut old = groups(old).peekable();
    let mut new = groups(new).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return,
        };
        let (a, b) = (old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge()));
        let Some((element, _)) = a.or(b) else { return };
        let (a, b) = (a.map_or(&[][..], |(_, group)| group), b.map_or(&[][..], |(_, group)| group));
        let sub = if a.len() <= 1 && b.len() <= 1 {
            differ(a.first().map_or(Old::Absent, |(_, v)| Old::Value(v)), b.first().map(|(_, v)| *v))
        } else {
            let mut sub = Delta::default();
            sub.removed.member = b.is_empty();
            sub.changed.member = !b.is_empty() && !a.iter().map(|(_, v)| v).eq(b.iter().map(|(_, v)| v));
            sub
        };
        delta.take(|| element.clone(), sub);
    }
}

fn items_by_key<'a>(items: &'a [Value], keys: Keys<'_>) -> Vec<Keyed<'a>> {
    let mut keyed: Vec<Keyed<'a>> = items.iter().map(|item| (keys.lenient(item), item)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed
}

fn items_by_value(items: &[Value]) -> Vec<Keyed<'_>> {
    let element = |item| Element::Value(Scalar::from_json(item).unwrap_or(Scalar::Null));
    let mut keyed: Vec<Keyed<'_>> = items.iter().map(|item| (element(item), item)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed
}

fn groups<'k, 'a>(keyed: &'k [Keyed<'a>]) -> impl Iterator<Item = (&'k Element, &'k [Keyed<'a>])> {
    keyed.chunk_by(|a, b| a.0 == b.0).map(|group| (&group[0].0, group))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(_) => false,
    }
}
