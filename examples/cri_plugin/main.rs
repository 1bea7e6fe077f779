//! A container runtime, from nothing: its containers are processes of this machine, without walls around them.
//!
//! It keeps the contract of runtimes all the same, and any client of CRI can drive it. `docs/guide/writing-a-runtime.md` tells
//! how it is written and proved.

mod images;
mod life;
mod logs;
mod runtime;
mod sessions;
mod state;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use windlass::cri::skel::{self, Plugin};

use self::runtime::Processes;

fn main() -> ExitCode {
    skel::main(async |setup| Ok(Plugin::of(Processes::new(setup))))
}
