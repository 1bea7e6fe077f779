//! The event recorder: tells users what happened to an object, as `core/v1` Events.
//!
//! Best effort and bounded: recording never waits and never fails; repeated events are counted in one object, and what
//! is too much is dropped.

mod correlate;

use std::{fmt, sync::Arc};

use serde_json::json;
use windlass_api::{
    core::v1::{Event, EventSource, ObjectReference},
    meta::v1::ObjectMeta,
    types::{Resource, Time},
};
use windlass_kernel::{
    Clock, Entropy, EntropyExt, ErrorKind, Result, SpawnExt, Task,
    api::{PatchType, Verb},
};

use self::correlate::{Correlator, Happening, Step};
use crate::{
    client::{Client, tree},
    informer::Parts,
};

/// How many events may wait to be written.
const PENDING: usize = 1000;

/// Whether users need to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Something is wrong.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of one component. Clones share one task, which ends with the last of them.
#[derive(Clone)]
pub struct Recorder {
    sender: async_channel::Sender<Happening>,
    _task: Arc<Task>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("pending", &self.sender.len()).finish()
    }
}

impl Recorder {
    /// A recorder for a component, on a host where that matters.
    #[must_use]
    pub fn start(parts: &Parts, component: &str, host: &str) -> Self {
        let (sender, receiver) = async_channel::unbounded();
        let writer = Writer {
            client: parts.client.clone(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            component: component.into(),
            host: host.into(),
        };
        let task = parts.spawn.spawn("client.events", writer.run(receiver));
        Self { sender, _task: Arc::new(task) }
    }

    /// Records what happened to an object. `reason` is a word in `CamelCase`, `message` a sentence.
    pub fn event<T: Resource>(&self, about: &T, severity: Severity, reason: &str, message: impl Into<String>) {
        self.event_on(reference(about), severity, reason, message);
    }

    /// Records what happened to whatever a reference names.
    pub fn event_on(&self, about: ObjectReference, severity: Severity, reason: &str, message: impl Into<String>) {
        // Room for as many is not set aside, since most components seldom record anything.
        if self.sender.len() >= PENDING {
            tracing::debug!(reason, "too many events wait to be written, one is dropped");
            return;
        }
        let happening = Happening { about, severity, reason: reason.into(), message: message.into() };
        // Nobody writes events any more where the clock and its tasks have ended.
        let _ = self.sender.try_send(happening);
    }
}

/// A reference to an object, as events hold it.
#[must_use]
pub fn reference<T: Resource>(object: &T) -> ObjectReference {
    reference_to::<T>(object.metadata())
}

/// A reference to the object of kind `T` that metadata is of.
#[must_use]
pub fn reference_to<T: Resource>(meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(T::api_version()),
        kind: Some(T::KIND.into()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectReference::default()
    }
}

struct Writer {
    client: Client,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    component: String,
    host: String,
}

impl Writer {
    async fn run(self, happenings: async_channel::Receiver<Happening>) {
        let mut correlator = Correlator::default();
        while let Ok(happening) = happenings.recv().await {
            let reason = happening.reason.clone();
            if let Err(error) = self.write(&mut correlator, happening).await {
                tracing::warn!(%reason, %error, "cannot write an event, it is dropped");
            }
        }
    }

    async fn write(&self, correlator: &mut Correlator, happening: Happening) -> Result<()> {
        let namespace = namespace(&happening);
        match correlator.correlate(happening, self.clock.uptime()) {
            Step::Drop => Ok(()),
            Step::Create(key, happening) => {
                correlator.created(&key, self.create(happening).await?);
                Ok(())
            }
            Step::Count { key, name, count, happening } => {
                let patch = json!({
                    "count": count, "message": happening.message, "lastTimestamp": Time(self.clock.now()).to_string(),
                });
                let counted = self.client.patch::<Event>(&namespace, &name, PatchType::Merge, patch).await;
                match counted {
                    Err(error) if error.is(ErrorKind::NotFound) => {
                        correlator.created(&key, self.create(happening).await?);
                        Ok(())
                    }
                    counted => counted.map(drop),
                }
            }
        }
    }

    /// Writes a new event, and says its name. The answer is not looked at: it would have to be decoded.
    async fn create(&self, happening: Happening) -> Result<String> {
        let event = self.object(happening);
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        self.client.call(self.client.on::<Event>(Verb::Create, namespace).body(tree(&event)?)).await?;
        Ok(event.metadata.name.unwrap_or_default())
    }

    fn object(&self, happening: Happening) -> Event {
        let now = Some(Time(self.clock.now()));
        let about = happening.about.name.as_deref().unwrap_or_default();
        let metadata = ObjectMeta {
            name: Some(format!("{about}.{:016x}", self.entropy.u64())),
            namespace: Some(namespace(&happening)),
            ..ObjectMeta::default()
        };
        Event {
            metadata,
            involved_object: happening.about,
            reason: Some(happening.reason),
            message: Some(happening.message),
            type_: Some(happening.severity.as_str().into()),
            count: Some(1),
            first_timestamp: now,
            last_timestamp: now,
            source: EventSource {
                component: Some(self.component.clone()),
                host: Some(self.host.clone()).filter(|host| !host.is_empty()),
            },
            reporting_component: self.component.clone(),
            ..Event::default()
        }
    }
}

/// Events live beside their object; those about cluster-scoped ones in `default`.
fn namespace(happening: &Happening) -> String {
    let own = happening.about.namespace.clone().filter(|namespace| !namespace.is_empty());
    own.unwrap_or_else(|| "default".into())
}
