//! A plugin that makes itself known at a socket in a node's folder for that, as kubelets know them
//! (`pluginregistration.v1`).

use std::sync::Arc;

use windlass_kernel::{Dial, Error, ErrorKind, Result, dial::Target};

use super::{RemoteDriver, answered};
use crate::wire::{RegistrationClient, registration};

/// What volume drivers say they are.
const KIND: &str = "CSIPlugin";

/// A socket at which a plugin says what it is. Calls have no deadline of their own.
#[derive(Clone, Debug)]
pub struct Registration {
    socket: Arc<str>,
    dial: Arc<dyn Dial>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// What it is, such as `CSIPlugin` or `DevicePlugin`.
    pub kind: String,
    /// Its name: of a driver, or of the resource that it brings.
    pub name: String,
    /// The socket that it serves on.
    pub endpoint: String,
    /// The versions of its API that it speaks.
    pub versions: Vec<String>,
}

impl Registration {
    /// The socket file at which a plugin waits to be asked.
    pub fn at(socket: impl Into<Arc<str>>, dial: Arc<dyn Dial>) -> Self {
        Self { socket: socket.into(), dial }
    }

    /// Asks what is there.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers; the kind of its own answer else.
    pub async fn announced(&self) -> Result<Announced> {
        // Asked for alone first: what gRPC makes of a missing socket is no sentence.
        self.dial.dial(&Target::Unix(self.socket.to_string())).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no plugin answers at {}", self.socket)).with_source(error)
        })?;
        let what = "ask what registers itself";
        let info = answered(what, self.client().get_info(registration::InfoRequest {})).await?;
        let endpoint = if info.endpoint.is_empty() { self.socket.to_string() } else { info.endpoint };
        Ok(Announced { kind: info.r#type, name: info.name, endpoint, versions: info.supported_versions })
    }

    /// Asks what is there, and connects to it.
    ///
    /// # Errors
    ///
    /// Those of [`announced`](Self::announced) and [`driver_of`](Self::driver_of).
    pub async fn driver(&self) -> Result<RemoteDriver> {
        self.driver_of(self.announced().await?).await
    }

    /// Connects to a volume driver that says this of itself.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers; [`NotSupported`](ErrorKind::NotSupported) when it is no
    /// volume driver of CSI 1; [`Internal`](ErrorKind::Internal) when it breaks the protocol.
    pub async fn driver_of(&self, announced: Announced) -> Result<RemoteDriver> {
        let Announced { kind, name, endpoint, versions } = announced;
        let lacks = |why: String| Error::new(ErrorKind::NotSupported, why);
        if kind != KIND {
            return Err(lacks(format!("plugins of type {kind:?} are not supported as volume drivers, only {KIND} is")));
        }
        let first = |version: &String| version.trim_start_matches('v').split('.').next() == Some("1");
        if !versions.iter().any(first) {
            return Err(lacks(format!("driver {name} supports CSI {versions:?}, and none of them is 1")));
        }
        let driver = RemoteDriver::connect(endpoint, Arc::clone(&self.dial)).await?;
        if driver.info.name != name {
            let message = format!("{name:?} registers itself and is called {:?}", driver.info.name);
            return Err(Error::new(ErrorKind::Internal, message));
        }
        Ok(driver)
    }

    /// Tells it what came of that: nothing, or why it was refused.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn answer(&self, refused: Option<&str>) -> Result<()> {
        let status = registration::RegistrationStatus {
            plugin_registered: refused.is_none(),
            error: refused.unwrap_or_default().into(),
        };
        let what = "tell what came of its registration";
        answered(what, self.client().notify_registration_status(status)).await.map(drop)
    }

    fn client(&self) -> RegistrationClient<tonic::transport::Channel> {
        RegistrationClient::new(windlass_grpc::open(Arc::clone(&self.socket), Arc::clone(&self.dial)))
    }
}
