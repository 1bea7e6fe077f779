//! CNI: drive any network plugin, write one, and a bridge that is one.
//!
//! [`host::CniNetwork`] is the kernel's `PodNetwork` by running plugin binaries; [`skel::main`] makes a plugin binary of any
//! `PodNetwork`; [`bridge::Bridge`] is a network of its own, on a Linux bridge, and [`routes::NodeRoutes`] leads to the pods
//! of other nodes. [`wire`] has the protocol's own types, which need none of the rest. [`lab`] has network namespaces to
//! try networks in.

pub mod bridge;
mod errors;
mod exec;
pub mod flows;
pub mod host;
pub mod lab;
mod namespace;
mod net;
pub mod routes;
pub mod skel;
mod turns;
pub mod wire;

use self::errors::{failed, hash};
