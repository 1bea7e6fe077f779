//! The `windlass` binary: a Kubernetes cluster in one process.

mod args;
mod client;
mod conform;
mod containers;
mod data;
mod down;
mod exit;
mod foreground;
mod node;
mod texts;
mod up;

use std::{process::ExitCode, time::Instant};

use clap::Parser;

use self::args::{Args, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::disallowed_methods, reason = "the ready file counts from here, before any clock is there")]
fn main() -> ExitCode {
    let started = Instant::now();
    let args = Args::parse();
    let done = match args.command {
        Command::Up(up) => up::run(&up, started).map(|()| ExitCode::SUCCESS),
        Command::Node(node) => node::run(&node).map(|()| ExitCode::SUCCESS),
        Command::Down(down) => down::run(&down).map(|()| ExitCode::SUCCESS),
        Command::Status(status) => client::status(&status),
        Command::Get(get) => client::get(&get),
        Command::Apply(apply) => client::apply(&apply),
        Command::Delete(delete) => client::delete(&delete),
        Command::Logs(logs) => client::logs(&logs),
        Command::Explain(explain) => client::explain(&explain),
        Command::Exec(exec) => client::exec(&exec),
        Command::Conform(conform) => conform::run(&conform),
        Command::Carry { words } => carry(words),
        Command::Version => {
            println!("windlass {} (Kubernetes 1.36)", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    exit::code(done)
}

/// Carries a container's streams, which only a build with the runtime that asks for it can.
#[cfg_attr(
    not(feature = "containerd"),
    allow(clippy::needless_pass_by_value, reason = "the build that carries them takes them")
)]
fn carry(words: Vec<String>) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "containerd")]
    return Ok(windlass::cri::containerd::carry(words));
    #[cfg(not(feature = "containerd"))]
    anyhow::bail!("nothing in this build asks for that, with {} words", words.len());
}
