//! Where nodes and volumes are, and how much space is there.

use std::collections::BTreeMap;

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{CapacityQuery, CreateVolume, Topology, TopologyRequirement},
};

use super::{Check, Fixture, makes, refused, uses};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_node_says_which_it_is",
        clause: "NodeGetInfo: node_id is required, of 256 bytes or less",
        needs: |f| f.driver.node().is_none().then_some("the driver has no node service"),
        run: |f| node(f).boxed(),
    },
    Check {
        name: "a_volume_is_where_it_was_asked_for",
        clause: "CreateVolume: accessibility_requirements; 8 RESOURCE_EXHAUSTED where it cannot be there",
        needs: uses,
        run: |f| asked(f).boxed(),
    },
    Check {
        name: "space_is_told",
        clause: "GetCapacity: available_capacity, for a topology",
        needs: |f| {
            let tells = f.driver.controller().is_some_and(|controller| controller.capacity().is_some());
            makes(f).or((!tells).then_some("the driver does not tell its space (GET_CAPACITY)"))
        },
        run: |f| space(f).boxed(),
    },
];

/// Contract 17: the same each time.
async fn node(fixture: Fixture) {
    let info = fixture.node().node_info().await.expect("a node says which it is");
    assert!((1..=256).contains(&info.id.as_str().len()), "the id {} is too short or long", info.id);
    assert_eq!(fixture.node().node_info().await.expect("again"), info, "the node says something else now");
    let topology = fixture.driver.info().await.expect("a driver says what it is").topology;
    assert!(!topology || info.topology.is_some(), "a driver with places does not say where its node is");
}

fn elsewhere(own: &Topology) -> Topology {
    Topology(own.0.keys().map(|key| (key.clone(), "no-such-place".to_owned())).collect())
}

/// Contract 17: where the node is, and nowhere else.
async fn asked(fixture: Fixture) {
    let Some(own) = fixture.node().node_info().await.expect("a node says which it is").topology else { return };
    let before = fixture.inventory();
    let at = |place: &Topology| TopologyRequirement { requisite: vec![place.clone()], preferred: vec![place.clone()] };
    let wanted = CreateVolume { topology: Some(at(&own)), ..fixture.wanted("a") };
    let volume = fixture.provisioning().create(&wanted).await.expect("a volume is made where the node is");
    let there = |place: &Topology| place.0.iter().all(|(key, value)| own.0.get(key) == Some(value));
    let reached = volume.topology.is_empty() || volume.topology.iter().any(there);
    assert!(reached, "the node does not reach the volume that was made for it: {:?}", volume.topology);
    let wanted = CreateVolume { topology: Some(at(&elsewhere(&own))), ..fixture.wanted("b") };
    let kinds = [ErrorKind::Full, ErrorKind::Invalid];
    refused(fixture.provisioning().create(&wanted).await, &kinds, "a volume where nothing is");
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 17: enough for a volume here, none elsewhere.
async fn space(fixture: Fixture) {
    let capacity = fixture.controller().capacity().expect("the check needs it");
    let mut query = CapacityQuery {
        capabilities: vec![fixture.capability()],
        parameters: fixture.parameters.clone(),
        topology: None,
    };
    let told = capacity.available(&query).await.expect("space is told");
    assert!(told.available >= fixture.size, "{} bytes are not enough for a volume of these checks", told.available);
    assert!(told.maximum.is_none_or(|most| most >= fixture.size), "volumes of these checks are too large: {told:?}");
    let Some(node) = fixture.driver.node() else { return };
    let Some(own) = node.node_info().await.expect("a node says which it is").topology else { return };
    query.topology = Some(own.clone());
    assert!(capacity.available(&query).await.expect("space is told").available >= fixture.size, "there is none here");
    query.topology = Some(elsewhere(&own));
    let none = capacity.available(&query).await.expect("space is told");
    assert_eq!(none.available, 0, "there is space where nothing is");
    query.topology = Some(Topology(BTreeMap::from([("example.com/no-such-key".into(), "x".into())])));
    let none = capacity.available(&query).await.expect("space is told");
    assert_eq!(none.available, 0, "there is space where nothing is");
}
