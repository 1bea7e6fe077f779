use std::{fmt::Debug, path::PathBuf};

use proptest::{collection::vec, option, prelude::*};
use windlass_kernel::{
    ErrorKind,
    volume::{
        AttachVolume, AvailableCapacity, CapacityQuery, Condition, CreateSnapshot, CreateVolume, ExpandOnNode,
        ExpandVolume, Expanded, ModifyVolume, NodeInfo, Page, PublishVolume, Secrets, Snapshot, SnapshotFilter,
        StageVolume, Usage, UsageQuery, ValidateVolume, Validated, Volume, VolumeState, VolumeUsage,
    },
};

use super::*;

/// A value is the same after it was on the wire.
fn check<T: OnWire + Debug + PartialEq>(value: &T) {
    let back = T::from_wire(value.to_wire());
    assert_eq!(back.as_ref().ok(), Some(value), "{back:?}");
}

fn id() -> impl Strategy<Value = String> {
    "[ -~]{1,128}"
}

fn text() -> impl Strategy<Value = String> {
    "[a-z/=.-]{0,40}"
}

fn words() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z./]{1,20}", "[ -~]{0,40}", 0..5)
}

fn secrets() -> impl Strategy<Value = Secrets> {
    words().prop_map(Secrets)
}

fn size() -> impl Strategy<Value = u64> {
    1..=i64::MAX.unsigned_abs()
}

fn range() -> impl Strategy<Value = CapacityRange> {
    (option::of(size()), option::of(size())).prop_map(|(required, limit)| CapacityRange { required, limit })
}

fn some_range() -> impl Strategy<Value = CapacityRange> {
    (size(), option::of(size())).prop_map(|(required, limit)| CapacityRange { required: Some(required), limit })
}

fn path() -> impl Strategy<Value = PathBuf> {
    "(/[a-zA-Z0-9~ .-]{1,20}){1,6}".prop_map(PathBuf::from)
}

fn capability() -> impl Strategy<Value = VolumeCapability> {
    let folder = (text(), vec(text(), 0..4), "[0-9]{0,6}").prop_map(|(fs_type, flags, group)| Access::Mount {
        fs_type,
        flags,
        group,
    });
    let access = prop_oneof![Just(Access::Block), folder];
    (access, prop::sample::select(AccessMode::ALL.to_vec()))
        .prop_map(|(access, mode)| VolumeCapability { access, mode })
}

fn topology() -> impl Strategy<Value = Topology> {
    words().prop_map(Topology)
}

fn requirement() -> impl Strategy<Value = TopologyRequirement> {
    (vec(topology(), 0..3), vec(topology(), 0..3))
        .prop_map(|(requisite, preferred)| TopologyRequirement { requisite, preferred })
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![id().prop_map(|id| Source::Snapshot(id.into())), id().prop_map(|id| Source::Volume(id.into()))]
}

fn volume() -> impl Strategy<Value = Volume> {
    (id(), option::of(size()), words(), option::of(source()), vec(topology(), 0..3)).prop_map(
        |(id, capacity, context, source, topology)| Volume { id: id.into(), capacity, context, source, topology },
    )
}

fn state() -> impl Strategy<Value = VolumeState> {
    (volume(), vec(id(), 0..3), condition()).prop_map(|(volume, nodes, condition)| VolumeState {
        volume,
        nodes: nodes.into_iter().map(Into::into).collect(),
        condition,
    })
}

fn condition() -> impl Strategy<Value = Option<Condition>> {
    option::of((any::<bool>(), text()).prop_map(|(abnormal, message)| Condition { abnormal, message }))
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (id(), id(), option::of(size()), 0..2_000_000_000_i64, 0..1_000_000_000_i32, any::<bool>()).prop_map(
        |(id, source, size, seconds, nanos, ready)| Snapshot {
            id: id.into(),
            source: source.into(),
            size,
            created: jiff::Timestamp::new(seconds, nanos).expect("a time"),
            ready,
        },
    )
}

fn usage() -> impl Strategy<Value = Usage> {
    (0..1_u64 << 60, 0..1_u64 << 60, 0..1_u64 << 60).prop_map(|(total, used, available)| Usage {
        total,
        used,
        available,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_of_the_controller_come_back(
        name in id(), other in id(), capacity in range(), grown in some_range(),
        capabilities in vec(capability(), 1..4), parameters in words(), mutable in words(), secrets in secrets(),
        source in option::of(source()), topology in option::of(requirement()), place in option::of(topology()),
        read_only in any::<bool>(), limit in option::of(1..1000_u32), token in option::of(id()),
    ) {
        let capability = capabilities[0].clone();
        let (parameters, mutable_parameters) = (parameters, mutable);
        check(&CreateVolume {
            name: name.clone(), capacity, capabilities: capabilities.clone(), parameters: parameters.clone(),
            mutable_parameters: mutable_parameters.clone(), secrets: secrets.clone(), source, topology,
        });
        check(&AttachVolume {
            volume: name.as_str().into(), node: other.as_str().into(), capability: capability.clone(), read_only,
            secrets: secrets.clone(), context: parameters.clone(),
        });
        check(&ValidateVolume {
            volume: name.as_str().into(), context: mutable_parameters.clone(), capabilities: capabilities.clone(),
            parameters: parameters.clone(), mutable_parameters: mutable_parameters.clone(), secrets: secrets.clone(),
        });
        check(&CapacityQuery { capabilities: capabilities.clone(), parameters: parameters.clone(), topology: place });
        check(&CreateSnapshot {
            source: name.as_str().into(), name: other.clone(), secrets: secrets.clone(), parameters: parameters.clone(),
        });
        check(&SnapshotFilter {
            limit, token, source: Some(name.as_str().into()), snapshot: Some(other.as_str().into()),
            secrets: secrets.clone(),
        });
        check(&ExpandVolume {
            volume: name.as_str().into(), capacity: grown, capability: Some(capability), secrets: secrets.clone(),
        });
        if !mutable_parameters.is_empty() {
            check(&ModifyVolume { volume: name.as_str().into(), mutable_parameters, secrets });
        }
    }

    #[test]
    fn answers_of_the_controller_come_back(
        states in vec(state(), 0..4), snapshots in vec(snapshot(), 0..4), next in option::of(id()),
        bytes in size(), maximum in option::of(size()), minimum in option::of(size()), more in any::<bool>(),
        capabilities in vec(capability(), 0..3), context in words(), parameters in words(), why in text(),
    ) {
        states.iter().for_each(check);
        states.iter().for_each(|state| check(&state.volume));
        snapshots.iter().for_each(check);
        check(&Page { entries: states, next: next.clone() });
        check(&Page { entries: snapshots, next });
        check(&AvailableCapacity { available: bytes, maximum, minimum });
        check(&Expanded { capacity: bytes, node_expansion: more });
        check(&Validated::Confirmed {
            context, capabilities, mutable_parameters: parameters.clone(), parameters,
        });
        check(&Validated::Refused(why));
    }

    #[test]
    fn messages_of_the_node_come_back(
        id in id(), publish_context in words(), staging in path(), target in path(), capability in capability(),
        secrets in secrets(), context in words(), read_only in any::<bool>(), staged in any::<bool>(),
        capacity in range(), bytes in option::of(usage()), inodes in option::of(usage()), condition in condition(),
        place in option::of(topology()), most in option::of(size()),
    ) {
        let volume = || id.as_str().into();
        check(&StageVolume {
            volume: volume(), publish_context: publish_context.clone(), staging: staging.clone(),
            capability: capability.clone(), secrets: secrets.clone(), context: context.clone(),
        });
        let staging = staged.then_some(staging);
        check(&PublishVolume {
            volume: volume(), publish_context, staging: staging.clone(), target: target.clone(),
            capability: capability.clone(), read_only, secrets: secrets.clone(), context,
        });
        check(&UsageQuery { volume: volume(), path: target.clone(), staging: staging.clone() });
        check(&ExpandOnNode {
            volume: volume(), path: target, staging, capacity, capability: Some(capability), secrets,
        });
        check(&VolumeUsage { bytes, inodes, condition });
        check(&NodeInfo { id: id.as_str().into(), max_volumes: most, topology: place });
    }
}

#[test]
fn what_a_driver_can_comes_back() {
    let offers = ControllerOffers { provisioning: true, snapshot_listing: true, ..ControllerOffers::default() };
    assert_eq!(controller_offers(offers.to_wire()), offers);
    let offers = NodeOffers { staging: true, expanding: true, ..NodeOffers::default() };
    assert_eq!(node_offers(offers.to_wire()), offers);
}

#[test]
fn what_is_missing_or_too_long_is_named() {
    let refused = |result: Result<CreateVolume>, field: &str| {
        let error = result.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().starts_with(field), "{error}");
    };
    let fine = csi::CreateVolumeRequest {
        name: "a".into(),
        volume_capabilities: vec![
            VolumeCapability { access: Access::folder(), mode: AccessMode::SingleNodeWriter }.to_wire(),
        ],
        ..Default::default()
    };
    assert!(CreateVolume::from_wire(fine.clone()).is_ok());
    refused(CreateVolume::from_wire(csi::CreateVolumeRequest::default()), "name");
    refused(CreateVolume::from_wire(csi::CreateVolumeRequest { name: "a".repeat(129), ..fine.clone() }), "name");
    let none = csi::CreateVolumeRequest { volume_capabilities: vec![], ..fine.clone() };
    refused(CreateVolume::from_wire(none), "volume_capabilities");
    let empty = csi::CreateVolumeRequest { volume_capabilities: vec![Default::default()], ..fine.clone() };
    refused(CreateVolume::from_wire(empty), "volume_capability.access_type");
    let much = [("a".to_owned(), "b".repeat(5000))].into();
    refused(CreateVolume::from_wire(csi::CreateVolumeRequest { parameters: much, ..fine.clone() }), "parameters");
    let range = Some(csi::CapacityRange { required_bytes: -1, limit_bytes: 0 });
    refused(CreateVolume::from_wire(csi::CreateVolumeRequest { capacity_range: range, ..fine }), "capacity_range");
}
