//! Volumes that grow.

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{CapacityRange, CreateVolume, ExpandOnNode, ExpandVolume, Expansion, VolumeCapability},
};

use super::{Check, Fixture, machine, refused, uses_blocks, uses_folders};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_folder_grows_and_keeps_what_is_in_it",
        clause: "ControllerExpandVolume, NodeExpandVolume: must be idempotent; capacity_bytes of the answer",
        needs: |f| uses_folders(f).or(cannot(f)),
        run: |f| async move { grows(&f, f.capability()).await }.boxed(),
    },
    Check {
        name: "a_block_device_grows_and_keeps_what_is_in_it",
        clause: "ControllerExpandVolume, NodeExpandVolume: must be idempotent; capacity_bytes of the answer",
        needs: |f| uses_blocks(f).or(cannot(f)),
        run: |f| async move { grows(&f, Fixture::block()).await }.boxed(),
    },
];

fn cannot(fixture: &Fixture) -> Option<&'static str> {
    let can = fixture.driver.controller().is_some_and(|controller| controller.expanding().is_some());
    (!can).then_some("the driver's volumes do not grow (EXPAND_VOLUME)")
}

/// Contract 11: in use where the driver says so, else between uses; and again.
async fn grows(fixture: &Fixture, capability: VolumeCapability) {
    let before = fixture.inventory();
    let online = fixture.driver.info().await.expect("a driver says what it is").expansion == Some(Expansion::Online);
    let wanted = CreateVolume { capabilities: vec![capability.clone()], ..fixture.wanted("a") };
    let volume = fixture.provisioning().create(&wanted).await.expect("a volume is made");
    let mut used = fixture.used(&volume, capability.clone(), "a");
    used.up(false).await;
    used.write("small").expect("a volume can be written to");
    let expanding = fixture.controller().expanding().expect("the check needs it");
    let capacity = CapacityRange::at_least(fixture.size * 2);
    let request = ExpandVolume {
        volume: volume.id.clone(),
        capacity,
        capability: Some(capability.clone()),
        secrets: fixture.secrets.clone(),
    };
    if !online {
        used.down().await;
    }
    for _ in 0..2 {
        let grown = expanding.expand(&request).await.expect("a volume is expanded");
        assert!(grown.capacity >= fixture.size * 2, "{} bytes are less than was asked for", grown.capacity);
        if !online {
            used.up(false).await;
        }
        if grown.node_expansion {
            let node = fixture.node().expanding().expect("a driver that wants the node to expand can do so there");
            let request = ExpandOnNode {
                volume: volume.id.clone(),
                path: used.target.clone(),
                staging: fixture.node().staging().map(|_| used.staging.clone()),
                capacity,
                capability: Some(capability.clone()),
                secrets: fixture.secrets.clone(),
            };
            for _ in 0..2 {
                let told = node.expand(&request).await.expect("a volume is expanded on the node");
                assert!(told.is_none_or(|bytes| bytes >= fixture.size * 2), "{told:?} is less than was asked for");
            }
        }
        assert_eq!(used.read(), "small", "what was in the volume is gone");
        if let Some(bytes) = machine::device_size(&used.target) {
            assert!(bytes >= fixture.size * 2, "the device has {bytes} bytes, less than was asked for");
        }
        if !online {
            used.down().await;
        }
    }
    // It never shrinks.
    let less = ExpandVolume { capacity: CapacityRange::at_least(fixture.size), ..request.clone() };
    let kept = expanding.expand(&less).await.expect("less than there is is there");
    assert!(kept.capacity >= fixture.size * 2, "the volume shrank to {}", kept.capacity);
    let impossible = ExpandVolume { capacity: CapacityRange::at_least(1 << 62), ..request };
    let kinds = [ErrorKind::Invalid, ErrorKind::Full];
    refused(expanding.expand(&impossible).await, &kinds, "expanding beyond every disk");
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}
