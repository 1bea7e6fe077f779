//! The stores against their contract, a naive model and a disk that fails.

mod contract;
mod crash;
mod faults;
mod faulty;
mod model;
mod rig;
mod watches;
