//! The commands of this repository, as `cargo xtask <command>`.

fn main() {}
