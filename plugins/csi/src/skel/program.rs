//! The `main` of a plugin.

use std::{process::ExitCode, sync::Arc};

use windlass_kernel::{Clock, Result, Spawn, VolumeDriver};

use super::bind;

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
/// It says so in a line on its standard output once it answers.
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
        bind(driver(Setup { clock: machine.clone(), spawn: machine })?, socket)
    })
}
