//! The `main` of a plugin.

use std::{process::ExitCode, sync::Arc};

use windlass_kernel::{DevicePlugin, Result};

use super::{Setup, bind};

/// The variable that says where a program listens: a socket in the folder of the agent's `kubelet.sock`.
pub const ENDPOINT: &str = "DEVICE_PLUGIN_ENDPOINT";

/// Serves a plugin of `resource` at the socket that `DEVICE_PLUGIN_ENDPOINT` names, such as
/// `unix:///var/lib/kubelet/device-plugins/thing.sock`, until SIGTERM or SIGINT, and registers it with the agent whose
/// `kubelet.sock` is beside that.
///
/// It says so in a line on its standard output once it answers.
///
/// ```no_run
/// use std::sync::Arc;
/// use windlass_device::{files::Files, skel};
///
/// fn main() -> std::process::ExitCode {
///     skel::main("example.com/null", |setup| {
///         let devices = [("null".into(), "/dev/null".into())];
///         Ok(Arc::new(Files::new("example.com/null", devices, setup.clock)))
///     })
/// }
/// ```
pub fn main(resource: &str, plugin: impl FnOnce(Setup) -> Result<Arc<dyn DevicePlugin>>) -> ExitCode {
    windlass_grpc::main(ENDPOINT, async |machine, socket| {
        let setup = Setup { clock: machine.clone(), spawn: machine.clone(), dial: machine };
        bind(resource, plugin(setup.clone())?, socket, setup)
    })
}
