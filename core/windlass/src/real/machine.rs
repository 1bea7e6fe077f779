//! What must be asked of this machine: its main address, and the switches that service rules need.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

/// The address that other machines would see; the loopback address where there is no network.
///
/// Nothing is sent: connecting a datagram socket only chooses a route.
#[must_use]
pub fn primary_address() -> IpAddr {
    let chosen = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // TEST-NET-1 (RFC 5737) is routed like any other foreign address.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    chosen.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// Lets the node forward packets, and see those that only cross its bridge.
///
/// `route_localnet` makes node ports answer on the loopback address; the service rules drop what others send there.
pub(super) fn prepare_for_services() {
    let switches = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet"];
    for switch in switches {
        let path = format!("/proc/sys/{switch}");
        let on = fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
        if !on && let Err(error) = fs::write(&path, "1") {
            tracing::warn!(switch, %error, "cannot switch on what services need; some of them may not be reached");
        }
    }
}
