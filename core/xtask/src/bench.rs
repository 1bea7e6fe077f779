//! `cargo xtask bench`: speed and size of the release build, as a table. Nothing is asserted; a figure that is short says so.
//!
//! The load generator has its own dependencies, so it is a feature: this command builds itself again with it, together
//! with what it measures, and goes on there.

#[cfg(feature = "bench")]
mod agent;
#[cfg(feature = "bench")]
mod client;
#[cfg(feature = "bench")]
mod cni;
#[cfg(feature = "bench")]
mod disk;
#[cfg(feature = "bench")]
mod etcd;
#[cfg(feature = "bench")]
mod figures;
#[cfg(feature = "bench")]
mod list;
#[cfg(feature = "bench")]
mod load;
#[cfg(feature = "bench")]
mod pod;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod rules;
#[cfg(feature = "bench")]
mod scheduler;
#[cfg(feature = "bench")]
mod server;
#[cfg(feature = "bench")]
mod table;
#[cfg(feature = "bench")]
mod told;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// What to measure, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// Measures something else instead; of all options only --quick and --workload are heeded.
    #[arg(value_enum)]
    subject: Option<Subject>,
    /// Of the scheduler, only these workloads.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Idle for a minute instead of ten, and everything else shorter too.
    #[arg(long)]
    quick: bool,
    /// Only these figures.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Figure>,
    /// How many times a process is started.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Seconds from ready to the measure of resident memory.
    #[arg(long, value_name = "SECONDS")]
    settle: Option<u64>,
    /// Seconds of rest that are observed.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
    /// Seconds of load.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How many pods are listed, and are at rest.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pods: usize,
    /// How many clients create objects at once.
    #[arg(long, value_name = "N", default_value_t = 64)]
    clients: usize,
    /// Where data is kept meanwhile: the disk that is measured.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    data_dir: PathBuf,
    /// Another Kubernetes API server, measured in the same run: creates and lists, in a namespace of its own.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The processes of that server (API server, etcd …), whose CPU is counted.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The windlass binary to measure instead of a fresh build.
    #[arg(long, value_name = "FILE")]
    windlass: Option<PathBuf>,
    /// The built in-process benchmark.
    #[arg(long, value_name = "FILE", hide = true)]
    in_process: Option<PathBuf>,
    /// The built benchmark of the scheduler.
    #[arg(long, value_name = "FILE", hide = true)]
    scheduler: Option<PathBuf>,
    /// The built CNI plugin.
    #[arg(long, value_name = "FILE", hide = true)]
    bridge: Option<PathBuf>,
    /// Measures a CNI plugin beside Debian's, and prints medians as JSON.
    #[arg(long, value_name = "FILE", hide = true)]
    measure_cni: Option<PathBuf>,
    /// Answers requests with so many bytes, to compare a list with; ends with its standard input.
    #[arg(long, value_name = "BYTES", hide = true)]
    serve_bytes: Option<usize>,
}

/// What is measured in place of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The Python package, as users get it.
    Python,
    /// The scheduler at scale, with workloads of upstream's scheduler_perf, and whole clusters of simulated nodes.
    Scheduler,
}

/// A group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Process start to ready.
    Start,
    /// A cluster in process.
    InProcess,
    /// Memory, CPU and writes at rest.
    Idle,
    /// Durable creates.
    Create,
    /// A large list.
    List,
    /// The disk and etcd.
    Raw,
    /// CNI plugins.
    Cni,
    /// The start of a pod, over containerd.
    Pod,
    /// Packet rules of many services.
    Rules,
    /// A node's agent in a process of its own, with 50 pods on containerd.
    Agent,
}

/// Measures; where this build cannot, one that can.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if bench.subject == Some(Subject::Python) {
        return crate::python::bench(bench.quick);
    }
    #[cfg(feature = "bench")]
    if bench.subject == Some(Subject::Scheduler) {
        use anyhow::Context;
        let program = bench.scheduler.as_deref().context("say which --scheduler to run")?;
        return scheduler::run(program, bench.quick, &bench.workload);
    }
    #[cfg(feature = "bench")]
    return figures::run(bench);
    #[cfg(not(feature = "bench"))]
    return again::run(bench);
}

#[cfg(not(feature = "bench"))]
mod again {
    //! Builds the measured programs and the measuring one, and goes on in that.

    use std::{
        ffi::OsString,
        path::PathBuf,
        process::{Command, Stdio},
    };

    use anyhow::{Context, Result, bail};
    use serde_json::Value;

    use super::{Bench, Subject};

    /// One build, so that what the programs share is compiled once and alike.
    const BUILD: &[&str] = &[
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
        "--package=windlass-cli",
        "--package=windlass-cni",
        "--package=windlass",
        "--package=xtask",
        "--features=xtask/bench",
        "--bin=windlass",
        "--bin=windlass-bridge",
        "--bin=xtask",
        "--bench=in_process",
    ];

    /// What the scheduler's figures need.
    const SCHEDULER: &[&str] = &[
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
        "--package=windlass",
        "--package=xtask",
        "--features=xtask/bench",
        "--bin=xtask",
        "--bench=scheduler",
    ];

    pub(super) fn run(bench: &Bench) -> Result<()> {
        let scheduler = bench.subject == Some(Subject::Scheduler);
        let build = if scheduler { SCHEDULER } else { BUILD };
        println!("$ cargo {}", build.join(" "));
        let built = Command::new("cargo").args(build).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !built.status.success() {
            bail!("the release build failed");
        }
        let lines = String::from_utf8_lossy(&built.stdout);
        let program = |name: &str| {
            let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut programs = artifacts.filter(|artifact| artifact["target"]["name"] == name);
            let found = programs.find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
            found.with_context(|| format!("cargo built no {name}"))
        };
        // What was asked goes on as it was said.
        let said: Vec<OsString> = std::env::args_os().skip(1).collect();
        let mut command = Command::new(program("xtask")?);
        command.args(said);
        if scheduler {
            command.arg("--scheduler").arg(program("scheduler")?);
            return finish(&mut command);
        }
        command.arg("--in-process").arg(program("in_process")?);
        command.arg("--bridge").arg(program("windlass-bridge")?);
        if bench.windlass.is_none() {
            command.arg("--windlass").arg(program("windlass")?);
        }
        finish(&mut command)
    }

    fn finish(command: &mut Command) -> Result<()> {
        let status = command.status().context("cannot run the benchmark")?;
        if !status.success() {
            bail!("the benchmark ended with {status}");
        }
        Ok(())
    }
}
