//! A cluster in a process of its own, on a free port, with a data directory that goes with it.
#![allow(clippy::disallowed_methods, reason = "the tests look at other processes, on the machine's clock")]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// So long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const WINDLASS: &str = env!("CARGO_BIN_EXE_windlass");

/// A cluster, running or not.
pub(crate) struct Cluster {
    dir: TempDir,
    arguments: Vec<String>,
    network: Option<String>,
    child: Option<Child>,
}

/// What a program that ended has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What it printed; it must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What it complained of; it must have ended with the code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.err
    }
}

impl Cluster {
    /// Starts a cluster of fake nodes; `more` are further arguments.
    pub(crate) fn fake(more: &[&str]) -> Self {
        Self::start(&[&["--runtime", "fake", "--listen", "127.0.0.1:0"], more].concat())
    }

    fn start(arguments: &[&str]) -> Self {
        let mut cluster = Self::prepare(arguments, None);
        cluster.up();
        cluster
    }

    /// A cluster that is yet to be started, in a network namespace if one is named.
    pub(crate) fn prepare(arguments: &[&str], network: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("wl").tempdir().expect("a folder");
        // Programs in containers run as others, who must be able to pass through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a folder of our own");
        let arguments = arguments.iter().map(|&word| word.into()).collect();
        Self { dir, arguments, network: network.map(Into::into), child: None }
    }

    /// Our binary, where the cluster is.
    fn command(&self) -> Command {
        let Some(network) = &self.network else { return Command::new(WINDLASS) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{network}")).arg(WINDLASS);
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    /// A file of the test's own, beside the data.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path
    }

    /// Starts the process and waits until it says that it is ready; returns what it says.
    pub(crate) fn up(&mut self) -> String {
        let ready = self.dir.path().join("ready");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let mut command = self.command();
        command.arg("up").arg("--data-dir").arg(self.data()).arg("--ready-file").arg(&ready).args(&self.arguments);
        if !self.arguments.iter().any(|word| word == "fake") {
            // How full this machine is must not decide what tests find.
            command.arg("--eviction-hard=");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("windlass starts");
        until("windlass is ready", || {
            if let Some(status) = child.try_wait().expect("a child has a state") {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("windlass ended with {status}: {log}");
            }
            fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))
        })
        .inspect(|_| self.child = Some(child))
        .expect("it said so")
    }

    /// Ends the process: politely, as Ctrl-C does, or by surprise.
    pub(crate) fn end(&mut self, politely: bool) {
        let Some(mut child) = self.child.take() else { return };
        if politely {
            let pid = child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
            let status = until("windlass ends", || child.try_wait().expect("a child has a state"));
            assert!(status.is_some_and(|status| status.success()), "{status:?}");
        } else {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child ends");
        }
    }

    /// Takes note of a process that somebody else ended.
    pub(crate) fn ended(&mut self) {
        if let Some(mut child) = self.child.take() {
            until("windlass ends", || child.try_wait().expect("a child has a state"));
        }
    }

    /// Runs one of our own commands.
    pub(crate) fn windlass(&self, words: &[&str]) -> Said {
        let mut command = self.command();
        command.env_remove("KUBECONFIG").env("WINDLASS_DATA_DIR", self.data()).args(words).stdin(Stdio::null());
        Said::from(&command.output().expect("windlass runs"))
    }

    /// Runs kubectl.
    pub(crate) fn kubectl(&self, words: &[&str]) -> Said {
        self.kubectl_with(words, "")
    }

    /// Runs kubectl with something to read.
    pub(crate) fn kubectl_with(&self, words: &[&str], input: &str) -> Said {
        self.run_kubectl(words, &[], input)
    }

    /// Runs kubectl in an environment of one's own.
    pub(crate) fn kubectl_as(&self, words: &[&str], environment: &[(&str, &str)]) -> Said {
        self.run_kubectl(words, environment, "")
    }

    fn run_kubectl(&self, words: &[&str], environment: &[(&str, &str)], input: &str) -> Said {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.dir.path()).args(words);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        let mut stdin = child.stdin.take().expect("an input");
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Said::from(&child.wait_with_output().expect("kubectl ends"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("what windlass logged:\n{log}");
        }
        self.end(false);
    }
}

/// The real time, which certificates are checked against.
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The example's manifests.
pub(crate) fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guestbook/manifests")
}

/// Looks again until there is something; `None` is what was never there, which fails the test.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        assert!(start.elapsed() < PATIENCE, "still not after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Looks again until it is so.
#[track_caller]
pub(crate) fn until_so(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}
