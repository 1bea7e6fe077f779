//! A device plugin that lets several containers share each file; the rest is the plugin of files.
//!
//! `docs/guide/writing-a-device-plugin.md` tells how it is written and proved.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use futures::StreamExt;
use windlass::{
    device::{files::Files, skel},
    kernel::{
        DevicePlugin, Error, ErrorKind, Result,
        device::{Allocation, DeviceId, DeviceLists, PluginDevice, Preferring, Preparing},
    },
};

/// What pods ask for.
const RESOURCE: &str = "example.com/shared-fuse";

/// Files, each of which counts as several devices: `fuse::0`, `fuse::1` and so on.
#[derive(Debug)]
struct Shared {
    inner: Files,
    times: usize,
}

impl Shared {
    /// The file behind one of its shares.
    fn file(&self, share: &DeviceId) -> Result<DeviceId> {
        let parts = share.as_str().rsplit_once("::").and_then(|(file, number)| Some((file, number.parse().ok()?)));
        match parts {
            Some((file, number)) if (0..self.times).contains(&number) => Ok(file.into()),
            _ => Err(Error::new(ErrorKind::NotFound, format!("there is no device {share}"))),
        }
    }
}

#[async_trait]
impl DevicePlugin for Shared {
    fn devices(&self) -> DeviceLists {
        let times = self.times;
        let shares = move |device: PluginDevice| {
            (0..times)
                .map(move |number| PluginDevice { id: format!("{}::{number}", device.id).into(), ..device.clone() })
        };
        let list = move |list: Result<Vec<PluginDevice>>| list.map(|list| list.into_iter().flat_map(shares).collect());
        self.inner.devices().map(list).boxed()
    }

    async fn allocate(&self, devices: &[DeviceId]) -> Result<Allocation> {
        let files = devices.iter().map(|share| self.file(share)).collect::<Result<Vec<_>>>()?;
        self.inner.allocate(&files).await
    }

    fn preferring(&self) -> Option<&dyn Preferring> {
        None
    }

    fn preparing(&self) -> Option<&dyn Preparing> {
        None
    }
}

fn main() -> ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "/dev/fuse".into());
    skel::main(RESOURCE, |setup| {
        let files = [("fuse".into(), PathBuf::from(file))];
        Ok(Arc::new(Shared { inner: Files::new(RESOURCE, files, setup.clock), times: 8 }))
    })
}

#[cfg(test)]
mod tests {
    use windlass::rim::SystemClock;
    use windlass_conformance::device::{Fixture, checks};

    use super::*;

    #[tokio::test]
    async fn keeps_the_device_contract() {
        for check in checks() {
            let clock = Arc::new(SystemClock::new());
            let files = [("null".into(), "/dev/null".into()), ("zero".into(), "/dev/zero".into())];
            let plugin = Arc::new(Shared { inner: Files::new(RESOURCE, files, clock.clone()), times: 3 });
            let fixture = Fixture { plugin, clock };
            if check.lacks(&fixture).is_none() {
                check.run(fixture).await;
            }
        }
    }
}
