//! What stands before writes: webhooks, policies, pod security, and what nodes may write.

mod chosen;
#[cfg(feature = "http")]
mod nodes;
mod plugins;
#[cfg(feature = "cel")]
mod policies;
mod security;
#[cfg(feature = "http")]
mod webhooks;
