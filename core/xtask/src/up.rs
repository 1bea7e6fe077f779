//! `cargo xtask up`: from a fresh machine to a cluster with the example application that answers.
//!
//! The cluster is `windlass up`, a child process; what is asked of it goes through `windlass apply` and `windlass get`, as
//! anyone would. Images reach the node as archives in the data directory.
#![allow(clippy::disallowed_methods, reason = "a command on a machine's clock, no part of a cluster")]

mod guestbook;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::future::{Either, select};
use indicatif::{ProgressBar, ProgressStyle};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{built, images, system, tidy::root};

const PAUSE: Duration = Duration::from_millis(50);
/// So often the status line is looked at again.
const STATUS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// What runs containers: one of our own or the system's (auto), a given socket (cri:SOCKET), or nothing real (fake).
    #[arg(long, value_name = "auto|cri:SOCKET|fake", default_value = "auto")]
    runtime: String,
    /// Where the cluster keeps its state [default: /var/lib/windlass as root, else ~/.local/share/windlass].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many nodes; more than one needs --runtime fake.
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: u16,
    /// Where the API listens.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: String,
}

/// A cluster that was started here, and how to ask it for things.
#[derive(Debug)]
struct Cluster {
    windlass: PathBuf,
    data: PathBuf,
    fake: bool,
}

/// Prepares the machine, starts the cluster and stays until it ends.
pub(crate) fn run(up: &Up) -> Result<()> {
    let fake = up.runtime == "fake";
    if !fake {
        if !system::root() {
            if !system::present("sudo") {
                bail!("real containers need root: run this as root, or `cargo xtask up --runtime fake`");
            }
            // What root builds would be in the user's way later, so everything is built before.
            built::release("windlass-cli")?;
            built::release("guestbook-frontend")?;
            return system::again_as_root();
        }
        system::install(&[system::NODE, system::EXAMPLES])?;
    }
    let windlass = built::release("windlass-cli")?;
    let cluster = Cluster { windlass, data: data_dir(up), fake };
    if !fake {
        for archive in images::build(&cluster.data.join("images"), &[])? {
            println!("  {}", archive.display());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(cluster.live(up))
}

/// The directory that `windlass` itself would use.
fn data_dir(up: &Up) -> PathBuf {
    let usual = || match env::var_os("HOME") {
        Some(home) if !system::root() => Path::new(&home).join(".local/share/windlass"),
        _ => "/var/lib/windlass".into(),
    };
    let named = up.data_dir.clone().unwrap_or_else(usual);
    // The child has the same working directory, but what is printed is for other places too.
    std::path::absolute(&named).unwrap_or(named)
}

impl Cluster {
    /// From the start of the child to its end.
    async fn live(&self, up: &Up) -> Result<()> {
        let ready = self.data.join("ready");
        // One of an earlier start says nothing about this one.
        let _ = fs::remove_file(&ready);
        let mut child = self.start(up, &ready)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("the cluster ended at once")?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let told = select(Box::pin(interrupt.recv()), Box::pin(terminate.recv()));
        let end = select(Box::pin(child.wait()), told);
        let failure = match select(Box::pin(self.use_it(&ready)), end).await {
            Either::Right((Either::Left((status, _)), _)) => {
                return ended(status.context("cannot wait for the cluster")?);
            }
            Either::Right((Either::Right(_), _)) => None,
            Either::Left((used, _)) => used.err(),
        };
        println!();
        // It may have heard the same Ctrl-C, or be gone.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        child.wait().await.context("cannot wait for the cluster")?;
        match failure {
            Some(error) => Err(error),
            None => {
                self.farewell();
                Ok(())
            }
        }
    }

    /// Starts `windlass up` in a process group of its own: a terminal's Ctrl-C is for us, who pass it on.
    fn start(&self, up: &Up, ready: &Path) -> Result<Child> {
        let mut command = Command::new(&self.windlass);
        command.arg("up").arg("--data-dir").arg(&self.data).arg("--ready-file").arg(ready);
        command.args(["--runtime", &up.runtime, "--listen", &up.listen, "--nodes", &up.nodes.to_string()]);
        // What it says to a terminal of its own is said here in other words.
        command.stdout(Stdio::null()).process_group(0).kill_on_drop(true);
        command.spawn().with_context(|| format!("cannot start {}", self.windlass.display()))
    }

    /// Applies the example, waits for it, says what to do with it, and shows how things are until dropped.
    async fn use_it(&self, ready: &Path) -> Result<()> {
        while !ready.exists() {
            sleep(PAUSE).await;
        }
        if self.ask(&["get", "namespace", "guestbook"]).await.is_ok() {
            // What was changed since is the user's: applying it again would undo that, or fail on who owns it.
            println!("the guestbook is there, as it was left");
        } else {
            let manifests = root().join("examples/guestbook/manifests");
            print!("{}", self.ask(&["apply", "-f", &manifests.to_string_lossy()]).await?);
        }
        let line = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
        line.enable_steady_tick(Duration::from_millis(200));
        line.set_message("waiting for the guestbook");
        let at = guestbook::wait(self).await?;
        line.suspend(|| self.welcome(at.as_deref()));
        loop {
            match self.ask(&["status", "--line"]).await {
                Ok(status) => line.set_message(status.trim().to_owned()),
                Err(error) => line.set_message(format!("{error:#}")),
            }
            sleep(STATUS).await;
        }
    }

    /// Runs a command of the binary against the cluster and returns what it prints.
    async fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.windlass);
        command.args(words).arg("--kubeconfig").arg(self.data.join("kubeconfig")).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("cannot run {}", self.windlass.display()))?;
        if !output.status.success() {
            bail!("windlass {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn welcome(&self, at: Option<&str>) {
        println!("\nThe guestbook is up. What to try:");
        println!("  export KUBECONFIG={}", self.data.join("kubeconfig").display());
        println!("  kubectl get pods -A                      # or: {} get pods -A", self.windlass.display());
        if let Some(at) = at {
            println!("  curl -d text=hello {at}/entries; curl {at}/entries");
        }
        println!("  kubectl -n guestbook scale deployment frontend --replicas=5");
        println!("  kubectl -n guestbook set image deployment/frontend frontend=registry.local/guestbook-frontend:v2");
        println!("  kubectl -n guestbook rollout undo deployment/frontend");
        println!("Ctrl-C ends the control plane.\n");
    }

    fn farewell(&self) {
        let (windlass, data) = (self.windlass.display(), self.data.display());
        if self.fake {
            println!("The cluster has ended; `cargo xtask up` finds it as it was left. To remove it:");
        } else {
            println!("The control plane has ended, the pods go on running; `cargo xtask up` finds them again.");
            println!("To stop them and remove every rule, namespace, mount and cgroup (--purge: and the data):");
        }
        println!("  {windlass} down --data-dir {data}{}", if self.fake { " --purge" } else { "" });
    }
}

/// The child ended without being told: it has said why.
fn ended(status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("the cluster ended with {status}; without root or containerd, try `cargo xtask up --runtime fake`")
}
