//! Tasks of the host: reports and bindings, and what follows when they have ended.

use std::{future::Future, sync::Arc};

use windlass_client::events::Recorder;
use windlass_kernel::{SpawnExt, scheduler::Change};

use super::{
    Loop,
    carry::{self, Carried, Ended},
    report::Report,
    wake,
};
use crate::metrics::Ended as Outcome;

impl Loop {
    pub(super) fn report(&mut self, report: Report, recorder: &Recorder) {
        let (reporter, recorder) = (Arc::clone(&self.reporter), recorder.clone());
        self.start("scheduler.report", async move {
            reporter.run(report, &recorder).await;
            None
        });
    }

    /// Starts a task; what it ends with comes back to this one.
    pub(super) fn start(&mut self, name: &'static str, work: impl Future<Output = Option<Carried>> + Send + 'static) {
        self.started += 1;
        let (task, sender) = (self.started, self.ended.0.clone());
        let work = async move {
            let carried = work.await;
            // Nobody listens any more: the host has ended.
            let _ = sender.send(Ended { task, carried }).await;
        };
        self.tasks.insert(task, self.spawn.spawn(name, work));
    }

    pub(super) fn task_ended(&mut self, ended: Ended) {
        self.tasks.remove(&ended.task);
        let Some(Carried { pod, profile, cycle, node, recorder, failure, began, tries }) = ended.carried else {
            return;
        };
        let now = self.clock.uptime();
        let Some(failure) = failure else {
            self.queue.remove(&pod.key);
            self.count(&pod.scheduler, Outcome::Scheduled, now.saturating_sub(began));
            let (attempts, first) = tries;
            self.metrics.placed(attempts, now.saturating_sub(first.unwrap_or(began)));
            return;
        };
        carry::unreserve(&profile, &cycle, &pod, &node);
        if Arc::make_mut(&mut self.snapshot).forget(&pod) {
            wake(&mut self.queue, &self.profiles, now, &Change::PodGone(&pod));
        }
        if self.queue.get(&pod.key).is_none_or(|now| now.uid != pod.uid) {
            return;
        }
        match failure {
            carry::Failure::Refused(plugin, reason) => {
                self.queue.refused(&pod.key, vec![plugin], now);
                self.count(&pod.scheduler, Outcome::Unschedulable, now.saturating_sub(began));
                self.report(Report::failure(&pod, "Unschedulable", reason, None), &recorder);
            }
            carry::Failure::Broken(error) => {
                tracing::warn!(pod = %pod.key, %node, %error, "a pod was not bound, trying again");
                self.queue.failed(&pod.key, now);
                self.count(&pod.scheduler, Outcome::Error, now.saturating_sub(began));
                let message = format!("binding rejected: {error}");
                self.report(Report::failure(&pod, "SchedulerError", message, None), &recorder);
            }
        }
    }
}
