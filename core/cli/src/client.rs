//! The commands that ask a running cluster, as any client does: over HTTPS, with a kubeconfig.

mod apply;
mod columns;
mod connect;
mod defined;
mod delete;
mod exec;
mod explain;
mod get;
mod logs;
mod manifests;
mod resources;
mod status;

pub(crate) use self::{
    apply::run as apply, connect::access, delete::run as delete, exec::run as exec, explain::run as explain,
    get::run as get, logs::run as logs, status::run as status,
};

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes to the standard output. A reader that has gone away has seen enough.
fn print(text: impl AsRef<[u8]>) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to the standard output"),
    }
}
