//! Sets of completion indexes as a Job's status writes them: `1,3-5,7`.

use std::fmt;

/// A set of indexes, as ascending ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(u32, u32)>);

impl Indexes {
    /// Reads a set and leaves out what is not below `end`; what cannot be read is left out too.
    pub(super) fn parse(text: &str, end: u32) -> Self {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?.min(end.checked_sub(1)?));
            (first <= last).then_some((first, last))
        };
        Self::of(text.split(',').filter_map(range).collect())
    }

    fn of(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// The set together with more indexes.
    #[must_use]
    pub(super) fn with(&self, more: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<_> = more.into_iter().map(|index| (index, index)).collect();
        if ranges.is_empty() {
            return self.clone();
        }
        ranges.extend(&self.0);
        Self::of(ranges)
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many indexes are in both sets.
    pub(super) fn shared(&self, other: &Self) -> u32 {
        let pair = |one: &(u32, u32), two: &(u32, u32)| (one.1.min(two.1) + 1).saturating_sub(one.0.max(two.0));
        self.0.iter().map(|one| other.0.iter().map(|two| pair(one, two)).sum::<u32>()).sum()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, end: u32, more: &[u32], expect: &str) {
        assert_eq!(Indexes::parse(text, end).with(more.iter().copied()).to_string(), expect, "{text}");
    }

    #[test]
    fn three_in_a_row_are_a_range() {
        check("", 10, &[7, 1, 4, 3, 5], "1,3-5,7");
        check("1,3-5,7", 10, &[6], "1,3-7");
        check("1", 10, &[2, 2], "1,2");
        check("nonsense,2-x", 10, &[], "");
    }

    #[test]
    fn a_smaller_job_forgets_what_it_does_not_have() {
        check("1,3-5,7", 5, &[], "1,3,4");
        check("0-9", 0, &[], "");
    }

    #[test]
    fn members_are_found_and_counted() {
        let set = Indexes::parse("1,3-5,7", 10);
        assert_eq!((0..9).filter(|index| set.contains(*index)).collect::<Vec<_>>(), [1, 3, 4, 5, 7]);
        assert_eq!((set.len(), set.shared(&Indexes::parse("0-3,5-100", 1000))), (5, 4));
    }
}
