//! The host among sockets that are not there, say nothing, vanish, or say nonsense.

use std::{io::Write, os::unix::net::UnixListener, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use windlass_device::host::{RemotePlugin, Rim};
use windlass_kernel::{
    Certainty, DevicePlugin, ErrorKind, Result,
    device::{Allocation, DeviceId, DeviceLists, Preferring, Preparing},
};
use windlass_testkit::ManualClock;

use crate::kit::{Kit, Place};

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    ("a_socket_that_is_not_there_is_named", absent),
    ("a_socket_that_says_nonsense_is_an_error", nonsense),
    ("a_socket_that_says_nothing_is_given_up_when_its_time_is_over", silent),
    ("a_plugin_that_vanishes_ends_its_stream_and_leaves_the_outcome_unknown", vanished),
    ("a_plugin_that_panics_answers_and_serves_on", panics),
    ("a_plugin_that_says_what_cannot_be_is_an_error", liar),
    ("a_device_whose_file_goes_is_unhealthy", unwell),
];

fn absent(kit: &Kit) {
    let place = Place::new();
    let socket = place.socket().display().to_string();
    let error = kit.runtime.block_on(RemotePlugin::connect(socket.as_str(), kit.rim())).unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unavailable, Certainty::NotApplied));
    assert!(error.message().contains(&socket), "{error}");
}

fn nonsense(kit: &Kit) {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    kit.rim.spawn.blocking(
        "nonsense",
        Box::new(move || {
            for stream in listener.incoming().take(3) {
                // The other side may be gone already.
                let _ = stream.unwrap().write_all(b"HTTP/1.1 418 I'm a teapot\r\n\r\n");
            }
        }),
    );
    let socket = place.socket().display().to_string();
    let error = kit.runtime.block_on(RemotePlugin::connect(socket, kit.rim())).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
}

fn silent(kit: &Kit) {
    let place = Place::new();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    let socket = place.socket().display().to_string();
    let clock = ManualClock::default();
    let rim = Rim { clock: Arc::new(clock.clone()), ..kit.rim() };
    let connecting = kit.runtime.spawn(RemotePlugin::connect(socket.clone(), rim));
    let error = kit.runtime.block_on(async {
        while !connecting.is_finished() {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        connecting.await.expect("it ends well").unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains(&socket), "{error}");
}

/// A plugin that does as it is told.
#[derive(Debug)]
struct Told(fn() -> Allocation);

#[async_trait]
impl DevicePlugin for Told {
    fn devices(&self) -> DeviceLists {
        stream::iter([Ok(vec![])]).boxed()
    }

    async fn allocate(&self, _: &[DeviceId]) -> Result<Allocation> {
        Ok((self.0)())
    }

    fn preferring(&self) -> Option<&dyn Preferring> {
        None
    }

    fn preparing(&self) -> Option<&dyn Preparing> {
        None
    }
}

fn vanished(kit: &Kit) {
    let place = Place::new();
    let plugin = kit.served(Arc::new(Told(Allocation::default)), &place);
    kit.runtime.block_on(async {
        let mut lists = plugin.devices();
        assert_eq!(lists.next().await.expect("a list").expect("it is one"), []);
        place.end();
        assert!(lists.next().await.is_none_or(|end| end.is_err()), "the stream goes on");
        // The server lets calls that have begun end; sooner or later there is none.
        let error = loop {
            if let Err(error) = plugin.allocate(&["a".into()]).await {
                break error;
            }
        };
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unavailable, Certainty::Unknown), "{error}");
        assert!(plugin.devices().next().await.is_some_and(|end| end.is_err()), "nobody lists devices");
    });
}

fn panics(kit: &Kit) {
    let place = Place::new();
    let plugin = kit.served(Arc::new(Told(|| panic!("this panic is part of a test"))), &place);
    for _ in 0..2 {
        let error = kit.runtime.block_on(plugin.allocate(&["a".into()])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    assert!(plugin.preferring().is_none() && plugin.preparing().is_none());
}

fn liar(kit: &Kit) {
    let place = Place::new();
    let lie = || Allocation {
        devices: vec![windlass_kernel::runtime::Device {
            container_path: "dev/a".into(),
            host_path: "/dev/a".into(),
            permissions: String::new(),
        }],
        ..Allocation::default()
    };
    let plugin = kit.served(Arc::new(Told(lie)), &place);
    let error = kit.runtime.block_on(plugin.allocate(&["a".into()])).unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Internal, Certainty::Unknown));
    assert!(error.message().contains("devices.container_path"), "{error}");
}

fn unwell(kit: &Kit) {
    use windlass_kernel::device::Health::{Healthy, Unhealthy};
    let place = Place::new();
    let plugin = kit.served(Arc::new(kit.files(&place)), &place);
    kit.runtime.block_on(async {
        let mut lists = plugin.devices();
        let mut next = async || -> Vec<_> {
            let list = lists.next().await.expect("a list").expect("it is one");
            list.into_iter().map(|device| (device.id.to_string(), device.health)).collect()
        };
        let told = |one, two| [("one".to_owned(), one), ("null".to_owned(), Healthy), ("two".to_owned(), two)];
        assert_eq!(next().await, told(Healthy, Healthy));
        std::fs::remove_file(place.path("one")).expect("it goes");
        assert_eq!(next().await, told(Unhealthy, Healthy));
        let error = plugin.allocate(&["one".into()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    });
}
