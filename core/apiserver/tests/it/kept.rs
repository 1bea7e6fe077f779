//! What a server keeps of itself: the objects of priority and fairness, and the Lease that says that it is there.

use serde_json::{Value, json};

use crate::rig::Rig;

const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const OURS: &str = "apf.kubernetes.io/autoupdate-spec";

#[test]
fn flow_schemas_that_somebody_deletes_come_back_and_those_that_somebody_took_over_stay() {
    let rig = Rig::new();
    let taken = |name: &str, ours: &str| {
        let mut schema = rig.get(SCHEMAS, name).unwrap();
        schema["metadata"]["annotations"][OURS] = ours.into();
        schema["spec"]["matchingPrecedence"] = 777.into();
        rig.update(SCHEMAS, schema).unwrap();
    };
    taken("system-nodes", "false");
    let mut unwanted = rig.get(SCHEMAS, "probes").unwrap();
    unwanted["metadata"] = json!({"name": "of-an-older-release", "annotations": {OURS: "true"}});
    rig.create(SCHEMAS, unwanted.clone()).unwrap();
    unwanted["metadata"] = json!({"name": "somebodys"});
    rig.create(SCHEMAS, unwanted).unwrap();

    let end = rig.run("flows", |server| async move { server.keep_flows().await });
    rig.until(SCHEMAS, "of-an-older-release", |found| found.is_none());
    let before = rig.get(SCHEMAS, "service-accounts").unwrap();
    rig.delete(SCHEMAS, "service-accounts").unwrap();
    rig.until(SCHEMAS, "service-accounts", |found| {
        found.is_some_and(|found| {
            found["spec"] == before["spec"] && found["metadata"]["uid"] != before["metadata"]["uid"]
        })
    });
    rig.delete(LEVELS, "catch-all").unwrap();
    rig.until(LEVELS, "catch-all", |found| found.is_some());
    taken("kube-scheduler", "true");
    rig.until(SCHEMAS, "kube-scheduler", |found| found.is_some_and(|found| found["spec"]["matchingPrecedence"] == 800));
    assert_eq!(rig.get(SCHEMAS, "system-nodes").unwrap()["spec"]["matchingPrecedence"], 777);
    rig.get(SCHEMAS, "somebodys").unwrap();
    end.abort();
}

#[test]
fn mandatory_flow_schemas_are_what_they_are() {
    let rig = Rig::new();
    let mut schema = rig.get(SCHEMAS, "catch-all").unwrap();
    schema["spec"]["matchingPrecedence"] = 9999.into();
    let refused = rig.update(SCHEMAS, schema).unwrap_err();
    assert!(refused.message().ends_with("spec of 'catch-all' must equal the fixed value"), "{refused}");
    let mut level = rig.get(LEVELS, "exempt").unwrap();
    level["spec"]["exempt"]["nominalConcurrencyShares"] = 5.into();
    rig.update(LEVELS, level).unwrap();
}

#[cfg(feature = "http")]
#[test]
fn a_server_says_by_a_lease_that_it_is_there_and_removes_those_that_ended() {
    use std::time::Duration;

    let rig = Rig::new();
    let leases = "coordination.k8s.io/v1/leases";
    let system =
        |name: &str| rig.request(windlass_kernel::api::Verb::Get, leases).in_namespace("kube-system").named(name);
    let get = |name: &str| rig.call(system(name)).map(crate::rig::value);
    let until = |name: &str, so: &dyn Fn(Option<&Value>) -> bool| {
        let mut watch = system("");
        watch.verb = windlass_kernel::api::Verb::Watch;
        watch.options.field_selector = format!("metadata.name={name}");
        let mut events = crate::rig::wait(windlass_kernel::Api::watch(&*rig.server, watch)).unwrap();
        while !so(get(name).ok().as_ref()) {
            crate::rig::wait(futures::StreamExt::next(&mut events)).unwrap().unwrap();
        }
    };
    let gone = json!({"metadata": {"name": "apiserver-gone", "labels": {"apiserver.kubernetes.io/identity": "kube-apiserver"}},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 3600, "renewTime": "1960-01-01T00:00:00.000000Z"}});
    let mut create = rig.request(windlass_kernel::api::Verb::Create, leases).in_namespace("kube-system");
    create = create.body(gone);
    rig.call(create).unwrap();

    let end = rig.run("identity", |server| async move { server.keep_identity("test").await });
    until("apiserver-gone", &|found| found.is_none());
    let own = "apiserver-t6dnbamijr6wlgrp5kqmkwwqcu";
    let lease = get(own).unwrap();
    assert_eq!(
        lease["metadata"]["labels"],
        json!({"apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": "test"})
    );
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(holder.starts_with(&format!("{own}_")), "{holder}");
    let before = lease["spec"]["renewTime"].clone();
    // The task may not have begun to wait: time goes on until it has.
    while get(own).unwrap()["spec"]["renewTime"] == before {
        rig.clock.advance(Duration::from_secs(10));
        std::thread::yield_now();
    }
    end.abort();
}
