//! Merging a configuration into a live object, and taking fields out of one, both by type.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{Element, Scalar};
use super::set::FieldSet;
use super::types::{Division, TypeRef};
use super::walk::fields_of;

/// Writes what `config` says over `live`; what it does not mention stays.
///
/// Items of lists come out in the order of the configuration, those that only the live object has beside their old neighbours.
pub(super) fn merge(live: &mut Value, config: &Value, kind: TypeRef<'_>) {
    let division = kind.divide(config);
    match (live, config) {
        (live @ Value::Object(_), Value::Null) if !matches!(kind.divide(live), Division::Leaf) => {}
        (live @ Value::Array(_), Value::Null) if !matches!(kind.divide(live), Division::Leaf) => {}
        (Value::Object(live), Value::Object(config)) if !matches!(division, Division::Leaf) => {
            for (name, value) in config {
                match live.get_mut(name) {
                    Some(old) => merge(old, value, division.member(name).kind),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(config)) => match division {
            Division::ListMap(keys, kind) => {
                *live = weave(std::mem::take(live), config, |v| keys.lenient(v), |a, b| merge(a, b, kind));
            }
            Division::Set => {
                let element = |v: &Value| Element::Value(Scalar::from_json(v).unwrap_or(Scalar::Null));
                *live = weave(std::mem::take(live), config, element, |_, _| {});
            }
            _ => live.clone_from(config),
        },
        (live, config) => live.clone_from(config),
    }
}

fn weave(
    live: Vec<Value>,
    config: &[Value],
    element: impl Fn(&Value) -> Element,
    merge: impl Fn(&mut Value, &Value),
) -> Vec<Value> {
    let wanted: Vec<Element> = config.iter().map(&element).collect();
    let present: Vec<Element> = live.iter().map(&element).collect();
    let place = |list: &[Element]| {
        list.iter().cloned().zip(0_usize..).collect::<Vec<_>>().into_iter().rev().collect::<BTreeMap<_, _>>()
    };
    let (place_wanted, place_present) = (place(&wanted), place(&present));
    let mut live: Vec<Option<Value>> = live.into_iter().map(Some).collect();
    let mut woven = Vec::with_capacity(live.len().max(config.len()));
    let mut next = 0;
    for (at, item) in config.iter().enumerate() {
        let shared = (at..config.len()).find(|at| place_present.contains_key(&wanted[*at]));
        while let Some(there) = present.get(next) {
            match place_wanted.get(there) {
                None => woven.extend(live[next].take()),
                same if same.is_some() && same == shared.as_ref() => break,
                _ => {}
            }
            next += 1;
        }
        let old = place_present.get(&wanted[at]).and_then(|there| live[*there].take());
        woven.push(old.map_or_else(
            || item.clone(),
            |mut old| {
                merge(&mut old, item);
                old
            },
        ));
        next += usize::from(present.get(next) == Some(&wanted[at]));
    }
    let rest = next..present.len();
    woven.extend(rest.filter(|at| !place_wanted.contains_key(&present[*at])).filter_map(|at| live[at].take()));
    woven
}

/// Takes out what the applier owned before and nobody owns now.
///
/// Values that nobody owns go only with the field they belong to; `owned` is what all own after the write.
pub(super) fn prune(merged: Value, last: &FieldSet, mut owned: FieldSet, kind: TypeRef<'_>) -> Value {
    if last.difference(&owned).is_empty() {
        return merged;
    }
    let named = |mut set: FieldSet| {
        name_parents(&mut set, kind);
        set
    };
    let last = named(last.clone());
    let everything = named(fields_of(&merged, kind));
    name_parents(&mut owned, kind);
    let without = |gone: &FieldSet| {
        let mut rest = merged.clone();
        remove(&mut rest, gone, Some(&owned), kind);
        rest
    };
    let claimed = named(fields_of(&without(&last), kind)).union(owned.clone());
    let kept = named(fields_of(&without(&everything.difference(&claimed)), kind));
    without(&everything.difference(&kept).intersection(&last))
}

/// Adds the declared fields that lead to members of a set; keys of maps and items of lists are their own members.
fn name_parents(set: &mut FieldSet, kind: TypeRef<'_>) {
    let division = kind.divide(&Value::Null);
    for node in &mut set.nodes {
        let below = match (&node.element, division) {
            (Element::Field(name), Division::Struct(_) | Division::Map(_)) => {
                let member = division.member(name);
                node.member |= member.declared;
                member.kind
            }
            (Element::Key(_), Division::ListMap(_, kind)) => kind,
            _ => TypeRef::DEDUCED,
        };
        name_parents(&mut node.children, below);
    }
}

/// Takes the members of a set out of a value, each with all below.
///
/// Containers that lose everything go too, unless they are `owned` for themselves.
fn remove(value: &mut Value, gone: &FieldSet, owned: Option<&FieldSet>, kind: TypeRef<'_>) {
    if gone.is_empty() {
        return;
    }
    let division = kind.divide(value);
    let stays = |value: &mut Value, element: &Element, kind| {
        let Some(node) = gone.node(element) else { return true };
        if node.member {
            return false;
        }
        let owner = owned.and_then(|owned| owned.node(element));
        let had = !is_empty(value);
        remove(value, &node.children, owner.map(|node| &node.children), kind);
        !had || !is_empty(value) || owner.is_some_and(|node| node.member)
    };
    match (value, division) {
        (Value::Object(map), Division::Struct(_) | Division::Map(_)) => map.retain(|name, value| {
            let member = division.member(name);
            let element = member.element(name);
            let whole = gone.node(&element).is_some_and(|node| node.member);
            stays(value, &element, member.kind) || member.in_zero && !whole
        }),
        (Value::Array(items), Division::ListMap(keys, kind)) => {
            items.retain_mut(|item| {
                let element = keys.lenient(item);
                stays(item, &element, kind)
            });
        }
        (Value::Array(items), Division::Set) => items.retain_mut(|item| {
            let element = Scalar::from_json(item).map(Element::Value);
            element.is_none_or(|element| stays(item, &element, TypeRef::DEDUCED))
        }),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
