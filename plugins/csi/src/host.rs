//! The kernel's trait by speaking CSI v1 to a socket. It starts nothing and keeps no state: the driver does.

mod controller;
mod node;
mod raw;
mod registration;

use std::{fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use tonic::transport::Channel;
pub use windlass_grpc::RawAnswer;
use windlass_kernel::{
    Dial, Error, ErrorKind, Result, VolumeDriver,
    dial::Target,
    volume::{DriverInfo, VolumeController, VolumeNode},
};

pub use self::registration::{Announced, Registration};
use crate::wire::{
    self, ControllerClient, ControllerOffers, IdentityClient, NodeClient, NodeOffers, OnWire, csi, from_status,
};

/// A volume driver behind a CSI socket. Clones share one connection, which comes back by itself after a loss.
///
/// What the driver is and can is asked once: a driver that is replaced by one that can more is connected to anew. Calls have
/// no deadline of their own; [`ClockExt::timeout`](windlass_kernel::ClockExt::timeout) gives them one.
#[derive(Clone)]
pub struct RemoteDriver {
    socket: Arc<str>,
    channel: Channel,
    info: DriverInfo,
    controller: Option<ControllerOffers>,
    node: Option<NodeOffers>,
}

/// The largest answer: a list of very many volumes.
const ANSWER_LIMIT: usize = 64 << 20;

impl RemoteDriver {
    /// Connects to the driver at a socket file, and asks what it is and can.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers there; [`Internal`](ErrorKind::Internal) when what answers
    /// breaks the protocol.
    pub async fn connect(socket: impl Into<Arc<str>>, dial: Arc<dyn Dial>) -> Result<Self> {
        let socket = socket.into();
        // Asked for alone first: what gRPC makes of a missing socket is no sentence.
        dial.dial(&Target::Unix(socket.to_string())).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no volume driver answers at {socket}")).with_source(error)
        })?;
        let channel = windlass_grpc::open(Arc::clone(&socket), dial);
        let mut driver = Self { socket, channel, info: DriverInfo::default(), controller: None, node: None };
        let (info, has_controller) = driver.ask_info().await?;
        driver.info = info;
        if has_controller {
            let mut client = driver.controller_client();
            let asked = client.controller_get_capabilities(csi::ControllerGetCapabilitiesRequest {});
            driver.controller = Some(wire::controller_offers(answered("ask what the controller can", asked).await?));
        }
        let asked = driver.node_client().node_get_capabilities(csi::NodeGetCapabilitiesRequest {}).await;
        driver.node = match asked {
            Ok(answer) => Some(wire::node_offers(answer.into_inner())),
            // A plugin that runs as a controller only does not know the call.
            Err(status) if status.code() == tonic::Code::Unimplemented => None,
            Err(status) => return Err(from_status("ask what the node can", status)),
        };
        Ok(driver)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    async fn ask_info(&self) -> Result<(DriverInfo, bool)> {
        let mut client = self.identity_client();
        let info = answered("ask what the driver is", client.get_plugin_info(csi::GetPluginInfoRequest {})).await?;
        let request = csi::GetPluginCapabilitiesRequest {};
        let can = answered("ask what the driver can", client.get_plugin_capabilities(request)).await?;
        wire::driver_info(info, can).map_err(|error| broken("ask what the driver is", error))
    }

    fn identity_client(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    fn controller_client(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn node_client(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }
}

#[async_trait]
impl VolumeDriver for RemoteDriver {
    async fn info(&self) -> Result<DriverInfo> {
        self.ask_info().await.map(|(info, _)| info)
    }

    async fn ready(&self) -> Result<bool> {
        let mut client = self.identity_client();
        let answer = answered("ask whether the driver is ready", client.probe(csi::ProbeRequest {})).await?;
        // Says nothing of it: then it is.
        Ok(answer.ready.unwrap_or(true))
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        self.controller.is_some().then_some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        self.node.is_some().then_some(self)
    }
}

impl fmt::Debug for RemoteDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.info.name;
        f.debug_struct("RemoteDriver").field("name", name).field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What a call answered.
async fn answered<T>(
    what: &str,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send,
) -> Result<T> {
    call.await.map(tonic::Response::into_inner).map_err(|status| from_status(what, status))
}

/// The same for what undoes something: of a volume that is gone there is nothing to undo, though a driver may say `NOT_FOUND`.
async fn undone<T>(
    what: &str,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send,
) -> Result<()> {
    match answered(what, call).await {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
        done => done.map(drop),
    }
}

/// What a call answered, as the kernel's type.
async fn asked<T: OnWire>(
    what: &str,
    call: impl Future<Output = Result<tonic::Response<T::Message>, tonic::Status>> + Send,
) -> Result<T> {
    T::from_wire(answered(what, call).await?).map_err(|error| broken(what, error))
}

/// The driver did it, and what it says of it cannot be.
fn broken(what: &str, error: Error) -> Error {
    Error::new(ErrorKind::Internal, format!("cannot {what}: the driver's answer breaks the protocol: {error}"))
        .with_source(error)
        .maybe_applied()
}
