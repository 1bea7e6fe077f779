//! Plugins that register, with agents that come, go and come again.

use std::{os::unix::net::UnixListener, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use windlass_device::{
    host::{Door, Registrar},
    skel::{self, Registration},
};
use windlass_kernel::{DevicePlugin, Error, ErrorKind, Result, Stop, device::DeviceId};

use crate::kit::{Kit, Place, RESOURCE};

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    ("a_plugin_registers_with_an_agent_that_comes_later_and_with_the_next", again),
    ("a_plugin_that_is_refused_is_told_why_and_asks_again", refused),
    ("what_registers_is_not_believed_blindly", doubted),
    ("a_folder_belongs_to_one_agent", alone),
    ("a_plugin_of_a_resource_that_cannot_be_does_not_start", unnamed),
];

/// Notes who registered.
#[derive(Debug, Default)]
struct Desk {
    /// So many are sent away first.
    refusing: Mutex<usize>,
    known: Mutex<Vec<Arc<dyn DevicePlugin>>>,
}

#[async_trait]
impl Registrar for Desk {
    async fn register(&self, resource: &str, plugin: Arc<dyn DevicePlugin>) -> Result<()> {
        assert_eq!(resource, RESOURCE);
        let mut refusing = self.refusing.lock();
        if *refusing > 0 {
            *refusing -= 1;
            return Err(Error::new(ErrorKind::Conflict, "not today"));
        }
        self.known.lock().push(plugin);
        Ok(())
    }
}

impl Desk {
    fn count(&self) -> usize {
        self.known.lock().len()
    }
}

/// An agent, until `stop`.
fn agent(kit: &Kit, place: &Place, desk: &Arc<Desk>) -> Stop {
    let stop = Stop::new();
    let (registrar, rim, until) = (Arc::clone(desk) as Arc<dyn Registrar>, kit.rim(), stop.clone());
    kit.runtime.block_on(async {
        let door = Door::open(&place.path("")).expect("a socket");
        let run = door.run(registrar, rim, until).map(|done| done.expect("a server ends well"));
        kit.rim.spawn.start("agent", run.boxed());
    });
    stop
}

fn again(kit: &Kit) {
    let (place, desk) = (Place::new(), Arc::<Desk>::default());
    kit.serve(Arc::new(kit.files(&place)), &place);
    let first = agent(kit, &place, &desk);
    kit.comes("the plugin is known", || desk.count() == 1);
    // The end of an agent leaves the plugin as it is; the next one removes its socket, and has it again.
    first.stop();
    kit.comes("the agent is gone", || !place.path("kubelet.sock").exists());
    assert!(place.socket().exists());
    let _second = agent(kit, &place, &desk);
    kit.comes("the plugin is known again", || desk.count() == 2);
    assert!(place.socket().exists());
    let plugin = desk.known.lock().pop().expect("it is known");
    let answer = kit.runtime.block_on(plugin.allocate(&["one".into()])).expect("a device");
    assert_eq!(answer.env, [("EXAMPLE_COM_THING".to_owned(), "one".to_owned())].into());
    assert_eq!(answer.mounts[0].host_path, place.path("one").display().to_string());
}

fn refused(kit: &Kit) {
    let (place, desk) = (Place::new(), Arc::<Desk>::default());
    *desk.refusing.lock() = 2;
    let _agent = agent(kit, &place, &desk);
    kit.serve(Arc::new(kit.files(&place)), &place);
    kit.comes("the plugin is known", || desk.count() == 1);
    assert_eq!(*desk.refusing.lock(), 0);
}

fn doubted(kit: &Kit) {
    let (place, desk) = (Place::new(), Arc::<Desk>::default());
    let _agent = agent(kit, &place, &desk);
    // Its socket is not in the agent's folder.
    let elsewhere = Place::new();
    kit.serve(Arc::new(kit.files(&elsewhere)), &elsewhere);
    let (agent, files) = (place.path("kubelet.sock"), kit.files(&elsewhere));
    let ask = |version: &str, endpoint: String| {
        let one = Registration::new(RESOURCE, endpoint, &files).version(version);
        kit.runtime.block_on(one.at(&agent, &kit.setup()))
    };
    let error = ask("v1alpha", "thing.sock".into()).unwrap_err();
    assert!(error.is(ErrorKind::Invalid) && error.message().contains("v1alpha"), "{error}");
    let folder = elsewhere.path("").file_name().expect("it has a name").to_string_lossy().into_owned();
    for endpoint in
        [elsewhere.socket().display().to_string(), format!("../{folder}/thing.sock"), "..".into(), String::new()]
    {
        let error = ask("v1beta1", endpoint.clone()).unwrap_err();
        assert!(error.is(ErrorKind::Invalid), "{endpoint}: {error}");
    }
    let error = ask("v1beta1", "none.sock".into()).unwrap_err();
    assert!(error.is(ErrorKind::Unavailable) && error.message().contains("none.sock"), "{error}");
    assert_eq!(desk.count(), 0);
}

fn alone(kit: &Kit) {
    let (place, desk) = (Place::new(), Arc::<Desk>::default());
    let _agent = agent(kit, &place, &desk);
    let socket = place.socket();
    let _plugin = UnixListener::bind(&socket).expect("a socket");
    let second = kit.runtime.block_on(async { Door::open(&place.path("")) });
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(socket.exists(), "the plugins of the first are let alone");
}

fn unnamed(kit: &Kit) {
    let place = Place::new();
    let plugin = Arc::new(kit.files(&place));
    let bound = kit.runtime.block_on(async { skel::bind("cpu", plugin.clone(), &place.socket(), kit.setup()) });
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!place.socket().exists());
    let none: DeviceId = "three".into();
    let error = kit.runtime.block_on(plugin.allocate(&[none])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    kit.runtime.block_on(async {
        assert_eq!(plugin.devices().next().await.expect("a list").expect("it is one").len(), 3);
    });
}
