//! The reference runtime on a containerd without CRI: the whole suite directly, and on a host over a server that is a process of
//! its own and is killed in the middle of calls.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use windlass_cni::{bridge::Bridge, skel as cni, wire::PluginConfig};
use windlass_conformance::{
    report::Trace,
    runtime::{Fixture, Machine as Seen, Offers, Program, Raw, RawAnswer, Restart},
};
use windlass_cri::{
    containerd::{Containerd, Mirror, Native, oci::Recipe},
    host::RemoteRuntime,
    skel::{self, Plugin, Setup},
};
use windlass_grpc::Machine;
use windlass_kernel::{
    ClockExt, ContainerRuntime, ErrorKind, ImageStore, PodNetwork, Spawn,
    network::{Attached, Attachment, AttachmentKey},
    node::{Exit, Session, Streams},
    runtime::{
        Change, ContainerConfig, ContainerFilter, ContainerId, ContainerKey, ContainerStatus, InfoOf, Mount, Opening,
        Pull, RegistryAuth, RuntimeEvent, SandboxConfig, SandboxFilter, SandboxId, SandboxKey, SecurityProfile,
        Subject, User,
    },
};
use windlass_lab::{BUSYBOX, BareLab, Registry};

/// Where a server finds what it serves.
const SERVED: &str = "WINDLASS_TEST_NATIVE";

/// A containerd without CRI, and the runtime over it.
pub(crate) struct Reference {
    pub(crate) lab: BareLab,
    pub(crate) setup: Setup,
    /// None while a server has it: there is one for a containerd.
    runtime: Option<Containerd>,
    network: Arc<dyn PodNetwork>,
    /// One at a time, where others would be disturbed.
    pub(crate) gate: Mutex<()>,
    /// Over the wire, from a process that can be killed.
    server: Option<Arc<Server>>,
}

fn native(lab: &BareLab) -> Native {
    lab.launcher.native(vec![env!("CARGO_BIN_EXE_windlass-carry").into()])
}

fn network(words: &Value, spawn: Arc<dyn Spawn>) -> Arc<dyn PodNetwork> {
    let folder = words["folder"].as_str().expect("a folder");
    let config: PluginConfig = serde_json::from_value(json!({
        "cniVersion": "1.1.0", "name": "native", "type": "windlass-bridge",
        "bridge": words["bridge"], "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "stateDir": format!("{folder}/network"),
        "ipam": {"type": "host-local", "dataDir": format!("{folder}/addresses"), "ranges": [[{"subnet": words["range"]}]]},
    }))
    .expect("a configuration");
    Arc::new(Bridge::new(&cni::Setup::of(config, spawn).expect("a network")).expect("a bridge"))
}

fn words(lab: &BareLab) -> Value {
    json!({ "folder": lab.folder, "bridge": lab.bridge, "range": lab.range, "plain": [lab.registry.address()] })
}

impl Reference {
    pub(crate) fn start(name: &str, served: bool) -> Self {
        let lab = BareLab::start(name);
        let machine = Arc::new(Machine::on(lab.tokio.handle().clone()));
        let setup =
            Setup { clock: machine.clone(), spawn: machine.clone(), entropy: machine.clone(), dial: machine.clone() };
        let network = network(&words(&lab), machine.clone());
        let server = served.then(|| Arc::new(Server::start(&lab)));
        let mut reference = Self { lab, setup, runtime: None, network, gate: Mutex::default(), server };
        reference.runtime = (!served).then(|| reference.connect());
        reference
    }

    /// The runtime anew, as an agent finds it that was restarted.
    pub(crate) fn connect(&self) -> Containerd {
        let connected = Containerd::connect(native(&self.lab), Arc::clone(&self.network), self.setup.clone());
        self.lab.tokio.block_on(connected).expect("the runtime connects")
    }

    pub(crate) fn end(mut self) {
        if let Some(server) = &self.server {
            server.kill();
        }
        let runtime = self.runtime.take().unwrap_or_else(|| self.connect());
        self.lab.tokio.block_on(async {
            for sandbox in runtime.sandboxes(&SandboxFilter::default()).await.expect("sandboxes are listed") {
                runtime.remove_sandbox(&sandbox.id).await.expect("a sandbox is removed");
            }
        });
        drop(runtime);
        self.lab.end();
    }

    pub(crate) fn fixture(&self, prefix: String) -> Fixture {
        let auth = RegistryAuth { username: "suite".into(), password: "hidden".into(), ..RegistryAuth::default() };
        let image = self.lab.registry.publish("suite", &prefix, Some((&auth.username, &auth.password)));
        let (runtime, images): (Arc<dyn ContainerRuntime>, Arc<dyn ImageStore>) = match (&self.server, &self.runtime) {
            (Some(server), _) => (Arc::new(server.remote.clone()), Arc::new(server.remote.clone())),
            (None, Some(runtime)) => (Arc::new(runtime.clone()), Arc::new(runtime.clone())),
            (None, None) => unreachable!("without a server there is the runtime itself"),
        };
        Fixture {
            runtime,
            images,
            clock: self.setup.clock.clone(),
            image: BUSYBOX.into(),
            command: Program::shell,
            prefix,
            cgroup_parent: self.lab.cgroup(),
            handler: String::new(),
            logs: self.lab.folder.join("logs").display().to_string(),
            read: Arc::new(|path| fs::read_to_string(path).ok()),
            rename: Arc::new(|from, to| fs::rename(from, to).expect("a log is renamed")),
            offers: Offers { events: true, terminals: true, containers: true, port: Some(8080) },
            pull: Some(Pull { image: image.into(), auth: Some(auth), ..Pull::default() }),
            machine: Some(Seen { state: vec![self.lab.folder.clone()], alone: false }),
            restart: self.server.as_ref().map(|server| server.restart(&self.setup)),
            raw: self.server.as_ref().map(|server| server.raw()),
            trace: Trace::default(),
        }
    }
}

/// A server over the runtime, in a process of its own.
struct Server {
    words: String,
    socket: PathBuf,
    child: Mutex<Option<Child>>,
    remote: RemoteRuntime,
}

impl Server {
    fn start(lab: &BareLab) -> Self {
        let socket = lab.folder.join("served.sock");
        let mut words = words(lab);
        words["native"] = json!({
            "socket": lab.running.socket, "state": native(lab).state_dir, "runc": native(lab).runc,
        });
        let words = words.to_string();
        let child = spawn(&words, &socket);
        let remote = lab.tokio.block_on(async {
            loop {
                match RemoteRuntime::connect(socket.display().to_string(), lab.rim.clone()).await {
                    Ok(remote) => return remote,
                    Err(_) => lab.rim.clock.sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Self { words, socket, child: Mutex::new(Some(child)), remote }
    }

    fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            child.kill().expect("a server can be killed");
            child.wait().expect("a server ends");
        }
    }

    fn restart(self: &Arc<Self>, setup: &Setup) -> Restart {
        let (server, clock) = (Arc::clone(self), setup.clock.clone());
        Arc::new(move || {
            let (server, clock) = (Arc::clone(&server), clock.clone());
            async move {
                server.kill();
                let child = spawn(&server.words, &server.socket);
                *server.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
                while server.remote.version().await.is_err() {
                    clock.sleep(Duration::from_millis(10)).await;
                }
            }
            .boxed()
        })
    }

    fn raw(&self) -> Raw {
        let remote = self.remote.clone();
        Arc::new(move |call| {
            let remote = remote.clone();
            async move {
                let answer = remote.raw(call.method, call.message.into(), call.deadline).await;
                let answer = answer.expect("the server can be reached");
                RawAnswer { code: answer.code, body: answer.body.into() }
            }
            .boxed()
        })
    }
}

fn spawn(words: &str, socket: &Path) -> Child {
    let this = env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.env(SERVED, words).env(skel::ENDPOINT, socket).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("a server starts")
}

/// Serves, where this process is a server.
pub(crate) fn serve() -> Option<ExitCode> {
    let words: Value = serde_json::from_str(&env::var(SERVED).ok()?).expect("words for the server");
    Some(skel::main(async |setup| {
        let path = |value: &Value| PathBuf::from(value.as_str().expect("a path"));
        let (of, runc) = (&words["native"], &words["native"]["runc"]);
        let native = Native {
            sandbox_image: windlass_lab::PAUSE.into(),
            runc: Some((path(&runc[0]), path(&runc[1]))),
            plain_registries: serde_json::from_value(words["plain"].clone()).expect("registries"),
            ..Native::new(path(&of["socket"]), path(&of["state"]), vec![env!("CARGO_BIN_EXE_windlass-carry").into()])
        };
        let network = network(&words, setup.spawn.clone());
        Ok(Plugin::of(Containerd::connect(native, network, setup).await?))
    }))
}

type Test = fn(&Reference);

/// What only this runtime has to show.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_restarted_agent_finds_what_ran_and_what_ended", restarted),
    ("a_killed_carrier_is_replaced_and_nothing_said_is_lost", carrier),
    ("a_killed_containerd_takes_no_container_along", killed),
    ("a_container_over_its_memory_says_why_it_ended", memory),
    ("a_container_has_no_more_rights_than_it_needs", rights),
    ("users_and_groups_are_the_images_own", users),
    ("a_container_on_a_terminal_is_attached_to", terminal),
    ("images_are_had_by_their_digest", by_digest),
    ("users_of_an_image_with_a_hundred_layers_are_found", layers),
    ("whoever_may_speak_once_ends_the_input_by_leaving", once),
    ("pipes_have_one_carrier", alone),
    ("an_event_waits_for_no_other_sandboxs_network", unhurried),
    ("what_is_not_there_is_refused_with_a_cure", refused),
    ("tools_find_processes_and_specifications", tools),
    ("a_record_that_cannot_be_read_spoils_no_list", unreadable),
    ("a_carrier_that_ends_at_once_is_not_waited_for", no_carrier),
    ("a_sandbox_is_nobody_that_nobody_named", pause),
    ("mirrors_are_asked_in_their_order_and_then_the_registry", mirrors),
    ("what_is_asked_for_at_a_repository_alone_is_answered", discreet),
];

impl Reference {
    /// One of its own, for a test that takes something away.
    fn apart(name: &str, work: impl AsyncFnOnce(&Self, Containerd)) {
        let mut reference = Self::start(name, false);
        let runtime = reference.runtime.take().expect("without a server there is the runtime itself");
        reference.lab.tokio.block_on(work(&reference, runtime));
        reference.end();
    }

    fn here(&self) -> &Containerd {
        self.runtime.as_ref().expect("without a server there is the runtime itself")
    }

    async fn anew(&self) -> Containerd {
        let connected = Containerd::connect(native(&self.lab), Arc::clone(&self.network), self.setup.clone());
        connected.await.expect("the runtime connects")
    }

    fn pod(&self, name: &str) -> SandboxConfig {
        SandboxConfig {
            key: SandboxKey { name: name.into(), namespace: "default".into(), uid: name.into(), attempt: 0 },
            hostname: name.into(),
            cgroup_parent: self.lab.cgroup(),
            log_directory: self.lab.folder.join("logs").display().to_string(),
            ..SandboxConfig::default()
        }
    }

    /// Waits for something to be so.
    async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let end = self.setup.clock.uptime() + Duration::from_secs(60);
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(self.setup.clock.uptime() < end, "waited for {what}");
            self.setup.clock.sleep(Duration::from_millis(20)).await;
        }
    }

    async fn exited(&self, runtime: &Containerd, id: &ContainerId) -> ContainerStatus {
        let look = async || runtime.container(id).await.expect("a status").filter(|status| status.exit.is_some());
        self.until("an exit", look).await
    }
}

fn shell(script: &str) -> ContainerConfig {
    ContainerConfig {
        key: ContainerKey { name: "main".into(), attempt: 0 },
        image: BUSYBOX.into(),
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        log_path: "main.log".into(),
        ..ContainerConfig::default()
    }
}

/// A container that was started, and its sandbox.
async fn started(
    reference: &Reference,
    runtime: &Containerd,
    name: &str,
    mut config: ContainerConfig,
) -> (SandboxId, ContainerId) {
    let around = reference.pod(name);
    let sandbox = runtime.run_sandbox(&around).await.expect("a sandbox runs");
    config.log_path = format!("{name}.log");
    let id = runtime.create_container(&sandbox, &config, &around).await.expect("a container is created");
    runtime.start_container(&id).await.expect("a container starts");
    (sandbox, id)
}

async fn said(runtime: &Containerd, id: &ContainerId, command: &str) -> String {
    let command = ["/bin/sh", "-c", command].map(str::to_owned);
    let done = runtime.exec(id, &command, None).await.expect("a command runs");
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// The process that carries a container's streams.
fn carrier_of(id: &ContainerId) -> Option<i32> {
    fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
        let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let carries = command.contains("windlass-carry") && command.contains(id.as_str());
        carries.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    })
}

fn kill(pid: i32) {
    let killed = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    killed.expect("a process can be killed");
}

fn restarted(_: &Reference) {
    Reference::apart("crna", async |reference, runtime| {
        let (sandbox, ticks) =
            started(reference, &runtime, "ticks", shell("while :; do echo tick; sleep 0.05; done")).await;
        let (_, ends) = started(reference, &runtime, "ends", shell("sleep 1; exit 3")).await;
        let before = runtime.container(&ticks).await.unwrap().unwrap();
        drop(runtime);
        let runtime = reference.anew().await;
        assert_eq!(runtime.container(&ticks).await.unwrap().unwrap(), before);
        assert_eq!(reference.exited(&runtime, &ends).await.exit.map(|exit| exit.code), Some(3));
        let length = fs::read_to_string(&before.log_path).unwrap().len();
        let grows = async || fs::read_to_string(&before.log_path).ok().filter(|text| text.len() > length);
        reference.until("the log to grow", grows).await;
        runtime.remove_sandbox(&sandbox).await.unwrap();
        reference.until("the carrier to end", async || carrier_of(&ticks).is_none().then_some(())).await;
    });
}

fn carrier(_: &Reference) {
    Reference::apart("crnb", async |reference, runtime| {
        let script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.02; done";
        let (sandbox, id) = started(reference, &runtime, "lines", shell(script)).await;
        let path = runtime.container(&id).await.unwrap().unwrap().log_path;
        let some = async || fs::read_to_string(&path).ok().filter(|text| text.lines().count() > 5);
        reference.until("some lines", some).await;
        drop(runtime);
        kill(carrier_of(&id).expect("somebody carries"));
        let again = reference.anew().await;
        assert_eq!(reference.exited(&again, &id).await.exit.map(|exit| exit.code), Some(0));
        let whole = async || fs::read_to_string(&path).ok().filter(|text| text.contains("line 199"));
        let text = reference.until("the last line", whole).await;
        let lost = (0..200).filter(|line| !text.contains(&format!("F line {line}\n"))).count();
        // What the one that was killed had read and not written is gone with it: a line at the most, at this pace.
        assert!(lost <= 1, "{lost} lines are lost:\n{text}");
        again.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn killed(_: &Reference) {
    Reference::apart("crnc", async |reference, runtime| {
        let (sandbox, id) =
            started(reference, &runtime, "waits", shell("trap 'exit 0' TERM; while :; do sleep 0.05; done")).await;
        let (_, ends) = started(reference, &runtime, "ends", shell("sleep 1; exit 3")).await;
        let before = runtime.container(&id).await.unwrap().unwrap();
        kill(reference.lab.running.pid);
        let error = runtime.container(&id).await.unwrap_err();
        assert!(error.is(ErrorKind::Unavailable) || error.is(ErrorKind::Internal), "{error}");
        // What the killed one held may be held for a moment still.
        let again = async || reference.lab.launcher.start_bare().await.ok();
        let running = reference.until("containerd to start again", again).await;
        assert!(!running.found);
        // The connection comes back by itself.
        let there = async || runtime.container(&id).await.ok().flatten();
        assert_eq!(reference.until("containerd to be reached", there).await, before);
        assert_eq!(said(&runtime, &id, "echo here").await, "here\n");
        // Its shim kept the code, where containerd did not live to see it.
        let status = reference.exited(&runtime, &ends).await;
        assert!(matches!(status.exit.map(|exit| exit.code), Some(3 | 255)), "{status:?}");
        runtime.stop_container(&id, Duration::from_secs(30)).await.unwrap();
        assert_eq!(runtime.container(&id).await.unwrap().unwrap().exit.map(|exit| exit.code), Some(0));
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn memory(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let mut config = shell("x=1234567890; while :; do x=$x$x; done");
        config.resources.memory_limit = Some(16 << 20);
        let (sandbox, id) = started(reference, runtime, "memory", config).await;
        let status = reference.exited(runtime, &id).await;
        assert_eq!((status.exit.unwrap().code, status.reason.as_str()), (137, "OOMKilled"));
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn rights(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let mut config = shell("trap 'exit 0' TERM; while :; do sleep 0.05; done");
        config.security.seccomp = Some(SecurityProfile::RuntimeDefault);
        config.security.no_new_privileges = true;
        config.security.drop_capabilities = vec!["ALL".into()];
        config.security.add_capabilities = vec!["NET_BIND_SERVICE".into()];
        let (sandbox, id) = started(reference, runtime, "rights", config).await;
        let status = said(runtime, &id, "cat /proc/self/status").await;
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(
            (of("CapEff:"), of("CapBnd:"), of("CapInh:")),
            (Some("0000000000000400"), Some("0000000000000400"), Some("0000000000000000"))
        );
        assert_eq!((of("NoNewPrivs:"), of("Seccomp:")), (Some("1"), Some("2")));
        // The node's own are not empty.
        assert!(fs::read("/proc/timer_list").is_ok_and(|text| !text.is_empty()));
        assert_eq!(said(runtime, &id, "cat /proc/timer_list; ls /sys/firmware").await, "");
        assert!(said(runtime, &id, "echo 1 > /proc/sys/kernel/domainname").await.contains("Read-only"));
        assert!(said(runtime, &id, "cat /dev/kmsg").await.contains("kmsg"), "a device of the node is there");
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn users(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let around = reference.pod("users");
        let sandbox = runtime.run_sandbox(&around).await.unwrap();
        let mut config = shell("id -u; id -g; id -G");
        config.security.user = Some(User::Id(1000));
        config.security.group = Some(2000);
        config.security.supplemental_groups = vec![3000];
        let id = runtime.create_container(&sandbox, &config, &around).await.unwrap();
        runtime.start_container(&id).await.unwrap();
        let status = reference.exited(runtime, &id).await;
        assert_eq!(status.user, Some((1000, 2000, vec![3000])));
        let whole = async || fs::read_to_string(&status.log_path).ok().filter(|text| text.lines().count() == 3);
        let text = reference.until("three lines", whole).await;
        let lines: Vec<_> = text.lines().filter_map(|line| line.split(" F ").nth(1)).collect();
        assert_eq!(lines, ["1000", "2000", "2000 3000"]);
        config.key.attempt = 1;
        config.security.user = Some(User::Name("nobody-there".into()));
        let error = runtime.create_container(&sandbox, &config, &around).await.unwrap_err();
        assert!(error.is(ErrorKind::Invalid) && error.to_string().contains("nobody-there"), "{error}");
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn terminal(reference: &Reference) {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let mut config = shell("while read line && [ \"$line\" != end ]; do echo \"<$line>\"; done; exit 4");
        (config.tty, config.stdin) = (true, true);
        let (sandbox, id) = started(reference, runtime, "terminal", config).await;
        let streams = Streams { stdin: true, stdout: true, stderr: false, tty: true };
        let opening = Opening::Attach { container: id.clone(), streams };
        let Session::Process(mut process) = runtime.session(opening).await.unwrap() else {
            panic!("an attach is a process")
        };
        assert!(process.resize.is_some() && process.stderr.is_none());
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(b"one\nend\n").await.unwrap();
        stdin.flush().await.unwrap();
        let mut heard = String::new();
        process.stdout.take().unwrap().read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("<one>"), "{heard:?}");
        assert_eq!(process.exit.await, Exit::Code(4));
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn by_digest(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let name = reference.lab.registry.publish("open", "1", None);
        let pulled = runtime.pull(&Pull { image: name.as_str().into(), ..Pull::default() }).await.unwrap();
        let image = runtime.image(&pulled).await.unwrap().unwrap();
        let digest = image.digests.first().expect("a digest").clone();
        runtime.remove_image(&pulled).await.unwrap();
        assert_eq!(runtime.image(&name.as_str().into()).await.unwrap(), None);
        // By its digest, which is all that is known of it then.
        let again = runtime.pull(&Pull { image: digest.as_str().into(), ..Pull::default() }).await.unwrap();
        assert_eq!(again, pulled);
        let image = runtime.image(&digest.as_str().into()).await.unwrap().unwrap();
        assert_eq!((image.tags.len(), &image.digests), (0, &vec![digest]));
        assert!(image.size > 0 && !image.pinned);
        let pause = runtime.image(&windlass_lab::PAUSE.into()).await.unwrap().unwrap();
        assert!(pause.pinned, "the image of sandboxes is needed for ever");
        runtime.remove_image(&again).await.unwrap();
        let missing = format!("{}/open:none", reference.lab.registry.address());
        let error = runtime.pull(&Pull { image: missing.as_str().into(), ..Pull::default() }).await.unwrap_err();
        assert!(error.is(ErrorKind::NotFound), "{error}");
    });
}

fn refused(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let refused = async |change: fn(&mut SandboxConfig), kind: ErrorKind| {
            let mut config = reference.pod("refused");
            change(&mut config);
            let error = runtime.run_sandbox(&config).await.unwrap_err();
            assert!(error.is(kind), "{error}");
        };
        refused(|config| config.handler = "kata".into(), ErrorKind::NotFound).await;
        refused(|config| config.cgroup_parent = "kubepods.slice".into(), ErrorKind::NotSupported).await;
        refused(|config| config.security.namespaces.users = Some(vec![]), ErrorKind::NotSupported).await;
        refused(
            |config| drop(config.annotations.insert("kubernetes.io/egress-bandwidth".into(), "much".into())),
            ErrorKind::Invalid,
        )
        .await;
        let left = runtime.sandboxes(&SandboxFilter::default()).await.unwrap();
        assert!(left.iter().all(|sandbox| sandbox.key.name != "refused"), "{left:?}");
        let around = reference.pod("refused");
        let sandbox = runtime.run_sandbox(&around).await.unwrap();
        let refused = async |change: fn(&mut ContainerConfig), kind: ErrorKind| {
            let mut config = shell("exit 0");
            change(&mut config);
            let error = runtime.create_container(&sandbox, &config, &around).await.unwrap_err();
            assert!(error.is(kind), "{error}");
        };
        refused(|config| config.image = "registry.invalid/none:1".into(), ErrorKind::NotFound).await;
        refused(|config| config.security.privileged = true, ErrorKind::Invalid).await;
        refused(|config| config.cdi_devices = vec!["vendor.com/device=1".into()], ErrorKind::NotSupported).await;
        refused(
            |config| {
                let image = Some(BUSYBOX.into());
                config.mounts = vec![Mount { container_path: "/image".into(), image, ..Mount::default() }];
            },
            ErrorKind::NotSupported,
        )
        .await;
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

/// An image of many layers of one file each; the last one knows a user.
fn layered(name: &str, folder: &Path) -> PathBuf {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let blob = |files: &mut Vec<(String, Vec<u8>)>, kind: &str, bytes: Vec<u8>| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let described = json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() });
        files.push((format!("blobs/sha256/{digest}"), bytes));
        described
    };
    let archive = |files: &[(String, Vec<u8>)]| {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    };
    let mut layers = Vec::new();
    for number in 0..100 {
        let mut inside = vec![(format!("layer-{number}"), vec![])];
        if number == 0 {
            inside.push(("etc/passwd".into(), b"www:x:33:34::/:/bin/sh\n".to_vec()));
        }
        layers.push(blob(&mut files, "application/vnd.oci.image.layer.v1.tar", archive(&inside)));
    }
    let digests: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": arch, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": digests },
    });
    let config = blob(&mut files, "application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    let mut manifest = blob(&mut files, kind, manifest.to_string().into_bytes());
    manifest["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    files.insert(0, ("index.json".into(), index.to_string().into_bytes()));
    files.insert(0, ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    let path = folder.join("layers.tar");
    fs::write(&path, archive(&files)).unwrap();
    path
}

fn layers(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let name = "registry.local/layers:1";
        let archive = layered(name, &reference.lab.folder);
        reference.lab.launcher.import(&archive).await.unwrap();
        let around = reference.pod("layers");
        let sandbox = runtime.run_sandbox(&around).await.unwrap();
        let mut config = ContainerConfig { image: name.into(), ..shell("exit 0") };
        config.security.user = Some(User::Name("www".into()));
        let id = runtime.create_container(&sandbox, &config, &around).await.unwrap();
        assert_eq!(runtime.container(&id).await.unwrap().unwrap().user, Some((33, 34, vec![])));
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn once(reference: &Reference) {
    use futures::AsyncWriteExt;
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let mut config = shell("cat; exit 5");
        (config.stdin, config.stdin_once) = (true, true);
        let (sandbox, id) = started(reference, runtime, "once", config).await;
        let attach = async |stdin| {
            let streams = Streams { stdin, stdout: true, stderr: true, tty: false };
            match runtime.session(Opening::Attach { container: id.clone(), streams }).await.unwrap() {
                Session::Process(process) => process,
                Session::Ports(_) => panic!("an attach is a process"),
            }
        };
        // Who only listens ends nothing.
        drop(attach(false).await);
        let mut process = attach(true).await;
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(b"said\n").await.unwrap();
        stdin.flush().await.unwrap();
        drop((stdin, process));
        let status = reference.exited(runtime, &id).await;
        assert_eq!(status.exit.map(|exit| exit.code), Some(5));
        let whole = async || fs::read_to_string(&status.log_path).ok().filter(|text| text.contains("F said"));
        reference.until("what was said", whole).await;
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

/// A program that carries what is in a folder, beside whoever else does.
fn carry(folder: &Path, log: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-carry"));
    command.arg(folder).arg(log).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a carrier starts")
}

fn alone(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let around = reference.pod("alone");
        let sandbox = runtime.run_sandbox(&around).await.unwrap();
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.02; done";
        let config = ContainerConfig { log_path: "alone.log".into(), ..shell(script) };
        let id = runtime.create_container(&sandbox, &config, &around).await.unwrap();
        // One that an interrupted start left.
        let folder = native(&reference.lab).state_dir.join("io").join(id.as_str());
        fs::create_dir_all(&folder).unwrap();
        for pipe in ["stdout", "stderr"] {
            nix::unistd::mkfifo(&folder.join(pipe), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let other = reference.lab.folder.join("other.log");
        let mut left = carry(&folder, &other);
        reference.until("it carries", async || folder.join("socket").exists().then_some(())).await;
        runtime.start_container(&id).await.unwrap();
        let ended = left.wait().unwrap();
        assert!(ended.success(), "it was asked to end: {ended}");
        // One that comes later finds the pipes taken.
        let second = carry(&folder, &other).wait().unwrap();
        assert!(!second.success(), "two carry the same");
        let path = reference.exited(runtime, &id).await.log_path;
        let whole = async || fs::read_to_string(&path).ok().filter(|text| text.lines().count() == 100);
        reference.until("every line", whole).await;
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

/// A network that takes nothing away while the gate is held.
#[derive(Debug)]
struct Gated {
    network: Arc<dyn PodNetwork>,
    gate: Arc<async_lock::Mutex<()>>,
    asked: windlass_kernel::Stop,
}

#[async_trait::async_trait]
impl PodNetwork for Gated {
    async fn attach(&self, attachment: &Attachment) -> windlass_kernel::Result<Attached> {
        self.network.attach(attachment).await
    }

    async fn detach(&self, attachment: &Attachment) -> windlass_kernel::Result<()> {
        self.asked.stop();
        let _gate = self.gate.lock().await;
        self.network.detach(attachment).await
    }

    async fn check(&self, attachment: &Attachment) -> windlass_kernel::Result<()> {
        self.network.check(attachment).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> windlass_kernel::Result<()> {
        self.network.collect(valid).await
    }

    async fn ready(&self) -> windlass_kernel::Result<()> {
        self.network.ready().await
    }
}

fn unhurried(_: &Reference) {
    Reference::apart("crnd", async |reference, runtime| {
        drop(runtime);
        let (gate, asked) = (Arc::new(async_lock::Mutex::new(())), windlass_kernel::Stop::new());
        let network = Gated { network: Arc::clone(&reference.network), gate: Arc::clone(&gate), asked: asked.clone() };
        let runtime = Containerd::connect(native(&reference.lab), Arc::new(network), reference.setup.clone()).await;
        let runtime = runtime.unwrap();
        let held = gate.lock().await;
        let going = runtime.run_sandbox(&reference.pod("going")).await.unwrap();
        let (sandbox, id) = started(reference, &runtime, "stays", shell("sleep 1; exit 3")).await;
        let mut events = runtime.events();
        let stopping = runtime.stop_sandbox(&going);
        let told = async {
            asked.wait().await;
            let exited = RuntimeEvent::Changed { subject: Subject::Container(id.clone()), what: Change::Exited };
            // It may have ended before anybody listened.
            while !matches!(events.next().await, Some(event) if event == exited || event == RuntimeEvent::Relist) {}
            reference.exited(&runtime, &id).await;
            let second = ContainerConfig { log_path: "second.log".into(), ..shell("exit 4") };
            let around = reference.pod("stays");
            let config = ContainerConfig { key: ContainerKey { name: "second".into(), attempt: 0 }, ..second };
            let id = runtime.create_container(&sandbox, &config, &around).await.unwrap();
            runtime.start_container(&id).await.unwrap();
            let exited = RuntimeEvent::Changed { subject: Subject::Container(id.clone()), what: Change::Exited };
            while events.next().await.expect("an event") != exited {}
            drop(held);
        };
        let both = futures::future::join(stopping, told).boxed_local();
        match futures::future::select(both, reference.setup.clock.sleep(Duration::from_secs(60))).await {
            futures::future::Either::Left(((stopped, ()), _)) => stopped.unwrap(),
            futures::future::Either::Right(_) => panic!("no event comes"),
        }
        for id in [going, sandbox] {
            runtime.remove_sandbox(&id).await.unwrap();
        }
    });
}

fn tools(reference: &Reference) {
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let (sandbox, id) = started(reference, runtime, "tools", shell("sleep 1000")).await;
        let told = async |of: InfoOf| {
            let info = runtime.info(&of).await.unwrap();
            serde_json::from_str::<Value>(&info["info"]).unwrap()
        };
        let (pod, main) = (told(InfoOf::Sandbox(sandbox.clone())).await, told(InfoOf::Container(id.clone())).await);
        for (told, word) in [(&pod, "1000000000"), (&main, "1000")] {
            // Its process is the low-level runtime's own for a moment after the start.
            let look = async || {
                let command = fs::read_to_string(format!("/proc/{}/cmdline", told["pid"])).unwrap();
                (command.contains("sleep") && command.contains(word)).then_some(())
            };
            reference.until("the process that was asked for", look).await;
        }
        assert_ne!(pod["pid"], main["pid"]);
        assert_eq!(main["runtimeSpec"]["process"]["args"][2], "sleep 1000");
        assert_eq!((&main["snapshotKey"], &pod["runtimeSpec"]["hostname"]), (&json!(id.as_str()), &json!("tools")));
        let config: Value = serde_json::from_str(&runtime.info(&InfoOf::Runtime).await.unwrap()["config"]).unwrap();
        assert_eq!(config["sandboxImage"], windlass_lab::PAUSE);
        let image: Value = serde_json::from_str(&runtime.image_info(&BUSYBOX.into()).await.unwrap()["info"]).unwrap();
        assert_eq!(image["imageSpec"]["os"], "linux");
        runtime.remove_sandbox(&sandbox).await.unwrap();
        assert!(runtime.info(&InfoOf::Sandbox(sandbox)).await.unwrap().is_empty());
    });
}

fn unreadable(reference: &Reference) {
    use containerd_client::services::v1 as api;
    let runtime = reference.here();
    reference.lab.tokio.block_on(async {
        let (kept, main) = started(reference, runtime, "kept", shell("sleep 1000")).await;
        let (broken, inside) = started(reference, runtime, "broken", shell("sleep 1000")).await;
        let socket = reference.lab.running.socket.display().to_string();
        let channel = windlass_grpc::open(socket.into(), reference.setup.dial.clone());
        for id in [broken.as_str(), inside.as_str()] {
            let config = prost_types::Any { type_url: "windlass.dev/config".into(), value: vec![0xff; 3] };
            let container = api::Container {
                id: id.into(),
                extensions: [("windlass.dev/config".to_owned(), config)].into(),
                ..api::Container::default()
            };
            let mask = prost_types::FieldMask { paths: vec!["extensions.windlass.dev/config".into()] };
            let change = api::UpdateContainerRequest { container: Some(container), update_mask: Some(mask) };
            let mut request = tonic::Request::new(change);
            request.metadata_mut().insert("containerd-namespace", "k8s.io".parse().unwrap());
            let mut containers = api::containers_client::ContainersClient::new(channel.clone());
            containers.update(request).await.unwrap();
        }
        let sandboxes = runtime.sandboxes(&SandboxFilter::default()).await.unwrap();
        let listed = |id: &SandboxId| sandboxes.iter().any(|sandbox| sandbox.id == *id);
        assert!(listed(&kept) && !listed(&broken), "{sandboxes:?}");
        let containers = runtime.containers(&ContainerFilter::default()).await.unwrap();
        let listed = |id: &ContainerId| containers.iter().any(|container| container.id == *id);
        assert!(listed(&main) && !listed(&inside), "{containers:?}");
        let stats = runtime.stats(&ContainerFilter::default()).await.unwrap();
        assert!(stats.iter().any(|stats| stats.id == main));
        let metered = runtime.metering().unwrap().sandbox_stats(&SandboxFilter::default()).await.unwrap();
        assert!(metered.iter().any(|stats| stats.id == kept));
        let errors = [
            (broken.as_str(), runtime.sandbox(&broken).await.unwrap_err()),
            (inside.as_str(), runtime.container(&inside).await.unwrap_err()),
        ];
        for (id, error) in errors {
            assert!(error.to_string().contains(id), "{error}");
        }
        // What is running there can be looked at, and goes.
        assert!(runtime.info(&InfoOf::Container(inside.clone())).await.unwrap()["info"].contains("sleep 1000"));
        runtime.stop_container(&inside, Duration::ZERO).await.unwrap();
        for sandbox in [&broken, &kept] {
            runtime.remove_sandbox(sandbox).await.unwrap();
        }
        assert_eq!(runtime.sandbox(&broken).await.unwrap(), None);
        assert_eq!(runtime.container(&inside).await.unwrap(), None);
    });
}

fn no_carrier(_: &Reference) {
    Reference::apart("crne", async |reference, runtime| {
        drop(runtime);
        let native = Native { carrier: vec!["/bin/false".into()], ..native(&reference.lab) };
        let connected = Containerd::connect(native, Arc::clone(&reference.network), reference.setup.clone());
        let runtime = connected.await.unwrap();
        let around = reference.pod("silent");
        let sandbox = runtime.run_sandbox(&around).await.unwrap();
        let id = runtime.create_container(&sandbox, &shell("exit 0"), &around).await.unwrap();
        let error = runtime.start_container(&id).await.unwrap_err();
        assert!(error.is(ErrorKind::Unavailable), "{error}");
        assert!(error.to_string().contains("ended at once: exit status: 1"), "{error}");
        runtime.remove_sandbox(&sandbox).await.unwrap();
    });
}

fn pause(_: &Reference) {
    Reference::apart("crnf", async |reference, runtime| {
        drop(runtime);
        let busybox = fs::read("/bin/busybox").unwrap();
        let name = "registry.local/named:1";
        let image = Recipe::named(name)
            .file("/bin/busybox", 0o755, busybox)
            .file("/etc/passwd", 0o644, "root:x:0:0::/:\nquiet:x:4000:4001::/:\n")
            .file("/etc/group", 0o644, "quiet:x:4001:\n")
            .entrypoint(&["/bin/busybox", "sleep", "1000000000"])
            .user("quiet");
        let archive = reference.lab.folder.join("named.tar");
        image.save(&archive).unwrap();
        reference.lab.launcher.import(&archive).await.unwrap();
        let native = Native { sandbox_image: name.into(), ..native(&reference.lab) };
        let connected = Containerd::connect(native, Arc::clone(&reference.network), reference.setup.clone());
        let runtime = connected.await.unwrap();
        for (user, expect) in [
            (None, Ok("4000")),
            (Some(User::Id(5000)), Ok("5000")),
            (Some(User::Name("quiet".into())), Ok("4000")),
            (Some(User::Name("nobody-there".into())), Err("nobody-there")),
            (Some(User::Id(-1)), Err("-1")),
        ] {
            let mut config = reference.pod("named");
            config.security.user = user;
            match (runtime.run_sandbox(&config).await, expect) {
                (Ok(id), Ok(expect)) => {
                    let info = runtime.info(&InfoOf::Sandbox(id.clone())).await.unwrap();
                    let info: Value = serde_json::from_str(&info["info"]).unwrap();
                    let status = fs::read_to_string(format!("/proc/{}/status", info["pid"])).unwrap();
                    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
                    assert_eq!(uid.split_whitespace().next(), Some(expect));
                    runtime.remove_sandbox(&id).await.unwrap();
                }
                (Err(error), Err(expect)) => {
                    assert!(error.is(ErrorKind::Invalid) && error.to_string().contains(expect), "{error}");
                }
                (told, _) => panic!("{:?}: {told:?}", config.security.user),
            }
        }
        assert!(runtime.sandboxes(&SandboxFilter::default()).await.unwrap().is_empty());
    });
}

fn mirrors(_: &Reference) {
    Reference::apart("crng", async |reference, runtime| {
        drop(runtime);
        let own = &reference.lab.registry;
        let [empty, full] = [(); 2].map(|()| Registry::start(reference.lab.tokio.handle()));
        let asked = |repository: &str| [&empty, &full, own].map(|registry| registry.asked(repository) > 0);
        let of = [&empty, &full].map(|registry| Mirror::at(&format!("http://{}", registry.address())).unwrap());
        // Nothing listens on the port of discard.
        let gone = Mirror::at("http://127.0.0.1:9").unwrap();
        let mirrors = [(own.address().to_owned(), [&[gone], &of[..]].concat())].into();
        let native = Native { mirrors, ..native(&reference.lab) };
        let connected = Containerd::connect(native, Arc::clone(&reference.network), reference.setup.clone());
        let runtime = connected.await.unwrap();
        let pull = async |repository: &str, auth: Option<RegistryAuth>| {
            let image = format!("{}/{repository}:1", own.address());
            let pulled = runtime.pull(&Pull { image: image.as_str().into(), auth, ..Pull::default() }).await?;
            let found = runtime.image(&image.as_str().into()).await?.expect("what was pulled has the registry's name");
            assert_eq!((found.id.as_str(), &*found.tags), (pulled.as_str(), &[image][..]));
            Ok::<_, windlass_kernel::Error>(())
        };
        let _ = full.publish("mirrored", "1", None);
        pull("mirrored", None).await.unwrap();
        assert_eq!(asked("mirrored"), [true, true, false]);
        let _ = own.publish("own", "1", None);
        pull("own", None).await.unwrap();
        assert_eq!(asked("own"), [true, true, true]);
        let error = pull("nowhere", None).await.unwrap_err();
        assert!(error.is(ErrorKind::NotFound), "{error}");
        // A secret is the registry's, unless it names the mirror.
        let auth = |server: &str| RegistryAuth {
            username: "suite".into(),
            password: "hidden".into(),
            server: server.into(),
            ..RegistryAuth::default()
        };
        for registry in [&full, own] {
            for repository in ["kept", "named"] {
                let _ = registry.publish(repository, "1", Some(("suite", "hidden")));
            }
        }
        pull("kept", Some(auth(""))).await.unwrap();
        assert_eq!(asked("kept"), [true, false, true]);
        pull("named", Some(auth(full.address()))).await.unwrap();
        assert_eq!(asked("named"), [true, true, false]);
    });
}

/// A registry that asks for a secret at a repository alone, in both ways.
fn discreet(_: &Reference) {
    Reference::apart("crnd", async |reference, runtime| {
        let registry = &reference.lab.registry;
        registry.be_discreet();
        let basic = registry.publish("kept/basic", "1", Some(("suite", "hidden")));
        let token = registry.publish("kept/token", "1", Some(("suite", "hidden")));
        registry.ask_for_token("kept/token");
        for image in [&basic, &token] {
            let pull = async |auth: Option<(&str, &str)>| {
                let auth = auth.map(|(user, password)| RegistryAuth {
                    username: user.into(),
                    password: password.into(),
                    ..RegistryAuth::default()
                });
                runtime.pull(&Pull { image: image.as_str().into(), auth, ..Pull::default() }).await
            };
            for auth in [None, Some(("suite", "guessed"))] {
                let error = pull(auth).await.unwrap_err();
                assert!(error.is(ErrorKind::Unauthorized), "{image}: {error}");
                assert!(!error.to_string().contains("guessed"), "a secret is shown: {error}");
            }
            pull(Some(("suite", "hidden"))).await.unwrap();
            assert!(runtime.image(&image.as_str().into()).await.unwrap().is_some(), "{image}");
        }
    });
}
