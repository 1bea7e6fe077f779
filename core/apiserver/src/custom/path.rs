//! Paths into an object as definitions write them for columns, scales and selectable fields (JSONPath, without braces).
//!
//! Fields, quoted fields, indexes, `*`, `..` and filters by comparison are understood; what else the language of
//! `kubectl get -o jsonpath` has, definitions do not use.

use serde_json::Value;

/// A path that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Every,
    Anywhere(String),
    Filter(JsonPath, Option<(Compare, Value)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path such as `.spec.ports[0].name`; `None` where it cannot be read.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let step;
            if let Some(after) = rest.strip_prefix("..") {
                let (name, after) = name(after)?;
                (step, rest) = (Step::Anywhere(name), after);
            } else if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() {
                    break;
                }
                if let Some(after) = after.strip_prefix('*') {
                    (step, rest) = (Step::Every, after);
                } else if after.starts_with('[') {
                    rest = after;
                    continue;
                } else {
                    let (name, after) = name(after)?;
                    (step, rest) = (Step::Field(name), after);
                }
            } else if let Some(after) = rest.strip_prefix('[') {
                (step, rest) = bracket(after)?;
            } else {
                return None;
            }
            steps.push(step);
        }
        Some(Self(steps))
    }

    /// The first value that the path leads to.
    pub(crate) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            let mut next = Vec::new();
            found.into_iter().for_each(|value| step.follow(value, &mut next));
            found = next;
        }
        found.first().copied()
    }

    /// The fields, where the path is made of fields alone.
    pub(crate) fn fields(&self) -> Option<Vec<&str>> {
        self.0.iter().map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None }).collect()
    }
}

/// A field's name, in which a backslash hides what would end it.
fn name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => return (!name.is_empty()).then_some((name, &text[at..])),
            letter => name.push(letter),
        }
    }
    (!name.is_empty()).then_some((name, ""))
}

/// What stands between brackets, of which the first was read.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(quote) = text.chars().next().filter(|letter| matches!(letter, '\'' | '"')) {
        let end = text[1..].find(quote)? + 1;
        let rest = text[end + 1..].strip_prefix(']')?;
        return Some((Step::Field(text[1..end].to_owned()), rest));
    }
    if let Some(inner) = text.strip_prefix("?(") {
        let end = inner.find(")]")?;
        return Some((filter(&inner[..end])?, &inner[end + 2..]));
    }
    let (inner, rest) = text.split_once(']')?;
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let step = match inner.split_once(':') {
        _ if inner == "*" => Step::Every,
        Some((from, to)) => Step::Slice(number(from)?, number(to)?),
        None => Step::Index(inner.parse().ok()?),
    };
    Some((step, rest))
}

fn filter(text: &str) -> Option<Step> {
    let all = [
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("<=", Compare::LessOrEqual),
        (">=", Compare::GreaterOrEqual),
        ("<", Compare::Less),
        (">", Compare::Greater),
    ];
    let found = all.into_iter().find_map(|(sign, compare)| Some((text.split_once(sign)?, compare)));
    let path = |text: &str| JsonPath::read(text.trim().strip_prefix('@')?);
    let Some(((left, right), compare)) = found else { return Some(Step::Filter(path(text)?, None)) };
    let right = right.trim();
    let quoted = right.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let wanted = quoted.map_or_else(|| serde_json::from_str(right).ok(), |text| Some(Value::from(text)))?;
    Some(Step::Filter(path(left)?, Some((compare, wanted))))
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, next: &mut Vec<&'v Value>) {
        match self {
            Self::Field(name) => next.extend(value.get(name)),
            Self::Index(at) => next.extend(place(value, *at).and_then(|at| value.get(at))),
            Self::Slice(from, to) => {
                let Value::Array(items) = value else { return };
                let end = |at: Option<i64>, default| at.map_or(default, |at| bound(items.len(), at));
                let (from, to) = (end(*from, 0), end(*to, items.len()));
                next.extend(items.get(from..to.max(from)).into_iter().flatten());
            }
            Self::Every => match value {
                Value::Array(items) => next.extend(items),
                Value::Object(fields) => next.extend(fields.values()),
                _ => {}
            },
            Self::Anywhere(name) => anywhere(value, name, next),
            Self::Filter(path, wanted) => {
                let fits = |item: &&Value| match (path.first(item), wanted) {
                    (found, None) => found.is_some(),
                    (Some(found), Some((compare, wanted))) => compare.holds(found, wanted),
                    (None, Some(_)) => false,
                };
                match value {
                    Value::Array(items) => next.extend(items.iter().filter(fits)),
                    Value::Object(fields) => next.extend(fields.values().filter(fits)),
                    _ => {}
                }
            }
        }
    }
}

impl Compare {
    fn holds(self, found: &Value, wanted: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (found, wanted) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::NotEqual => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        }
    }
}

/// A bound of a slice; a negative one counts from the end.
fn bound(length: usize, at: i64) -> usize {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    usize::try_from(if at < 0 { length + at } else { at.min(length) }).unwrap_or(0)
}

fn place(value: &Value, at: i64) -> Option<usize> {
    let length = i64::try_from(value.as_array()?.len()).ok()?;
    usize::try_from(if at < 0 { length + at } else { at }).ok()
}

fn anywhere<'v>(value: &'v Value, name: &str, next: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            next.extend(fields.get(name));
            fields.values().for_each(|value| anywhere(value, name, next));
        }
        Value::Array(items) => items.iter().for_each(|value| anywhere(value, name, next)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(path: &str, expect: Option<&Value>) {
        let object = json!({"metadata": {"annotations": {"a.b/c": "x"}}, "spec": {"n": 3, "list": [{"k": "a"}, {"k": "b"}]},
            "status": {"conditions": [{"type": "Up", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        assert_eq!(JsonPath::read(path).unwrap().first(&object), expect, "{path}");
    }

    #[test]
    fn paths_lead_to_the_first_of_what_they_name() {
        check(".spec.n", Some(&json!(3)));
        check(".spec.list[1].k", Some(&json!("b")));
        check(".spec.list[-1].k", Some(&json!("b")));
        check(".spec.list[*].k", Some(&json!("a")));
        check(".spec.list[1:].k", Some(&json!("b")));
        check(".spec.list[7].k", None);
        check(".spec.absent", None);
        check(".metadata.annotations.a\\.b/c", Some(&json!("x")));
        check(".metadata.annotations['a.b/c']", Some(&json!("x")));
        check(".status.conditions[?(@.type==\"Ready\")].status", Some(&json!("True")));
        check(".status.conditions[?(@.type=='Ready')].status", Some(&json!("True")));
        check(
            "..status",
            Some(&json!({"conditions": [{"type": "Up", "status": "False"},
            {"type": "Ready", "status": "True"}]})),
        );
        for bad in ["spec", ".spec[", ".spec[x]", ".spec[?(x)]"] {
            assert_eq!(JsonPath::read(bad), None, "{bad}");
        }
        assert_eq!(JsonPath::read(".a.b").unwrap().fields(), Some(vec!["a", "b"]));
    }
}
