//! The stores against their contract, a naive model and a disk that fails.

mod contract;
mod faulty;
mod rig;
