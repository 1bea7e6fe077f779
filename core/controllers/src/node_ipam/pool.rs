//! The blocks that the ranges of a cluster's pods are cut into, and which of them are taken.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use windlass_kernel::{Error, ErrorKind, Result};

/// A range is cut into at most two to the power of this many blocks, as upstream's.
const MOST: u8 = 16;

/// The ranges that pods have addresses of, and how large a block of each a node gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRanges(Vec<(IpNet, u8)>);

impl PodRanges {
    /// One range, or one of each family. `masks` are the lengths of the prefixes of a node's blocks, IPv4 and IPv6;
    /// upstream's defaults are 24 and 64.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where there is no range, or two of a family, or a block is larger than its range or
    /// so small that there would be more than 65,536 of them.
    pub fn new(ranges: Vec<IpNet>, masks: (u8, u8)) -> Result<Self> {
        let refuse = |why: String| Err(Error::new(ErrorKind::Invalid, format!("no pod ranges: {why}")));
        let same = |a: &IpNet, b: &IpNet| matches!((a, b), (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)));
        match &ranges[..] {
            [_] => {}
            [a, b] if !same(a, b) => {}
            _ => return refuse("one range, or one of each family, is needed".into()),
        }
        let mask = |range: &IpNet| if matches!(range, IpNet::V4(_)) { masks.0 } else { masks.1 };
        for range in &ranges {
            let (own, mask) = (range.prefix_len(), mask(range));
            if mask < own || mask > range.max_prefix_len() || mask - own > MOST {
                let least = own.saturating_add(MOST).min(range.max_prefix_len());
                return refuse(format!("blocks of /{mask} do not fit {range}: /{own} to /{least} do"));
            }
        }
        Ok(Self(ranges.into_iter().map(|range| (range.trunc(), mask(&range))).collect()))
    }
}

/// Which blocks are taken.
#[derive(Debug)]
pub(super) struct Pool(Vec<Blocks>);

#[derive(Debug)]
struct Blocks {
    range: IpNet,
    mask: u8,
    /// How often each block is taken: two nodes may have the same, where somebody said so.
    taken: BTreeMap<u32, u32>,
    /// All before this one are taken.
    first: u32,
}

impl Pool {
    pub(super) fn new(ranges: &PodRanges) -> Self {
        let blocks = |&(range, mask): &(IpNet, u8)| Blocks { range, mask, taken: BTreeMap::new(), first: 0 };
        Self(ranges.0.iter().map(blocks).collect())
    }

    /// Takes the first free block of each range; nothing where one has none.
    pub(super) fn draw(&mut self) -> Option<Vec<IpNet>> {
        let drawn: Vec<IpNet> = self.0.iter_mut().map(Blocks::free).collect::<Option<_>>()?;
        self.take(&drawn);
        Some(drawn)
    }

    /// Takes what a node has, whoever gave it.
    pub(super) fn take(&mut self, nets: &[IpNet]) {
        self.each(nets, |blocks, at| *blocks.taken.entry(at).or_default() += 1);
    }

    pub(super) fn give_back(&mut self, nets: &[IpNet]) {
        self.each(nets, |blocks, at| {
            let Some(count) = blocks.taken.get_mut(&at) else { return };
            *count -= 1;
            if *count == 0 {
                blocks.taken.remove(&at);
                blocks.first = blocks.first.min(at);
            }
        });
    }

    fn each(&mut self, nets: &[IpNet], mut act: impl FnMut(&mut Blocks, u32)) {
        for blocks in &mut self.0 {
            for net in nets {
                if let Some((first, last)) = blocks.touched(net) {
                    (first..=last).for_each(|at| act(blocks, at));
                }
            }
        }
    }
}

impl Blocks {
    fn count(&self) -> u32 {
        1 << (self.mask - self.range.prefix_len())
    }

    fn free(&mut self) -> Option<IpNet> {
        while self.taken.contains_key(&self.first) {
            self.first += 1;
        }
        (self.first < self.count()).then(|| self.block(self.first))
    }

    /// How many bits of an address stand behind a block's number.
    fn shift(&self) -> u32 {
        u32::from(self.range.max_prefix_len() - self.mask)
    }

    fn block(&self, at: u32) -> IpNet {
        let address = bits(self.range.network()) + (u128::from(at) << self.shift());
        match self.range {
            IpNet::V4(_) => Ipv4Net::new_assert(u32::try_from(address).unwrap_or_default().into(), self.mask).into(),
            IpNet::V6(_) => Ipv6Net::new_assert(Ipv6Addr::from(address), self.mask).into(),
        }
    }

    /// The first and the last block that a net shares addresses with.
    fn touched(&self, net: &IpNet) -> Option<(u32, u32)> {
        let range = &self.range;
        let overlaps = range.contains(&net.network()) || net.contains(&range.network());
        let same = range.max_prefix_len() == net.max_prefix_len();
        let at = |address: IpAddr| {
            let within = bits(address).clamp(bits(range.network()), bits(range.broadcast()));
            u32::try_from((within - bits(range.network())) >> self.shift()).unwrap_or(u32::MAX)
        };
        (overlaps && same).then(|| (at(net.network()), at(net.broadcast())))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn pool(ranges: &[&str], masks: (u8, u8)) -> Pool {
        Pool::new(&PodRanges::new(nets(ranges), masks).unwrap())
    }

    fn drawn(pool: &mut Pool) -> Vec<String> {
        pool.draw().into_iter().flatten().map(|net| net.to_string()).collect()
    }

    #[test]
    fn each_node_gets_a_block_of_each_family() {
        let mut pool = pool(&["10.244.0.0/16", "fd00:10::/56"], (24, 64));
        assert_eq!(drawn(&mut pool), ["10.244.0.0/24", "fd00:10::/64"]);
        assert_eq!(drawn(&mut pool), ["10.244.1.0/24", "fd00:10:0:1::/64"]);
    }

    #[test]
    fn a_range_is_used_up_and_what_is_given_back_is_given_again() {
        let mut pool = pool(&["10.0.0.0/30"], (32, 64));
        pool.take(&nets(&["10.0.0.1/32"]));
        assert_eq!(
            (drawn(&mut pool), drawn(&mut pool), drawn(&mut pool)),
            (vec!["10.0.0.0/32".into()], vec!["10.0.0.2/32".into()], vec!["10.0.0.3/32".into()])
        );
        assert_eq!(pool.draw(), None);
        pool.give_back(&nets(&["10.0.0.2/32"]));
        assert_eq!(drawn(&mut pool), ["10.0.0.2/32"]);
    }

    #[test]
    fn a_family_without_a_block_takes_none_of_the_other() {
        let mut pool = pool(&["10.0.0.0/24", "fd00::/63"], (24, 64));
        assert_eq!(drawn(&mut pool), ["10.0.0.0/24", "fd00::/64"]);
        assert_eq!(pool.draw(), None);
        pool.give_back(&nets(&["10.0.0.0/24"]));
        assert_eq!(drawn(&mut pool), ["10.0.0.0/24", "fd00:0:0:1::/64"]);
    }

    #[test]
    fn what_others_gave_is_taken_whatever_its_size() {
        let mut pool = pool(&["10.244.0.0/16"], (24, 64));
        pool.take(&nets(&["10.244.0.0/23", "192.168.0.0/24", "fd00::/64", "10.244.2.128/25"]));
        assert_eq!(drawn(&mut pool), ["10.244.3.0/24"]);
        pool.take(&nets(&["0.0.0.0/0"]));
        assert_eq!(pool.draw(), None);
    }

    #[test]
    fn ranges_that_cannot_be_cut_are_refused() {
        let check = |ranges: &[&str], masks, expect: &str| {
            let refused = PodRanges::new(nets(ranges), masks).unwrap_err();
            assert_eq!(refused.message(), format!("no pod ranges: {expect}"));
        };
        check(&[], (24, 64), "one range, or one of each family, is needed");
        check(&["10.0.0.0/16", "10.1.0.0/16"], (24, 64), "one range, or one of each family, is needed");
        check(&["10.0.0.0/16"], (8, 64), "blocks of /8 do not fit 10.0.0.0/16: /16 to /32 do");
        check(&["fd00::/32"], (24, 64), "blocks of /64 do not fit fd00::/32: /32 to /48 do");
    }
}
