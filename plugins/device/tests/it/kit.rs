//! Plugins to be checked, each in a folder of its own.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use windlass_device::{
    files::Files,
    host::{RemotePlugin, Rim},
    skel::{self, Setup},
};
use windlass_kernel::{ClockExt, DevicePlugin, Stop};

/// What the plugins of the tests have.
pub(crate) const RESOURCE: &str = "example.com/thing";

/// How long something may take that is to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a test needs.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) runtime: Runtime,
    pub(crate) rim: windlass_lab::Rim,
}

/// A folder of plugins, and what serves there. It all ends with this.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    stop: Stop,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("device").tempdir().expect("a folder");
        std::fs::write(folder.path().join("one"), "1").expect("a file");
        std::fs::write(folder.path().join("two"), "2").expect("a file");
        Self { folder, stop: Stop::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("thing.sock")
    }

    /// Ends what serves here.
    pub(crate) fn end(&self) {
        self.stop.stop();
    }
}

impl Kit {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let rim = windlass_lab::rim(runtime.handle());
        Self { runtime, rim }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup { clock: self.rim.clock.clone(), spawn: self.rim.spawn.clone(), dial: self.rim.dial.clone() }
    }

    pub(crate) fn rim(&self) -> Rim {
        Rim { dial: self.rim.dial.clone(), clock: self.rim.clock.clone() }
    }

    /// The plugin of this crate, with two files and a device of the machine.
    pub(crate) fn files(&self, place: &Place) -> Files {
        let devices =
            [("one".into(), place.path("one")), ("null".into(), "/dev/null".into()), ("two".into(), place.path("two"))];
        Files::new(RESOURCE, devices, self.rim.clock.clone())
    }

    /// A plugin that serves, and registers where there is an agent.
    pub(crate) fn serve(&self, plugin: Arc<dyn DevicePlugin>, place: &Place) {
        let (socket, stop) = (place.socket(), place.stop.clone());
        self.runtime.block_on(async {
            // Bound when this returns; so whoever connects next is answered.
            let serving = skel::bind(RESOURCE, plugin, &socket, self.setup()).expect("a socket");
            self.rim.spawn.start("serve", serving.run(stop).map(|done| done.expect("a server ends well")).boxed());
        });
    }

    /// A plugin behind a socket in this process.
    pub(crate) fn served(&self, plugin: Arc<dyn DevicePlugin>, place: &Place) -> RemotePlugin {
        self.serve(plugin, place);
        let socket = place.socket().display().to_string();
        self.runtime.block_on(RemotePlugin::connect(socket, self.rim())).expect("a plugin answers")
    }

    /// Waits until it is so.
    pub(crate) fn comes(&self, what: &str, so: impl Fn() -> bool) {
        let end = self.rim.clock.uptime() + PATIENCE;
        while !so() {
            assert!(self.rim.clock.uptime() < end, "it does not come to this: {what}");
            self.runtime.block_on(self.rim.clock.sleep(Duration::from_millis(5)));
        }
    }
}
