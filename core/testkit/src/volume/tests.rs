//! The volume suite on the fake, in virtual time.

use windlass_conformance::volume::{Fixture, Offers, checks};

use super::*;
use crate::sim::Executor;

#[test]
fn the_fake_keeps_what_the_contract_says_of_volumes() {
    let mut run = 0;
    for check in checks() {
        let executor = Executor::new(1);
        let folder = tempfile::tempdir().unwrap();
        let fixture = Fixture {
            driver: Arc::new(FakeDriver::new("fake.example.com", executor.clock()).cutting_snapshots(Duration::ZERO)),
            clock: executor.clock(),
            prefix: "c".into(),
            folder: folder.path().to_owned(),
            state: Some(folder.path().to_owned()),
            parameters: BTreeMap::new(),
            secrets: Secrets::default(),
            size: 1 << 20,
            fs_type: String::new(),
            offers: Offers { folders: true, ..Offers::default() },
            restart: None,
            raw: None,
        };
        if check.lacks(&fixture).is_none() {
            executor.run_until(check.run(fixture));
            run += 1;
        }
    }
    assert!(run >= 10, "only {run} checks were run");
}

#[test]
fn a_volume_is_in_a_place_that_is_asked_for() {
    let executor = Executor::new(1);
    let place = |zone: &str| Topology(BTreeMap::from([("zone".into(), zone.into())]));
    let driver = FakeDriver::new("fake.example.com", executor.clock()).in_places([place("a"), place("b")]);
    let asked = |zone: &str| CreateVolume {
        name: zone.into(),
        capabilities: vec![windlass_kernel::volume::VolumeCapability {
            access: windlass_kernel::volume::Access::Block,
            mode: windlass_kernel::volume::AccessMode::SingleNodeWriter,
        }],
        topology: Some(windlass_kernel::volume::TopologyRequirement {
            requisite: vec![place(zone)],
            preferred: vec![],
        }),
        ..CreateVolume::default()
    };
    assert_eq!(executor.run_until(driver.create(&asked("b"))).unwrap().topology, [place("b")]);
    assert_eq!(executor.run_until(driver.create(&asked("c"))).unwrap_err().kind(), ErrorKind::Full);
}
