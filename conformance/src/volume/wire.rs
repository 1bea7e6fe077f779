//! What plugins answer to messages word by word.

use futures::FutureExt;

use super::{Check, Fixture, Raw};
use crate::proto::field;

const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an_empty_message_is_refused_where_fields_are_required",
        clause: "Missing required field: 3 INVALID_ARGUMENT",
        needs: without_raw,
        run: |f| empty(f).boxed(),
    },
    Check {
        name: "a_message_without_one_of_its_fields_is_refused",
        clause: "Missing required field: 3 INVALID_ARGUMENT",
        needs: without_raw,
        run: |f| partly(f).boxed(),
    },
    Check {
        name: "garbage_is_refused_and_the_driver_lives_on",
        clause: "All CSI API calls must return a standard gRPC status",
        needs: without_raw,
        run: |f| garbage(f).boxed(),
    },
    Check {
        name: "a_call_that_the_driver_has_not_is_unimplemented",
        clause: "Call not implemented: 12 UNIMPLEMENTED",
        needs: without_raw,
        run: |f| unknown(f).boxed(),
    },
];

fn without_raw(fixture: &Fixture) -> Option<&'static str> {
    fixture.raw.is_none().then_some("there is no plugin that could be talked to directly")
}

/// What the driver has, of the methods with required fields.
fn methods(fixture: &Fixture) -> Vec<(&'static str, bool)> {
    let controller = fixture.driver.controller();
    let node = fixture.driver.node();
    let has = |there: bool| controller.is_some() && there;
    let c = |which: fn(&dyn windlass_kernel::volume::VolumeController) -> bool| has(controller.is_some_and(which));
    let n = |which: fn(&dyn windlass_kernel::volume::VolumeNode) -> bool| node.is_some_and(which);
    vec![
        ("/csi.v1.Controller/CreateVolume", c(|c| c.provisioning().is_some())),
        ("/csi.v1.Controller/DeleteVolume", c(|c| c.provisioning().is_some())),
        ("/csi.v1.Controller/ValidateVolumeCapabilities", c(|_| true)),
        ("/csi.v1.Controller/ControllerPublishVolume", c(|c| c.attaching().is_some())),
        ("/csi.v1.Controller/ControllerUnpublishVolume", c(|c| c.attaching().is_some())),
        ("/csi.v1.Controller/CreateSnapshot", c(|c| c.snapshotting().is_some())),
        ("/csi.v1.Controller/DeleteSnapshot", c(|c| c.snapshotting().is_some())),
        ("/csi.v1.Controller/ControllerExpandVolume", c(|c| c.expanding().is_some())),
        ("/csi.v1.Controller/ControllerGetVolume", c(|c| c.inspecting().is_some())),
        ("/csi.v1.Controller/ControllerModifyVolume", c(|c| c.modifying().is_some())),
        ("/csi.v1.Node/NodeStageVolume", n(|n| n.staging().is_some())),
        ("/csi.v1.Node/NodeUnstageVolume", n(|n| n.staging().is_some())),
        ("/csi.v1.Node/NodePublishVolume", n(|_| true)),
        ("/csi.v1.Node/NodeUnpublishVolume", n(|_| true)),
        ("/csi.v1.Node/NodeGetVolumeStats", n(|n| n.usage().is_some())),
        ("/csi.v1.Node/NodeExpandVolume", n(|n| n.expanding().is_some())),
    ]
}

async fn code(raw: &Raw, method: &'static str, message: Vec<u8>) -> i32 {
    raw(method, message).await
}

/// Contract 6: of each method that the driver has.
async fn empty(fixture: Fixture) {
    let raw = fixture.raw.clone().expect("the check needs it");
    for (method, _) in methods(&fixture).into_iter().filter(|(_, has)| *has) {
        let code = code(&raw, method, Vec::new()).await;
        assert_eq!(code, INVALID_ARGUMENT, "{method} with an empty message answered {code}");
    }
}

/// Contract 6: the volume is named, and what is to be done with it is not.
async fn partly(fixture: Fixture) {
    let raw = fixture.raw.clone().expect("the check needs it");
    let before = fixture.inventory();
    let named = field(1, b"no-such-volume");
    let staged = [named.clone(), field(3, b"/no/such/staging")].concat();
    let placed = [staged.clone(), field(4, b"/no/such/target")].concat();
    let half = [
        ("/csi.v1.Controller/CreateVolume", named.clone()),
        ("/csi.v1.Controller/ValidateVolumeCapabilities", named.clone()),
        ("/csi.v1.Controller/ControllerPublishVolume", named.clone()),
        ("/csi.v1.Controller/CreateSnapshot", named.clone()),
        ("/csi.v1.Controller/ControllerExpandVolume", named.clone()),
        ("/csi.v1.Node/NodeStageVolume", staged),
        ("/csi.v1.Node/NodeUnstageVolume", named.clone()),
        ("/csi.v1.Node/NodePublishVolume", placed),
        ("/csi.v1.Node/NodeUnpublishVolume", named.clone()),
        ("/csi.v1.Node/NodeGetVolumeStats", named.clone()),
        ("/csi.v1.Node/NodeExpandVolume", named),
    ];
    let has = methods(&fixture);
    for (method, message) in half {
        if !has.iter().any(|(name, has)| *name == method && *has) {
            continue;
        }
        let code = code(&raw, method, message).await;
        // Which of two faults is told first is the driver's choice.
        let fine = code == INVALID_ARGUMENT || (code == NOT_FOUND && method != "/csi.v1.Controller/CreateVolume");
        assert!(fine, "{method} without a required field answered {code}");
    }
    fixture.end(&before);
}

/// Contract 1, 6: no bytes stop a driver.
async fn garbage(fixture: Fixture) {
    let raw = fixture.raw.clone().expect("the check needs it");
    for (method, _) in methods(&fixture).into_iter().filter(|(_, has)| *has) {
        for bytes in [vec![0xff; 64], field(1, &[0xc3, 0x28]), vec![0x0a, 0x7f, b'x']] {
            let code = code(&raw, method, bytes).await;
            assert_ne!(code, OK, "{method} took garbage for a request");
        }
    }
    let info = fixture.driver.info().await;
    info.expect("the driver answers after all that");
}

/// Contract 6: methods that nobody has, and those that the driver says it has not.
async fn unknown(fixture: Fixture) {
    let raw = fixture.raw.clone().expect("the check needs it");
    let nobody = ["/csi.v1.Controller/NoSuchMethod", "/csi.v9.Controller/CreateVolume"].map(|name| (name, false));
    for (method, _) in methods(&fixture).into_iter().chain(nobody).filter(|(_, has)| !*has) {
        let code = code(&raw, method, Vec::new()).await;
        assert_eq!(code, UNIMPLEMENTED, "{method}, which the driver has not, answered {code}");
    }
}
