use serde_json::{Value, json};

use super::*;

fn pod(uses: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [uses]}}),
    )
    .unwrap()
}

fn volume(more: Value) -> Volume {
    let mut volume = json!({"name": "v"});
    volume.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(volume).unwrap()
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "uc"}, "spec": {"volumeName": "pv"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    for (field, value) in more.as_object().unwrap() {
        claim[field] = value.clone();
    }
    serde_json::from_value(claim).unwrap()
}

fn has(more: Value) -> PersistentVolume {
    let mut spec = json!({"claimRef": {"uid": "uc"}, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
}

#[test]
fn a_claim_has_to_be_bound_and_the_pods_own_where_it_was_made_for_it() {
    let check = |of: Value, claimed: Value, expect: Result<&str, &str>| {
        let found = bound(&pod(json!({"name": "c"})), &volume(of), &claim(claimed));
        assert_eq!(found.as_deref().map_err(|why| why.split(':').next().unwrap_or_default()), expect);
    };
    let named = json!({"persistentVolumeClaim": {"claimName": "c"}});
    check(named.clone(), json!({}), Ok("pv"));
    check(named.clone(), json!({"status": {"phase": "Pending"}}), Err("PVC c is not bound"));
    let going = json!({"name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    check(named, json!({"metadata": going}), Err("can't start pod because PVC c is being deleted"));
    let own = json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
    check(own.clone(), json!({}), Err("PVC c was not created for pod"));
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]);
    check(own, json!({"metadata": {"name": "c", "ownerReferences": owner}}), Ok("pv"));
}

#[test]
fn the_claim_of_a_volume_is_the_one_it_names_or_the_one_made_for_it() {
    let check = |of: Value, expect: Option<&str>| {
        let found = claim_of(&pod(json!({"name": "c"})), &volume(of));
        assert_eq!(found.map(|key| key.to_string()).as_deref(), expect);
    };
    check(json!({"persistentVolumeClaim": {"claimName": "x"}}), Some("ns/x"));
    check(json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}), Some("ns/p-v"));
    check(json!({"csi": {"driver": "d"}}), None);
}

#[test]
fn a_volume_is_used_as_what_it_is() {
    let check = |uses: Value, spec: Value, expect: &str| {
        let mut container = json!({"name": "c"});
        container.as_object_mut().unwrap().extend(uses.as_object().unwrap().clone());
        let of = volume(json!({"persistentVolumeClaim": {"claimName": "c"}}));
        let found = of_claim(&pod(container), &of, &claim(json!({})), &has(spec));
        let words = match found {
            Ok(Found::Host { path, kind, .. }) => format!("{} {kind}", path.display()),
            Ok(Found::Driver(wanted)) => format!("{} {}", wanted.unique_name(), wanted.block),
            Err(why) => why,
        };
        assert_eq!(words, expect);
    };
    let (mounts, devices) = (json!({"volumeMounts": [{"name": "v"}]}), json!({"volumeDevices": [{"name": "v"}]}));
    let csi = |mode: &str| json!({"csi": {"driver": "d", "volumeHandle": "h"}, "volumeMode": mode});
    check(mounts.clone(), csi("Filesystem"), "kubernetes.io/csi/d^h false");
    check(devices.clone(), csi("Block"), "kubernetes.io/csi/d^h true");
    check(mounts.clone(), csi("Block"), "volume v has volumeMode Block, but is specified in volumeMounts");
    check(devices, csi("Filesystem"), "volume v has volumeMode Filesystem, but is specified in volumeDevices");
    check(mounts.clone(), json!({"hostPath": {"path": "/srv"}}), "/srv ");
    check(mounts.clone(), json!({"local": {"path": "/disk"}}), "/disk Directory");
    check(mounts.clone(), json!({"nfs": {"path": "/x", "server": "s"}}), "the type of volume pv is not supported");
    check(mounts, json!({"claimRef": {"uid": "other"}}), "PV pv is bound to another claim than c");
}

#[test]
fn a_claim_that_has_less_than_its_volume_waits_for_the_node() {
    let of = volume(json!({"persistentVolumeClaim": {"claimName": "c"}}));
    let check = |size: &str, grows: bool| {
        let spec = json!({"csi": {"driver": "d", "volumeHandle": "h"}, "capacity": {"storage": size}});
        let found = of_claim(&pod(json!({"name": "c"})), &of, &claim(json!({})), &has(spec)).unwrap();
        let Found::Driver(wanted) = found else { panic!("it is of a driver") };
        assert_eq!(wanted.growth.is_some(), grows, "{size}");
    };
    check("1Gi", false);
    check("1024Mi", false);
    check("2Gi", true);
}

#[test]
fn a_group_is_given_as_the_driver_says() {
    let check = |fs_type: &str, modes: &[&str], policy: Option<&str>, by_driver: bool, expect: Group| {
        let modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
        let wanted = Wanted { fs_type: fs_type.into(), modes, ..Wanted::default() };
        let object = policy.map(|policy| {
            serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"fsGroupPolicy": policy}})).unwrap()
        });
        assert_eq!(wanted.group(Some(7), object.as_ref(), by_driver), expect, "{fs_type} {policy:?}");
    };
    check("ext4", &["ReadWriteOnce"], None, false, Group::Agent(7));
    check("", &["ReadWriteOnce"], None, false, Group::Nobody);
    check("ext4", &["ReadWriteMany"], Some("ReadWriteOnceWithFSType"), false, Group::Nobody);
    check("", &["ReadWriteMany"], Some("File"), false, Group::Agent(7));
    check("ext4", &["ReadWriteOnce"], Some("None"), false, Group::Nobody);
    check("", &[], Some("None"), true, Group::Driver(7));
}
