//! What the native containerd runtime starts beside each container: see `windlass_cri::containerd::carry`.

fn main() -> std::process::ExitCode {
    windlass_cri::containerd::carry(std::env::args().skip(1))
}
