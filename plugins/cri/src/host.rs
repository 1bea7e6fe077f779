//! The kernel's traits by speaking CRI v1 to a socket. It starts nothing and keeps no state: the runtime does.

mod events;
mod images;
mod runtime;
mod session;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tonic::transport::Channel;
pub use windlass_grpc::RawAnswer;
use windlass_kernel::{Clock, ClockExt, Dial, Error, ErrorKind, Result, Spawn, dial::Target, runtime::RuntimeVersion};

use crate::wire::{self, EventsClient, ImageServiceClient, RuntimeServiceClient, error_from_wire};

/// What a [`RemoteRuntime`] is made of.
#[derive(Clone, Debug)]
pub struct Rim {
    /// Reaches the socket, and the runtime's streaming server.
    pub dial: Arc<dyn Dial>,
    /// Waits between attempts.
    pub clock: Arc<dyn Clock>,
    /// Runs what carries events and sessions. Tasks need a tokio runtime.
    pub spawn: Arc<dyn Spawn>,
}

/// A container runtime behind a CRI socket. Clones share one connection, which comes back by itself after a loss.
#[derive(Clone)]
pub struct RemoteRuntime {
    socket: Arc<str>,
    rim: Rim,
    channel: Channel,
    offers: Offers,
}

/// Which optional services the runtime has.
#[derive(Clone, Copy, Debug, Default)]
struct Offers {
    metering: bool,
    checkpoints: bool,
}

/// The largest answer: two outputs of a command of 16 MiB each, and what is around them.
const ANSWER_LIMIT: usize = 40 << 20;

/// How long a runtime has to say that it has no events of its own.
const REFUSAL: Duration = Duration::from_secs(1);

impl RemoteRuntime {
    /// Connects to the runtime at a socket file, and asks what it is and has.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers there.
    pub async fn connect(socket: impl Into<Arc<str>>, rim: Rim) -> Result<Self> {
        let socket = socket.into();
        // Asked for alone first: what gRPC makes of a missing socket is no sentence.
        let there = rim.dial.dial(&Target::Unix(socket.to_string())).await;
        there.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no container runtime answers at {socket}")).with_source(error)
        })?;
        let channel = windlass_grpc::open(Arc::clone(&socket), Arc::clone(&rim.dial));
        let mut runtime = Self { socket, rim, channel, offers: Offers::default() };
        runtime.ask_version().await?;
        runtime.offers = runtime.ask_offers().await;
        Ok(runtime)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Whether the runtime tells of everything that happens, by CRI's own stream. Otherwise events come from elsewhere, and some
    /// may be missing.
    ///
    /// A server that has the stream may answer only with its first event; one that has not says so at once. So this takes up
    /// to a second.
    pub async fn tells_events(&self) -> bool {
        let asked = async { self.client().get_container_events(wire::wire::GetEventsRequest {}).await.err() };
        let refused = self.rim.clock.within(REFUSAL, asked).await.flatten();
        refused.is_none_or(|status| status.code() != tonic::Code::Unimplemented)
    }

    /// Calls a method, such as `/runtime.v1.RuntimeService/Version`, with a message as it is. The server is told of a deadline.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where `method` is no path; [`Unavailable`](ErrorKind::Unavailable) without a connection.
    pub async fn raw(&self, method: &str, message: Bytes, deadline: Option<Duration>) -> Result<RawAnswer> {
        windlass_grpc::raw(&self.channel, method, message, deadline).await
    }

    async fn ask_version(&self) -> Result<RuntimeVersion> {
        let request = wire::wire::VersionRequest { version: "v1".into() };
        let answer = self.client().version(request).await;
        Ok(wire::version(
            answer.map_err(|status| error_from_wire("ask for the runtime's version", status))?.into_inner(),
        ))
    }

    /// Asks for what cannot be there: a runtime that does not know the call says so first.
    async fn ask_offers(&self) -> Offers {
        let known = |status: Option<tonic::Status>| status.is_none_or(|s| s.code() != tonic::Code::Unimplemented);
        let filter = wire::wire::PodSandboxStatsFilter { id: "none".into(), ..Default::default() };
        let stats = wire::wire::ListPodSandboxStatsRequest { filter: Some(filter) };
        let checkpoint = wire::wire::CheckpointContainerRequest { container_id: "none".into(), ..Default::default() };
        Offers {
            metering: known(self.client().list_pod_sandbox_stats(stats).await.err()),
            checkpoints: known(self.client().checkpoint_container(checkpoint).await.err()),
        }
    }

    fn client(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn image_client(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn events_client(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone())
    }
}

/// `Ok(None)` for what is gone.
fn unless_gone<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(None),
        other => other.map(Some),
    }
}

impl fmt::Debug for RemoteRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRuntime").field("socket", &self.socket).finish_non_exhaustive()
    }
}
