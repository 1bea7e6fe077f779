//! The API server in process, over a store in memory.

mod admission;
mod agents;
#[cfg(feature = "http")]
mod asked;
mod crud;
mod custom;
#[cfg(feature = "http")]
mod hook;
#[cfg(feature = "http")]
mod http;
mod kept;
mod messages;
#[cfg(feature = "http")]
mod openapi;
mod others;
mod pods;
#[cfg(feature = "http")]
mod proxy;
#[cfg(feature = "http")]
mod rbac;
mod rig;
#[cfg(feature = "http")]
mod rim;
mod services;
#[cfg(feature = "http")]
mod serving;
#[cfg(feature = "http")]
mod slow;
#[cfg(feature = "http")]
mod stock;
mod streams;
mod watches;
