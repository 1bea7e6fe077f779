//! Events: CRI's own stream where the runtime has one, else containerd's event service on the same socket, else a slow
//! reminder to look.
//!
//! Servers answer a subscription only with its first event, so it cannot be seen to stand: a `Relist` is given when it has
//! been asked for, and once more after a while, for what happened in between.

use std::{collections::VecDeque, time::Duration};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{BoxFuture, Fuse},
    select_biased,
    stream::{BoxStream, FuturesUnordered},
};
use windlass_kernel::{
    ClockExt, ContainerRuntime, SpawnExt,
    runtime::{Change, ContainerState, RuntimeEvent, RuntimeEvents, SandboxState, Subject},
};

use super::RemoteRuntime;
use crate::{
    held::Held,
    wire::{self, events, wire as cri},
};

/// The pause before a lost stream is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// When a subscription is taken to stand.
const SETTLE: Duration = Duration::from_secs(1);

/// Where containerd's own CRI keeps its containers.
const NAMESPACE: &str = "k8s.io";

/// How often a runtime without any events is looked at.
const RELIST: Duration = Duration::from_secs(5);

/// How long a status is looked at after an exit until it shows it; containerd tells of exits before its CRI knows.
const CONFIRM: Duration = Duration::from_secs(3);

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Cri,
    Containerd,
    Clock,
}

type Events = BoxStream<'static, Result<Option<RuntimeEvent>, tonic::Status>>;

impl RemoteRuntime {
    /// Events through a queue that a task fills; dropping the stream ends the task.
    pub(super) fn stream_events(&self) -> RuntimeEvents {
        let (give, take) = mpsc::unbounded();
        let pump = Pump { runtime: self.clone(), give };
        let task = self.rim.spawn.spawn("cri.events", pump.run());
        Held { take, _task: task }.boxed()
    }

    async fn subscribe(&self, source: Source) -> Result<Events, tonic::Status> {
        match source {
            Source::Cri => {
                let stream = self.client().get_container_events(cri::GetEventsRequest {}).await?.into_inner();
                Ok(after_a_relist(stream.map(|event| event.map(|event| Some(wire::event(event)))).boxed()))
            }
            Source::Containerd => {
                let request = events::SubscribeRequest { filters: wire::containerd_filters(NAMESPACE) };
                let stream = self.events_client().subscribe(request).await?.into_inner();
                Ok(stream.map(|event| event.map(|event| wire::containerd_event(&event))).boxed())
            }
            Source::Clock => {
                let clock = self.rim.clock.clone();
                let ticks = futures::stream::repeat(()).then(move |()| clock.sleep(RELIST));
                Ok(ticks.map(|()| Ok(Some(RuntimeEvent::Relist))).boxed())
            }
        }
    }

    /// Waits until the status of what exited shows it, so that whoever looks on the event sees it.
    async fn confirm(self, id: String) -> RuntimeEvent {
        let end = self.rim.clock.uptime() + CONFIRM;
        let mut pause = Duration::from_millis(2);
        let container = id.as_str().into();
        let sandbox = id.as_str().into();
        let subject = loop {
            let subject = match self.container(&container).await {
                Ok(Some(status)) if status.container.state != ContainerState::Running => {
                    Some(Subject::Container(container.clone()))
                }
                Ok(Some(_)) => None,
                Ok(None) => match self.sandbox(&sandbox).await {
                    Ok(Some(status)) if status.sandbox.state == SandboxState::Ready => None,
                    Ok(Some(_)) => Some(Subject::Sandbox(sandbox.clone())),
                    Ok(None) | Err(_) => Some(Subject::Either(id.clone())),
                },
                Err(_) => Some(Subject::Either(id.clone())),
            };
            match subject {
                Some(subject) => break subject,
                None if self.rim.clock.uptime() >= end => break Subject::Either(id),
                None => self.rim.clock.sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        };
        RuntimeEvent::Changed { subject, what: Change::Exited }
    }
}

/// Events whose first one comes after a `Relist`: what a server kept while nobody listened (containerd 2 does) may not be all.
fn after_a_relist(events: Events) -> Events {
    let told = |(at, event): (usize, Result<_, _>)| {
        let relist = (at == 0 && event.is_ok()).then_some(Ok(Some(RuntimeEvent::Relist)));
        futures::stream::iter(relist.into_iter().chain([event]))
    };
    events.enumerate().flat_map(told).boxed()
}

struct Pump {
    runtime: RemoteRuntime,
    give: mpsc::UnboundedSender<RuntimeEvent>,
}

impl Pump {
    async fn run(self) {
        let mut sources = VecDeque::from([Source::Cri, Source::Containerd, Source::Clock]);
        while let Some(source) = sources.front().copied() {
            let ended = self.follow(source).await;
            if self.give.is_closed() {
                return;
            }
            if ended.code() == tonic::Code::Unimplemented {
                sources.pop_front();
                continue;
            }
            tracing::debug!(?source, status = %ended, "the runtime's events were interrupted");
            self.runtime.rim.clock.sleep(RETRY).await;
        }
    }

    /// Passes one subscription's events on until it ends.
    async fn follow(&self, source: Source) -> tonic::Status {
        let asked: BoxFuture<'_, _> = self.runtime.subscribe(source).boxed();
        let mut asked = asked.fuse();
        let mut events: Events = futures::stream::pending().boxed();
        let mut exits = FuturesUnordered::new();
        let mut settled = self.runtime.rim.clock.sleep(SETTLE).fuse();
        // The request goes out when it is polled: only then may the stream be said to stand.
        if let Some(answer) = (&mut asked).now_or_never() {
            match answer {
                Ok(stream) => events = stream,
                Err(status) => return status,
            }
            asked = Fuse::terminated();
        }
        if source != Source::Cri {
            self.tell(RuntimeEvent::Relist);
        }
        loop {
            select_biased! {
                answer = asked => match answer {
                    Ok(stream) => events = stream,
                    Err(status) => return status,
                },
                event = events.next().fuse() => match event {
                    Some(Ok(Some(RuntimeEvent::Changed { subject, what: Change::Exited }))) => {
                        exits.push(self.runtime.clone().confirm(subject.id().to_owned()));
                    }
                    Some(Ok(Some(event))) => self.tell(event),
                    Some(Ok(None)) => {}
                    Some(Err(status)) => return status,
                    None => return tonic::Status::unavailable("the stream of events ended"),
                },
                event = exits.select_next_some() => self.tell(event),
                () = settled => self.tell(RuntimeEvent::Relist),
            }
        }
    }

    fn tell(&self, event: RuntimeEvent) {
        // Without a listener the task is about to be dropped.
        let _ = self.give.unbounded_send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: Vec<Result<Option<RuntimeEvent>, tonic::Status>>, expect: &[Option<RuntimeEvent>]) {
        let told = after_a_relist(futures::stream::iter(events).boxed()).map(Result::ok);
        let told: Vec<_> = told.map(Option::flatten).collect().now_or_never().expect("all is there");
        assert_eq!(told, expect);
    }

    #[test]
    fn what_was_kept_for_a_listener_comes_after_a_relist() {
        let kept = |id: &str| {
            let subject = Subject::Sandbox(id.into());
            Some(RuntimeEvent::Changed { subject, what: Change::Removed })
        };
        check(vec![Ok(kept("a")), Ok(kept("b"))], &[Some(RuntimeEvent::Relist), kept("a"), kept("b")]);
        check(vec![Err(tonic::Status::unimplemented("no events"))], &[None]);
        check(vec![], &[]);
    }
}
