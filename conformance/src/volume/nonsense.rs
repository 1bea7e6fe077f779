//! Requests that nobody should make.

use std::path::PathBuf;

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{AccessMode, CreateSnapshot, CreateVolume, ExpandVolume, PublishVolume, StageVolume, ValidateVolume},
};

use super::{Check, Fixture, makes, refused, uses};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_request_without_what_is_required_is_refused",
        clause: "Missing required field: 3 INVALID_ARGUMENT",
        needs: makes,
        run: |f| missing(f).boxed(),
    },
    Check {
        name: "a_name_of_any_letters_is_a_name",
        clause: "CreateVolume: name may have any Unicode but control characters, up to 128 bytes",
        needs: makes,
        run: |f| names(f).boxed(),
    },
    Check {
        name: "paths_that_lead_nowhere_or_elsewhere_are_refused",
        clause: "target_path and staging_target_path: absolute paths; 3 INVALID_ARGUMENT",
        needs: uses,
        run: |f| paths(f).boxed(),
    },
];

const INVALID: &[ErrorKind] = &[ErrorKind::Invalid];

/// Contract 6: and nothing is left.
async fn missing(fixture: Fixture) {
    let before = fixture.inventory();
    let wanted = CreateVolume { name: String::new(), ..fixture.wanted("a") };
    refused(fixture.provisioning().create(&wanted).await, INVALID, "a volume without a name");
    let wanted = CreateVolume { capabilities: vec![], ..fixture.wanted("a") };
    refused(fixture.provisioning().create(&wanted).await, INVALID, "a volume without capabilities");
    refused(fixture.provisioning().delete(&"".into(), &fixture.secrets).await, INVALID, "deleting no volume");
    fixture.end(&before);

    let volume = fixture.made("a").await;
    let controller = fixture.controller();
    let none = ValidateVolume { volume: volume.id.clone(), ..ValidateVolume::default() };
    refused(controller.validate(&none).await, INVALID, "validating no capabilities");
    let nothing = ValidateVolume { capabilities: vec![fixture.capability()], ..ValidateVolume::default() };
    refused(controller.validate(&nothing).await, INVALID, "validating no volume");
    if let Some(snapshotting) = controller.snapshotting() {
        let unnamed = CreateSnapshot { source: volume.id.clone(), ..CreateSnapshot::default() };
        refused(snapshotting.snapshot(&unnamed).await, INVALID, "a snapshot without a name");
        let of_nothing = CreateSnapshot { name: format!("{}-s", fixture.prefix), ..CreateSnapshot::default() };
        let kinds = &[ErrorKind::Invalid];
        refused(snapshotting.snapshot(&of_nothing).await, kinds, "a snapshot of no volume");
        refused(snapshotting.delete_snapshot(&"".into(), &fixture.secrets).await, INVALID, "deleting no snapshot");
    }
    if let Some(expanding) = controller.expanding() {
        let to_nothing = ExpandVolume { volume: volume.id.clone(), ..ExpandVolume::default() };
        refused(expanding.expand(&to_nothing).await, INVALID, "expanding to nothing");
    }
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 2, 6: names that look like paths, options and markup name volumes, and nothing else.
async fn names(fixture: Fixture) {
    let before = fixture.inventory();
    let long = "x".repeat(128 - fixture.prefix.len() - 1);
    for name in ["../../../tmp/x", "-rf", "a b", "žluťoučký kůň", "$(id)", long.as_str()] {
        let first = fixture.made(name).await;
        assert_eq!(fixture.made(name).await.id, first.id, "the name {name:?} is two volumes");
        fixture.delete(&first.id).await;
    }
    fixture.end(&before);
}

/// Contract 6, 9: of every call that takes a path.
async fn paths(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.attach().await.expect("a volume is attached");
    used.stage().await.expect("a volume is staged");
    let during = fixture.inventory();
    let node = fixture.node();
    for target in ["", "relative/path"] {
        let target = PathBuf::from(target);
        let what = format!("publishing at {target:?}");
        refused(
            node.publish(&PublishVolume { target: target.clone(), ..used.publishing(false) }).await,
            INVALID,
            &what,
        );
        refused(node.unpublish(&volume.id, &target).await, INVALID, &format!("unpublishing at {target:?}"));
        if let Some(staging) = node.staging() {
            let request = StageVolume { staging: target.clone(), ..used.staging_request() };
            refused(staging.stage(&request).await, INVALID, &format!("staging at {target:?}"));
            refused(staging.unstage(&volume.id, &target).await, INVALID, &format!("unstaging at {target:?}"));
        }
    }
    let nameless = PublishVolume { volume: "".into(), ..used.publishing(false) };
    refused(node.publish(&nameless).await, INVALID, "publishing no volume");
    refused(node.unpublish(&"".into(), &used.target).await, INVALID, "unpublishing no volume");
    fixture.end(&during);
    used.down().await;

    // Of many nodes, a volume of one node is refused or is one: either way there is an answer.
    let many = AccessMode::MultiNodeMultiWriter;
    let mut wanted = fixture.wanted("many");
    wanted.capabilities[0].mode = many;
    match fixture.provisioning().create(&wanted).await {
        Ok(volume) => fixture.delete(&volume.id).await,
        Err(error) => assert!(error.is(ErrorKind::Invalid), "a volume for many nodes was refused with {error:?}"),
    }
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}
