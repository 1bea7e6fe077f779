//! The suite's program, and what it is told.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use windlass_kernel::{Error, ErrorKind, Result, Spawn, SpawnExt};

use crate::spec::{self, Spec};

/// How much of what a program complains of is repeated.
const COMPLAINT: usize = 600;

/// The suite's program.
#[derive(Clone, Debug)]
pub struct Suite {
    program: PathBuf,
    kubeconfig: PathBuf,
    more: Vec<String>,
}

impl Suite {
    /// The program at `program` against the cluster of `kubeconfig`; `more` are further arguments of it.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where there is no such file.
    pub fn new(program: &Path, kubeconfig: &Path, more: Vec<String>) -> Result<Self> {
        for (what, path) in [("suite", program), ("kubeconfig", kubeconfig)] {
            if !path.is_file() {
                return Err(Error::new(ErrorKind::Invalid, format!("there is no {what} at {}", path.display())));
            }
        }
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { program: whole(program), kubeconfig: whole(kubeconfig), more })
    }

    /// The specs that the program has.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it does not list any: `--list-tests` is there since Kubernetes 1.30.
    pub async fn specs(&self, spawn: &Arc<dyn Spawn>) -> Result<Vec<Spec>> {
        let text = self.asked(spawn, "--list-tests").await?;
        let specs = spec::read(&text);
        if specs.is_empty() {
            let message = format!("{} lists no specs by --list-tests", self.program.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(specs)
    }

    /// The version of Kubernetes that the program is of.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it does not say one.
    pub async fn version(&self, spawn: &Arc<dyn Spawn>) -> Result<String> {
        let text = self.asked(spawn, "--version").await?;
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    async fn asked(&self, spawn: &Arc<dyn Spawn>, flag: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg(flag).env("KUBECONFIG", &self.kubeconfig);
        let output = spawn.run_blocking("conform.suite", move || command.output()).await;
        let unusable = |why: String| {
            let message = format!("cannot ask {} for {flag}: {why}", self.program.display());
            Error::new(ErrorKind::Invalid, message)
        };
        match output {
            Some(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Some(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(COMPLAINT).collect::<String>();
                Err(unusable(format!("it ended with {}: {said}", output.status)))
            }
            Some(Err(error)) => Err(unusable(error.to_string())),
            None => Err(unusable("it could not be waited for".into())),
        }
    }

    /// The command that runs one spec and leaves its reports in `folder`.
    pub(crate) fn command(&self, spec: &Spec, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let of = |flag: &str, value: &Path| {
            let mut word = OsString::from(flag);
            word.push(value);
            word
        };
        command.arg(of("--kubeconfig=", &self.kubeconfig)).arg(of("--report-dir=", folder));
        command.args(["--ginkgo.no-color", "--ginkgo.v", "--ginkgo.timeout=24h"]);
        command.arg(format!("--ginkgo.focus={}", spec.focus())).args(&self.more);
        command
    }
}
