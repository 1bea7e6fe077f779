//! Which devices a container gets. Pure.

use std::collections::BTreeSet;

use windlass_kernel::device::DeviceId;

/// What there is to choose from.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// What init containers of the pod had, and have done with.
    pub(super) reusable: BTreeSet<DeviceId>,
    /// What can be used.
    pub(super) healthy: BTreeSet<DeviceId>,
    /// What pods have.
    pub(super) used: BTreeSet<DeviceId>,
}

/// What is clear before anybody is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) taken: BTreeSet<DeviceId>,
    /// What the rest is chosen from.
    pub(super) available: BTreeSet<DeviceId>,
}

/// Begins with what the pod's init containers leave; the rest has to be there.
pub(super) fn begin(resource: &str, count: usize, stock: &Stock) -> Result<Begun, String> {
    if stock.healthy.is_empty() {
        return Err(format!("no healthy devices present; cannot allocate unhealthy devices {resource}"));
    }
    let taken: BTreeSet<_> = stock.reusable.iter().take(count).cloned().collect();
    let available: BTreeSet<_> =
        stock.healthy.difference(&stock.used).filter(|id| !taken.contains(id)).cloned().collect();
    let rest = count - taken.len();
    if available.len() < rest {
        let left = available.len();
        return Err(format!(
            "requested number of devices unavailable for {resource}. Requested: {rest}, Available: {left}"
        ));
    }
    Ok(Begun { taken, available })
}

/// Fills up with what the plugin would rather have, then by name.
pub(super) fn fill(count: usize, begun: Begun, preferred: &[DeviceId]) -> BTreeSet<DeviceId> {
    let Begun { mut taken, available } = begun;
    let wished = preferred.iter().filter(|id| available.contains(id));
    for id in wished.chain(&available) {
        if taken.len() == count {
            break;
        }
        taken.insert(id.clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<DeviceId> {
        names.split_whitespace().map(DeviceId::from).collect()
    }

    fn check(count: usize, [reusable, healthy, used]: [&str; 3], preferred: &str, expect: &str) {
        let stock = Stock { reusable: set(reusable), healthy: set(healthy), used: set(used) };
        let wished: Vec<_> = preferred.split_whitespace().map(DeviceId::from).collect();
        let chosen = begin("x/y", count, &stock).map(|begun| {
            let names = fill(count, begun, &wished);
            names.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(chosen.unwrap_or_else(|why| why), expect);
    }

    #[test]
    fn free_ones_go_by_preference_then_by_name() {
        check(2, ["", "a b c d", "b"], "", "a c");
        check(2, ["", "a b c d", "b"], "d c", "c d");
        check(2, ["", "a b c d", "b"], "d", "a d");
        // What is not free is not handed out, whoever wants it.
        check(2, ["", "a b c d", "b"], "b x d d", "a d");
    }

    #[test]
    fn what_init_containers_leave_goes_first() {
        check(1, ["c", "a b c", "c"], "a", "c");
        check(3, ["b c", "a b c d", "b c"], "d", "b c d");
        check(1, ["b c", "a b c", "b c"], "c", "b");
    }

    #[test]
    fn too_few_are_told_as_upstream_does() {
        check(2, ["", "a b", "b"], "", "requested number of devices unavailable for x/y. Requested: 2, Available: 1");
        check(3, ["a", "a b", "a"], "", "requested number of devices unavailable for x/y. Requested: 2, Available: 1");
        check(1, ["", "", ""], "", "no healthy devices present; cannot allocate unhealthy devices x/y");
    }
}
