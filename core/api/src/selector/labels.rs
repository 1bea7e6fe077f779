//! Label selectors as values: their requirements, and matching. Their text is read in `parse`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::{Error, parse};
use crate::names;
use crate::path::Path;

/// A label selector: requirements that must all hold, sorted by key, or one that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `None` selects nothing; an empty list everything.
    requirements: Option<Vec<Requirement>>,
}

/// One thing that is asked of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// How a label is compared with the values of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`
    DoubleEquals,
    /// `key!=value`: true for an absent label too.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`: true for an absent label too.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

impl Labels {
    /// Selects everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Selects what meets every requirement.
    #[must_use]
    pub fn all(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Selects what carries each of the labels with exactly these values, as a Service's selector does; unchecked.
    pub fn equal_to<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirement = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::all(labels.into_iter().map(requirement).collect())
    }

    /// Reads a `metav1.LabelSelector`: absent selects nothing, empty selects everything.
    pub fn from_json(selector: Option<&Value>) -> Result<Self, Error> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key.clone(), Operator::Equals, vec![value])?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(Requirement::from_json(expression)?);
        }
        Ok(Self::all(requirements))
    }

    /// Whether the labels that `get` looks up meet every requirement.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.as_ref().is_some_and(|all| all.iter().all(|one| one.holds(get(&one.key))))
    }

    /// Whether the labels meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Whether the labels of an object, as JSON, meet every requirement.
    #[must_use]
    pub fn matches_json(&self, labels: Option<&Value>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// The requirements; none for a selector of nothing.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    /// Whether nothing can match.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// Whether everything matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// The one value that the label must have, where the selector leaves no choice.
    #[must_use]
    pub fn exact(&self, key: &str) -> Option<&str> {
        let fixed = |r: &&Requirement| {
            r.key == key && matches!(r.operator, Operator::Equals | Operator::DoubleEquals | Operator::In)
        };
        let mut candidates = self.requirements().iter().filter(fixed).filter(|r| r.values.len() == 1);
        candidates.next().map(|r| r.values[0].as_str())
    }
}

impl Requirement {
    /// Checks and makes a requirement.
    pub fn new(key: String, operator: Operator, values: Vec<String>) -> Result<Self, Error> {
        let requirement = Self { key, operator, values };
        let mut said = Vec::new();
        requirement.complain(&mut said);
        match said.len() {
            0 => Ok(requirement),
            1 => Err(Error(said.remove(0))),
            _ => Err(Error(format!("[{}]", said.join(", ")))),
        }
    }

    fn from_json(expression: &Value) -> Result<Self, Error> {
        let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(Error(format!("{other:?} is not a valid label selector operator"))),
        };
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.map(|v| v.as_str().unwrap_or_default().to_owned()).collect();
        Self::new(text("key").to_owned(), operator, values)
    }

    /// The label's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How the label is compared.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// What the label is compared with.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether the value of the label, or its absence, meets the requirement.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.numbers(value).is_some_and(|(label, limit)| label > limit),
            Operator::LessThan => self.numbers(value).is_some_and(|(label, limit)| label < limit),
        }
    }

    fn numbers(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }

    fn complain(&self, said: &mut Vec<String>) {
        let complaints = names::qualified_name(&self.key);
        if !complaints.is_empty() {
            said.push(invalid(&Path::new("key"), &format!("{:?}", self.key), &complaints.join("; ")));
        }
        let values = Path::new("values");
        let mut count = |right: bool, words: &str| {
            if !right {
                said.push(invalid(&values, &format!("[]string{{{}}}", quoted(&self.values)), words));
            }
        };
        match self.operator {
            Operator::In | Operator::NotIn => {
                count(!self.values.is_empty(), "for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => {
                count(self.values.len() == 1, "exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist => {
                count(self.values.is_empty(), "values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                count(self.values.len() == 1, "for 'Gt', 'Lt' operators, exactly one value is required");
                for (at, value) in self.values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()) {
                    let words = "for 'Gt', 'Lt' operators, the value must be an integer";
                    said.push(invalid(&values.index(at), &format!("{value:?}"), words));
                }
            }
        }
        for (at, value) in self.values.iter().enumerate() {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                said.push(invalid(&values.index(at).key(&self.key), &format!("{value:?}"), &complaints.join("; ")));
            }
        }
    }
}

pub(super) fn invalid(path: &Path<'_>, value: &str, words: &str) -> String {
    format!("{path}: Invalid value: {value}: {words}")
}

fn quoted(values: &[String]) -> String {
    values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ")
}

impl FromStr for Labels {
    type Err = Error;

    /// Reads the grammar of the `labelSelector` query parameter.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse::labels(text)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements().iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(selector: &str, labels: &[(&str, &str)], expect: bool) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(selector.parse::<Labels>().unwrap().matches(&labels), expect, "{selector}");
    }

    #[test]
    fn requirements_are_met_or_not() {
        let labels = &[("a", "b"), ("n", "5"), ("e", "")];
        for yes in [
            "",
            "a",
            "a=b",
            "a==b",
            "a!=c",
            "x!=c",
            "a in (b,c)",
            "a notin (c)",
            "x notin (c)",
            "!x",
            "n>4",
            "n<6",
            "e=",
            "a,n>1",
        ] {
            check(yes, labels, true);
        }
        for no in ["x", "a=c", "x=b", "a!=b", "a in (c)", "a notin (b)", "!a", "n>5", "a>1", "x<1", "a=b,x"] {
            check(no, labels, false);
        }
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(Labels::from_json(None).unwrap().is_nothing());
        assert!(Labels::from_json(Some(&json!({}))).unwrap().is_everything());
        assert!(!Labels::nothing().matches(&BTreeMap::new()));
    }

    #[test]
    fn expressions_of_objects_are_read_and_checked() {
        let read = |s: &Value| Labels::from_json(Some(s)).map_or_else(|e| e.to_string(), |l| l.to_string());
        let both = json!({"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y", "x"]}]});
        assert_eq!(read(&both), "a notin (x,y),b=1");
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        assert_eq!(read(&odd), "\"Is\" is not a valid label selector operator");
        let none = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
        assert_eq!(
            read(&none),
            "values: Invalid value: []string{}: for 'in', 'notin' operators, values set can't be empty"
        );
    }

    #[test]
    fn a_single_value_is_exact() {
        let selector: Labels = "a=1,b in (2),c in (3,4),d!=5".parse().unwrap();
        let exact = ["a", "b", "c", "d", "e"].map(|key| selector.exact(key));
        assert_eq!(exact, [Some("1"), Some("2"), None, None, None]);
    }
}
