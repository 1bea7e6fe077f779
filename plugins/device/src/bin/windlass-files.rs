//! Files of the node as devices: a plugin on the socket that `DEVICE_PLUGIN_ENDPOINT` names.
//!
//! `windlass-files RESOURCE NAME=PATH...`: what pods ask for, and the devices.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc};

use windlass_device::{files::Files, skel};
use windlass_kernel::device::DeviceId;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let resource = arguments.next();
    let mut seen = BTreeSet::new();
    let device = |text: String| {
        let (name, path) = text.split_once('=')?;
        (!name.is_empty() && seen.insert(name.to_owned())).then(|| (name.into(), path.into()))
    };
    let devices: Option<Vec<(DeviceId, PathBuf)>> = arguments.map(device).collect();
    let (Some(resource), Some(devices)) = (resource, devices.filter(|devices| !devices.is_empty())) else {
        let example = "DEVICE_PLUGIN_ENDPOINT=unix:///var/lib/kubelet/device-plugins/fuse.sock";
        eprintln!("usage: {example} windlass-files example.com/fuse one=/dev/fuse ... (each name once)");
        return ExitCode::FAILURE;
    };
    skel::main(&resource, |setup| Ok(Arc::new(Files::new(&resource, devices, setup.clock))))
}
