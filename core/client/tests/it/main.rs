//! The client's parts together, in virtual time, over a shelf of objects that stands in for an API server.

mod delegated;
mod elections;
#[cfg(feature = "https")]
mod https;
mod informers;
mod recorders;
mod runners;
mod served;
mod shelf;
