//! The API server: REST, watch, patch, admission, authentication and authorization over any Store.
//!
//! [`ApiServer`] implements [`Api`](windlass_kernel::Api) in process. Serving it over HTTP is the business of `http`.

mod admission;
mod advertised;
mod alloc;
mod body;
mod bootstrap;
mod builder;
#[cfg(feature = "cel")]
mod cel;
mod convert;
mod cursor;
mod custom;
mod errors;
mod events;
mod figures;
mod flows;
mod followed;
#[cfg(feature = "http")]
mod identity;
mod index;
mod lookup;
mod object;
mod owners;
mod quota;
mod registered;
mod registry;
mod review;
mod rules;
mod select;
mod server;
#[cfg(feature = "http")]
mod stored;
mod sub;
mod usage;
mod verbs;
#[cfg(feature = "http")]
mod webhook;
mod write;

pub use self::{
    admission::{AdmissionConfiguration, Manifest, Plugins, ReadFiles, may_label},
    advertised::advertisable,
    alloc::Ranges,
    builder::Builder,
    custom::Live,
    flows::{Flow, Named},
    lookup::StoreLookup,
    review::{PolicyRules, RuleSource},
    server::ApiServer,
    sub::agent_of,
};

pub mod access;
pub mod discovery;
#[cfg(feature = "http")]
pub mod http;
pub mod kinds;
#[cfg(feature = "http")]
pub mod stream;
pub mod table;
