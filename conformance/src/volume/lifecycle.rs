//! Volumes made and deleted.

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{
        AccessMode, AttachVolume, CapacityRange, CreateSnapshot, CreateVolume, ExpandVolume, Source, ValidateVolume,
        Validated, VolumeCapability,
    },
};

use super::{Check, Fixture, makes, refused, uses};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_name_is_one_volume",
        clause: "CreateVolume: must be idempotent; 6 ALREADY_EXISTS where a volume of the name is incompatible",
        needs: makes,
        run: |f| by_name(f).boxed(),
    },
    Check {
        name: "a_volume_is_as_large_as_asked",
        clause: "CreateVolume: capacity_range; 11 OUT_OF_RANGE where the range is not allowed",
        needs: makes,
        run: |f| size(f).boxed(),
    },
    Check {
        name: "deleting_what_is_gone_succeeds",
        clause: "DeleteVolume: if the volume does not exist, the plugin must reply 0 OK",
        needs: makes,
        run: |f| gone(f).boxed(),
    },
    Check {
        name: "undoing_what_never_was_succeeds",
        clause: "NodeUnpublishVolume, NodeUnstageVolume, ControllerUnpublishVolume: must be idempotent",
        needs: uses,
        run: |f| never(f).boxed(),
    },
    Check {
        name: "calls_on_what_is_gone_answer_not_found",
        clause: "Volume does not exist: 5 NOT_FOUND, of every call but the opposites",
        needs: makes,
        run: |f| not_found(f).boxed(),
    },
    Check {
        name: "a_volume_has_the_capabilities_that_it_was_made_with",
        clause: "ValidateVolumeCapabilities: confirmed where all are supported",
        needs: makes,
        run: |f| validated(f).boxed(),
    },
];

/// Contract 2: the same again, and what is incompatible is refused and changes nothing.
async fn by_name(fixture: Fixture) {
    let before = fixture.inventory();
    let first = fixture.made("a").await;
    assert_ne!(first.id.as_str(), "", "the volume has no id");
    assert!(first.id.as_str().len() <= 128, "the id has more than 128 bytes: {}", first.id);
    for _ in 0..2 {
        assert_eq!(fixture.made("a").await, first, "the same request answers another volume");
    }
    let other = fixture.made("b").await;
    assert_ne!(first.id, other.id, "two names are one volume");
    let large = CreateVolume { capacity: CapacityRange::at_least(fixture.size * 2), ..fixture.wanted("a") };
    // A driver may have rounded up so far that it fits.
    if first.capacity.is_some_and(|bytes| bytes < fixture.size * 2) {
        refused(
            fixture.provisioning().create(&large).await,
            &[ErrorKind::AlreadyExists],
            "a larger volume of the name",
        );
    }
    assert_eq!(fixture.made("a").await, first, "the refused request changed the volume");
    fixture.delete(&first.id).await;
    fixture.delete(&other.id).await;
    fixture.end(&before);
}

/// Contract 3: within the range, and never what cannot be.
async fn size(fixture: Fixture) {
    let before = fixture.inventory();
    let limit = fixture.size * 4;
    let range = CapacityRange { required: Some(fixture.size), limit: Some(limit) };
    let wanted = CreateVolume { capacity: range, ..fixture.wanted("a") };
    let volume = fixture.provisioning().create(&wanted).await.expect("a volume of a range");
    // Nothing is said of it: then nothing can be checked.
    if let Some(bytes) = volume.capacity {
        assert!(range.contains(bytes), "{bytes} bytes are not in {range:?}");
    }
    fixture.delete(&volume.id).await;
    let impossible = CapacityRange { required: Some(fixture.size * 2), limit: Some(fixture.size) };
    for (range, name) in [(impossible, "b"), (CapacityRange::at_least(1 << 62), "c")] {
        let wanted = CreateVolume { capacity: range, ..fixture.wanted(name) };
        let kinds = [ErrorKind::Invalid, ErrorKind::Full];
        refused(fixture.provisioning().create(&wanted).await, &kinds, &format!("a volume of {range:?}"));
    }
    fixture.end(&before);
}

/// Contract 4, 9: of volumes.
async fn gone(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    for _ in 0..3 {
        fixture.delete(&volume.id).await;
    }
    for id in ["never-was", "../../etc", "/"] {
        fixture.delete(&id.into()).await;
    }
    fixture.end(&before);
    // The name is free again.
    let volume = fixture.made("a").await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 4: of everything that is undone.
async fn never(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let used = fixture.used(&volume, fixture.capability(), "a");
    for _ in 0..2 {
        used.down().await;
    }
    fixture.delete(&volume.id).await;
    // The volume is gone as well.
    used.down().await;
    fixture.end(&before);
}

/// Contract 5: of every call that is no opposite.
async fn not_found(fixture: Fixture) {
    let before = fixture.inventory();
    let (gone, there) = (fixture.made("gone").await, fixture.made("there").await);
    fixture.delete(&gone.id).await;
    let not_found = &[ErrorKind::NotFound];
    let controller = fixture.controller();
    let validate = ValidateVolume {
        volume: gone.id.clone(),
        capabilities: vec![fixture.capability()],
        ..ValidateVolume::default()
    };
    refused(controller.validate(&validate).await, not_found, "validating a volume that is gone");
    if let Some(expanding) = controller.expanding() {
        let capacity = CapacityRange::at_least(fixture.size * 2);
        let request = ExpandVolume { volume: gone.id.clone(), capacity, ..ExpandVolume::default() };
        refused(expanding.expand(&request).await, not_found, "expanding a volume that is gone");
    }
    if let Some(inspecting) = controller.inspecting() {
        refused(inspecting.inspect(&gone.id).await, not_found, "looking at a volume that is gone");
    }
    if let Some(snapshotting) = controller.snapshotting() {
        let name = format!("{}-s", fixture.prefix);
        let request = CreateSnapshot { source: gone.id.clone(), name, ..CreateSnapshot::default() };
        refused(snapshotting.snapshot(&request).await, not_found, "a snapshot of a volume that is gone");
        let source = Some(Source::Snapshot("never-was".into()));
        let wanted = CreateVolume { source, ..fixture.wanted("copy") };
        refused(fixture.provisioning().create(&wanted).await, not_found, "a copy of a snapshot that never was");
    }
    if controller.features().clones {
        let wanted = CreateVolume { source: Some(Source::Volume(gone.id.clone())), ..fixture.wanted("clone") };
        refused(fixture.provisioning().create(&wanted).await, not_found, "a copy of a volume that is gone");
    }
    if let Some(attaching) = controller.attaching() {
        let mut request = AttachVolume {
            volume: there.id.clone(),
            node: "no-such-node".into(),
            capability: fixture.capability(),
            read_only: false,
            secrets: fixture.secrets.clone(),
            context: there.context.clone(),
        };
        refused(attaching.attach(&request).await, not_found, "attaching to a node that does not exist");
        request.volume = gone.id.clone();
        refused(attaching.attach(&request).await, not_found, "attaching a volume that is gone");
    }
    if let Some(node) = fixture.driver.node() {
        let used = fixture.used(&gone, fixture.capability(), "a");
        if node.staging().is_some() {
            refused(used.stage().await, not_found, "staging a volume that is gone");
        }
        refused(used.publish(false).await, not_found, "publishing a volume that is gone");
        used.down().await;
    }
    fixture.delete(&there.id).await;
    fixture.end(&before);
}

/// Contract 2: what was asked for is confirmed, and what cannot be is not.
async fn validated(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let request = ValidateVolume {
        volume: volume.id.clone(),
        context: volume.context.clone(),
        capabilities: vec![fixture.capability()],
        parameters: fixture.parameters.clone(),
        secrets: fixture.secrets.clone(),
        ..ValidateVolume::default()
    };
    let answer = fixture.controller().validate(&request).await.expect("a volume is looked at");
    let Validated::Confirmed { capabilities, .. } = answer else {
        panic!("what the volume was made with is not confirmed: {answer:?}");
    };
    assert_eq!(capabilities, request.capabilities, "other capabilities are confirmed");
    let reader = VolumeCapability { mode: AccessMode::SingleNodeReaderOnly, ..fixture.capability() };
    let more = ValidateVolume { capabilities: vec![fixture.capability(), reader], ..request };
    // Whether it can be read only is the driver's to say; it says so without an error.
    fixture.controller().validate(&more).await.expect("a volume is looked at");
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}
