//! The `main` of a plugin: where to listen, and until when.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use futures::future::{Either, select};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use windlass_kernel::{Error, ErrorKind, Result, SpawnExt, Stop};
use windlass_machine::Machine;

/// A server whose socket is there.
pub trait Serve {
    /// Serves until `stop`.
    fn run(self, stop: Stop) -> impl Future<Output = Result<()>>;
}

/// Serves what `bind` makes at the socket that an environment variable names (`unix:///run/x.sock`, or a path), until SIGTERM
/// or SIGINT. A line on the standard output says so once the socket is there.
pub fn main<S: Serve>(variable: &str, bind: impl AsyncFnOnce(Arc<Machine>, &Path) -> Result<S>) -> ExitCode {
    match run(variable, bind) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run<S: Serve>(variable: &str, bind: impl AsyncFnOnce(Arc<Machine>, &Path) -> Result<S>) -> Result<()> {
    let lacks = || format!("the variable {variable} says where to listen, such as unix:///run/plugin.sock");
    let socket = socket_of(variable)?.ok_or_else(|| Error::new(ErrorKind::Invalid, lacks()))?;
    let runtime = Runtime::new()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start a runtime").with_source(error))?;
    let machine = Arc::new(Machine::on(runtime.handle().clone()));
    runtime.block_on(async {
        let failed = |error| Error::new(ErrorKind::Unavailable, "cannot wait for signals").with_source(error);
        let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
        let stop = Stop::new();
        let stopping = stop.clone();
        let _task = machine.spawn("signals", async move {
            match select(Box::pin(terminated.recv()), Box::pin(interrupted.recv())).await {
                Either::Left(_) | Either::Right(_) => stopping.stop(),
            }
        });
        let serving = bind(Arc::clone(&machine), &socket).await?;
        // Whoever started this may wait for the line, and need not have waited for it.
        let _ = writeln!(std::io::stdout(), "serving on {}", socket.display());
        serving.run(stop).await
    })
}

/// The socket that an environment variable names; `None` without one.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where it names no absolute path.
pub fn socket_of(variable: &str) -> Result<Option<PathBuf>> {
    let Ok(endpoint) = std::env::var(variable) else { return Ok(None) };
    let path = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:")).unwrap_or(&endpoint);
    if !path.starts_with('/') {
        let message = format!("the variable {variable} is no socket such as unix:///run/plugin.sock: {endpoint:?}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Some(path.into()))
}
