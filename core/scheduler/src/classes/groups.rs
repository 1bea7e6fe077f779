//! Possible nodes, grouped by their numbers and, in a group, by their totals: the best ones are at hand.

use std::collections::BTreeMap;

/// Where a node stands.
type Standing = Option<(usize, i64)>;

/// Nodes with equal numbers.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) numbers: Box<[i64]>,
    /// Places by total, each list sorted.
    totals: BTreeMap<i64, Vec<usize>>,
    pub(super) size: usize,
}

impl Bucket {
    /// The highest total and who has it.
    pub(super) fn best(&self) -> (i64, &[usize]) {
        self.totals.last_key_value().map_or((i64::MIN, &[]), |(total, places)| (*total, places))
    }
}

/// All groups. Those that are empty are not kept.
#[derive(Debug, Default)]
pub(super) struct Groups {
    standing: Vec<Standing>,
    slots: BTreeMap<Box<[i64]>, usize>,
    buckets: Vec<Bucket>,
    free: Vec<usize>,
}

impl Groups {
    /// No possible node among so many.
    pub(super) fn none(nodes: usize) -> Self {
        Self { standing: vec![None; nodes], ..Self::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Bucket)> {
        self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.size > 0)
    }

    pub(super) fn bucket(&self, slot: usize) -> &Bucket {
        &self.buckets[slot]
    }

    /// Whether a node is possible.
    pub(super) fn holds(&self, place: usize) -> bool {
        self.standing[place].is_some()
    }

    /// A node has these numbers and this total now.
    pub(super) fn set(&mut self, place: usize, numbers: &[i64], total: i64) {
        if let Some((slot, before)) = self.standing[place] {
            if before == total && *self.buckets[slot].numbers == *numbers {
                return;
            }
            self.clear(place);
        }
        let slot = match self.slots.get(numbers) {
            Some(slot) => *slot,
            None => self.open(numbers),
        };
        let bucket = &mut self.buckets[slot];
        let places = bucket.totals.entry(total).or_default();
        if let Err(at) = places.binary_search(&place) {
            places.insert(at, place);
            bucket.size += 1;
        }
        self.standing[place] = Some((slot, total));
    }

    /// A node is not possible.
    pub(super) fn clear(&mut self, place: usize) {
        let Some((slot, total)) = self.standing[place].take() else { return };
        let bucket = &mut self.buckets[slot];
        if let Some(places) = bucket.totals.get_mut(&total)
            && let Ok(at) = places.binary_search(&place)
        {
            places.remove(at);
            bucket.size -= 1;
            if places.is_empty() {
                bucket.totals.remove(&total);
            }
        }
        if bucket.size == 0 {
            self.slots.remove(&bucket.numbers);
            self.free.push(slot);
        }
    }

    /// Where a node stands, to be put back by [`set`](Self::set).
    pub(super) fn standing(&self, place: usize) -> Option<(Box<[i64]>, i64)> {
        self.standing[place].map(|(slot, total)| (self.buckets[slot].numbers.clone(), total))
    }

    fn open(&mut self, numbers: &[i64]) -> usize {
        let bucket = Bucket { numbers: numbers.into(), ..Bucket::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.buckets[slot] = bucket;
                slot
            }
            None => {
                self.buckets.push(bucket);
                self.buckets.len() - 1
            }
        };
        self.slots.insert(numbers.into(), slot);
        slot
    }
}

/// The `number`th of all places in several sorted lists, in the order of places.
pub(super) fn nth(lists: &[&[usize]], number: usize) -> Option<usize> {
    if let [only] = lists {
        return only.get(number).copied();
    }
    // The smallest place with more than `number` places up to it.
    let upto = |place: usize| lists.iter().map(|list| list.partition_point(|own| *own <= place)).sum::<usize>();
    let last = lists.iter().filter_map(|list| list.last()).max().copied()?;
    if upto(last) <= number {
        return None;
    }
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if upto(middle) > number {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_of_several_lists_is_in_the_order_of_places() {
        let lists: [&[usize]; 3] = [&[1, 5, 9], &[0, 7], &[3]];
        let all: Vec<_> = (0..7).map(|number| nth(&lists, number)).collect();
        assert_eq!(all, [Some(0), Some(1), Some(3), Some(5), Some(7), Some(9), None]);
        assert_eq!([nth(&lists[..1], 2), nth(&lists[..1], 3), nth(&[], 0)], [Some(9), None, None]);
    }

    #[test]
    fn the_best_of_a_group_follow_their_totals() {
        let mut groups = Groups::none(4);
        groups.set(0, &[1], 10);
        groups.set(3, &[1], 20);
        groups.set(1, &[1], 20);
        groups.set(2, &[2], 5);
        let best = |groups: &Groups| groups.iter().map(|(_, b)| (b.best().0, b.best().1.to_vec())).collect::<Vec<_>>();
        assert_eq!(best(&groups), [(20, vec![1, 3]), (5, vec![2])]);
        groups.set(1, &[2], 30);
        groups.clear(3);
        assert_eq!(best(&groups), [(10, vec![0]), (30, vec![1])]);
        groups.clear(0);
        groups.set(0, &[7], 1);
        assert_eq!(best(&groups), [(1, vec![0]), (30, vec![1])]);
        assert!(groups.holds(2) && !groups.holds(3));
    }
}
