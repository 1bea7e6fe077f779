//! The CNI plugin `windlass-bridge`.

use windlass_cni::{bridge::Bridge, skel};

fn main() -> std::process::ExitCode {
    skel::main(|setup| Bridge::new(&setup))
}
