//! The reference runtime on a containerd without CRI: the whole suite directly, and on a host over a server that is a process of
//! its own and is killed in the middle of calls.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use serde_json::{Value, json};
use windlass_cni::{bridge::Bridge, skel as cni, wire::PluginConfig};
use windlass_conformance::{
    report::Trace,
    runtime::{Fixture, Machine as Seen, Offers, Program, Raw, RawAnswer, Restart},
};
use windlass_cri::{
    containerd::{Containerd, Native},
    host::RemoteRuntime,
    skel::{self, Plugin, Setup},
};
use windlass_grpc::Machine;
use windlass_kernel::{
    ClockExt, ContainerRuntime, ImageStore, PodNetwork, Spawn,
    runtime::{Pull, RegistryAuth, SandboxFilter},
};
use windlass_lab::{BUSYBOX, BareLab};

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
