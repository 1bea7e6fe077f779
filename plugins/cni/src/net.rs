//! Links, addresses and routes over netlink. Blocking: one request, one answer.

mod flows;
mod knobs;
mod links;
mod news;
mod shape;
mod socket;
mod tunnels;
mod ways;

pub(crate) use self::{
    flows::forget,
    knobs::{turn_on, write_knob},
    links::{Link, Pair, bring_lo_up, mac_bytes},
    news::{Fact, Heard, News},
    shape::Shape,
    socket::Socket,
    tunnels::{Mac, Named, Tunnel},
    ways::{Sends, Way},
};
