//! Makes what a pod's containers run in: the control group and the sandbox.

use std::{path::PathBuf, sync::Arc};

use windlass_api::core::v1::Pod;
use windlass_kernel::{Error, ErrorKind, Result, runtime::SandboxConfig};

use super::worker::Round;
use crate::{
    make::{dns, resources, sandbox},
    pod,
};

impl Round<'_> {
    pub(super) fn sandbox_config(&self, pod: &Pod, attempt: u32) -> SandboxConfig {
        let dns = dns::dns(pod, &self.inner.config.dns, &self.inner.machine.resolver);
        sandbox::sandbox(
            pod,
            attempt,
            &self.inner.layout,
            (&self.inner.config.node, &self.inner.config.dns.domain),
            dns,
        )
    }

    pub(super) async fn make_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32) -> Result<()> {
        self.volumes(pod, &[]).await?;
        let attempt = attempt.max(self.memo.floor);
        let config = self.sandbox_config(pod, attempt);
        let (logs, group, limits) =
            (PathBuf::from(&config.log_directory), config.cgroup_parent.clone(), resources::of_pod(pod));
        let made = self.blocking(move || {
            std::fs::create_dir_all(&logs)?;
            if group.is_empty() { Ok(()) } else { crate::cgroup::make(&group, &limits) }
        });
        if let Err(error) = made.await? {
            let text = format!("failed to make the control group or log directory of the pod: {error}");
            self.event(pod, None, "Warning", "FailedCreatePodContainer", &text);
            return Err(Error::new(ErrorKind::Internal, text));
        }
        match self.inner.needs.runtime.run_sandbox(&config).await {
            Ok(id) => {
                self.inner.enter(&pod::uid(pod), std::iter::once(id.to_string()));
                self.memo.sandbox = Some(config);
                Ok(())
            }
            Err(error) => {
                if error.is(ErrorKind::AlreadyExists) {
                    self.memo.floor = attempt + 1;
                }
                if !error.is(ErrorKind::Unavailable) {
                    let text = format!("Failed to create pod sandbox: {}", whole(&error));
                    self.event(pod, None, "Warning", "FailedCreatePodSandBox", &text);
                }
                Err(error)
            }
        }
    }
}

/// An error with its causes, for people.
pub(crate) fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
