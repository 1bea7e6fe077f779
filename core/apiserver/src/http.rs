//! The API over HTTPS: connections, URLs, media types and bodies around an [`Api`](windlass_kernel::Api).
//!
//! This is the rim: sockets and tokio types live here. What a request means is decided behind the `Api`; who may do
//! what, behind the `Authorizer`.

mod answer;
mod body;
mod documents;
mod gzip;
mod handler;
mod health;
mod list;
mod metrics;
mod negotiate;
mod options;
mod pages;
mod route;
mod serve;
mod shape;
pub mod tls;
mod upgrade;
mod watch;

pub use self::{
    body::{Asked, Body, asked, empty, full, status},
    handler::{Issuer, Parts, Server},
    health::{Check, StoreCheck},
    metrics::Meter,
    upgrade::{Connect, Connecting, Held, NoSessions},
};
