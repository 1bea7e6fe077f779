//! Limits of what a link sends: the kernel's token bucket (`tbf`), and the turn that makes sending of receiving (`ifb`).

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAction, TcActionAttribute, TcActionGeneric, TcActionMirror, TcActionMirrorOption, TcActionOption,
        TcActionType, TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcMessage, TcMirror, TcMirrorActionType,
        TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
    },
};
use windlass_kernel::network::Rate;

use super::Socket;

/// `TCA_TBF_PARMS`, `TCA_TBF_RATE64` and `TCA_TBF_BURST` of linux/pkt_sched.h.
const PARMS: u16 = 1;
const RATE64: u16 = 4;
const BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`: the kernel computes costs itself and needs no table.
const ETHERNET: u8 = 1;
/// How long a packet may wait for its turn: more than that would be queued, not limited.
const LATENCY_MS: u64 = 25;
/// `ETH_P_ALL`, in the order of the network.
const ALL: u16 = 0x0003_u16.to_be();

/// A limit in bytes, as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    rate: u64,
    burst: u32,
    limit: u32,
}

impl Shape {
    /// The limit for a link with packets of up to `mtu` bytes. A burst below one packet would let nothing through.
    pub(crate) fn new(rate: Rate, mtu: u32) -> Self {
        let bytes = (rate.bits / 8).max(1);
        let packet = u64::from(mtu) + 18;
        let burst = (rate.burst / 8).clamp(packet, u64::from(u32::MAX));
        let limit = (bytes.saturating_mul(LATENCY_MS) / 1000).saturating_add(burst).min(u64::from(u32::MAX));
        Self { rate: bytes, burst: narrow(burst), limit: narrow(limit) }
    }

    /// `struct tc_tbf_qopt`: two rates of 12 bytes, of which the second is not used, then limit, buffer and mtu.
    fn parms(self) -> Vec<u8> {
        let mut bytes = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
        bytes.extend(narrow(self.rate.min(u64::from(u32::MAX))).to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(self.limit.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Socket {
    /// Limits what a link sends.
    pub(crate) fn limit(&mut self, index: u32, shape: Shape) -> io::Result<()> {
        let mut options = vec![DefaultNla::new(PARMS, shape.parms())];
        if shape.rate > u64::from(u32::MAX) {
            options.push(DefaultNla::new(RATE64, shape.rate.to_ne_bytes().to_vec()));
        }
        options.push(DefaultNla::new(BURST, shape.burst.to_ne_bytes().to_vec()));
        let mut message = queue(index, TcHandle { major: 1, minor: 0 }, TcHandle::ROOT);
        message.attributes.push(TcAttribute::Kind("tbf".into()));
        message.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::Other).collect()));
        self.change(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends all that a link receives through another one first.
    pub(crate) fn divert(&mut self, index: u32, turn: u32) -> io::Result<()> {
        let ingress = TcHandle { major: 0xffff, minor: 0 };
        let mut message = queue(index, ingress, TcHandle::INGRESS);
        message.attributes.push(TcAttribute::Kind("ingress".into()));
        self.change(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)?;

        let mut generic = TcActionGeneric::default();
        generic.action = TcActionType::Stolen;
        let mut mirror = TcMirror::default();
        (mirror.generic, mirror.eaction, mirror.ifindex) = (generic, TcMirrorActionType::EgressRedir, turn);
        let mut action = TcAction::default();
        action.tab = 1;
        action.attributes = vec![
            TcActionAttribute::Kind(TcActionMirror::KIND.into()),
            TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
        ];
        let mut selector = TcU32Selector::default();
        (selector.flags, selector.nkeys, selector.keys) = (TcU32SelectorFlags::Terminal, 1, vec![TcU32Key::default()]);
        let options = [TcFilterU32Option::Selector(selector), TcFilterU32Option::Action(vec![action])];
        let mut message = queue(index, TcHandle::UNSPEC, ingress);
        message.header.info = u32::from(TcHandle { major: 1, minor: ALL });
        message.attributes.push(TcAttribute::Kind(TcFilterU32::KIND.into()));
        message.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::U32).collect()));
        self.change(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE)
    }

    /// The names of the queues of a link, such as `tbf`.
    pub(crate) fn queues(&mut self, index: u32) -> io::Result<Vec<String>> {
        let found = self.list(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
        let own = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(message) if message.header.index == signed(index) => {
                message.attributes.into_iter().find_map(|attribute| match attribute {
                    TcAttribute::Kind(kind) => Some(kind),
                    _ => None,
                })
            }
            _ => None,
        });
        Ok(own.collect())
    }
}

fn queue(index: u32, handle: TcHandle, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    (message.header.index, message.header.handle, message.header.parent) = (signed(index), handle, parent);
    message
}

fn signed(index: u32) -> i32 {
    i32::try_from(index).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_lets_a_packet_through_and_a_limit_holds_what_waits() {
        let check = |bits, burst, expect: (u64, u32, u32)| {
            let shape = Shape::new(Rate { bits, burst }, 1500);
            assert_eq!((shape.rate, shape.burst, shape.limit), expect);
            assert_eq!(shape.parms().len(), 36);
        };
        check(8_000_000, 800_000, (1_000_000, 100_000, 125_000));
        check(8_000, 8, (1000, 1518, 1543));
        check(u64::MAX, u64::MAX, (u64::MAX / 8, u32::MAX, u32::MAX));
    }
}
