//! Images: pulled from a registry on loopback, and removed when nothing uses them.

use std::{collections::BTreeSet, time::Duration};

use base64::Engine as _;
use serde_json::json;
use windlass_kernel::{
    ClockExt, ImageStore,
    runtime::{ImageRef, Pull},
};
use windlass_lab::{BUSYBOX, Lab, PAUSE};
use windlass_node::ImageLimits;

use crate::{
    Test,
    bench::{Bench, PATIENCE, WAIT, of, reason, shell},
};

pub(crate) const TESTS: &[Test] = &[
    ("an_image_is_pulled_as_its_policy_says", |lab| lab.tokio.block_on(policies(lab))),
    ("a_secret_opens_its_registry_and_no_other", |lab| lab.tokio.block_on(secrets(lab))),
    ("an_image_that_cannot_be_had_is_tried_again_ever_more_seldom", |lab| lab.tokio.block_on(missing(lab))),
    ("unused_images_make_room_and_the_others_stay", collected),
];

async fn policies(lab: &Lab) {
    let mut bench = Bench::new(lab, "policies").await;
    let [once, always] = ["policies/once", "policies/always"].map(|name| lab.registry.publish(name, "1", None));
    let fails = shell("exit 3");
    let pod = bench.pod(json!({"containers": [
        {"name": "once", "image": once, "command": fails},
        {"name": "always", "image": always, "imagePullPolicy": "Always", "command": fails},
        {"name": "present", "image": BUSYBOX, "imagePullPolicy": "Never", "command": shell(WAIT)}]}));
    bench.sync(&pod).await;
    bench
        .until("started anew", |report| {
            ["once", "always"].iter().all(|name| of(report, name).restart_count >= 1)
                && of(report, "present").state.running.is_some()
        })
        .await;
    assert_eq!(lab.registry.asked("policies/once"), 1);
    assert!(lab.registry.asked("policies/always") >= 2);
    let notices = bench.objects.notices("policies").join("\n");
    for wanted in [
        format!("Pulling: Pulling image \"{once}\""),
        format!("Pulled: Successfully pulled image \"{once}\" in "),
        format!("Pulled: Container image \"{once}\" already present on machine"),
        format!("Pulled: Container image \"{BUSYBOX}\" already present on machine"),
    ] {
        assert!(notices.contains(&wanted), "{wanted} in {notices}");
    }
    bench.delete(&pod, 0).await;
}

async fn secrets(lab: &Lab) {
    let mut bench = Bench::new(lab, "secrets").await;
    let open = lab.registry.publish("secrets/open", "1", Some(("user", "word")));
    let shut = lab.registry.publish("secrets/shut", "1", Some(("user", "another")));
    let auths = json!({"auths": {lab.registry.address(): {"username": "user", "password": "word"}}});
    let encoded = base64::engine::general_purpose::STANDARD.encode(auths.to_string());
    bench.objects.put("secrets", "registry", json!({"data": {".dockerconfigjson": encoded}}));
    let pod = bench.pod(json!({"imagePullSecrets": [{"name": "registry"}], "containers": [
        {"name": "open", "image": open, "command": shell(WAIT)},
        {"name": "shut", "image": shut, "command": shell(WAIT)}]}));
    bench.sync(&pod).await;
    bench
        .until("let in and refused", |report| {
            of(report, "open").state.running.is_some() && reason(report, "shut") == "ImagePullBackOff"
        })
        .await;
    let notices = bench.objects.notices("secrets").join("\n");
    assert!(notices.contains(&format!("Failed: Failed to pull image \"{shut}\"")), "{notices}");
    bench.delete(&pod, 0).await;
}

async fn missing(lab: &Lab) {
    let mut bench = Bench::new(lab, "missing").await;
    let image = format!("{}/missing/app:1", lab.registry.address());
    let pod = bench.pod(json!({"containers": [{"name": "main", "image": image, "command": shell(WAIT)}]}));
    bench.sync(&pod).await;
    let report = bench.until("refused", |report| reason(report, "main") == "ErrImagePull").await;
    assert_eq!(report.status.phase.as_deref(), Some("Pending"));
    bench.until("held back", |report| reason(report, "main") == "ImagePullBackOff").await;
    let notices = bench.objects.notices("missing").join("\n");
    for wanted in ["Failed: Error: ErrImagePull", "BackOff: Back-off pulling image", "Failed: Error: ImagePullBackOff"]
    {
        assert!(notices.contains(wanted), "{wanted} in {notices}");
    }
    // Once it is there, the next try finds it.
    let _ = lab.registry.publish("missing/app", "1", None);
    bench.ready().await;
    bench.delete(&pod, 0).await;
}

/// On a containerd of its own, whose images nobody else needs.
fn collected(_: &Lab) {
    let lab = Lab::start("gc");
    lab.tokio.block_on(async {
        let [used, unused] = ["gc/used", "gc/unused"].map(|name| lab.registry.publish(name, "1", None));
        let store = &lab.running.runtime;
        for image in [&used, &unused] {
            let pull = Pull { image: image.as_str().into(), ..Pull::default() };
            store.pull(&pull).await.expect("an image is pulled");
        }
        let mut bench = Bench::new(&lab, "gc").await;
        let pod = bench.pod(json!({"containers": [{"name": "main", "image": used, "command": shell(WAIT)}]}));
        bench.sync(&pod).await;
        bench.ready().await;
        // As if the disk were full: everything that may go goes.
        let other = Bench::with(&lab, "gc-other", |config, _| {
            config.images = ImageLimits {
                high: 0,
                low: 0,
                min_age: Duration::ZERO,
                period: Duration::from_millis(100),
                keep: BTreeSet::from([PAUSE.to_owned()]),
            };
        })
        .await;
        let there = async |name: &str| store.image(&ImageRef::from(name)).await.expect("an answer").is_some();
        let end = bench.clock.uptime() + PATIENCE;
        let told = |word: &str| other.objects.notices("the node").iter().any(|notice| notice.starts_with(word));
        while there(&unused).await || there(BUSYBOX).await || !told("ImageGCFailed: ") {
            assert!(bench.clock.uptime() < end, "unused images are still there");
            bench.clock.sleep(Duration::from_millis(50)).await;
        }
        assert!(there(&used).await && there(PAUSE).await, "an image that is needed has gone");
        assert!(told("FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to free "));
        drop(other);
        bench.delete(&pod, 0).await;
    });
    lab.end();
}
