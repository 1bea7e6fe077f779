//! Links, addresses and routes over netlink. Blocking: one request, one answer.

mod links;
mod shape;
mod socket;

pub(crate) use self::{
    links::{Link, Pair, mac_bytes},
    shape::Shape,
    socket::Socket,
};
