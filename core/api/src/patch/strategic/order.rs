//! The order of merged lists: what the patch says goes first, then what the document had.

use serde_json::Value;

use super::{Error, Go, Member, Object, PATCH, check_items, key_of, malformed, merge_list, plain};

/// Merges a list together with its `$setElementOrder` directive.
pub(super) fn set_order(
    original: &mut Object,
    patch: Option<&Value>,
    name: &str,
    wanted: &Value,
    member: Member,
) -> Result<(), Error> {
    let wanted = list(Some(wanted))?.unwrap_or_default();
    let Some(patch) = patch.filter(|p| !p.is_null()).map_or(Ok(Some(&[][..])), |p| list(Some(p)))? else {
        return Ok(());
    };
    check_order(patch, wanted, member.key)?;
    let before = list(original.get(name))?;
    let merged = match before {
        None if patch.is_empty() => return Ok(()),
        None => patch.iter().filter(|item| item.get(PATCH).is_none()).map(plain).collect(),
        Some(before) if patch.is_empty() => before.to_vec(),
        Some(_) if !member.merge => patch.iter().map(plain).collect(),
        Some(before) => {
            let mut merged = before.to_vec();
            merge_list(&mut merged, patch, member)?;
            merged
        }
    };
    check_items(merged.iter())?;
    let arranged = arrange(merged, wanted, before.unwrap_or_default(), member.key)?;
    original.insert(name.to_owned(), Value::Array(arranged));
    Ok(())
}

/// Sorts `merged`: items named in `wanted` by its order, the others by the order of `before`, the two
/// sequences woven so that an item the document alone has stays ahead of what it preceded there.
pub(super) fn arrange(merged: Vec<Value>, wanted: &[Value], before: &[Value], key: &str) -> Result<Vec<Value>, Error> {
    let mut named = Vec::with_capacity(merged.len());
    let mut others = Vec::new();
    for item in merged {
        let was = position(before, &item, key);
        match position(wanted, &item, key) {
            Some(at) => named.push((at, was, item)),
            None if !key.is_empty() => {
                key_of(&item, key)?;
                others.push((was, item));
            }
            None => others.push((was, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(was, _)| was.unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, was, item) in named {
        while let Some((_, other)) = others.next_if(|(other, _)| matches!((other, was), (Some(o), Some(w)) if *o < w)) {
            arranged.push(other);
        }
        arranged.push(item);
    }
    arranged.extend(others.map(|(_, item)| item));
    Ok(arranged)
}

fn position(list: &[Value], item: &Value, key: &str) -> Option<usize> {
    if key.is_empty() {
        return list.iter().position(|other| other == item);
    }
    let wanted = item.get(key)?;
    list.iter().position(|other| other.get(key) == Some(wanted))
}

/// Checks that the items of the patch come in the order of the directive.
fn check_order(patch: &[Value], wanted: &[Value], key: &str) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut rest = wanted.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let value = |v| if key.is_empty() { Ok(v) } else { key_of(v, key) };
        let value_of_item = value(item)?;
        let mut found = false;
        for other in rest.by_ref() {
            if value(other)? == value_of_item {
                found = true;
                break;
            }
        }
        if !found {
            return Err(malformed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Go::List(patch),
                Go::List(wanted)
            )));
        }
    }
    Ok(())
}

fn list(value: Option<&Value>) -> Result<Option<&[Value]>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(Value::Object(_)) => Err(malformed("expected a []interface {}, but received a map[string]interface {}")),
        Some(_) => Err(malformed("expected a []interface {}, but received a string")),
    }
}
