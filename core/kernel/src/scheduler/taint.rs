//! Taints and tolerations, compiled: which taints repel a pod.

use std::fmt;

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// Rather no new pods.
    PreferNoSchedule,
    /// No new pods, and those that run are evicted.
    NoExecute,
}

impl Effect {
    /// Reads the API's word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value; often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

impl Taint {
    /// The key of the taint of nodes that an operator closed.
    pub const UNSCHEDULABLE: &'static str = "node.kubernetes.io/unschedulable";

    /// A taint.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<String>, effect: Effect) -> Self {
        Self { key: key.into(), value: value.into(), effect }
    }

    /// Whether it keeps pods away, rather than only discouraging them.
    #[must_use]
    pub fn repels(&self) -> bool {
        self.effect != Effect::PreferNoSchedule
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}: {}}}", self.key, self.value)
    }
}

/// What a pod puts up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key; empty for every taint.
    pub key: String,
    /// How values are compared.
    pub value: Tolerated,
    /// The taint's effect; `None` for all.
    pub effect: Option<Effect>,
}

/// Which values of a taint are tolerated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tolerated {
    /// All.
    Any,
    /// This one.
    Equal(String),
    /// Whole numbers below this.
    Below(i64),
    /// Whole numbers above this.
    Above(i64),
    /// None: the toleration cannot be read.
    Nothing,
}

impl Toleration {
    /// Tolerates every taint with a key.
    #[must_use]
    pub fn exists(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: Tolerated::Any, effect: None }
    }

    /// Reads the API's form.
    #[must_use]
    pub fn of(toleration: &windlass_api::core::v1::Toleration) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (value, word) = (text(&toleration.value), text(&toleration.effect));
        let effect = Effect::of(&word);
        let value = match toleration.operator.as_deref().unwrap_or_default() {
            _ if effect.is_none() && !word.is_empty() => Tolerated::Nothing,
            "" | "Equal" => Tolerated::Equal(value),
            "Exists" => Tolerated::Any,
            "Lt" => value.parse().map_or(Tolerated::Nothing, Tolerated::Below),
            "Gt" => value.parse().map_or(Tolerated::Nothing, Tolerated::Above),
            _ => Tolerated::Nothing,
        };
        Self { key: text(&toleration.key), value, effect }
    }

    /// Whether it puts up with a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let number = || taint.value.parse::<i64>().ok();
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match &self.value {
                Tolerated::Any => true,
                Tolerated::Equal(value) => *value == taint.value,
                Tolerated::Below(limit) => number().is_some_and(|number| number < *limit),
                Tolerated::Above(limit) => number().is_some_and(|number| number > *limit),
                Tolerated::Nothing => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check([key, operator, value, effect]: [&str; 4], expect: bool) {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let toleration = Toleration::of(&windlass_api::core::v1::Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            ..Default::default()
        });
        let taint = Taint::new("k", "5", Effect::NoSchedule);
        assert_eq!(toleration.tolerates(&taint), expect, "{key} {operator} {value} {effect}");
    }

    #[test]
    fn key_value_and_effect_must_all_answer() {
        check(["k", "", "5", ""], true);
        check(["k", "Equal", "5", "NoSchedule"], true);
        check(["k", "Equal", "6", "NoSchedule"], false);
        check(["k", "Exists", "", "NoExecute"], false);
        check(["k", "Exists", "", ""], true);
        check(["", "Exists", "", ""], true);
        check(["other", "Exists", "", ""], false);
        check(["k", "Exists", "", "Sometimes"], false);
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        check(["k", "Lt", "10", ""], true);
        check(["k", "Gt", "10", ""], false);
        check(["k", "Gt", "4", ""], true);
        check(["k", "Gt", "four", ""], false);
    }
}
