//! What the node and its pods use, measured on a real containerd.

use std::time::Duration;

use serde_json::json;
use windlass_kernel::{
    ClockExt, NodeAgent,
    node::{DetailMetering, Details, Metering, PodDetails},
};
use windlass_lab::Lab;

use crate::{
    Test,
    bench::{Bench, PATIENCE, shell},
};

pub(crate) const TESTS: &[Test] =
    &[("what_a_pod_uses_of_disks_and_network_is_measured", |lab| lab.tokio.block_on(measured(lab)))];

const MIB: u64 = 1 << 20;

async fn measured(lab: &Lab) {
    let mut bench = Bench::new(lab, "measured").await;
    let script = "dd if=/dev/zero of=/layer bs=1M count=2; dd if=/dev/zero of=/work/file bs=1M count=3; \
        head -c 100000 /dev/zero | tr '\\0' 'x'; echo; exec sleep 1000081";
    let pod = bench.pod(json!({"terminationGracePeriodSeconds": 0, "volumes": [{"name": "work", "emptyDir": {}}],
        "containers": [{"name": "main", "command": shell(script), "resources": {"limits": {"memory": "64Mi"}},
            "volumeMounts": [{"name": "work", "mountPath": "/work"}]}]}));
    bench.sync(&pod).await;
    bench.ready().await;
    // The runtime looks at layers now and then.
    let end = bench.clock.uptime() + PATIENCE;
    let (all, own) = loop {
        let (all, own) = details(&bench).await;
        let main = own.containers.iter().find(|one| one.name == "main").cloned().unwrap_or_default();
        if main.layer.bytes >= 2 * MIB && main.logs.bytes >= 100_000 && own.local.bytes >= 5 * MIB {
            break (all, own);
        }
        assert!(bench.clock.uptime() < end, "{own:?}");
        // An agent remembers its answer for a minute; another one has not answered yet.
        bench.clock.sleep(Duration::from_secs(2)).await;
        bench = Bench::new(lab, "measured").await;
        bench.sync(&pod).await;
        bench.ready().await;
    };
    let memory = own.containers[0].memory.expect("memory is counted");
    assert!(memory.usage >= memory.working_set && memory.page_faults > 0, "{memory:?}");
    assert!(own.processes.is_none_or(|count| count >= 1), "{own:?}");
    let disk = all.disk.expect("the disk is measured");
    assert!(disk.bytes.used > 0 && disk.bytes.used + disk.bytes.available <= disk.bytes.total, "{disk:?}");
    let (_, images) = all.images.expect("images are measured");
    assert!(images.bytes > 0, "{images:?}");
    assert!(all.processes.is_some_and(|(running, most)| 0 < running && running < most), "{all:?}");
    assert!(all.started.is_some_and(|started| started < all.at), "{all:?}");
    assert!(own.interfaces.iter().all(|one| !one.name.is_empty()), "{own:?}");
    bench.delete(&pod, 0).await;
}

async fn details(bench: &Bench) -> (Details, PodDetails) {
    let measured: &dyn DetailMetering = bench.agent.metering().and_then(Metering::details).expect("it measures");
    let end = bench.clock.uptime() + PATIENCE;
    let all = loop {
        match measured.details().await {
            Ok(all) => break all,
            // The runtime tells nothing of any container while one ends, and other tests have some.
            Err(error) => assert!(bench.clock.uptime() < end, "{error:?}"),
        }
        bench.clock.sleep(Duration::from_secs(1)).await;
    };
    let own = all.pods.iter().find(|own| own.pod.name == "measured").cloned().expect("the pod is measured");
    (all, own)
}
