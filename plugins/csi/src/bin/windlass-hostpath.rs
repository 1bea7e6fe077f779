//! The volume driver of this crate as a plugin: CSI on the socket that `CSI_ENDPOINT` names.
//!
//! `windlass-hostpath ROOT NODE [BYTES]`: the folder that everything is below, the node's name, and how many bytes all
//! volumes together may have.

use std::{process::ExitCode, sync::Arc};

use windlass_csi::{
    hostpath::{HostPath, Settings},
    skel,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(node)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: CSI_ENDPOINT=unix:///run/csi.sock windlass-hostpath ROOT NODE [BYTES]");
        return ExitCode::FAILURE;
    };
    let capacity = arguments.next().and_then(|bytes| bytes.parse().ok());
    let settings = Settings { capacity, ..Settings::at(root, node) };
    skel::main(|setup| Ok(Arc::new(HostPath::open(settings, setup)?)))
}
