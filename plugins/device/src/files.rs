//! A plugin whose devices are files of the node: device files such as `/dev/fuse`, or any files and folders.
//!
//! Device files are given to containers as devices, everything else is mounted, each at the path that it has on the node. A
//! device whose path is not there is unhealthy. The plugin keeps nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result,
    device::{
        Allocation, DeviceId, DeviceLists, DeviceMount, DevicePlugin, Health, PluginDevice, Preference, Preferring,
        Preparing,
    },
    runtime::Device,
};

/// How often it is looked whether the files are there: nothing tells of files that may lie anywhere.
const LOOK: Duration = Duration::from_secs(2);

/// Files as devices. Clones are the same plugin.
#[derive(Clone, Debug)]
pub struct Files {
    variable: String,
    /// In the order in which they are preferred.
    devices: Arc<[(DeviceId, PathBuf)]>,
    clock: Arc<dyn Clock>,
}

impl Files {
    /// A plugin of `resource` with these devices, each a name and a path, in the order in which they are to be handed out.
    ///
    /// Containers are told which they have in a variable that is called as the resource is: `EXAMPLE_COM_THING=a,b`.
    pub fn new(resource: &str, devices: impl IntoIterator<Item = (DeviceId, PathBuf)>, clock: Arc<dyn Clock>) -> Self {
        let letter = |one: char| if one.is_ascii_alphanumeric() { one.to_ascii_uppercase() } else { '_' };
        Self { variable: resource.chars().map(letter).collect(), devices: devices.into_iter().collect(), clock }
    }

    fn list(&self) -> Vec<PluginDevice> {
        let device = |(id, path): &(DeviceId, PathBuf)| PluginDevice {
            id: id.clone(),
            health: if path.exists() { Health::Healthy } else { Health::Unhealthy },
            numa: vec![],
        };
        self.devices.iter().map(device).collect()
    }

    fn path(&self, id: &DeviceId) -> Result<&Path> {
        let found = self.devices.iter().find(|(own, _)| own == id);
        found
            .map(|(_, path)| &**path)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no device {id}")))
    }
}

#[async_trait]
impl DevicePlugin for Files {
    fn devices(&self) -> DeviceLists {
        let changed = |(this, last): (Self, Option<Vec<PluginDevice>>)| async move {
            loop {
                let list = this.list();
                if last.as_ref() != Some(&list) {
                    return Some((Ok(list.clone()), (this, Some(list))));
                }
                this.clock.sleep(LOOK).await;
            }
        };
        stream::unfold((self.clone(), None), changed).boxed()
    }

    async fn allocate(&self, devices: &[DeviceId]) -> Result<Allocation> {
        let mut answer = Allocation::default();
        // By name, so that the answer is the same whatever the order.
        let chosen = devices.iter().map(|id| Ok((id, self.path(id)?))).collect::<Result<BTreeMap<_, _>>>()?;
        for (id, path) in &chosen {
            let gone = |error| {
                let message = format!("device {id} cannot be handed out: {} is not there", path.display());
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            };
            let kind = fs::metadata(path).map_err(gone)?.file_type();
            let text = path.to_string_lossy().into_owned();
            if kind.is_char_device() || kind.is_block_device() {
                answer.devices.push(Device { container_path: text.clone(), host_path: text, permissions: "rw".into() });
            } else {
                answer.mounts.push(DeviceMount { container_path: text.clone(), host_path: text, read_only: false });
            }
        }
        let names: Vec<&str> = chosen.keys().map(|id| id.as_str()).collect();
        answer.env.insert(self.variable.clone(), names.join(","));
        Ok(answer)
    }

    fn preferring(&self) -> Option<&dyn Preferring> {
        Some(self)
    }

    fn preparing(&self) -> Option<&dyn Preparing> {
        Some(self)
    }
}

#[async_trait]
impl Preferring for Files {
    async fn prefer(&self, wanted: &Preference) -> Result<Vec<DeviceId>> {
        let own = self.devices.iter().map(|(id, _)| id);
        let rest = own.filter(|id| wanted.available.contains(id) && !wanted.must_include.contains(id));
        Ok(wanted.must_include.iter().chain(rest).take(wanted.size).cloned().collect())
    }
}

#[async_trait]
impl Preparing for Files {
    async fn prepare(&self, devices: &[DeviceId]) -> Result<()> {
        for id in devices {
            let path = self.path(id)?;
            if !path.exists() {
                let message = format!("device {id} is not ready: {} is not there", path.display());
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        Ok(())
    }
}
