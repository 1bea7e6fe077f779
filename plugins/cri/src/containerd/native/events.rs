//! Events: containerd's own, with ends noted before they are told.
//!
//! A server answers a subscription only with its first event, so that it cannot be seen to stand. Here a word of our own is
//! published until it is heard: then it stands, and everything from then on is told.

use std::time::Duration;

use containerd_client::services::v1 as api;
use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::pending,
    select_biased,
    stream::{BoxStream, FuturesOrdered},
};
use windlass_kernel::{
    ClockExt, SpawnExt,
    runtime::{Change, RuntimeEvent, RuntimeEvents, Subject},
};

use super::Containerd;
use crate::{
    held::Held,
    wire::{self, EventsClient, events},
};

/// The topic of our own word.
const HELLO: &str = "/windlass/hello";
/// The pause before a lost stream is opened again.
const RETRY: Duration = Duration::from_secs(1);
/// The pause between two words of our own.
const AGAIN: Duration = Duration::from_millis(50);

impl Containerd {
    /// What happens from now on, through a queue that a task fills; dropping the stream ends the task.
    pub(super) fn listen(&self) -> RuntimeEvents {
        let (give, take) = mpsc::unbounded();
        let task = self.0.setup.spawn.spawn("cri.events", self.unwatched().pump(give));
        Held { take, _task: task }.boxed()
    }

    /// Follows one subscription after the other, as long as somebody listens.
    async fn pump(self, give: mpsc::UnboundedSender<RuntimeEvent>) {
        while !give.is_closed() {
            let ended = self.follow(&give).await;
            tracing::debug!(status = %ended, "containerd's events were interrupted");
            self.0.setup.clock.sleep(RETRY).await;
        }
    }

    /// Passes one subscription's events on until it ends.
    async fn follow(&self, give: &mpsc::UnboundedSender<RuntimeEvent>) -> tonic::Status {
        let word = self.fresh_id();
        let mut asked = self.subscribe().boxed().fuse();
        let mut stream: BoxStream<'_, _> = futures::stream::pending().boxed();
        let mut hello = self.say(word.clone()).boxed().fuse();
        // In order: an end is noted before anything later is told.
        let mut told = FuturesOrdered::new();
        // What comes before is what a look at everything shows.
        let mut stands = false;
        loop {
            select_biased! {
                answer = asked => match answer {
                    Ok(answer) => stream = answer,
                    Err(status) => return status,
                },
                event = stream.next().fuse() => match event {
                    Some(Ok(event)) if event.topic == HELLO => {
                        if event.event.is_some_and(|event| event.value == word.as_bytes()) {
                            hello = pending().boxed().fuse();
                            stands = true;
                            told.push_back(async { RuntimeEvent::Relist }.boxed());
                        }
                    }
                    Some(Ok(event)) if stands => {
                        if let Some(event) = wire::containerd_event(&event) {
                            told.push_back(self.noted(event).boxed());
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(status)) => return status,
                    None => return tonic::Status::unavailable("the stream of events ended"),
                },
                event = told.select_next_some() => {
                    // Without a listener the task is about to be dropped.
                    let _ = give.unbounded_send(event);
                }
                status = hello => return status,
            }
        }
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Result<events::Envelope, tonic::Status>>, tonic::Status> {
        let mut filters = wire::containerd_filters(&self.0.calls.namespace);
        filters.push(format!("namespace==\"{}\",topic==\"{HELLO}\"", self.0.calls.namespace));
        let mut client = EventsClient::new(self.0.calls.channel());
        Ok(client.subscribe(events::SubscribeRequest { filters }).await?.into_inner().boxed())
    }

    /// Says a word of our own, over and over. It ends only when it cannot.
    async fn say(&self, word: String) -> tonic::Status {
        loop {
            let event = prost_types::Any { type_url: "windlass.dev/hello".into(), value: word.clone().into_bytes() };
            let request = api::PublishRequest { topic: HELLO.into(), event: Some(event) };
            if let Err(status) = self.0.calls.events().publish(request).await {
                return status;
            }
            self.0.setup.clock.sleep(AGAIN).await;
        }
    }

    /// The event, once whoever looks sees what it tells.
    async fn noted(&self, event: RuntimeEvent) -> RuntimeEvent {
        let RuntimeEvent::Changed { subject, what } = &event else { return event };
        if *what == Change::Exited {
            // What cannot be noted now is when somebody looks.
            if let Err(error) = self.settle(subject.id()).await {
                tracing::debug!(id = subject.id(), %error, "an end is not noted");
            }
        }
        match self.0.calls.kept(subject.id()).await {
            Ok(Some(kept)) if kept.is_sandbox() => {
                RuntimeEvent::Changed { subject: Subject::Sandbox(kept.id.as_str().into()), what: *what }
            }
            Ok(Some(kept)) => {
                RuntimeEvent::Changed { subject: Subject::Container(kept.id.as_str().into()), what: *what }
            }
            _ => event,
        }
    }
}
