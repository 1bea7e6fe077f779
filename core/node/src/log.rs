//! Containers' logs: read in CRI's format, followed, and rotated.

mod read;
mod record;
mod rotate;

pub(crate) use self::{
    read::{logs, tail},
    rotate::rotate,
};
