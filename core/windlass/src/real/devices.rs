//! The device plugins of a node: those that register at its socket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use windlass_device::host::{Door, Registrar, Rim};
use windlass_kernel::{Clock, ClockExt, DevicePlugin, Result, Spawn, Stop};
use windlass_node::Devices;

use crate::{NodeParts, rim::SystemDial};

/// Delays after the socket could not be had.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Takes plugins over for as long as it runs.
pub(super) fn find(folder: PathBuf, parts: &NodeParts) -> impl Future<Output = ()> + Send + 'static {
    let desk: Arc<dyn Registrar> = Arc::new(Desk {
        devices: parts.devices.clone(),
        clock: Arc::clone(&parts.clock),
        spawn: Arc::clone(&parts.spawn),
    });
    let rim = Rim { dial: Arc::new(SystemDial), clock: Arc::clone(&parts.clock) };
    async move {
        let mut delay = FIRST;
        loop {
            let served = match Door::open(&folder) {
                Ok(door) => {
                    delay = FIRST;
                    door.run(Arc::clone(&desk), rim.clone(), Stop::new()).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "device plugins cannot register yet");
            }
            rim.clock.sleep(delay).await;
            delay = (delay * 2).min(LONGEST);
        }
    }
}

/// Hands plugins to the node.
#[derive(Debug)]
struct Desk {
    devices: Devices,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

#[async_trait]
impl Registrar for Desk {
    async fn register(&self, resource: &str, plugin: Arc<dyn DevicePlugin>) -> Result<()> {
        self.devices.register(resource, plugin, &self.clock, &self.spawn)
    }
}
