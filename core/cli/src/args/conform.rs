//! What `windlass conform` is told.

use std::path::PathBuf;

use clap::{Args as Arguments, Subcommand, ValueEnum};

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
    /// A container runtime, at a CRI socket of this machine. Needs root where what is left is looked for.
    Cri(ConformCri),
    /// A CSI volume driver, at a socket of this machine. Needs root where volumes are mounted.
    Csi(ConformCsi),
    /// The node agent of Windlass over a container runtime, which must hold no pods. Needs root.
    Node(ConformNode),
    /// A Kubernetes API server, by requests over a kubeconfig of somebody who may do everything.
    Api(ConformApi),
    /// A whole cluster, by Kubernetes' own end-to-end suite: the program e2e.test, which you bring.
    Upstream(ConformUpstream),
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformApi {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Run also the checks that wait for minutes, such as until old versions are forgotten.
    #[arg(long)]
    pub(crate) patient: bool,
    /// Where the server reaches this machine, to call the webhooks of the checks: this program listens on that port for as
    /// long as it runs (0 takes any). Without it, those checks are skipped.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) webhook_address: Option<String>,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformUpstream {
    /// The suite: e2e.test of Kubernetes 1.30 or later.
    #[arg(long, value_name = "PATH")]
    pub(crate) e2e: PathBuf,
    /// The cluster, as somebody who may do everything.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: PathBuf,
    /// Where logs, reports and results are kept: a run that is begun again there goes on with what is left.
    #[arg(long, value_name = "DIR", default_value = "conformance-results")]
    pub(crate) folder: PathBuf,
    /// A list of what is run (a selector, a tab and a reason on each line), instead of [Conformance].
    #[arg(long, value_name = "FILE")]
    pub(crate) focus: Option<String>,
    /// A list of what is not run: a file as --focus has it, or fake-nodes, one-node or windlass; may be given several times.
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) skip: Vec<String>,
    /// Only the K-th of N parts.
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<String>,
    /// How many specs run at once; [Serial] ones run alone at the end.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) jobs: usize,
    /// How many minutes a spec may take.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) spec_minutes: u64,
    /// The PRODUCT.yaml of a submission.
    #[arg(long, value_name = "FILE")]
    pub(crate) product: Option<PathBuf>,
    /// Further arguments of the suite.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) more: Vec<String>,
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

#[derive(Debug, Arguments)]
pub(crate) struct ConformCri {
    /// The runtime's socket, such as unix:///run/containerd/containerd.sock.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) endpoint: String,
    /// Start the runtime by this command, with CONTAINER_RUNTIME_ENDPOINT set, and kill it in the middle of calls.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// The image of the checks' containers, with a shell, cat, stty, nc and a sleep that takes fractions; pulled if need be.
    #[arg(long, value_name = "IMAGE", default_value = "docker.io/library/busybox:1.36")]
    pub(crate) image: String,
    /// Check pulling, too, with an image that nobody needs: it is pulled and removed.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) pull: Option<String>,
    /// The user that the registry of --pull asks for, and the environment variable that holds the password.
    #[arg(long, value_name = "USER=VARIABLE", value_parser = pair, requires = "pull")]
    pub(crate) pull_secret: Option<(String, String)>,
    /// The runtime's own folder: what is left there is a leak; may be given several times.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Vec<PathBuf>,
    /// Others make pods on this machine meanwhile: then only what names a sandbox or container of the checks is a leak.
    #[arg(long)]
    pub(crate) shared: bool,
    /// A folder for logs, which the runtime can reach; one of its own by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// The control group above all that the checks make, such as /conform or conform.slice.
    #[arg(long, value_name = "GROUP", default_value = "")]
    pub(crate) cgroup_parent: String,
    /// The runtime handler to check; the default one by default.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) handler: String,
    /// What the runtime is not meant to have: checks of it are skipped; may be given several times.
    #[arg(long, value_name = "WHAT")]
    pub(crate) without: Vec<Lacking>,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

/// What a runtime may be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lacking {
    /// Containers with files of their own: mounts, users, host names.
    Containers,
    /// Terminals.
    Terminals,
    /// Ports of sandboxes.
    Ports,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformNode {
    /// The runtime's socket, such as unix:///run/containerd/containerd.sock.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) endpoint: String,
    /// The image of the checks' pods, with a shell and a sleep that takes fractions; pulled if need be.
    #[arg(long, value_name = "IMAGE", default_value = "docker.io/library/busybox:1.36")]
    pub(crate) image: String,
    /// A folder for volumes and logs, which the runtime can reach; one of its own by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// The control group above all pods; empty keeps none.
    #[arg(long, value_name = "GROUP", default_value = "/windlass-conform")]
    pub(crate) cgroups: String,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConformCsi {
    /// The driver's socket, such as unix:///run/csi/csi.sock.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) endpoint: String,
    /// Start the driver by this command, with CSI_ENDPOINT set, and kill it in the middle of calls.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// The driver's own folder: what is left there, and loop devices of files there, are leaks.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// A folder in which volumes are staged and published; one of its own by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// A parameter that volumes are made with; may be given several times.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) parameters: Vec<(String, String)>,
    /// A secret that calls are made with, by the environment variable that holds it; may be given several times.
    #[arg(long = "secret", value_name = "KEY=VARIABLE", value_parser = pair)]
    pub(crate) secrets: Vec<(String, String)>,
    /// How large volumes are, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) size: u64,
    /// The file system that folders are asked for with [default: the driver's choice].
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) fs_type: String,
    /// Check volumes that live with a pod, too.
    #[arg(long)]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) reports: Reports,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("there is no '='")?;
    Ok((key.into(), value.into()))
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
