//! The `main` of a plugin: where to listen, until when, and the machine's time and tasks for the driver.

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, Either, select};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use windlass_kernel::{Clock, Error, ErrorKind, Result, Spawn, SpawnExt, Stop, VolumeDriver};

use super::{bind, register};

/// What a driver is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine's time.
    pub clock: Arc<dyn Clock>,
    /// Runs tasks, and work that blocks.
    pub spawn: Arc<dyn Spawn>,
}

/// Serves a driver at the socket that `CSI_ENDPOINT` names (`unix:///run/csi.sock`, or a path), until SIGTERM or SIGINT.
///
/// It says so in a line on its standard output once it answers. Where `CSI_REGISTRATION` names a socket in the folder that a
/// node's agent watches (`unix:///var/lib/kubelet/plugins_registry/driver-reg.sock`), the driver makes itself known there.
///
/// ```no_run
/// use std::sync::Arc;
/// use windlass_csi::{hostpath::{HostPath, Settings}, skel};
///
/// fn main() -> std::process::ExitCode {
///     skel::main(|setup| Ok(Arc::new(HostPath::open(Settings::at("/var/lib/hostpath", "n1"), setup)?)))
/// }
/// ```
pub fn main(driver: impl FnOnce(Setup) -> Result<Arc<dyn VolumeDriver>>) -> ExitCode {
    match run(driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(driver: impl FnOnce(Setup) -> Result<Arc<dyn VolumeDriver>>) -> Result<()> {
    let lacks = "the variable CSI_ENDPOINT says where to listen, such as unix:///run/csi/csi.sock";
    let socket = socket_of("CSI_ENDPOINT")?.ok_or_else(|| Error::new(ErrorKind::Invalid, lacks))?;
    let registration = socket_of("CSI_REGISTRATION")?;
    let runtime = Runtime::new()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start a runtime").with_source(error))?;
    let machine = Arc::new(Machine::on(runtime.handle().clone()));
    let driver = driver(Setup { clock: machine.clone(), spawn: machine.clone() })?;
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
        let serving = bind(Arc::clone(&driver), &socket)?;
        let known = async {
            let Some(registration) = &registration else { return Ok(()) };
            let name = driver.info().await?.name;
            let done = register(&name, &socket, registration, stop.clone()).await;
            // Without it nobody would come.
            stop.stop();
            done
        };
        // Whoever started this may wait for the line, and need not have waited for it.
        let _ = writeln!(std::io::stdout(), "serving on {}", socket.display());
        let (served, known) = futures::join!(serving.run(stop.clone()), known);
        served.and(known)
    })
}

/// The socket that a variable names; `None` without one.
fn socket_of(variable: &str) -> Result<Option<PathBuf>> {
    let Ok(endpoint) = std::env::var(variable) else { return Ok(None) };
    let path = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:")).unwrap_or(&endpoint);
    if !path.starts_with('/') {
        let message = format!("the variable {variable} is no socket such as unix:///run/csi/csi.sock: {endpoint:?}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Some(path.into()))
}

/// The machine's time and tasks, for a program that is nothing but a plugin.
#[derive(Debug)]
struct Machine {
    start: Instant,
    runtime: Handle,
}

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    fn on(runtime: Handle) -> Self {
        Self { start: Instant::now(), runtime }
    }
}

impl Clock for Machine {
    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let end = self.start.checked_add(end);
        Box::pin(async move {
            match end {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => futures::future::pending().await,
            }
        })
    }
}

impl Spawn for Machine {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }
}
