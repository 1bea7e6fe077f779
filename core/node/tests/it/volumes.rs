//! Volumes of the hostpath driver in real containers: what is mounted, who may write, what is left.

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};
use windlass_csi::{
    hostpath::{HostPath, NAME, Settings},
    skel::Setup,
};
use windlass_kernel::{
    NodeAgent, VolumeDriver,
    volume::{
        Access, AccessMode, CapacityRange, CreateVolume, ExpandVolume, Secrets, Volume, VolumeCapability,
        VolumeController,
    },
};
use windlass_lab::Lab;
use windlass_node::PodAgent;

use crate::{
    Test,
    bench::{Bench, WAIT, shell},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_volume_keeps_its_data_through_pods_and_agents", |lab| lab.tokio.block_on(kept(lab))),
    ("a_block_volume_is_a_device_of_its_container_and_grows", |lab| lab.tokio.block_on(block(lab))),
    ("a_volume_of_a_pods_own_goes_with_it", |lab| lab.tokio.block_on(own(lab))),
    ("a_volume_that_is_still_mounted_keeps_its_pods_folder", |lab| lab.tokio.block_on(mounted(lab))),
];

/// An agent with the hostpath driver.
struct Driven {
    bench: Bench,
    driver: HostPath,
}

impl Driven {
    async fn new(lab: &Lab, name: &'static str) -> Self {
        let settings = Settings::at(lab.folder.join("volumes").join(name), "n");
        let setup = Setup { clock: lab.rim.clock.clone(), spawn: lab.rim.spawn.clone() };
        let driver = HostPath::open(settings, setup).expect("a driver opens");
        let bench = Bench::with(lab, name, |_, _| {}).await;
        let (clock, own) = (lab.rim.clock.clone(), Arc::new(driver.clone()));
        bench.config.drivers.add(own, &*clock).await.expect("a driver is added");
        let spec = json!({"attachRequired": false, "podInfoOnMount": true, "fsGroupPolicy": "File",
            "volumeLifecycleModes": ["Persistent", "Ephemeral"]});
        bench.objects.put("csidrivers.storage.k8s.io", NAME, json!({"metadata": {"name": NAME}, "spec": spec}));
        Self { bench, driver }
    }

    fn controller(&self) -> &dyn VolumeController {
        self.driver.controller().expect("it makes volumes")
    }

    /// A volume, as the claim `data` has it.
    async fn claimed(&self, access: Access) -> Volume {
        let mode = if access == Access::Block { "Block" } else { "Filesystem" };
        let request = CreateVolume {
            name: "data".into(),
            capacity: CapacityRange::at_least(1 << 20),
            capabilities: vec![VolumeCapability { access, mode: AccessMode::SingleNodeMultiWriter }],
            ..CreateVolume::default()
        };
        let made = self.controller().provisioning().expect("it makes volumes").create(&request).await;
        let volume = made.expect("a volume is made");
        self.object(&volume, mode, "1Mi");
        let meta = json!({"name": "data", "namespace": "test", "uid": "uid-of-data"});
        let claim = json!({"metadata": meta, "spec": {"volumeName": "pv"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Mi"}}});
        self.bench.objects.put("persistentvolumeclaims", "data", claim);
        volume
    }

    fn object(&self, volume: &Volume, mode: &str, size: &str) {
        let csi = json!({"driver": NAME, "volumeHandle": volume.id.as_str(), "volumeAttributes": volume.context});
        let spec = json!({"csi": csi, "accessModes": ["ReadWriteOnce"], "volumeMode": mode,
            "capacity": {"storage": size}, "claimRef": {"uid": "uid-of-data"}});
        self.bench.objects.put("persistentvolumes", "pv", json!({"metadata": {"name": "pv"}, "spec": spec}));
    }

    async fn delete(&self, volume: &Volume) {
        let service = self.controller().provisioning().expect("it deletes volumes");
        service.delete(&volume.id, &Secrets::default()).await.expect("the volume is deleted");
    }
}

fn pod_with(volume: &Value, container: &Value) -> Value {
    let mut named = json!({"name": "v"});
    named.as_object_mut().expect("an object").extend(volume.as_object().expect("an object").clone());
    let mut main = json!({"name": "main", "command": shell(WAIT)});
    main.as_object_mut().expect("an object").extend(container.as_object().expect("an object").clone());
    json!({"terminationGracePeriodSeconds": 0, "volumes": [named], "containers": [main],
        "securityContext": {"fsGroup": 2000}})
}

fn claim() -> Value {
    json!({"persistentVolumeClaim": {"claimName": "data"}})
}

async fn kept(lab: &Lab) {
    let mut driven = Driven::new(lab, "kept").await;
    let volume = driven.claimed(Access::folder()).await;
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/s", "subPath": "sub"}],
        "securityContext": {"runAsUser": 1000}});
    let pod = driven.bench.pod(pod_with(&claim(), &mount));
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    assert_eq!(driven.bench.say("echo kept > /v/file; touch /s/x; stat -c '%g %a' /v").await, "2000 2777\n");
    assert_eq!(driven.bench.say("cat /v/file; ls /v/sub").await, "kept\nx\n");
    // Another agent after this one sees what is there, and takes it away when the pod goes.
    let Driven { bench, driver } = driven;
    let Bench { config, agent, reports, .. } = bench;
    drop((agent, reports));
    let (_, needs) = crate::bench::parts(lab, "kept", Arc::clone(&bench.objects));
    let agent = PodAgent::start(config.clone(), needs).await.expect("an agent starts");
    let reports = agent.reports();
    let bench = Bench { config, agent, reports, ..bench };
    let mut driven = Driven { bench, driver };
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    assert_eq!(driven.bench.say("cat /v/file").await, "kept\n");
    driven.bench.delete(&pod, 0).await;
    // Read-only in the next pod.
    let read_only = json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}});
    let next = driven.bench.pod(pod_with(&read_only, &json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})));
    driven.bench.agent.sync(vec![]).await.expect("the agent takes its pods");
    driven.bench.sync(&next).await;
    driven.bench.ready().await;
    assert_eq!(driven.bench.say("cat /v/file; touch /v/new 2>/dev/null || echo refused").await, "kept\nrefused\n");
    driven.bench.delete(&next, 0).await;
    driven.delete(&volume).await;
}

async fn block(lab: &Lab) {
    if !Path::new("/dev/loop-control").exists() {
        println!("nothing was tried: there are no loop devices");
        return;
    }
    let mut driven = Driven::new(lab, "block").await;
    let volume = driven.claimed(Access::Block).await;
    let device = json!({"volumeDevices": [{"name": "v", "devicePath": "/dev/data"}]});
    let pod = driven.bench.pod(pod_with(&claim(), &device));
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    let size = "busybox wc -c < /dev/data";
    assert_eq!(driven.bench.say(&format!("printf kept > /dev/data; {size}")).await.trim(), "1048576");
    driven.bench.delete(&pod, 0).await;
    // It grows without a pod, and the node goes on with the next.
    let request = ExpandVolume {
        volume: volume.id.clone(),
        capacity: CapacityRange::at_least(2 << 20),
        ..ExpandVolume::default()
    };
    let service = driven.controller().expanding().expect("it grows volumes");
    assert!(service.expand(&request).await.expect("it grows").node_expansion);
    driven.object(&volume, "Block", "2Mi");
    driven.bench.agent.sync(vec![]).await.expect("the agent takes its pods");
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    assert_eq!(driven.bench.say(size).await.trim(), "2097152");
    assert_eq!(driven.bench.say("busybox head -c 4 /dev/data").await, "kept");
    let claim = driven.bench.objects.get("persistentvolumeclaims", "data");
    assert_eq!(claim["status"]["capacity"]["storage"], "2Mi");
    driven.bench.delete(&pod, 0).await;
    driven.delete(&volume).await;
}

async fn own(lab: &Lab) {
    let mut driven = Driven::new(lab, "own").await;
    let volume = json!({"csi": {"driver": NAME}});
    let pod = driven.bench.pod(pod_with(&volume, &json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})));
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    assert_eq!(driven.bench.say("echo mine > /v/file; cat /v/file").await, "mine\n");
    driven.bench.delete(&pod, 0).await;
    let volumes = lab.folder.join("volumes/own/volumes");
    assert_eq!(fs::read_dir(&volumes).map_or(0, Iterator::count), 0, "the volume is left in {}", volumes.display());
}

async fn mounted(lab: &Lab) {
    let mut driven = Driven::new(lab, "mounted").await;
    let volume = driven.claimed(Access::folder()).await;
    let pod = driven.bench.pod(pod_with(&claim(), &json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})));
    driven.bench.sync(&pod).await;
    driven.bench.ready().await;
    driven.bench.say("echo kept > /v/file").await;
    // The record is lost, so the agent does not know that the volume is there; and then the driver is gone as well.
    let uid = pod.metadata.uid.clone().expect("a uid");
    let folder = driven.bench.config.data_dir.join("pods").join(&uid).join("volumes/kubernetes.io~csi/pv");
    fs::remove_file(folder.join("vol_data.json")).expect("a record goes");
    let Driven { bench, driver } = driven;
    let Bench { config, agent, reports, .. } = bench;
    drop((agent, reports));
    let (_, needs) = crate::bench::parts(lab, "mounted", Arc::clone(&bench.objects));
    let agent = PodAgent::start(config.clone(), needs).await.expect("an agent starts");
    let reports = agent.reports();
    let bench = Bench { config, agent, reports, ..bench };
    let mut driven = Driven { bench, driver };
    // The pod is deleted at once, before anything could be looked at again.
    let mut going = pod.clone();
    going.metadata.deletion_timestamp = Some(windlass_api::types::Time(driven.bench.clock.now()));
    going.metadata.deletion_grace_period_seconds = Some(0);
    driven.bench.sync(&going).await;
    let gone = driven.bench.until("without its container", |report| {
        report.status.container_statuses.iter().all(|status| status.state.terminated.is_some())
    });
    gone.await;
    let comes = || fs::read_to_string(folder.join("mount/file"));
    for _ in 0..20 {
        assert_eq!(comes().expect("the volume is mounted"), "kept\n");
        windlass_kernel::ClockExt::sleep(&*driven.bench.clock, std::time::Duration::from_millis(50)).await;
    }
    // Whoever looks after the machine takes the mount away; then the pod goes, and the data is there.
    nix::mount::umount(&folder.join("mount")).expect("it is unmounted");
    driven.bench.until("released", |report| report.released).await;
    driven.bench.check_nothing_left().await;
    let content = lab.folder.join("volumes/mounted/volumes").join(volume.id.as_str());
    assert_eq!(fs::read_to_string(content.join("data/file")).expect("the data is there"), "kept\n");
    // What nobody has a record of is for the driver's own hands.
    let staged = driven.bench.config.data_dir.join("plugins/kubernetes.io/csi").join(NAME);
    let staged = fs::read_dir(staged).expect("a folder").flatten().next().expect("a volume").path().join("globalmount");
    let service = driven.driver.node().and_then(|node| node.staging()).expect("it prepares volumes");
    service.unstage(&volume.id, &staged).await.expect("it is undone");
    driven.delete(&volume).await;
}
