//! Upstream default roles.
