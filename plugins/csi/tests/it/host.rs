//! The host among sockets that are not there, say nothing, or say nonsense; and a driver that panics.

use std::{io::Write, os::unix::net::UnixListener, sync::Arc, time::Duration};

use async_trait::async_trait;
use windlass_csi::{
    host::{Registration, RemoteDriver},
    skel::register,
};
use windlass_kernel::{
    Certainty, ClockExt, Error, ErrorKind, Result, Stop, VolumeDriver,
    volume::{DriverInfo, Refusal, VolumeController, VolumeNode},
};

use crate::kit::{Kit, Place};

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    ("a_socket_that_is_not_there_is_named", absent),
    ("a_socket_that_says_nonsense_is_an_error", nonsense),
    ("a_socket_that_says_nothing_is_given_up_by_a_deadline", silent),
    ("a_driver_that_vanishes_leaves_the_outcome_unknown", vanished),
    ("a_driver_that_panics_answers_and_serves_on", panics),
    ("a_driver_without_services_has_none", bare),
    ("a_socket_that_somebody_listens_on_is_not_taken", taken),
    ("a_driver_that_registers_itself_is_connected_to", registered),
    ("what_registers_itself_is_not_believed_blindly", doubted),
];

fn absent(kit: &Kit) {
    let place = Place::new();
    let socket = place.socket().display().to_string();
    let error = kit.runtime.block_on(RemoteDriver::connect(socket.as_str(), kit.rim.dial.clone())).unwrap_err();
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
    let error = kit.runtime.block_on(RemoteDriver::connect(socket, kit.rim.dial.clone())).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
}

fn silent(kit: &Kit) {
    let place = Place::new();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    let socket = place.socket().display().to_string();
    let connect = RemoteDriver::connect(socket, kit.rim.dial.clone());
    let within = kit.runtime.block_on(kit.rim.clock.timeout(Duration::from_millis(50), connect));
    assert_eq!(within.unwrap_err().kind(), ErrorKind::Timeout);
}

/// A driver that is nothing but what it says of itself.
#[derive(Debug)]
struct Bare {
    ready: fn() -> Result<bool>,
}

#[async_trait]
impl VolumeDriver for Bare {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo { name: "bare.example.com".into(), version: "1".into(), ..DriverInfo::default() })
    }

    async fn ready(&self) -> Result<bool> {
        (self.ready)()
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        None
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        None
    }
}

fn vanished(kit: &Kit) {
    let place = Place::new();
    let driver = kit.served(Arc::new(Bare { ready: || Ok(true) }), &place);
    assert!(kit.runtime.block_on(driver.ready()).unwrap());
    place.end();
    let error = kit.runtime.block_on(async {
        // The server lets calls that have begun end; sooner or later there is none.
        loop {
            if let Err(error) = driver.ready().await {
                return error;
            }
        }
    });
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unavailable, Certainty::Unknown), "{error}");
}

fn panics(kit: &Kit) {
    let place = Place::new();
    let driver = kit.served(Arc::new(Bare { ready: || panic!("this panic is part of a test") }), &place);
    for _ in 0..2 {
        let error = kit.runtime.block_on(driver.ready()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    assert_eq!(kit.runtime.block_on(driver.info()).unwrap().name, "bare.example.com");
}

fn bare(kit: &Kit) {
    let place = Place::new();
    let refuse = || Err(Refusal::Precondition.error("a part is missing"));
    let driver = kit.served(Arc::new(Bare { ready: refuse }), &place);
    assert!(driver.controller().is_none() && driver.node().is_none());
    let error: Error = kit.runtime.block_on(driver.ready()).unwrap_err();
    assert_eq!(Refusal::of(&error), Some(Refusal::Precondition), "{error}");
    for method in [
        "/csi.v1.Controller/CreateVolume",
        // What is in the specification and not here.
        "/csi.v1.Controller/GetSnapshot",
        "/csi.v1.GroupController/CreateVolumeGroupSnapshot",
        "/csi.v1.SnapshotMetadata/GetMetadataAllocated",
    ] {
        let called = kit.runtime.block_on(driver.raw(method, Default::default())).unwrap();
        assert_eq!(called.code, 12, "{method}: {called:?}");
    }
}

fn taken(kit: &Kit) {
    let place = Place::new();
    let _driver = kit.served(Arc::new(Bare { ready: || Ok(true) }), &place);
    let bare: Arc<dyn VolumeDriver> = Arc::new(Bare { ready: || Ok(true) });
    let second = kit.runtime.block_on(async { windlass_csi::skel::bind(bare, &place.socket()) });
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

/// A driver of the name `bare.example.com` that registers itself as `name`.
fn registering(kit: &Kit, place: &Place, name: &'static str) -> Registration {
    let _driver = kit.served(Arc::new(Bare { ready: || Ok(true) }), place);
    let (endpoint, socket) = (place.socket(), place.root().with_extension("reg"));
    let at = Registration::at(socket.display().to_string(), kit.rim.dial.clone());
    kit.runtime.spawn(async move { register(name, &endpoint, &socket, Stop::new()).await });
    at
}

/// Asks until somebody listens.
fn ask(kit: &Kit, at: &Registration) -> Result<RemoteDriver> {
    kit.runtime.block_on(async {
        loop {
            match at.driver().await {
                Err(error) if error.is(ErrorKind::Unavailable) => kit.rim.clock.sleep(Duration::from_millis(5)).await,
                asked => return asked,
            }
        }
    })
}

fn registered(kit: &Kit) {
    let place = Place::new();
    let at = registering(kit, &place, "bare.example.com");
    let driver = ask(kit, &at).unwrap();
    assert_eq!(kit.runtime.block_on(driver.info()).unwrap().name, "bare.example.com");
    kit.runtime.block_on(at.answer(None)).unwrap();
    kit.runtime.block_on(at.answer(Some("there is no room"))).unwrap();
}

fn doubted(kit: &Kit) {
    let place = Place::new();
    let at = registering(kit, &place, "another.example.com");
    let error = ask(kit, &at).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("is called \"bare.example.com\""), "{error}");
}
