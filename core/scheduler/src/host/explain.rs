//! Explaining pods of a running host: the host hands out the state that its next turn would see, and goes on; whoever
//! asked looks at it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::channel::oneshot;
use windlass_kernel::{
    Clock, ClockExt, Entropy, Error, ErrorKind, Result, Scheduler, Spawn, SpawnExt,
    controller::ObjectKey,
    scheduler::{Cycle, Diagnosis, Explainer, NodeIndex, Nodes, PodView, Turn, Verdict},
};

use super::Loop;
use crate::snapshot::Snapshot;

/// How long the host may take to hand out its state. It does so between two turns, once it knows the cluster.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long plugins may take to look at every node.
const LOOKING: Duration = Duration::from_secs(30);

/// Asks a host about its pods. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Explaining {
    ask: async_channel::Sender<Question>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

/// What a host is asked; see [`Host::answering`](super::Host::answering). Of hosts that share it, one answers each.
#[derive(Clone, Debug)]
pub struct Questions(pub(super) async_channel::Receiver<Question>);

#[derive(Debug)]
pub(super) struct Question {
    pod: ObjectKey,
    answer: oneshot::Sender<Answer>,
}

/// What the host knows about a pod.
#[derive(Debug)]
enum Answer {
    Unknown,
    Unserved(Arc<PodView>, Vec<String>),
    Known(Box<Known>),
}

#[derive(Debug)]
struct Known {
    pod: Arc<PodView>,
    scheduler: Arc<dyn Scheduler>,
    snapshot: Arc<Snapshot>,
    facts: Cycle,
    entropy: Arc<dyn Entropy>,
}

impl Explaining {
    /// Who asks, and what the host is to be given. Until a host answers, questions wait for ten seconds.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> (Self, Questions) {
        let (ask, questions) = async_channel::unbounded();
        (Self { ask, clock, spawn }, Questions(questions))
    }
}

#[async_trait]
impl Explainer for Explaining {
    async fn explain(&self, pod: &ObjectKey) -> Result<Diagnosis> {
        let gone = || Error::new(ErrorKind::Unavailable, format!("cannot explain pod {pod}: no scheduler answers"));
        let (answer, answered) = oneshot::channel();
        self.ask.send(Question { pod: pod.clone(), answer }).await.map_err(|_| gone())?;
        let answer = self.clock.timeout(PATIENCE, answered).await.map_err(|_| gone())?.map_err(|_| gone())?;
        match answer {
            Answer::Unknown => {
                let message = format!("the scheduler knows no pod {pod} that waits or runs");
                Err(Error::new(ErrorKind::NotFound, message))
            }
            Answer::Unserved(pod, names) => Ok(Diagnosis::of(&pod, Verdict::Unserved(names))),
            Answer::Known(known) => {
                let told = self.spawn.run_blocking("scheduler.explain", move || known.diagnosis());
                let late = || Error::new(ErrorKind::Timeout, format!("explaining pod {pod} takes too long"));
                let told = self.clock.within(LOOKING, told).await.ok_or_else(late)?;
                told.ok_or_else(|| Error::new(ErrorKind::Internal, format!("explaining pod {pod} failed")))?
            }
        }
    }
}

impl Known {
    fn diagnosis(self) -> Result<Diagnosis> {
        let Self { pod, scheduler, snapshot, mut facts, entropy } = self;
        let unable = || {
            let name = &pod.scheduler;
            Error::new(ErrorKind::NotSupported, format!("the scheduler {name:?} does not explain its decisions"))
        };
        let diagnoses = scheduler.diagnoses().ok_or_else(unable)?;
        let Some(bound) = pod.node.clone().or_else(|| snapshot.on_its_way(&pod)) else {
            let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut facts, entropy: entropy.as_ref() };
            return diagnoses.diagnose(turn);
        };
        // The pod is taken from its node, as if its turn were still to come.
        let mut nodes = snapshot.nodes().all().to_vec();
        nodes.iter_mut().filter(|node| *node.name == *bound).for_each(|node| {
            node.remove(&pod.uid);
        });
        let (index, free) = (NodeIndex::of(&nodes), Arc::new(PodView { node: None, ..PodView::clone(&pod) }));
        let turn = Turn { pod: &free, nodes: Nodes::new(&nodes, &index), cycle: &mut facts, entropy: entropy.as_ref() };
        let mut told = diagnoses.diagnose(turn)?;
        (told.verdict, told.remedy) = (Verdict::Bound(bound), None);
        Ok(told)
    }
}

impl Loop {
    /// Hands out what the next turn of a pod would see.
    pub(super) fn answer(&self, question: Question) {
        let Question { pod, answer } = question;
        let told = match self.views.pod(&pod) {
            None => Answer::Unknown,
            Some(pod) => match self.profiles.get(&*pod.scheduler) {
                None => Answer::Unserved(pod, self.profiles.keys().map(ToString::to_string).collect()),
                Some((profile, _)) => {
                    let mut facts = Cycle::new();
                    self.facts.tell(&mut facts, &pod);
                    let (scheduler, snapshot) = (Arc::clone(&profile.scheduler), Arc::clone(&self.snapshot));
                    let entropy = Arc::clone(&self.entropy);
                    Answer::Known(Box::new(Known { pod, scheduler, snapshot, facts, entropy }))
                }
            },
        };
        // Whoever asked may have gone away.
        let _ = answer.send(told);
    }
}
