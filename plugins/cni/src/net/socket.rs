//! A route netlink socket of one network namespace.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

/// The kernel sends no datagram that is longer.
const LONGEST: usize = 64 << 10;

pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Socket {
    /// A socket in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut inner = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?;
        inner.set_cap_ack(true)?;
        Ok(Self { inner, buffer: Vec::with_capacity(LONGEST), sequence: 0 })
    }

    /// Changes something.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
    }

    /// Asks for one thing.
    pub(super) fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// Asks for all of a kind.
    pub(super) fn list(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.inner.send(&bytes, 0)?;
        self.answers()
    }

    fn answers(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut found = Vec::new();
        loop {
            self.buffer.clear();
            let length = self.inner.recv(&mut self.buffer, 0)?.min(self.buffer.len());
            let mut rest = &self.buffer[..length];
            while !rest.is_empty() {
                let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let taken = usize::try_from(read.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
                rest = rest.get(taken..).unwrap_or_default();
                if read.header.sequence_number != self.sequence {
                    continue;
                }
                match read.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => {
                        return error.code.map_or(Ok(found), |code| Err(io::Error::from_raw_os_error(-code.get())));
                    }
                    _ => {}
                }
            }
        }
    }
}
