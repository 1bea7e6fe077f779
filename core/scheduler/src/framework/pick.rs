//! How many possible nodes are enough, and which of the best is taken. Pure but for the draw.

use windlass_kernel::{Entropy, EntropyExt};

/// With fewer nodes than this, all are looked at.
const ALWAYS: usize = 100;

/// How many possible nodes are enough. Without a percentage it shrinks from 50 in a hundred to 5 as clusters grow.
pub(super) fn enough(nodes: usize, percentage: Option<usize>) -> usize {
    let percentage = percentage.unwrap_or_else(|| 50_usize.saturating_sub(nodes / 125).max(5));
    if nodes < ALWAYS || percentage >= 100 { nodes } else { (nodes * percentage / 100).max(ALWAYS) }
}

/// Where the highest total stands; chance decides between equals, and is asked only then.
pub(super) fn best(totals: &[i64], entropy: &dyn Entropy) -> usize {
    let highest = totals.iter().max();
    let equals = || totals.iter().enumerate().filter(|(_, total)| Some(*total) == highest).map(|(at, _)| at);
    let count = equals().count();
    let chosen = if count > 1 { below(entropy, count) } else { 0 };
    equals().nth(chosen).unwrap_or_default()
}

pub(crate) fn below(entropy: &dyn Entropy, limit: usize) -> usize {
    let drawn = entropy.below(u64::try_from(limit).unwrap_or(u64::MAX));
    usize::try_from(drawn).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use windlass_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn large_clusters_are_sampled() {
        let some = [50, 100, 1000, 5000, 20000].map(|nodes| enough(nodes, None));
        assert_eq!(some, [50, 100, 420, 500, 1000]);
        assert_eq!([enough(5000, Some(100)), enough(5000, Some(1)), enough(300, Some(50))], [5000, 100, 150]);
    }

    #[test]
    fn chance_decides_between_equals_only() {
        let entropy = SeededEntropy::new(7);
        assert_eq!(best(&[1, 9, 3], &entropy), 1);
        let chosen: std::collections::BTreeSet<_> = (0..50).map(|_| best(&[5, 1, 5, 5], &entropy)).collect();
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
