//! Real pods on a real containerd: what is promised to users, seen from the outside.

use std::{path::Path, sync::Arc};

use futures::StreamExt;
use serde_json::json;
use windlass_kernel::{
    NodeAgent,
    controller::ObjectKey,
    node::{Exit, LogRequest},
    runtime::SandboxFilter,
};
use windlass_lab::Lab;

use crate::{
    Test,
    bench::{Bench, WAIT, reason, shell},
    timed::timed,
};

pub(crate) const TESTS: &[Test] = &[
    ("a_pod_runs_is_asked_and_goes_without_a_trace", |lab| lab.tokio.block_on(whole(lab))),
    ("a_failing_container_runs_again_and_tells_how_it_ended", |lab| lab.tokio.block_on(restarts(lab))),
    ("a_pod_that_ends_by_itself_keeps_its_last_words", |lab| lab.tokio.block_on(ends(lab))),
    ("what_cannot_start_says_why", |lab| lab.tokio.block_on(refused(lab))),
    ("a_failed_liveness_probe_restarts_the_container", |lab| lab.tokio.block_on(liveness(lab))),
    ("volumes_of_every_kind_hold_what_they_should", |lab| lab.tokio.block_on(volumes(lab))),
    ("a_dead_sandbox_is_replaced", |lab| lab.tokio.block_on(sandbox(lab))),
    ("a_followed_log_is_heard_without_asking_again_and_again", |lab| lab.tokio.block_on(follows(lab))),
    ("the_agents_own_time_of_a_pod_start_is_told", |lab| lab.tokio.block_on(speed(lab))),
];

async fn whole(lab: &Lab) {
    let mut bench = Bench::new(lab, "whole").await;
    bench.objects.put("configmaps", "conf", json!({"data": {"greeting": "hello", "other": "x"}}));
    bench.objects.put("secrets", "pass", json!({"data": {"pw": "c2VjcmV0"}}));
    bench.objects.put(
        "services",
        "my-web",
        json!({"metadata": {"namespace": "test", "name": "my-web"},
        "spec": {"clusterIP": "10.96.7.7", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}),
    );
    let pod = bench.pod(json!({
        "terminationGracePeriodSeconds": 10,
        "hostname": "box", "subdomain": "sub",
        "volumes": [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "work", "emptyDir": {}}],
        "initContainers": [{"name": "init", "command": shell("cat /conf/greeting > /work/made; echo init done"),
            "volumeMounts": [{"name": "conf", "mountPath": "/conf"}, {"name": "work", "mountPath": "/work"}]}],
        "containers": [{"name": "main",
            "command": shell(&format!("echo up $GREETING $(PW) $ME; echo oops >&2; touch /tmp/ready; {WAIT}")),
            "env": [
                {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "greeting"}}},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "pass", "key": "pw"}}},
                {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "readinessProbe": {"exec": {"command": ["ls", "/tmp/ready"]}, "periodSeconds": 1},
            "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo stopping > /proc/1/fd/1"]}}},
            "volumeMounts": [{"name": "work", "mountPath": "/work", "readOnly": true}]}],
    }));
    bench.sync(&pod).await;
    let status = bench.ready().await.status;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let init = &status.init_container_statuses[0];
    let ended = init.state.terminated.as_ref().expect("the init container has ended");
    assert_eq!((ended.exit_code, ended.reason.as_deref(), init.ready), (0, Some("Completed"), true));
    let main = &status.container_statuses[0];
    assert!(main.container_id.as_deref().is_some_and(|id| id.starts_with("containerd://")), "{main:?}");
    assert!(main.image_id.contains("sha256:"), "{main:?}");
    let ip = status.pod_ip.clone().expect("an address");
    assert_eq!(bench.say("cat /work/made; echo \" $IP\"").await, format!("hello {ip}\n"));
    assert!(bench.say("cat /etc/hosts").await.contains(&format!("{ip}\tbox.sub.test.svc.cluster.local\tbox")));
    assert_eq!(bench.say("hostname").await, "box\n");
    let around = "echo $KUBERNETES_SERVICE_HOST $MY_WEB_SERVICE_HOST:$MY_WEB_SERVICE_PORT_HTTP $MY_WEB_PORT_80_TCP";
    assert_eq!(bench.say(around).await, "10.96.0.1 10.96.7.7:80 tcp://10.96.7.7:80\n");
    assert_eq!(bench.exec(&["/bin/sh", "-c", "exit 7"]).await.1, Exit::Code(7));
    assert!(bench.exec(&["touch", "/work/no"]).await.1 != Exit::Code(0), "a read-only mount was written");
    assert_eq!(bench.logs("init", |_| {}).await, "init done\n");
    let log = bench.logs("main", |_| {}).await;
    assert!(log.contains("up hello secret whole\n") && log.contains("oops\n"), "{log}");
    assert_eq!(bench.logs("main", |request| request.limit_bytes = Some(2)).await.len(), 2);
    let memory = bench.say("cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true").await;
    assert!(memory.is_empty() || memory.trim() == (64 << 20).to_string(), "{memory}");
    let follow = bench.agent.logs(LogRequest {
        pod: ObjectKey::new("test", "whole"),
        uid: "uid-whole".into(),
        container: "main".into(),
        follow: true,
        ..LogRequest::default()
    });
    let follow = follow.await.expect("a log").0;
    let said = follow.filter_map(async |chunk| chunk.ok()).collect::<Vec<_>>();
    let (last, said) = futures::join!(bench.delete(&pod, 10), said);
    let said = said.concat();
    assert!(String::from_utf8_lossy(&said).contains("stopping\n"), "the hook was not run: {said:?}");
    let ended = last.status.container_statuses[0].state.terminated.clone().expect("the container has ended");
    assert_eq!(ended.exit_code, 0, "it was not asked to end");
    let notices = bench.objects.notices("whole").join("\n");
    for wanted in
        ["Pulled: ", "Created: Container created", "Started: Container started", "Killing: Stopping container main"]
    {
        assert!(notices.contains(wanted), "{wanted} in {notices}");
    }
}

async fn restarts(lab: &Lab) {
    let mut bench = Bench::new(lab, "restarts").await;
    let pod = bench.pod(json!({"containers": [{"name": "main", "command": shell("echo run; exit 3")}]}));
    bench.sync(&pod).await;
    let waits = bench.until("held back", |report| {
        let status = &report.status.container_statuses[0];
        status.state.waiting.as_ref().is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    });
    let status = waits.await.status.container_statuses[0].clone();
    let ended = status.last_state.terminated.expect("it ended");
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));
    assert_eq!(status.restart_count, 1);
    let again = bench.until("running a third time", |report| report.status.container_statuses[0].restart_count == 2);
    again.await;
    assert_eq!(bench.logs("main", |request| request.previous = true).await, "run\n");
    assert!(bench.objects.notices("restarts").iter().any(|notice| notice.starts_with("BackOff: Back-off restarting")));
    bench.delete(&pod, 0).await;
}

async fn ends(lab: &Lab) {
    let mut bench = Bench::new(lab, "ends").await;
    let pod = bench.pod(json!({"restartPolicy": "Never", "containers": [
        {"name": "main", "command": shell("echo bye > /dev/termination-log; exit 0")},
        {"name": "side", "command": shell("echo last line; exit 4"), "terminationMessagePolicy": "FallbackToLogsOnError"}]}));
    bench.sync(&pod).await;
    let status = bench.until("failed", |report| report.status.phase.as_deref() == Some("Failed")).await.status;
    let words = |index: usize| {
        let ended = status.container_statuses[index].state.terminated.clone().expect("it has ended");
        (ended.exit_code, ended.reason.unwrap_or_default(), ended.message.unwrap_or_default())
    };
    assert_eq!(words(0), (0, "Completed".into(), "bye\n".into()));
    assert_eq!(words(1), (4, "Error".into(), "last line\n".into()));
    assert_eq!(bench.logs("side", |_| {}).await, "last line\n");
    bench.delete(&pod, 0).await;
}

async fn refused(lab: &Lab) {
    let mut bench = Bench::new(lab, "refused").await;
    let pod = bench.pod(json!({"containers": [
        {"name": "image", "image": "registry.local/none:1", "imagePullPolicy": "Never"},
        {"name": "env", "envFrom": [{"configMapRef": {"name": "none"}}]},
        {"name": "root", "securityContext": {"runAsNonRoot": true}},
        {"name": "pull", "image": "127.0.0.1:1/none:1"},
        {"name": "exec", "command": ["/none"]}]}));
    bench.sync(&pod).await;
    let names = ["image", "env", "root", "pull", "exec"];
    let report = bench.until("refused", |report| {
        names.iter().all(|name| !matches!(reason(report, name).as_str(), "ContainerCreating" | ""))
    });
    let report = report.await;
    let reasons: Vec<_> = names.iter().map(|name| reason(&report, name)).collect();
    assert_eq!(reasons[..3], ["ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerConfigError"]);
    assert!(matches!(reasons[3].as_str(), "ErrImagePull" | "ImagePullBackOff"), "{reasons:?}");
    assert!(matches!(reasons[4].as_str(), "RunContainerError" | "CrashLoopBackOff"), "{reasons:?}");
    let notices = bench.objects.notices("refused").join("\n");
    assert!(notices.contains("Failed: Error: configmap \"none\" not found"), "{notices}");
    bench.delete(&pod, 0).await;
}

async fn liveness(lab: &Lab) {
    let mut bench = Bench::new(lab, "liveness").await;
    let pod = bench.pod(json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main",
        "command": shell(&format!("echo hi > /tmp/index.html; httpd -p 80 -h /tmp; {WAIT}")),
        "ports": [{"name": "web", "containerPort": 80}],
        "readinessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/index.html", "port": 80}, "periodSeconds": 1, "failureThreshold": 1}}]}));
    bench.sync(&pod).await;
    bench.ready().await;
    bench.say("rm /tmp/index.html 2>/dev/null || busybox rm /tmp/index.html").await;
    let again = bench.until("restarted", |report| report.status.container_statuses[0].restart_count == 1);
    again.await;
    let notices = bench.objects.notices("liveness").join("\n");
    assert!(notices.contains("Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 404"), "{notices}");
    assert!(notices.contains("Killing: Container main failed liveness probe, will be restarted"), "{notices}");
    bench.delete(&pod, 1).await;
}

async fn volumes(lab: &Lab) {
    let mut bench = Bench::new(lab, "volumes").await;
    bench.objects.put("configmaps", "conf", json!({"data": {"a": "1", "b": "2"}}));
    bench.objects.put("secrets", "pass", json!({"data": {"pw": "c2VjcmV0"}}));
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/{name}")});
    let pod = bench.pod(json!({
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "volumes": [
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "secret", "secret": {"secretName": "pass", "defaultMode": 256}},
            {"name": "disk", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "deep/a"}]}},
            {"name": "host", "hostPath": {"path": "/etc/hostname", "type": "File"}},
            {"name": "all", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}],
        "containers": [{"name": "main", "command": shell(WAIT), "volumeMounts": [
            mount("memory"), mount("secret"), mount("disk"), mount("conf"), mount("host"), mount("all"),
            {"name": "conf", "mountPath": "/one", "subPath": "deep/a"}]}],
    }));
    bench.sync(&pod).await;
    bench.ready().await;
    assert_eq!(bench.say("cat /secret/pw; stat -L -c ' %a %g' /secret/pw").await, "secret 440 2000\n");
    assert_eq!(bench.say("cat /conf/deep/a /one /all/labels").await, "11app=\"x\"");
    assert_eq!(bench.say("cat /all/token").await, "token-of-volumes-for-vault");
    assert_eq!(bench.say("touch /disk/x && stat -c '%u %g' /disk/x").await, "1000 2000\n");
    assert!(bench.say("cat /proc/mounts").await.contains("/memory tmpfs"));
    assert!(!bench.say("cat /host").await.is_empty());
    assert!(Path::new("/etc/hostname").is_file());
    // What changes is seen soon, at the cost of one more look at what changed.
    let before = (bench.objects.reads("conf"), bench.objects.reads("pass"));
    bench.objects.put("configmaps", "conf", json!({"data": {"a": "9", "b": "2"}}));
    bench.comes("cat /conf/deep/a", "9").await;
    assert_eq!((bench.objects.reads("conf"), bench.objects.reads("pass")), (before.0 + 1, before.1));
    assert_eq!(bench.say("cat /one").await, "1", "a sub-path stays as it was");
    bench.objects.remove("configmaps", "conf");
    bench.objects.put("secrets", "pass", json!({"data": {"pw": "bmV3"}}));
    bench.comes("cat /secret/pw", "new").await;
    assert_eq!(bench.say("cat /conf/deep/a").await, "9", "the volume of an object that is gone stays as it was");
    let mut relabelled = pod.clone();
    relabelled.metadata.labels.insert("app".into(), "y".into());
    bench.sync(&relabelled).await;
    bench.comes("cat /all/labels", "app=\"y\"").await;
    bench.delete(&pod, 0).await;
    assert!(Path::new("/etc/hostname").is_file(), "a path of the node was taken away");
}

async fn sandbox(lab: &Lab) {
    let mut bench = Bench::new(lab, "sandbox").await;
    let pod = bench.pod(json!({"terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "command": shell(WAIT)}]}));
    bench.sync(&pod).await;
    let before = bench.ready().await.status.container_statuses[0].container_id.clone();
    let runtime = Arc::clone(&bench.runtime);
    let labels = [("io.kubernetes.pod.uid".to_owned(), "uid-sandbox".to_owned())].into();
    let found = runtime.sandboxes(&SandboxFilter { labels, ..SandboxFilter::default() }).await.expect("a list");
    runtime.stop_sandbox(&found[0].id).await.expect("the sandbox stops");
    let again = bench.until("running anew", |report| {
        let status = &report.status.container_statuses[0];
        status.state.running.is_some() && status.container_id != before
    });
    // The container ends before its sandbox does, and may be started once more in the one that goes.
    assert!(again.await.status.container_statuses[0].restart_count >= 1);
    bench.delete(&pod, 1).await;
}

async fn follows(lab: &Lab) {
    let (mut bench, timed) = timed(lab, "follows").await;
    let pod = bench.pod(json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "main",
        "command": shell("while [ ! -e /tmp/end ]; do echo tick; sleep 0.02; done; echo last")}]}));
    bench.sync(&pod).await;
    bench.ready().await;
    let request = LogRequest {
        pod: ObjectKey::new("test", "follows"),
        uid: "uid-follows".into(),
        container: "main".into(),
        follow: true,
        ..LogRequest::default()
    };
    let mut chunks = bench.agent.logs(request).await.expect("a log").0;
    let before = timed.count("container");
    for _ in 0..50 {
        chunks.next().await.expect("the log goes on").expect("a chunk");
    }
    // Whether the container still runs is asked now and then; on a busy machine fifty lines take a while.
    let asked = timed.count("container") - before;
    assert!(asked <= 10, "the runtime was asked {asked} times for 50 lines");
    bench.say("touch /tmp/end").await;
    let rest = chunks.filter_map(async |chunk| chunk.ok()).collect::<Vec<_>>().await.concat();
    assert!(rest.ends_with(b"last\n"), "the end was not heard: {rest:?}");
    bench.delete(&pod, 0).await;
}

async fn speed(lab: &Lab) {
    let clock = lab.rim.clock.clone();
    let (mut bench, timed) = timed(lab, "speed").await;
    let mut own = vec![];
    for _ in 0..9 {
        let pod = bench.pod(json!({"terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "work", "emptyDir": {}}],
            "containers": [{"name": "main", "command": shell(WAIT), "volumeMounts": [{"name": "work", "mountPath": "/w"}]}]}));
        let begin = clock.uptime();
        bench.sync(&pod).await;
        bench.ready().await;
        let end = clock.uptime();
        own.push(((end - begin) - timed.busy(begin, end), end - begin));
        bench.delete(&pod, 0).await;
        bench.agent.sync(vec![]).await.expect("the agent takes its pods");
    }
    own.sort();
    println!(
        "pod start: own time {:?} median, {:?} worst; whole {:?}",
        own[own.len() / 2].0,
        own[own.len() - 1].0,
        own[own.len() / 2].1
    );
}
