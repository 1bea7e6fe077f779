//! The NFS driver of this crate as a plugin: CSI on the socket that `CSI_ENDPOINT` names.
//!
//! `windlass-nfs ROOT NODE [NAME]`: the folder for what is published, the node's name, and the driver's.

use std::{process::ExitCode, sync::Arc};

use windlass_csi::{
    nfs::{KernelMounter, Nfs, Settings},
    skel,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(node)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: CSI_ENDPOINT=unix:///run/csi.sock windlass-nfs ROOT NODE [NAME]");
        return ExitCode::FAILURE;
    };
    let mut settings = Settings::at(root, node);
    if let Some(name) = arguments.next() {
        settings.name = name;
    }
    skel::main(|setup| Ok(Arc::new(Nfs::open(settings, Arc::new(KernelMounter), setup)?)))
}
