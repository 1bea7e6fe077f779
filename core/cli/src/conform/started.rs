//! Plugins at sockets: where they listen, those that are started here and killed, and a folder for what checks make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use windlass::kernel::{Clock, ClockExt, Error, ErrorKind};

/// How long a plugin may take to answer after it was started.
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket of an endpoint, such as `unix:///run/x.sock`.
pub(super) fn socket(endpoint: &str) -> Result<PathBuf> {
    let socket = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:")).unwrap_or(endpoint);
    std::path::absolute(socket).context("the endpoint is no path")
}

/// A plugin that is started here.
#[derive(Debug)]
pub(super) struct Started {
    what: &'static str,
    command: String,
    variable: &'static str,
    socket: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Started {
    /// One that a command starts, which is told by a variable where it listens.
    pub(super) fn new(what: &'static str, command: &str, variable: &'static str, socket: &Path) -> Self {
        Self { what, command: command.into(), variable, socket: socket.into(), child: Mutex::default() }
    }

    pub(super) fn start(&self) -> Result<()> {
        let mut words = self.command.split_whitespace();
        let program = words.next().context("--command is empty")?;
        let child = Command::new(program)
            .args(words)
            .env(self.variable, format!("unix://{}", self.socket.display()))
            // The output is the verdicts'; what goes wrong is told beside it.
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// Kills it, with SIGKILL.
    pub(super) fn end(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that has ended by itself is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// What the plugin answers as soon as it answers.
    pub(super) async fn connected<T: Send, F: Future<Output = windlass::kernel::Result<T>> + Send>(
        &self,
        clock: &dyn Clock,
        ask: impl Fn() -> F,
    ) -> windlass::kernel::Result<T> {
        let give_up = clock.uptime() + PATIENCE;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if self.ended() => {
                    let message = format!("the {} ended before it answered: {}", self.what, self.command);
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
                }
                Err(error) if clock.uptime() >= give_up => return Err(error),
                Err(_) => clock.sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

/// A folder for what checks make: volumes, logs.
#[derive(Debug)]
pub(super) struct Folder(PathBuf, bool);

impl Folder {
    pub(super) fn make(kind: &str, given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("windlass-conform-{kind}-{}", std::process::id())),
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path.canonicalize().context("the folder is gone")?, given.is_none()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What a failed check left mounted stays, for whoever looks into it.
    pub(super) fn remove(self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        if self.1 {
            let _ = fs::remove_dir(&self.0);
        }
    }
}
