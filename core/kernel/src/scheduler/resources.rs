//! Amounts of what pods ask for and nodes offer, as plain numbers.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::{quantity::Amount, types::Quantity};

/// Amounts: thousandths of a CPU, bytes, and whole units of everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of local storage.
    pub ephemeral: i64,
    // By name. Few nodes offer more than a handful, so a sorted list beats a map.
    extended: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// An amount of CPU (in thousandths) and memory (in bytes).
    #[must_use]
    pub const fn new(cpu: i64, memory: i64) -> Self {
        Self { cpu, memory, ephemeral: 0, extended: Vec::new() }
    }

    /// The same with an amount of something else.
    #[must_use]
    pub fn with(mut self, name: &str, amount: i64) -> Self {
        self.set(name, amount);
        self
    }

    /// Reads a resource list. `pods` is left out, since it is a limit of another kind; so is what cannot be read.
    #[must_use]
    pub fn of(list: &BTreeMap<String, Quantity>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.iter().filter(|(name, _)| *name != "pods") {
            let Ok(amount) = quantity.0.parse::<Amount>() else { continue };
            resources.set(name, if name == "cpu" { amount.milli_value() } else { amount.as_i64() });
        }
        resources
    }

    /// Sets the amount of a resource by its API name.
    pub fn set(&mut self, name: &str, amount: i64) {
        match name {
            "cpu" => self.cpu = amount,
            "memory" => self.memory = amount,
            "ephemeral-storage" => self.ephemeral = amount,
            other => *self.slot(&other.into()) = amount,
        }
    }

    /// The amount of a resource other than the three that have a field.
    #[must_use]
    pub fn extended(&self, name: &str) -> i64 {
        let found = self.extended.binary_search_by(|(own, _)| (**own).cmp(name));
        found.map_or(0, |at| self.extended[at].1)
    }

    /// Everything but the three that have a field, by name.
    pub fn others(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.extended.iter().map(|(name, amount)| (name, *amount))
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.ephemeral == 0 && self.extended.iter().all(|(_, amount)| *amount == 0)
    }

    /// Adds to each amount.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, i64::saturating_add);
    }

    /// Subtracts from each amount.
    pub fn subtract(&mut self, other: &Self) {
        self.merge(other, i64::saturating_sub);
    }

    /// Raises each amount to the other's, where that is more.
    pub fn raise(&mut self, other: &Self) {
        self.merge(other, i64::max);
    }

    fn merge(&mut self, other: &Self, each: fn(i64, i64) -> i64) {
        self.cpu = each(self.cpu, other.cpu);
        self.memory = each(self.memory, other.memory);
        self.ephemeral = each(self.ephemeral, other.ephemeral);
        for (name, amount) in &other.extended {
            let slot = self.slot(name);
            *slot = each(*slot, *amount);
        }
    }

    fn slot(&mut self, name: &Arc<str>) -> &mut i64 {
        let at = match self.extended.binary_search_by(|(own, _)| own.cmp(name)) {
            Ok(at) => at,
            Err(at) => {
                self.extended.insert(at, (Arc::clone(name), 0));
                at
            }
        };
        &mut self.extended[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[(&str, &str)]) -> Resources {
        Resources::of(&list.iter().map(|(name, amount)| ((*name).into(), Quantity((*amount).into()))).collect())
    }

    #[test]
    fn quantities_become_whole_numbers() {
        let amounts = read(&[("cpu", "1500m"), ("memory", "1Ki"), ("pods", "7"), ("gpu", "2"), ("bad", "?")]);
        assert_eq!(amounts, Resources::new(1500, 1024).with("gpu", 2));
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let mut used = read(&[("cpu", "1"), ("b", "1")]);
        let more = read(&[("memory", "5"), ("a", "3"), ("b", "4"), ("ephemeral-storage", "9")]);
        used.add(&more);
        assert_eq!((used.extended("a"), used.extended("b"), used.ephemeral), (3, 5, 9));
        used.subtract(&more);
        assert_eq!((used.cpu, used.memory, used.extended("a"), used.extended("b")), (1000, 0, 0, 1));
    }
}
