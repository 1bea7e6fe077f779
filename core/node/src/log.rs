//! Containers' logs: read in CRI's format, followed, and rotated.

mod arrivals;
mod read;
mod record;
mod rotate;

pub(crate) use self::{
    arrivals::Arrivals,
    read::{logs, tail},
    rotate::rotate,
};
