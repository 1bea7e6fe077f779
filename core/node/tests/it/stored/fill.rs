//! How full volumes are, and whether they are well.

use std::time::Duration;

use serde_json::json;
use windlass_api::core::v1::Pod;
use windlass_kernel::{ClockExt, NodeAgent, node::PodVolume};
use windlass_node::PodAgent;

use super::{Rig, sync};

/// A pod with a volume of a claim and folders of its own.
fn pod() -> Pod {
    let volumes = json!([
        {"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/", "type": ""}},
    ]);
    serde_json::from_value(json!({
        "metadata": {"name": "pod", "namespace": "test", "uid": "uid-pod"},
        "spec": {"serviceAccountName": "sa", "terminationGracePeriodSeconds": 0, "volumes": volumes,
            "containers": [{"name": "c", "image": "image:1", "command": ["run"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "tmp", "mountPath": "/tmp"}]}]},
    }))
    .expect("a pod")
}

async fn volumes(agent: &PodAgent) -> Vec<PodVolume> {
    let metering = agent.metering().and_then(|metering| metering.volumes()).expect("volumes are measured");
    metering.volumes().await.expect("an answer")
}

pub(super) fn measured() {
    let rig = Rig::new("fill");
    rig.driver.tells("");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        sync(&agent, &[&pod()]).await;
        rig.ready(&agent, &pod()).await;
        std::fs::write(rig.folder.join("pods/uid-pod/volumes/tmp/file"), vec![7; 100_000]).expect("a file");
        let found = volumes(&agent).await;
        let names: Vec<_> = found.iter().map(|own| (own.name.as_str(), own.claim.as_deref())).collect();
        assert_eq!(names, [("v", Some("data")), ("tmp", None)], "paths of the node are not the pod's");
        assert_eq!((found[0].pod.to_string(), found[0].uid.as_str()), ("test/pod".to_owned(), "uid-pod"));
        assert_eq!(found[0].usage.bytes.map(|bytes| (bytes.total, bytes.used)), Some((1 << 30, 300)));
        assert_eq!(found[0].usage.inodes.map(|inodes| inodes.used), Some(7));
        let used = found[1].usage.bytes.map(|bytes| bytes.used).expect("it is counted");
        assert!((100_000..1_000_000).contains(&used), "{used}");
        // Whoever asks again soon gets the same answer, and the driver is not asked.
        rig.driver.calls();
        volumes(&agent).await;
        assert!(!rig.driver.was_asked("usage"));
        // Whoever asks while it is measured waits for the same answer.
        rig.executor.clock().sleep(Duration::from_secs(61)).await;
        rig.driver.hang("usage");
        rig.driver.calls();
        let both = futures::future::join(volumes(&agent), volumes(&agent)).await;
        assert_eq!((both.0.len(), both.1.len()), (1, 1));
        assert_eq!(rig.driver.calls().iter().filter(|call| call.starts_with("usage")).count(), 1);
        rig.driver.hang("");
        // A volume that its driver cannot measure is left out, and the others are there.
        rig.driver.fail("usage", windlass_kernel::ErrorKind::Internal);
        rig.executor.clock().sleep(Duration::from_secs(61)).await;
        assert_eq!(volumes(&agent).await.len(), 1);
    });
}

pub(super) fn unwell() {
    let rig = Rig::new("unwell");
    rig.driver.tells("");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        sync(&agent, &[&pod()]).await;
        rig.ready(&agent, &pod()).await;
        let told =
            |what: &str| rig.notices(&pod()).matches(&format!("VolumeConditionAbnormal: Volume v: {what}")).count();
        rig.executor.clock().sleep(Duration::from_secs(150)).await;
        assert_eq!(told(""), 0);
        // Nobody has to ask for it.
        rig.driver.tells("it is wet");
        rig.comes("it is told", || told("it is wet") == 1).await;
        rig.executor.clock().sleep(Duration::from_secs(200)).await;
        assert_eq!(told("it is wet"), 1, "the same is told again");
        rig.driver.tells("it is on fire");
        rig.comes("something else is told", || told("it is on fire") == 1).await;
    });
}

/// A driver that does not say how a volume is.
pub(super) fn silent() {
    let rig = Rig::new("silent");
    rig.driver.tells("");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        sync(&agent, &[&pod()]).await;
        rig.ready(&agent, &pod()).await;
        rig.driver.hang("usage");
        rig.driver.calls();
        rig.comes("the driver is asked", || rig.driver.was_asked("usage")).await;
        // It is to be asked for longer than this, and the pod ends meanwhile.
        sync(&agent, &[]).await;
        let soon = rig.executor.clock().timeout(Duration::from_secs(10), rig.ended(&agent, &pod())).await;
        soon.expect("the pod waits for the driver");
        assert!(rig.driver.was_asked("unpublish"), "the volume is left");
    });
    rig.check_empty();
}
