//! Which images may go, and how much has to: the rules of the kubelet's image garbage collection. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use windlass_kernel::runtime::{Container, Image, ImageId};

use crate::gauge::Level;

/// When images that nothing uses are removed to make room (KubeletConfiguration.imageGCHighThresholdPercent and others).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// From so many percent of the disk in use on, images go. 100 keeps all.
    pub high: u8,
    /// They go until no more than so many percent are in use.
    pub low: u8,
    /// An image stays for at least so long after it was first seen.
    pub min_age: Duration,
    /// How often the disk is looked at.
    pub period: Duration,
    /// Images that always stay, by any of their names: those that no registry could give back.
    pub keep: BTreeSet<String>,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            high: 85,
            low: 80,
            min_age: Duration::from_secs(120),
            period: Duration::from_secs(300),
            keep: BTreeSet::new(),
        }
    }
}

/// How many bytes of a disk have to be freed; `None` below the high limit.
pub(super) fn surplus(disk: Level, limits: &ImageLimits) -> Option<u64> {
    let hundredth = |part: u64| u64::try_from(u128::from(part) * 100 / u128::from(disk.capacity.max(1))).unwrap_or(0);
    let used = 100_u64.saturating_sub(hundredth(disk.available));
    if limits.high >= 100 || used < u64::from(limits.high) {
        return None;
    }
    let free = u128::from(disk.capacity) * u128::from(100_u8.saturating_sub(limits.low)) / 100;
    Some(u64::try_from(free).unwrap_or(u64::MAX).saturating_sub(disk.available))
}

/// When each image was first seen, and when it was last used.
#[derive(Debug, Default)]
pub(crate) struct Records {
    seen: BTreeMap<ImageId, Seen>,
    /// Whether images were seen before: the first ones are as old as can be.
    begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    used: Option<Timestamp>,
    first: Option<Timestamp>,
}

impl Records {
    /// Notes what there is, and what is in use now.
    pub(super) fn note(&mut self, images: &[Image], used: &BTreeSet<ImageId>, now: Timestamp) {
        let first = self.begun.then_some(now);
        self.begun = true;
        self.seen.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let seen = self.seen.entry(image.id.clone()).or_insert(Seen { used: None, first });
            if used.contains(&image.id) {
                seen.used = Some(now);
            }
        }
    }

    /// What may go, the least recently used first. `used` is what is in use.
    pub(super) fn unused<'a>(
        &self,
        images: &'a [Image],
        used: &BTreeSet<ImageId>,
        limits: &ImageLimits,
        now: Timestamp,
    ) -> Vec<&'a Image> {
        let kept = |image: &Image| names(image).any(|name| limits.keep.contains(name));
        let old = |seen: &Seen| {
            seen.first
                .is_none_or(|first| Duration::try_from(now.duration_since(first)).unwrap_or_default() >= limits.min_age)
        };
        let mut unused: Vec<(&Seen, &Image)> = images
            .iter()
            .filter(|image| !image.pinned && !used.contains(&image.id) && !kept(image))
            .filter_map(|image| Some((self.seen.get(&image.id).filter(|seen| old(seen))?, image)))
            .collect();
        unused.sort_by_key(|(seen, image)| (**seen, &image.id));
        unused.into_iter().map(|(_, image)| image).collect()
    }
}

fn names(image: &Image) -> impl Iterator<Item = &str> {
    let all = image.tags.iter().chain(&image.digests).map(String::as_str);
    std::iter::once(image.id.as_str()).chain(all)
}

/// The images that containers were made from, whether these run or not.
pub(super) fn used(images: &[Image], containers: &[Container]) -> BTreeSet<ImageId> {
    let known: BTreeMap<&str, &ImageId> =
        images.iter().flat_map(|image| names(image).map(move |name| (name, &image.id))).collect();
    let of = |one: &Container| [one.image_id.to_string(), one.image.to_string()];
    containers.iter().flat_map(of).filter_map(|name| known.get(name.as_str()).map(|id| (*id).clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// `a` is an image, `a!` is pinned, `a*` is in use.
    fn world(words: &str) -> (Vec<Image>, BTreeSet<ImageId>) {
        let id = |word: &str| ImageId::from(word.trim_end_matches(['!', '*']));
        let image = |word: &str| Image {
            id: id(word),
            tags: vec![format!("{}:1", id(word))],
            digests: vec![],
            size: 10,
            user: None,
            pinned: word.ends_with('!'),
        };
        let used = words.split_whitespace().filter(|word| word.ends_with('*')).map(id).collect();
        (words.split_whitespace().map(image).collect(), used)
    }

    /// Lives through the states, a minute apart, and looks at what may go after the last.
    fn check(states: &[&str], keep: &[&str], expect: &str) {
        let limits =
            ImageLimits { keep: keep.iter().map(|name| (*name).to_owned()).collect(), ..ImageLimits::default() };
        let mut records = Records::default();
        let mut now = at(0);
        let mut last = (vec![], BTreeSet::new());
        for state in states {
            last = world(state);
            records.note(&last.0, &last.1, now);
            now = now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
        }
        let (images, used) = last;
        let unused = records.unused(&images, &used, &limits, now);
        let words: Vec<&str> = unused.iter().map(|image| image.id.as_str()).collect();
        assert_eq!(words.join(" "), expect, "after {states:?}");
    }

    #[test]
    fn the_least_recently_used_go_first() {
        check(&["a* b c*", "a b c*", "a b c"], &[], "b a c");
    }

    #[test]
    fn what_is_used_pinned_or_to_be_kept_stays() {
        check(&["a* b! c d"], &["c:1"], "d");
    }

    #[test]
    fn what_is_new_stays_for_two_minutes() {
        check(&["a", "a b"], &[], "a");
        check(&["a", "a b", "a b"], &[], "a b");
    }

    #[test]
    fn a_disk_has_to_be_freed_from_the_high_limit_down_to_the_low_one() {
        let surplus = |available| surplus(Level { capacity: 1000, available }, &ImageLimits::default());
        assert_eq!(surplus(160), None);
        assert_eq!(surplus(150), Some(50));
        assert_eq!(surplus(0), Some(200));
        let never = ImageLimits { high: 100, ..ImageLimits::default() };
        assert_eq!(super::surplus(Level { capacity: 1000, available: 0 }, &never), None);
    }
}
