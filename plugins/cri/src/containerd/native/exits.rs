//! How containers end: waited for, noted once, and not forgotten when their process's record goes.

use std::{collections::BTreeMap, time::Duration};

use containerd_client::{
    services::v1 as api,
    types::v1::{Process, Status},
};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use windlass_kernel::{
    ClockExt, Result,
    runtime::{ContainerExit, ContainerState},
};

use super::{
    Containerd,
    calls::{answered, time, unless_gone},
    groups::Group,
    record::{Kept, label},
};

/// The code of an end that nobody saw.
const UNSEEN: i32 = 255;
/// The code of what could not be started.
const NOT_STARTED: i32 = 128;
/// The longest sentence that is kept, in bytes.
const SENTENCE: usize = 1024;
/// The signal numbers after `SIGRTMIN`, as the C library has it.
const REALTIME: u32 = 34;

/// SIGKILL and SIGTERM.
const KILL: u32 = 9;
const TERM: u32 = 15;

impl Containerd {
    pub(super) async fn task(&self, id: &str) -> Result<Option<Process>> {
        let request = api::GetRequest { container_id: id.to_owned(), ..api::GetRequest::default() };
        Ok(unless_gone("look for a process", self.0.calls.tasks().get(request).await)?
            .and_then(|answer| answer.process))
    }

    /// The process of what runs.
    pub(super) async fn running_task(&self, id: &str) -> Result<Option<u32>> {
        Ok(self.task(id).await?.filter(runs).map(|process| process.pid))
    }

    /// Everything that runs, with its process.
    pub(super) async fn running_tasks(&self) -> Result<BTreeMap<String, u32>> {
        let answer = self.0.calls.tasks().list(api::ListTasksRequest::default()).await;
        let tasks = answered("list processes", answer)?.tasks;
        Ok(tasks.into_iter().filter(runs).map(|process| (process.id, process.pid)).collect())
    }

    /// Where a container is in its life. An end that was not noted yet is.
    pub(super) async fn state_of(&self, kept: &Kept) -> Result<ContainerState> {
        if kept.exit().is_some() {
            return Ok(ContainerState::Exited);
        }
        if kept.started().is_none() {
            return Ok(ContainerState::Created);
        }
        if self.running_task(&kept.id).await?.is_some() {
            return Ok(ContainerState::Running);
        }
        self.settle(&kept.id).await?;
        Ok(match self.0.calls.kept_container(&kept.id).await? {
            Some(kept) if kept.exit().is_some() => ContainerState::Exited,
            Some(kept) if self.running_task(&kept.id).await?.is_some() => ContainerState::Running,
            Some(_) => ContainerState::Created,
            None => ContainerState::Unknown,
        })
    }

    /// Notes how a container ended, if it has and nobody did, and lets its process's record go. Answers whether it runs.
    pub(super) async fn settle(&self, id: &str) -> Result<bool> {
        // The lock of a sandbox is held while its network is taken away, and nothing of it is noted.
        if self.0.calls.kept_container(id).await?.is_none() {
            return Ok(false);
        }
        let _id = self.0.locks.lock(id).await;
        self.settle_locked(id).await
    }

    /// The same, for who holds its lock.
    pub(super) async fn settle_locked(&self, id: &str) -> Result<bool> {
        let Some(kept) = self.0.calls.kept_container(id).await? else { return Ok(false) };
        let task = self.task(id).await?;
        match (&task, kept.exit(), kept.started()) {
            (Some(process), None, _) if runs(process) => return Ok(true),
            (Some(process), None, Some(_)) if process.status() == Status::Stopped => {
                self.note_exit(&kept, process).await?;
            }
            // The machine was restarted, or containerd lost it.
            (None, None, Some(_)) => {
                let finished = self.0.setup.clock.now();
                self.write_exit(id, ContainerExit { code: UNSEEN, finished }, "Unknown", "nobody saw it end").await?;
            }
            _ => {}
        }
        if task.is_some_and(|process| process.status() == Status::Stopped) {
            self.delete_task(id).await?;
        }
        Ok(false)
    }

    async fn note_exit(&self, kept: &Kept, process: &Process) -> Result<()> {
        let code = i32::try_from(process.exit_status).unwrap_or(UNSEEN);
        let finished = time(process.exited_at).max(kept.started().unwrap_or(Timestamp::MIN));
        let around = self.0.calls.kept_sandbox(kept.label(label::SANDBOX)).await?;
        // The group is there until the process's record goes.
        let ran_out = match around {
            // Of a sandbox whose record cannot be read the group is not known.
            Some(around) => {
                let ran_out = |config| Group::at(&self.group_of(&config, &kept.id)).ran_out();
                around.sandbox_config().is_ok_and(ran_out)
            }
            None => false,
        };
        let reason = match code {
            _ if ran_out => "OOMKilled",
            0 => "Completed",
            _ => "Error",
        };
        self.write_exit(&kept.id, ContainerExit { code, finished }, reason, "").await
    }

    async fn write_exit(&self, id: &str, exit: ContainerExit, reason: &str, message: &str) -> Result<()> {
        let message = &message[..message.floor_char_boundary(SENTENCE)];
        let labels = [
            (label::EXIT, format!("{} {}", exit.code, exit.finished)),
            (label::REASON, reason.to_owned()),
            (label::MESSAGE, message.to_owned()),
        ];
        self.0.calls.label(id, &labels).await
    }

    /// Notes that a container could not be started.
    pub(super) async fn note_failure(&self, id: &str, why: &str) -> Result<()> {
        let exit = ContainerExit { code: NOT_STARTED, finished: self.0.setup.clock.now() };
        self.write_exit(id, exit, "StartError", why).await
    }

    /// Waits for the end of a process; `None` for one that is gone.
    pub(super) async fn wait(&self, id: &str, exec: &str) -> Result<Option<ContainerExit>> {
        let request = api::WaitRequest { container_id: id.to_owned(), exec_id: exec.to_owned() };
        let answer = unless_gone("wait for a process", self.0.calls.tasks().wait(request).await)?;
        Ok(answer.map(|answer| ContainerExit {
            code: i32::try_from(answer.exit_status).unwrap_or(UNSEEN),
            finished: time(answer.exited_at),
        }))
    }

    /// Stops a container with a grace, and notes how it ended. Gone is success.
    pub(super) async fn halt(&self, id: &str, grace: Duration) -> Result<()> {
        let Some(kept) = self.0.calls.kept_container(id).await? else { return Ok(()) };
        // No lock is held while it is given time: whoever has less patience may come.
        if !grace.is_zero() && kept.exit().is_none() && self.running_task(id).await?.is_some() {
            self.signal(id, number(kept.label(label::SIGNAL)).unwrap_or(TERM)).await?;
            let ended = self.0.setup.clock.within(grace, self.wait(id, "")).await;
            ended.transpose()?;
        }
        let _id = self.0.locks.lock(id).await;
        self.kill_task(id).await?;
        self.settle_locked(id).await.map(drop)
    }

    /// Kills a process and waits for its end. Gone is success.
    pub(super) async fn kill_task(&self, id: &str) -> Result<()> {
        if self.task(id).await?.is_none_or(|process| process.status() == Status::Stopped) {
            return Ok(());
        }
        self.signal(id, KILL).await?;
        self.wait(id, "").await.map(drop)
    }

    /// Lets the record of a process go that has ended. Gone is success.
    pub(super) async fn delete_task(&self, id: &str) -> Result<()> {
        let request = api::DeleteTaskRequest { container_id: id.to_owned() };
        let done = unless_gone("let a process go", self.0.calls.tasks().delete(request).await);
        match done {
            Ok(_) => Ok(()),
            // A shim that ends with its last process may not answer any more.
            Err(error) => match self.task(id).await {
                Ok(None) => Ok(()),
                _ => Err(error),
            },
        }
    }

    async fn signal(&self, id: &str, signal: u32) -> Result<()> {
        let request = api::KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all: false };
        unless_gone("send a signal", self.0.calls.tasks().kill(request).await).map(drop)
    }
}

fn runs(process: &Process) -> bool {
    matches!(process.status(), Status::Running | Status::Paused | Status::Pausing)
}

/// The number of a signal by its name, such as `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3`.
fn number(name: &str) -> Option<u32> {
    let name = name.to_uppercase();
    if let Ok(number) = name.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    if let Some(further) = name.strip_prefix("SIGRTMIN") {
        let further: u32 = if further.is_empty() { 0 } else { further.strip_prefix('+')?.parse().ok()? };
        return (further <= 30).then_some(REALTIME + further);
    }
    u32::try_from(name.parse::<Signal>().ok()? as i32).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for (name, expect) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("", None),
            ("SIGNONE", None),
            ("99", None),
        ] {
            assert_eq!(number(name), expect, "{name}");
        }
    }
}
