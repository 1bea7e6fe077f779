//! Volumes at paths of the node.

use std::{collections::BTreeSet, fs};

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{Access, AccessMode, CreateVolume, PublishVolume, Volume, VolumeCapability},
};

use super::{Check, Fixture, machine, refused, used::Used, uses, uses_blocks, uses_folders};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "what_is_written_to_a_folder_stays",
        clause: "NodePublishVolume: mount the volume at target_path; NodeUnpublishVolume: the target path is deleted",
        needs: uses_folders,
        run: |f| async move { stays(&f, f.capability()).await }.boxed(),
    },
    Check {
        name: "what_is_written_to_a_block_device_stays",
        clause: "NodePublishVolume: a block volume is a device at target_path",
        needs: uses_blocks,
        run: |f| async move { stays(&f, Fixture::block()).await }.boxed(),
    },
    Check {
        name: "two_targets_show_one_volume",
        clause: "NodePublishVolume: may be called for several targets of one node",
        needs: uses,
        run: |f| two_targets(f).boxed(),
    },
    Check {
        name: "doing_it_again_changes_nothing",
        clause: "NodeStageVolume, NodePublishVolume: must be idempotent",
        needs: uses,
        run: |f| again(f).boxed(),
    },
    Check {
        name: "the_same_target_in_another_way_is_refused",
        clause: "NodePublishVolume: 6 ALREADY_EXISTS where the volume is published incompatibly",
        needs: uses_folders,
        run: |f| differently(f).boxed(),
    },
    Check {
        name: "a_step_cannot_be_left_out",
        clause: "NodePublishVolume: 9 FAILED_PRECONDITION where the staging path is not set",
        needs: |f| {
            uses(f).or(f.driver.node().is_none_or(|n| n.staging().is_none()).then_some("the driver does not stage"))
        },
        run: |f| unstaged(f).boxed(),
    },
    Check {
        name: "a_volume_that_is_read_only_is_not_written_to",
        clause: "NodePublishVolume: readonly",
        needs: uses_folders,
        run: |f| async move { read_only(&f, f.capability()).await }.boxed(),
    },
    Check {
        name: "a_block_device_that_is_read_only_is_not_written_to",
        clause: "NodePublishVolume: readonly",
        needs: uses_blocks,
        run: |f| async move { read_only(&f, Fixture::block()).await }.boxed(),
    },
    Check {
        name: "one_writer_is_one",
        clause: "SINGLE_NODE_SINGLE_WRITER: published as one workload only; 9 FAILED_PRECONDITION",
        needs: |f| {
            let tells = f.driver.node().is_some_and(|node| node.features().writers);
            uses(f).or((!tells).then_some("the driver does not tell writers apart (SINGLE_NODE_MULTI_WRITER)"))
        },
        run: |f| one_writer(f).boxed(),
    },
    Check {
        name: "a_volume_of_a_pods_own_comes_and_goes_with_it",
        clause: "NodePublishVolume with csi.storage.k8s.io/ephemeral: the volume is made and, by NodeUnpublishVolume, deleted",
        needs: |f| {
            let lacks = f.driver.node().is_none() || !f.offers.ephemeral;
            lacks.then_some("the driver makes no volumes when they are published")
        },
        run: |f| ephemeral(f).boxed(),
    },
];

impl Fixture {
    async fn made_as(&self, name: &str, capability: &VolumeCapability) -> Volume {
        let wanted = CreateVolume { capabilities: vec![capability.clone()], ..self.wanted(name) };
        self.provisioning().create(&wanted).await.expect("a volume is made")
    }
}

/// Contract 7, 9: through everything, over and over.
async fn stays(fixture: &Fixture, capability: VolumeCapability) {
    let before = fixture.inventory();
    let volume = fixture.made_as("a", &capability).await;
    let mut used = fixture.used(&volume, capability, "a");
    let mut made = BTreeSet::new();
    for round in 0..3 {
        used.up(false).await;
        used.is_there();
        if round > 0 {
            assert_eq!(used.read(), format!("round {}", round - 1), "what was written is gone");
        }
        used.write(&format!("round {round}")).expect("a volume can be written to");
        assert_eq!(used.read(), format!("round {round}"));
        used.down().await;
        // What is written may be seen in the driver's own folder; the second time there is no more.
        match round {
            0 => made = fixture.inventory(),
            _ => fixture.end(&made),
        }
    }
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 7: taking one away leaves the other.
async fn two_targets(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut one = fixture.used(&volume, fixture.capability(), "a");
    one.up(false).await;
    let mut two = fixture.used(&volume, fixture.capability(), "b");
    // Prepared once for all targets.
    let _ = fs::remove_dir(&two.staging);
    two.staging.clone_from(&one.staging);
    two.publish(false).await.expect("a volume is published at a second target");
    one.write("seen by both").expect("a volume can be written to");
    assert_eq!(two.read(), "seen by both", "the second target shows something else");
    two.unpublish().await.expect("the second target goes");
    one.is_there();
    assert_eq!(one.read(), "seen by both", "the first target went with the second");
    one.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 8: one mount, the same content, and no errors, however often.
async fn again(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    used.write("once").expect("a volume can be written to");
    let during = fixture.inventory();
    for _ in 0..3 {
        used.up(false).await;
        used.is_there();
        assert_eq!(used.read(), "once");
        fixture.end(&during);
    }
    for _ in 0..3 {
        used.down().await;
    }
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 8, 10: read-only where it is not, and the other way around.
async fn differently(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    refused(used.publish(true).await, &[ErrorKind::AlreadyExists], "publishing read-only what is not");
    used.write("still").expect("the refused call made it read-only");
    used.is_there();
    used.unpublish().await.expect("a volume is unpublished");
    used.publish(true).await.expect("a volume is published read-only");
    refused(used.publish(false).await, &[ErrorKind::AlreadyExists], "publishing to write what is read-only");
    used.write("no").expect_err("the refused call made it writable");
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 6, 9: without the staging path, and before anything is staged.
async fn unstaged(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.attach().await.expect("a volume is attached");
    let request = PublishVolume { staging: None, ..used.publishing(false) };
    let kinds = [ErrorKind::Conflict, ErrorKind::Invalid];
    refused(fixture.node().publish(&request).await, &kinds, "publishing without a staging path");
    assert_eq!(machine::mounted(&used.target), 0, "the refused call left a mount");
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 10: the words of before are read, and no others are written.
async fn read_only(fixture: &Fixture, capability: VolumeCapability) {
    let before = fixture.inventory();
    let volume = fixture.made_as("a", &capability).await;
    let mut used: Used<'_> = fixture.used(&volume, capability, "a");
    used.up(false).await;
    used.write("before").expect("a volume can be written to");
    used.down().await;
    used.attach().await.expect("a volume is attached");
    used.stage().await.expect("a volume is staged");
    for _ in 0..2 {
        used.publish(true).await.expect("a volume is published read-only");
    }
    used.is_there();
    used.write("after").expect_err("a volume that is read-only was written to");
    assert_eq!(used.read(), "before");
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 18: until the first target is gone.
async fn one_writer(fixture: Fixture) {
    let before = fixture.inventory();
    let capability = VolumeCapability { mode: AccessMode::SingleNodeSingleWriter, ..fixture.capability() };
    let volume = fixture.made_as("a", &capability).await;
    let mut one = fixture.used(&volume, capability.clone(), "a");
    one.up(false).await;
    one.publish(false).await.expect("the same target again");
    let mut two = fixture.used(&volume, capability, "b");
    let _ = fs::remove_dir(&two.staging);
    two.staging.clone_from(&one.staging);
    refused(two.publish(false).await, &[ErrorKind::Conflict], "a second target of a volume with one writer");
    assert!(!two.target.exists(), "the refused call left its target");
    one.unpublish().await.expect("the first target goes");
    two.publish(false).await.expect("the second target, when the first is gone");
    two.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 7, 8, 9: without anything before and after.
async fn ephemeral(fixture: Fixture) {
    let before = fixture.inventory();
    let mut context = fixture.parameters.clone();
    context.insert("csi.storage.k8s.io/ephemeral".into(), "true".into());
    let id = format!("csi-{}-0123456789abcdef", fixture.prefix);
    let volume = Volume { id: id.as_str().into(), context, ..Volume::default() };
    let capability = VolumeCapability { access: Access::folder(), mode: AccessMode::SingleNodeWriter };
    let used = fixture.used(&volume, capability, "a");
    let _ = fs::remove_dir(&used.staging);
    let request = PublishVolume { staging: None, ..used.publishing(false) };
    for round in 0..2 {
        for _ in 0..2 {
            fixture.node().publish(&request).await.expect("a volume of a pod's own is published");
        }
        used.is_there();
        assert_eq!(used.read(), "", "round {round}: it is not empty");
        used.write("gone soon").expect("a volume can be written to");
        for _ in 0..2 {
            used.unpublish().await.expect("a volume of a pod's own is unpublished");
        }
        fixture.end(&before);
    }
}
