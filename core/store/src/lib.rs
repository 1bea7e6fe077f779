//! Stores: memory and disk.
