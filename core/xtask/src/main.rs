//! The commands of this repository, as `cargo xtask <command>`.

mod bench;
mod built;
mod codegen;
mod distill;
mod images;
mod python;
mod system;
mod tables;
mod test;
mod tidy;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The commands of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures speed and size of the release build, and of a peer, and prints a table.
    Bench(Box<bench::Bench>),
    /// Writes the fact tables in core/api/data from upstream's published documents.
    Distill {
        /// The folder that holds the OpenAPI documents and the protobuf, merge-key and resource tables.
        #[arg(long)]
        from: PathBuf,
    },
    /// Writes the Rust code in core/api/src/gen from the fact tables.
    Codegen {
        /// Writes nothing; fails when the checked-in code is stale.
        #[arg(long)]
        check: bool,
    },
    /// Builds images that need no registry: pause, busybox, and the guestbook's.
    Images {
        /// Where the archives go.
        folder: PathBuf,
        /// What is built beside pause and busybox: guestbook (which is so without a name), mariadb; busybox for nothing.
        names: Vec<String>,
    },
    /// Builds the Python package's wheel, installs it in a clean environment and runs its tests there.
    Python {
        /// What pytest is told, such as `-k NAME`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        pytest: Vec<String>,
    },
    /// Runs the simulation of one seed and prints its history.
    Sim {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
    /// Format, tidy, lints and every test; the last line is the count.
    Test,
    /// Starts a one-node cluster with the example application and stays in the foreground.
    Up(up::Up),
    /// Checks the rules that neither the compiler nor clippy knows.
    Tidy,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bench(bench) => bench::run(&bench),
        Command::Distill { from } => distill::run(&from),
        Command::Codegen { check } => codegen::run(check),
        Command::Images { folder, names } => images::run(&folder, &names),
        Command::Python { pytest } => {
            if python::test(&python::Place::open()?, &pytest)?.sound() {
                Ok(())
            } else {
                anyhow::bail!("the tests of the Python package failed")
            }
        }
        Command::Sim { seed } => {
            let seed = seed.to_string();
            system::run(&["cargo", "run", "--quiet", "--package", "windlass-sim", "--", &seed])
        }
        Command::Test => test::run(),
        Command::Tidy => tidy::run(),
        Command::Up(up) => up::run(&up),
    }
}
