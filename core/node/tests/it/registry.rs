//! The folder in which drivers register themselves: sockets that come, go, hang and say nonsense.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::future::pending;
use libtest_mimic::Trial;
use parking_lot::Mutex;
use windlass_kernel::{ClockExt, Error, ErrorKind, Result, SpawnExt, node::NodeContext};
use windlass_lab::{Rim, rim};
use windlass_node::{Devices, Drivers, Found, Greeting, Registry};

use crate::{
    context::Objects,
    devices::{RESOURCE, Scripted as Plugin},
    stored::scripted::{NAME, Scripted},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A test in a folder of its own.
type Test = fn(&Rig);

const TESTS: &[(&str, Test)] = &[
    ("a_driver_is_known_as_long_as_its_socket_is_there", comes_and_goes),
    ("a_device_plugin_is_known_as_long_as_its_socket_is_there", devices),
    ("a_socket_that_hangs_keeps_no_other_waiting", hangs),
    ("a_plugin_that_is_refused_is_told_why_and_so_is_the_node", refused),
];

pub(crate) fn trials() -> Vec<Trial> {
    let run = |name: &'static str, test: Test| {
        let tokio = tokio::runtime::Runtime::new()?;
        let folder = std::env::temp_dir().join(format!("windlass-reg-{}-{name}", std::process::id()));
        let rig = Rig {
            rim: rim(tokio.handle()),
            tokio,
            folder: folder.clone(),
            greeting: Arc::default(),
            drivers: Drivers::default(),
            devices: Devices::default(),
            objects: Objects::default(),
        };
        test(&rig);
        fs::remove_dir_all(&folder)?;
        Ok(())
    };
    TESTS.iter().map(|&(name, test)| Trial::test(name, move || run(name, test)).with_kind("registry")).collect()
}

struct Rig {
    tokio: tokio::runtime::Runtime,
    rim: Rim,
    folder: PathBuf,
    greeting: Arc<Scripts>,
    drivers: Drivers,
    devices: Devices,
    objects: Objects,
}

/// Sockets are what their names say.
#[derive(Debug, Default)]
struct Scripts(Mutex<Vec<String>>);

#[async_trait]
impl Greeting for Scripts {
    async fn found(&self, socket: &Path) -> Result<Found> {
        match socket.file_stem().and_then(|name| name.to_str()) {
            Some("good") => Ok(Found::Driver(Arc::new(Scripted::default()))),
            Some("devices") => Ok(Found::Devices(RESOURCE.into(), Arc::new(Plugin::default()))),
            Some("unnamed") => Ok(Found::Devices("cpu".into(), Arc::new(Plugin::default()))),
            Some("hangs") => pending().await,
            _ => Err(Error::new(ErrorKind::NotSupported, "it is none")),
        }
    }

    async fn answer(&self, socket: &Path, refused: Option<&str>) -> Result<()> {
        let name = socket.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        self.0.lock().push(format!("{name}: {}", refused.unwrap_or("registered")));
        Ok(())
    }
}

impl Rig {
    fn registry(&self) -> windlass_kernel::Task {
        let registry = Registry {
            folder: self.folder.clone(),
            greeting: self.greeting.clone(),
            drivers: self.drivers.clone(),
            devices: self.devices.clone(),
            context: Arc::new(self.objects.clone()) as Arc<dyn NodeContext>,
            clock: self.rim.clock.clone(),
            spawn: self.rim.spawn.clone(),
        };
        self.rim.spawn.spawn("registry", registry.run())
    }

    fn socket(&self, name: &str) -> UnixListener {
        fs::create_dir_all(&self.folder).expect("a folder");
        UnixListener::bind(self.folder.join(name).with_extension("sock")).expect("a socket")
    }

    fn comes(&self, what: &str, so: impl Fn() -> bool) {
        let (clock, end) = (&self.rim.clock, self.rim.clock.uptime() + PATIENCE);
        while !so() {
            assert!(clock.uptime() < end, "it does not come to this: {what}");
            self.tokio.block_on(clock.sleep(Duration::from_millis(5)));
        }
    }

    fn known(&self) -> bool {
        self.drivers.names().contains(&NAME.to_owned())
    }

    fn answers(&self, answer: &str) -> bool {
        self.greeting.0.lock().iter().any(|own| own == answer)
    }
}

fn comes_and_goes(rig: &Rig) {
    // One that was there before, beside what is no socket.
    let _good = rig.socket("good");
    fs::write(rig.folder.join("notes"), "").expect("a file");
    let registry = rig.registry();
    rig.comes("it is known", || rig.known() && rig.answers("good: registered"));
    fs::remove_file(rig.folder.join("good.sock")).expect("it goes");
    rig.comes("it is forgotten", || !rig.known());
    let _again = rig.socket("good");
    rig.comes("it is known again", || rig.known());
    drop(registry);
    rig.comes("it is forgotten with who looks", || !rig.known());
}

fn devices(rig: &Rig) {
    let _registry = rig.registry();
    let _plugin = rig.socket("devices");
    rig.comes("it is known", || rig.devices.resources() == [RESOURCE] && rig.answers("devices: registered"));
    let _unnamed = rig.socket("unnamed");
    rig.comes("what cannot be is refused", || rig.answers("unnamed: the ResourceName \"cpu\" is invalid"));
    fs::remove_file(rig.folder.join("devices.sock")).expect("it goes");
    rig.comes("it is forgotten", || rig.devices.resources().is_empty());
}

fn hangs(rig: &Rig) {
    let _hangs = rig.socket("hangs");
    let _registry = rig.registry();
    let _good = rig.socket("good");
    rig.comes("the other is known", || rig.known());
}

fn refused(rig: &Rig) {
    let _registry = rig.registry();
    let _odd = rig.socket("odd");
    rig.comes("it is told", || rig.answers("odd: it is none"));
    rig.comes("the node is told", || {
        let told = rig.objects.notices("the node").join("\n");
        told.contains("FailedPluginRegistration: registration of the plugin at") && told.contains("failed: it is none")
    });
    assert!(!rig.known());
}
