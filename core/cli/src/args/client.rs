//! The arguments of the commands that ask a running cluster.

use std::path::PathBuf;

use clap::{Args as Arguments, ValueEnum};

use super::Place;

/// How the cluster is reached.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Reach {
    /// Which kubeconfig [default: the data directory's, else ~/.kube/config].
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) context: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// How the cluster is reached, and in which namespace.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Scope {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Which namespace [default: the context's].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Wide,
    Yaml,
    Json,
    Name,
}

#[derive(Debug, Arguments)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// In one line.
    #[arg(long)]
    pub(crate) line: bool,
}

#[derive(Debug, Arguments)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// What: `pods`, `po,svc`, `all`, `deployment NAME…` or `deployment/NAME…`.
    #[arg(required = true, value_name = "RESOURCE")]
    pub(crate) what: Vec<String>,
    /// In all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Only what has these labels.
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    pub(crate) selector: String,
    /// Only what has these fields, such as `spec.nodeName=node-1`.
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    pub(crate) field_selector: String,
    /// How objects are shown.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// A file, a folder (its .yaml, .yml and .json files by name), or `-` for the standard input.
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Take over fields that others own.
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// Who owns the fields that are written.
    #[arg(long, value_name = "NAME", default_value = "windlass")]
    pub(crate) field_manager: String,
    /// Let the server check everything and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Arguments)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// What: `pod NAME…` or `pod/NAME…`.
    #[arg(required_unless_present = "filename", conflicts_with = "filename", value_name = "RESOURCE")]
    pub(crate) what: Vec<String>,
    /// What these files name: a file, a folder, or `-`.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// What is not there counts as deleted.
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    /// Seconds to end gracefully.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace_period: Option<u32>,
    /// Return before the objects are gone.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Arguments)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Which pod.
    pub(crate) pod: String,
    /// Which container, where the pod has several.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Of the container that ran before.
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// With the time of each line.
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// How an explanation is shown, other than as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Told {
    Json,
    Yaml,
}

#[derive(Debug, Arguments)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Which pod: `pod NAME` or `pod/NAME`.
    #[arg(required = true, value_name = "POD")]
    pub(crate) what: Vec<String>,
    /// How the explanation is shown.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Told>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Which pod.
    pub(crate) pod: String,
    /// Which container, where the pod has several.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Pass the standard input on.
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// With a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}
