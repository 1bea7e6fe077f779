//! What only a real runtime can show.

use std::{collections::BTreeMap, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, SinkExt};
use windlass_conformance::runtime::Program;
use windlass_cri::containerd::{Launcher, Mirror, Settings};
use windlass_kernel::{
    ClockExt, ContainerRuntime, ErrorKind, ImageStore,
    node::{Exit, Process, Session, Streams, TermSize},
    runtime::{
        ContainerConfig, ContainerId, ContainerKey, ImageRef, Opening, Pull, SandboxConfig, SandboxId, SandboxKey,
    },
};
use windlass_lab::{BUSYBOX, Lab, Registry};

pub(crate) type Test = fn(&Lab);

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_port_of_a_sandbox_is_reached", ports),
    ("a_terminal_has_a_size_and_no_second_output", terminal),
    ("a_container_over_its_memory_says_why_it_ended", memory),
    ("a_restarted_containerd_is_found_with_its_containers", restart),
    ("usage_is_counted_by_sandbox", metering),
    ("mirrors_are_asked_before_the_registry", mirrors),
    ("calls_take_so_long", figures),
];

async fn pod(lab: &Lab, name: &str) -> (SandboxConfig, SandboxId) {
    let config = SandboxConfig {
        key: SandboxKey { name: name.into(), namespace: "default".into(), uid: name.into(), attempt: 0 },
        hostname: name.into(),
        cgroup_parent: lab.cgroup(),
        log_directory: lab.folder.join("logs").display().to_string(),
        ..SandboxConfig::default()
    };
    let id = lab.running.runtime.run_sandbox(&config).await.unwrap();
    (config, id)
}

async fn container(
    lab: &Lab,
    pod: &(SandboxConfig, SandboxId),
    command: Vec<String>,
    memory: Option<i64>,
) -> ContainerId {
    let mut config = ContainerConfig {
        key: ContainerKey { name: "main".into(), attempt: 0 },
        image: BUSYBOX.into(),
        command,
        log_path: format!("{}.log", pod.0.key.name),
        labels: BTreeMap::new(),
        ..ContainerConfig::default()
    };
    config.resources.memory_limit = memory;
    let id = lab.running.runtime.create_container(&pod.1, &config, &pod.0).await.unwrap();
    lab.running.runtime.start_container(&id).await.unwrap();
    id
}

fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

fn ports(lab: &Lab) {
    lab.tokio.block_on(async {
        let runtime = &lab.running.runtime;
        let pod = pod(lab, "ports").await;
        container(lab, &pod, shell("while :; do echo answer | nc -l -p 8080; done"), None).await;
        let opening = Opening::PortForward { sandbox: pod.1.clone() };
        let Session::Ports(ports) = runtime.session(opening).await.unwrap() else { panic!("ports were asked for") };
        // The server needs a moment to listen, each time.
        for _ in 0..2 {
            loop {
                let mut stream = ports.connect(8080).await.unwrap();
                let mut heard = String::new();
                if stream.read_to_string(&mut heard).await.is_ok() && !heard.is_empty() {
                    assert_eq!(heard, "answer\n");
                    break;
                }
                lab.rim.clock.sleep(Duration::from_millis(50)).await;
            }
        }
        let mut refused = ports.connect(1).await.unwrap();
        refused.read_to_string(&mut String::new()).await.expect_err("nothing listens there");
        runtime.remove_sandbox(&pod.1).await.unwrap();
    });
}

fn terminal(lab: &Lab) {
    lab.tokio.block_on(async {
        let runtime = &lab.running.runtime;
        let pod = pod(lab, "terminal").await;
        let id = container(lab, &pod, Program::Wait.shell(), None).await;
        let streams = Streams { stdin: true, stdout: true, stderr: true, tty: true };
        let command = shell("read line; stty size; echo to-err >&2; exit 4");
        let Session::Process(Process { stdin, stdout, stderr, resize, exit }) =
            runtime.session(Opening::Exec { container: id, command, streams }).await.unwrap()
        else {
            panic!("a process was asked for")
        };
        let (mut stdin, mut stdout, mut resize) = (stdin.unwrap(), stdout.unwrap(), resize.unwrap());
        assert!(stderr.is_none());
        resize.send(TermSize { width: 91, height: 37 }).await.unwrap();
        // The size takes another way than the input.
        lab.rim.clock.sleep(Duration::from_millis(300)).await;
        stdin.write_all(b"go\n").await.unwrap();
        let mut heard = String::new();
        stdout.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("37 91") && heard.contains("to-err"), "{heard:?}");
        assert_eq!(exit.await, Exit::Code(4));
        runtime.remove_sandbox(&pod.1).await.unwrap();
    });
}

fn memory(lab: &Lab) {
    lab.tokio.block_on(async {
        let runtime = &lab.running.runtime;
        let pod = pod(lab, "memory").await;
        let id = container(lab, &pod, shell("x=1234567890; while :; do x=$x$x; done"), Some(16 << 20)).await;
        let status = loop {
            let status = runtime.container(&id).await.unwrap().unwrap();
            if status.exit.is_some() {
                break status;
            }
            lab.rim.clock.sleep(Duration::from_millis(50)).await;
        };
        assert_eq!((status.exit.unwrap().code, status.reason.as_str()), (137, "OOMKilled"));
        runtime.remove_sandbox(&pod.1).await.unwrap();
    });
}

/// On a containerd of its own, since it goes away for a while.
fn restart(_: &Lab) {
    let lab = Lab::start("crir");
    lab.tokio.block_on(async {
        let pod = pod(&lab, "restart").await;
        let id = container(&lab, &pod, Program::Wait.shell(), None).await;
        let runtime = &lab.running.runtime;
        let found = lab.launcher.start().await.unwrap();
        assert!(found.found && found.pid == lab.running.pid);
        let before = runtime.container(&id).await.unwrap().unwrap();

        lab.launcher.stop().await.unwrap();
        let error = runtime.container(&id).await.unwrap_err();
        assert!(error.is(ErrorKind::Unavailable), "{error}");

        let started = lab.launcher.start().await.unwrap();
        assert!(!started.found && started.pid != lab.running.pid);
        // The old connection comes back by itself.
        assert_eq!(runtime.container(&id).await.unwrap().unwrap(), before);
        assert!(before.exit.is_none());
    });
    lab.end();
}

/// On a containerd of its own, which is told of mirrors while it runs.
fn mirrors(_: &Lab) {
    let lab = Lab::start("crim");
    let [empty, full] = [(); 2].map(|()| Registry::start(lab.tokio.handle()));
    let of = |registry: &Registry| Mirror::at(&format!("http://{}", registry.address())).unwrap();
    let own = lab.registry.address().to_owned();
    let settings = Settings {
        plain_registries: vec![own.clone()],
        mirrors: [(own.clone(), vec![of(&empty), of(&full)])].into(),
        ..Settings::new(lab.folder.join("data"), lab.folder.join("state"))
    };
    let launcher = Launcher::new(settings, lab.rim.clone()).unwrap();
    lab.tokio.block_on(async {
        let running = launcher.start().await.unwrap();
        assert!(running.found);
        let (_, _) = (full.publish("mirrored", "1", None), lab.registry.publish("own", "1", None));
        for (repository, expect) in [("mirrored", [true, true, false]), ("own", [true, true, true])] {
            let image = ImageRef::from(format!("{own}/{repository}:1"));
            let pulled = running.runtime.pull(&Pull { image: image.clone(), ..Pull::default() }).await.unwrap();
            let found = running.runtime.image(&image).await.unwrap().unwrap();
            assert!(pulled.as_str() == found.id.as_str() || found.digests.iter().any(|name| name == pulled.as_str()));
            let asked = [&empty, &full, &lab.registry].map(|registry| registry.asked(repository) > 0);
            assert_eq!(asked, expect, "{repository}");
        }
    });
    lab.end();
}

fn metering(lab: &Lab) {
    lab.tokio.block_on(async {
        let runtime = &lab.running.runtime;
        let pod = pod(lab, "metering").await;
        container(lab, &pod, Program::Tick.shell(), None).await;
        let Some(metering) = runtime.metering() else { panic!("containerd counts by sandbox") };
        let filter = windlass_kernel::runtime::SandboxFilter { id: Some(pod.1.clone()), ..Default::default() };
        let stats = metering.sandbox_stats(&filter).await.unwrap();
        assert_eq!((stats.len(), stats[0].containers.len()), (1, 1), "{stats:?}");
        assert!(!stats[0].interfaces.is_empty());
        runtime.remove_sandbox(&pod.1).await.unwrap();
    });
}

/// Prints what the calls cost; nothing is asserted.
fn figures(lab: &Lab) {
    lab.tokio.block_on(async {
        let (runtime, clock) = (&lab.running.runtime, &lab.rim.clock);
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for round in 0..5 {
            let mut last = clock.uptime();
            let mut lap = |name| {
                let now = clock.uptime();
                times.entry(name).or_default().push(now - last);
                last = now;
            };
            let pod = pod(lab, &format!("figures{round}")).await;
            lap("1 run sandbox");
            let id = container(lab, &pod, Program::Wait.shell(), None).await;
            lap("2 create and start container");
            runtime.exec(&id, &shell("exit 0"), None).await.unwrap();
            lap("3 exec");
            runtime.container(&id).await.unwrap();
            lap("4 container status");
            let streams = Streams { stdout: true, ..Streams::default() };
            let opening = Opening::Exec { container: id.clone(), command: shell("exit 0"), streams };
            let Session::Process(process) = runtime.session(opening).await.unwrap() else { panic!() };
            process.exit.await;
            lap("5 exec session");
            runtime.stop_container(&id, Duration::from_secs(5)).await.unwrap();
            lap("6 stop container");
            runtime.remove_sandbox(&pod.1).await.unwrap();
            lap("7 remove sandbox");
        }
        for (name, mut spans) in times {
            spans.sort();
            println!("{name}: median {:?} of {}", spans[spans.len() / 2], spans.len());
        }
    });
}
