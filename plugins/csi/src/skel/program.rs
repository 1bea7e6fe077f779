//! The `main` of a plugin.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use windlass_grpc::Serve;
use windlass_kernel::{Clock, Result, Spawn, Stop, VolumeDriver};

use super::{Serving, bind, register};

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
    windlass_grpc::main("CSI_ENDPOINT", async |machine, socket| {
        let registration = windlass_grpc::socket_of("CSI_REGISTRATION")?;
        let driver = driver(Setup { clock: machine.clone(), spawn: machine })?;
        let serving = bind(Arc::clone(&driver), socket)?;
        Ok(Program { driver, serving, socket: socket.to_owned(), registration })
    })
}

/// A driver that serves, and makes itself known where it is told to.
struct Program {
    driver: Arc<dyn VolumeDriver>,
    serving: Serving,
    socket: PathBuf,
    registration: Option<PathBuf>,
}

impl Serve for Program {
    async fn run(self, stop: Stop) -> Result<()> {
        let Self { driver, serving, socket, registration } = self;
        let known = known(driver, &socket, registration.as_deref(), stop.clone());
        let (served, known) = futures::join!(serving.run(stop), known);
        served.and(known)
    }
}

async fn known(driver: Arc<dyn VolumeDriver>, socket: &Path, registration: Option<&Path>, stop: Stop) -> Result<()> {
    let Some(registration) = registration else { return Ok(()) };
    let name = driver.info().await?.name;
    let done = register(&name, socket, registration, stop.clone()).await;
    // Without it nobody would come.
    stop.stop();
    done
}
