//! The stream of events. CRI cannot say "look at everything": where the runtime does, the stream ends, and whoever opens the
//! next one looks.

use futures::{FutureExt, Stream, StreamExt, future::ready, stream::BoxStream};
use tonic::Status;
use windlass_kernel::{
    ContainerRuntime, Result,
    runtime::{Change, ContainerFilter, RuntimeEvent, SandboxId, Subject},
};

use super::Served;
use crate::wire::{self, wire as cri};

/// What is told.
pub(super) type Told = BoxStream<'static, Result<cri::ContainerEventResponse, Status>>;

impl Served {
    /// Everything that happens from now on.
    pub(super) fn tell(&self) -> Told {
        let (served, stop) = (self.clone(), self.stop.clone());
        // The first word says that the stream stands, which is what its answer says here.
        let mut first = true;
        let events = self.plugin.runtime.events().filter(move |event| {
            let skipped = std::mem::take(&mut first) && *event == RuntimeEvent::Relist;
            ready(!skipped)
        });
        let told = events.then(move |event| {
            let served = served.clone();
            async move { served.told(event).await }.boxed()
        });
        let told = until_lost(told.filter_map(|told| ready(told.transpose())));
        told.take_until(async move { stop.wait().await }.boxed()).boxed()
    }

    async fn told(&self, event: RuntimeEvent) -> Result<Option<cri::ContainerEventResponse>, Status> {
        match event {
            RuntimeEvent::Relist => Err(Status::unavailable("events were lost: look at everything")),
            RuntimeEvent::Images => Ok(None),
            RuntimeEvent::Changed { subject, what } => {
                let told = response(&*self.plugin.runtime, &subject, what, self.setup.clock.now()).await;
                told.map_err(|error| wire::to_status(&error))
            }
        }
    }
}

/// Ends after the first error.
fn until_lost<T: Send + 'static>(
    events: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send {
    events.scan(false, |lost, event| {
        let ended = std::mem::replace(lost, event.is_err());
        ready((!ended).then_some(event))
    })
}

/// An event, with the sandbox and its containers as they are now.
async fn response(
    runtime: &dyn ContainerRuntime,
    subject: &Subject,
    what: Change,
    at: jiff::Timestamp,
) -> Result<Option<cri::ContainerEventResponse>> {
    let of_container = async |id: &str| -> Result<Option<SandboxId>> {
        let filter = ContainerFilter { id: Some(id.into()), ..ContainerFilter::default() };
        Ok(runtime.containers(&filter).await?.into_iter().next().map(|container| container.sandbox))
    };
    let id = match subject {
        Subject::Sandbox(id) => Some(id.clone()),
        Subject::Container(id) => of_container(id.as_str()).await?,
        Subject::Either(id) => match of_container(id).await? {
            Some(sandbox) => Some(sandbox),
            None => Some(id.as_str().into()),
        },
    };
    let sandbox = match &id {
        Some(id) => runtime.sandbox(id).await?,
        None => None,
    };
    let mut containers = Vec::new();
    if let Some(id) = id.filter(|_| sandbox.is_some()) {
        let filter = ContainerFilter { sandbox: Some(id), ..ContainerFilter::default() };
        for container in runtime.containers(&filter).await? {
            containers.extend(runtime.container(&container.id).await?);
        }
    }
    Ok(wire::event_to_wire(subject.id(), what, at, sandbox, containers))
}
