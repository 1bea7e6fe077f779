//! The kernel's trait by speaking to a plugin's socket, and the socket at which plugins register. It keeps no state.

mod door;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, TryFutureExt};
use tonic::transport::Channel;
use windlass_kernel::{
    Clock, ClockExt, Dial, Error, ErrorKind, Result,
    device::{Allocation, DeviceId, DeviceLists, DevicePlugin, Preference, Preferring, Preparing},
    dial::Target,
};

pub use self::door::{Door, Registrar};
use crate::wire::{self, DevicePluginClient, api, from_status};

/// How long a plugin may take to answer what it can (upstream: to connect).
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to choose devices, or to make them ready (upstream: 30 s for the second, no end for the first).
const CHOOSE: Duration = Duration::from_secs(30);
const PREPARE: Duration = Duration::from_secs(30);
/// How long it may take to hand devices out (upstream: no end).
const ALLOCATE: Duration = Duration::from_secs(120);

/// The largest list of devices.
const ANSWER_LIMIT: usize = 16 << 20;

/// What device plugins say they are, where they register in a node's folder for plugins of all kinds.
pub const KIND: &str = "DevicePlugin";

/// Whether a plugin of `resource` that speaks these versions can be spoken with.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) where it cannot.
pub fn speaks(resource: &str, versions: &[String]) -> Result<()> {
    if versions.iter().any(|version| version == wire::VERSION) {
        return Ok(());
    }
    let message = format!("the plugin of {resource} speaks {versions:?}, and none of them is {}", wire::VERSION);
    Err(Error::new(ErrorKind::NotSupported, message))
}

/// What a host needs.
#[derive(Clone, Debug)]
pub struct Rim {
    /// Reaches sockets.
    pub dial: Arc<dyn Dial>,
    /// The time, for deadlines.
    pub clock: Arc<dyn Clock>,
}

/// A device plugin behind a socket. Clones share one connection, which comes back by itself after a loss.
///
/// Every call but the stream of devices has a deadline, and answers [`Timeout`](ErrorKind::Timeout) then. The stream ends with
/// an error when the connection is lost.
#[derive(Clone)]
pub struct RemotePlugin {
    socket: Arc<str>,
    channel: Channel,
    clock: Arc<dyn Clock>,
    options: api::DevicePluginOptions,
}

impl RemotePlugin {
    /// Connects to the plugin at a socket file, and asks what it can.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers there, [`Timeout`](ErrorKind::Timeout) when it takes too
    /// long; the kind of the plugin's own answer else.
    pub async fn connect(socket: impl Into<Arc<str>>, rim: Rim) -> Result<Self> {
        let socket = socket.into();
        // Asked for alone first: what gRPC makes of a missing socket is no sentence.
        rim.dial.dial(&Target::Unix(socket.to_string())).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no device plugin answers at {socket}")).with_source(error)
        })?;
        let channel = windlass_grpc::open(Arc::clone(&socket), rim.dial);
        let mut plugin = Self { socket, channel, clock: rim.clock, options: api::DevicePluginOptions::default() };
        let mut client = plugin.client();
        let asked = client.get_device_plugin_options(api::Empty {});
        plugin.options = plugin.answered("ask what the plugin can", CONNECT, asked).await?;
        Ok(plugin)
    }

    fn client(&self) -> DevicePluginClient<Channel> {
        DevicePluginClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    /// What a call answered, within its time.
    async fn answered<T: Send>(
        &self,
        what: &str,
        patience: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send,
    ) -> Result<T> {
        let late = |error: Error| {
            let message = format!("cannot {what}: the plugin at {} gave no answer within {patience:?}", self.socket);
            Error::new(ErrorKind::Timeout, message).with_source(error).maybe_applied()
        };
        let answer = self.clock.timeout(patience, call).await.map_err(late)?;
        answer.map(tonic::Response::into_inner).map_err(|status| from_status(what, status))
    }
}

#[async_trait]
impl DevicePlugin for RemotePlugin {
    fn devices(&self) -> DeviceLists {
        const WHAT: &str = "follow the devices";
        let mut client = self.client();
        let asked = async move { client.list_and_watch(api::Empty {}).await };
        let lists = asked.map_ok(tonic::Response::into_inner).map_err(|status| from_status(WHAT, status));
        let read = |list: Result<_, _>| list.map(wire::devices).map_err(|status| from_status(WHAT, status));
        lists.map_ok(move |lists| lists.map(read)).try_flatten_stream().boxed()
    }

    async fn allocate(&self, devices: &[DeviceId]) -> Result<Allocation> {
        let what = format!("allocate devices {devices:?}");
        let one = api::ContainerAllocateRequest { devices_ids: wire::names(devices) };
        let mut client = self.client();
        let call = client.allocate(api::AllocateRequest { container_requests: vec![one] });
        let answers = self.answered(&what, ALLOCATE, call).await?.container_responses;
        let answer = only(answers).map_err(|error| broken(&what, error))?;
        wire::allocation(answer).map_err(|error| broken(&what, error))
    }

    fn preferring(&self) -> Option<&dyn Preferring> {
        self.options.get_preferred_allocation_available.then_some(self)
    }

    fn preparing(&self) -> Option<&dyn Preparing> {
        self.options.pre_start_required.then_some(self)
    }
}

#[async_trait]
impl Preferring for RemotePlugin {
    async fn prefer(&self, wanted: &Preference) -> Result<Vec<DeviceId>> {
        const WHAT: &str = "choose devices";
        let request = api::PreferredAllocationRequest { container_requests: vec![wire::preference_to_wire(wanted)] };
        let mut client = self.client();
        let answers = self.answered(WHAT, CHOOSE, client.get_preferred_allocation(request)).await?.container_responses;
        // None at all is no opinion.
        Ok(answers.into_iter().next().map(|answer| wire::ids(answer.device_i_ds)).unwrap_or_default())
    }
}

#[async_trait]
impl Preparing for RemotePlugin {
    async fn prepare(&self, devices: &[DeviceId]) -> Result<()> {
        let what = format!("make devices {devices:?} ready");
        let request = api::PreStartContainerRequest { devices_ids: wire::names(devices) };
        let mut client = self.client();
        self.answered(&what, PREPARE, client.pre_start_container(request)).await.map(drop)
    }
}

impl fmt::Debug for RemotePlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePlugin").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The answer for the one container that was asked about.
fn only<T>(answers: Vec<T>) -> Result<T> {
    let count = answers.len();
    let mut answers = answers.into_iter();
    match (answers.next(), count) {
        (Some(answer), 1) => Ok(answer),
        _ => Err(wire::refused("container_responses", format!("there are {count} for one container"))),
    }
}

/// The plugin did it, and what it says of it cannot be.
fn broken(what: &str, error: Error) -> Error {
    Error::new(ErrorKind::Internal, format!("cannot {what}: the plugin's answer breaks the protocol: {error}"))
        .with_source(error)
        .maybe_applied()
}
