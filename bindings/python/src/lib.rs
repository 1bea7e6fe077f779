//! `windlass._native`: converts between Python and Windlass, and waits without the interpreter lock. Nothing more:
//! what reads better in Python is in the package `windlass` beside this crate.

mod api;
mod cluster;
mod connect;
mod controller;
mod engine;
mod guest;
mod hooks;
mod http;
mod op;
mod options;
mod pipe;
mod plugins;
mod raise;
mod reply;
mod streams;
mod text;
mod tree;
mod wire;

use pyo3::pymodule;

/// What the package `windlass` is built on. Not a public interface.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        api::Api,
        cluster::{Cluster, launch},
        connect::{Connection, connect},
        hooks::Process,
        op::{Op, gather},
        pipe::Pipe,
        streams::{Chunks, Events},
        text::{called, documents, kinds, of_kind, table, to_yaml, version},
        tree::{Listed, parse},
        wire::Http,
    };
}
