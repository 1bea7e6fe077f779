//! The volume drivers of a node: those of this process, and the plugins that register themselves in a folder.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::{join, join_all};
use windlass_kernel::{Clock, ClockExt, VolumeDriver};
use windlass_node::Drivers;

use crate::NodeParts;

/// Delays after a driver did not answer.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Adds drivers for as long as it runs.
pub(super) fn find(
    own: &[Arc<dyn VolumeDriver>],
    plugins: PathBuf,
    parts: &NodeParts,
) -> impl Future<Output = ()> + Send + 'static {
    let adding: Vec<_> = own.iter().map(|driver| add(Arc::clone(driver), parts)).collect();
    let registering = registered(plugins, parts);
    async move { drop(join(join_all(adding), registering).await) }
}

/// Adds a driver of this process.
fn add(driver: Arc<dyn VolumeDriver>, parts: &NodeParts) -> impl Future<Output = ()> + Send + 'static {
    let (drivers, clock): (Drivers, Arc<dyn Clock>) = (parts.drivers.clone(), Arc::clone(&parts.clock));
    async move {
        let mut delay = FIRST;
        while let Err(error) = drivers.add(Arc::clone(&driver), &*clock).await {
            tracing::warn!(?driver, %error, "a volume driver cannot be used on this node yet");
            clock.sleep(delay).await;
            delay = (delay * 2).min(LONGEST);
        }
    }
}

/// Watches the folder in which drivers register themselves.
#[cfg(feature = "csi")]
fn registered(folder: PathBuf, parts: &NodeParts) -> impl Future<Output = ()> + Send + 'static {
    windlass_node::Registry {
        folder,
        greeting: Arc::new(plugins::Sockets {
            dial: Arc::new(crate::rim::SystemDial),
            #[cfg(feature = "device")]
            clock: Arc::clone(&parts.clock),
        }),
        drivers: parts.drivers.clone(),
        devices: parts.devices.clone(),
        context: Arc::clone(&parts.context),
        clock: Arc::clone(&parts.clock),
        spawn: Arc::clone(&parts.spawn),
    }
    .run()
}

#[cfg(not(feature = "csi"))]
fn registered(_: PathBuf, _: &NodeParts) -> impl Future<Output = ()> + Send + 'static {
    futures::future::ready(())
}

#[cfg(feature = "csi")]
mod plugins {
    use std::{path::Path, sync::Arc};

    use async_trait::async_trait;
    use windlass_csi::host::Registration;
    use windlass_kernel::{Dial, Result};
    use windlass_node::{Found, Greeting};

    /// Speaks with plugins over their sockets.
    #[derive(Debug)]
    pub(super) struct Sockets {
        pub(super) dial: Arc<dyn Dial>,
        #[cfg(feature = "device")]
        pub(super) clock: Arc<dyn windlass_kernel::Clock>,
    }

    impl Sockets {
        fn at(&self, socket: &Path) -> Registration {
            Registration::at(socket.to_string_lossy().into_owned(), Arc::clone(&self.dial))
        }
    }

    #[async_trait]
    impl Greeting for Sockets {
        async fn found(&self, socket: &Path) -> Result<Found> {
            let at = self.at(socket);
            let announced = at.announced().await?;
            #[cfg(feature = "device")]
            if announced.kind == windlass_device::host::KIND {
                use windlass_device::host::{RemotePlugin, Rim, speaks};
                speaks(&announced.name, &announced.versions)?;
                let rim = Rim { dial: Arc::clone(&self.dial), clock: Arc::clone(&self.clock) };
                let plugin = RemotePlugin::connect(announced.endpoint, rim).await?;
                return Ok(Found::Devices(announced.name, Arc::new(plugin)));
            }
            Ok(Found::Driver(Arc::new(at.driver_of(announced).await?)))
        }

        async fn answer(&self, socket: &Path, refused: Option<&str>) -> Result<()> {
            self.at(socket).answer(refused).await
        }
    }
}
