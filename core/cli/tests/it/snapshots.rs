//! Snapshots of `windlass up` with the hostpath driver: what was written is there again in a claim made from one.

use std::fs;

use serde_json::Value;

use crate::{
    Test,
    cluster::{Cluster, until_so},
    real::{Ended, Network, build_images},
};

pub(crate) const TESTS: &[Test] =
    &[("a_snapshot_brings_back_what_was_written", a_snapshot_brings_back_what_was_written)];

/// A claim, and a pod that has it at `/v`.
fn pair(name: &str, source: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 8Mi}}}}
  {source}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: registry.local/busybox:1.35
    command: [sleep, '1000000']
    volumeMounts: [{{name: v, mountPath: /v}}]
  volumes: [{{name: v, persistentVolumeClaim: {{claimName: {name}}}}}]
"
    )
}

const SNAPSHOT: &str = "
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: monday}
spec: {source: {persistentVolumeClaimName: first}}
";

fn a_snapshot_brings_back_what_was_written() {
    let network = Network::new();
    let listen = format!("{}:6443", network.host);
    let mut cluster = Cluster::prepare(&["--runtime", "auto", "--listen", &listen], Some(&network.name));
    build_images(&cluster.data().join("images"), &["busybox"]);
    cluster.up();
    let mut cluster = Ended(cluster);
    let cluster = &mut cluster.0;

    apply(cluster, &pair("first", ""));
    running(cluster, "first");
    sh(cluster, "first", "echo bread > /v/orders; sync");
    apply(cluster, SNAPSHOT);
    until_so("the snapshot is ready", || get(cluster, "vs", "monday")["status"]["readyToUse"] == true);
    // The table has the columns of the definition, by the short name.
    let table = cluster.windlass(&["get", "vs"]).ok();
    assert!(["READYTOUSE", "SOURCEPVC", "SNAPSHOTCONTENT"].iter().all(|column| table.contains(column)), "{table}");
    sh(cluster, "first", "echo wine >> /v/orders; sync");

    let source = "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: monday}";
    apply(cluster, &pair("second", source));
    running(cluster, "second");
    assert_eq!(sh(cluster, "second", "cat /v/orders"), "bread\n");
    assert_eq!(sh(cluster, "first", "cat /v/orders"), "bread\nwine\n");

    let snapshots = cluster.data().join("volumes/snapshots");
    let count = || fs::read_dir(&snapshots).map_or(0, Iterator::count);
    assert_eq!(count(), 1);
    cluster.windlass(&["delete", "vs", "monday"]).ok();
    until_so("the snapshot is gone from the machine", || count() == 0);
    assert_eq!(cluster.windlass(&["get", "vsc", "-o", "name"]).ok(), "");
    assert_eq!(sh(cluster, "second", "cat /v/orders"), "bread\n");
    cluster.windlass(&["delete", "pod", "first", "second"]).ok();
    cluster.windlass(&["delete", "pvc", "first", "second"]).ok();
    let volumes = cluster.data().join("volumes/volumes");
    until_so("the volumes are deleted", || fs::read_dir(&volumes).map_or(0, Iterator::count) == 0);
    cluster.windlass(&["down", "--purge"]).ok();
    cluster.ended();
}

fn running(cluster: &Cluster, pod: &str) {
    until_so("the pod runs", || {
        let said = cluster.windlass(&["get", "pod", pod]);
        said.out.contains("1/1")
    });
}

fn sh(cluster: &Cluster, pod: &str, script: &str) -> String {
    cluster.windlass(&["exec", pod, "--", "sh", "-c", script]).ok()
}

fn get(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let said = cluster.windlass(&["get", kind, name, "-o", "json"]).ok();
    serde_json::from_str(&said).expect("JSON")
}

fn apply(cluster: &Cluster, text: &str) {
    let file = cluster.file("objects.yaml", text);
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
}
