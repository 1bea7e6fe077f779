//! Whether a chain is there: one question to nftables over netlink, in place of a process.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_NEWCHAIN` and `NFT_MSG_GETCHAIN` of linux/netfilter.
const NEW_CHAIN: u16 = (10 << 8) | 3;
const GET_CHAIN: u16 = (10 << 8) | 4;
/// `NLM_F_REQUEST`: without `NLM_F_ACK` there is exactly one answer.
const REQUEST: u16 = 1;
/// `NFPROTO_INET`, and the two attributes of a chain that name it.
const INET: u8 = 1;
const TABLE: u16 = 1;
const NAME: u16 = 3;

/// Whether the chain is in the table `inet windlass_cni`. Where that cannot be told, it is not: making it again is harmless.
pub(super) fn exists(name: &str) -> bool {
    ask(name).unwrap_or(false)
}

fn ask(name: &str) -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(name), 0)?;
    let mut answer = Vec::with_capacity(8192);
    socket.recv(&mut answer, 0)?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    Ok(kind == Some(NEW_CHAIN))
}

/// A netlink header of 16 bytes, `struct nfgenmsg` of 4, and two attributes.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(GET_CHAIN.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([INET, 0, 0, 0]);
    for (kind, text) in [(TABLE, "windlass_cni"), (NAME, name)] {
        let length = u16::try_from(4 + text.len() + 1).unwrap_or(u16::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(text.as_bytes());
        message.push(0);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}
