//! What `windlass conform` is told.

use std::path::PathBuf;

use clap::{Args as Arguments, Subcommand};

use super::Reach;

/// What to check.
#[derive(Debug, Arguments)]
pub(crate) struct Conform {
    #[command(subcommand)]
    pub(crate) kind: Kind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kind {
    /// CNI plugins: a network, in namespaces of the check's own. Needs root.
    Cni(ConformCni),
    /// A Kubernetes API server, by requests over a kubeconfig of somebody who may do everything.
    Api(ConformApi),
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformApi {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Run also the checks that wait for minutes, such as until old versions are forgotten.
    #[arg(long)]
    pub(crate) patient: bool,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformCni {
    /// A folder with plugin binaries; may be given several times.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) bin_dir: Vec<PathBuf>,
    /// The network: a .conflist or .conf file, or a folder of which the first is taken.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) conf: PathBuf,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

/// What all kinds have.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Reports {
    /// Only the checks whose area or name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Also write the verdicts as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Also write the verdicts, and the traces of failures, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
