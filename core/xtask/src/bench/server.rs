//! A windlass process with a data directory of its own, started and ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::client::Target;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    /// From before the process was started until its ready file was there.
    pub(super) took: Duration,
}

impl Server {
    /// Starts a cluster of one fake node in an empty folder, and waits until it is ready.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
    pub(super) fn start(windlass: &Path, folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let ready = folder.join("ready");
        let started = Instant::now();
        let mut command = Command::new(windlass);
        command.args(["up", "--runtime", "fake", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
        command.arg("--kubeconfig").arg(folder.join("kubeconfig")).arg("--ready-file").arg(&ready);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {}", windlass.display()))?;
        let mut server = Self { child, folder, took: Duration::ZERO };
        while fs::metadata(&ready).map_or(0, |file| file.len()) == 0 {
            if let Some(status) = server.child.try_wait()? {
                bail!("windlass ended with {status} before it was ready");
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("windlass is not ready after a minute");
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        server.took = started.elapsed();
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(super) fn target(&self) -> Result<Target> {
        Target::read(&self.kubeconfig())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not a request to end: that would wait for the connections that this very thread holds.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
