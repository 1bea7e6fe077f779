//! The skeleton: the whole suite on a host over a server over the fake runtime, and the manners of a server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{ClientRequestBuilder, Message},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use windlass_conformance::{
    report::Trace,
    runtime::{Fixture, Offers, Program, RawAnswer},
};
use windlass_cri::{
    host::{RemoteRuntime, Rim},
    skel::{self, Plugin, Setup},
};
use windlass_kernel::{
    ContainerRuntime, Error, ErrorKind, ImageStore, SpawnExt, Stop,
    dial::{ByteStream, Target},
    runtime::{InfoOf, Pull, RegistryAuth, SandboxFilter},
};
use windlass_machine::Machine;
use windlass_testkit::{
    pipe::duplex,
    runtime::{Act, FakeRuntime},
};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_socket_that_somebody_serves_is_not_taken", taken),
    ("a_socket_that_nobody_serves_any_more_is_replaced", replaced),
    ("a_session_is_had_once", once),
    ("a_command_is_had_over_a_websocket_with_the_end_of_its_input", command_over_websocket),
    ("ports_are_had_over_a_websocket_by_channels_and_through_a_tunnel", ports_over_websocket),
    ("a_runtime_that_panics_answers_and_serves_on", panics),
    ("a_server_that_stops_ends_its_sessions", stops),
    ("info_is_in_verbose_answers_only", verbose),
    ("a_group_without_a_user_is_refused", group_alone),
    ("checkpoints_pass_through_or_are_refused_by_name", checkpoints),
];

/// A server, and everything around it. It ends with this.
pub(crate) struct Served {
    pub(crate) tokio: Runtime,
    machine: Arc<Machine>,
    folder: TempDir,
    stop: Stop,
    fake: FakeRuntime,
    remote: RemoteRuntime,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

const IMAGE: &str = "registry.local/app:1";
const PULLED: &str = "registry.local/pulled:1";

/// Who answers at ports of sandboxes.
fn fake(machine: &Arc<Machine>) -> FakeRuntime {
    let tasks = Arc::clone(machine);
    let greet = move |_: &_, port| {
        if port != 8080 {
            return Err(Error::new(ErrorKind::Unavailable, format!("nothing is at port {port}")));
        }
        let (mut here, there) = duplex();
        let greet = async move {
            // Whoever connected may have gone.
            let _ = here.write_all(Program::GREETING.as_bytes()).await;
            let _ = here.close().await;
        };
        tasks.spawn("greet", greet).detach();
        Ok(Box::new(there) as _)
    };
    let fake = FakeRuntime::new(machine.clone(), machine.clone()).with_ports(greet);
    fake.add_image(IMAGE);
    fake.publish(PULLED, Some(("user", "secret")));
    fake
}

impl Served {
    pub(crate) fn start() -> Self {
        Self::with(|fake| fake)
    }

    fn with(change: impl FnOnce(FakeRuntime) -> FakeRuntime) -> Self {
        let tokio = Runtime::new().expect("a runtime");
        let machine = Arc::new(Machine::on(tokio.handle().clone()));
        let folder = tempfile::tempdir().expect("a folder");
        let stop = Stop::new();
        let fake = change(fake(&machine));
        let socket = folder.path().join("cri.sock");
        let remote = tokio.block_on(async {
            let serving = skel::bind(Plugin::of(fake.clone()), &socket, setup(&machine)).await.expect("a socket");
            let run = serving.run(stop.clone()).map(|done| done.expect("a server ends well"));
            machine.spawn("serve", run).detach();
            let rim = Rim { dial: machine.clone(), clock: machine.clone(), spawn: machine.clone() };
            RemoteRuntime::connect(socket.display().to_string(), rim).await.expect("the runtime answers")
        });
        Self { tokio, machine, folder, stop, fake, remote }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }

    pub(crate) fn fixture(&self) -> Fixture {
        let (reader, renamer, raw) = (self.fake.clone(), self.fake.clone(), self.remote.clone());
        let auth = RegistryAuth { username: "user".into(), password: "secret".into(), ..RegistryAuth::default() };
        Fixture {
            runtime: Arc::new(self.remote.clone()),
            images: Arc::new(self.remote.clone()),
            clock: self.machine.clone(),
            image: IMAGE.into(),
            command: Program::words,
            prefix: "c".into(),
            cgroup_parent: String::new(),
            handler: String::new(),
            logs: "/logs".into(),
            read: Arc::new(move |path| reader.log(path)),
            rename: Arc::new(move |from, to| renamer.rename_log(from, to)),
            offers: Offers { events: true, port: Some(8080), ..Offers::default() },
            pull: Some(Pull { image: PULLED.into(), auth: Some(auth), ..Pull::default() }),
            machine: None,
            restart: None,
            raw: Some(Arc::new(move |call| {
                let runtime = raw.clone();
                async move {
                    let answer = runtime.raw(call.method, call.message.into(), call.deadline).await;
                    let answer = answer.expect("the server can be reached");
                    RawAnswer { code: answer.code, body: answer.body.into() }
                }
                .boxed()
            })),
            trace: Trace::default(),
        }
    }
}

fn setup(machine: &Arc<Machine>) -> Setup {
    Setup { clock: machine.clone(), spawn: machine.clone(), entropy: machine.clone(), dial: machine.clone() }
}

fn taken() {
    let served = Served::start();
    served.tokio.block_on(async {
        let again = skel::bind(Plugin::of(served.fake.clone()), &served.socket(), setup(&served.machine)).await;
        let error = again.expect_err("somebody serves there");
        assert!(error.is(ErrorKind::AlreadyExists), "{error}");
        served.remote.version().await.expect("the first serves on");
    });
}

fn replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let tokio = Runtime::new().expect("a runtime");
    let machine = Arc::new(Machine::on(tokio.handle().clone()));
    let serving = tokio.block_on(skel::bind(Plugin::of(fake(&machine)), &socket, setup(&machine)));
    serving.expect("a file that is left is replaced");
}

/// A container of a sandbox, as small as can be.
async fn container(runtime: &RemoteRuntime, command: &Program) -> String {
    use windlass_kernel::runtime::{ContainerConfig, ContainerKey, SandboxConfig, SandboxKey};
    let key = SandboxKey { name: "a".into(), namespace: "default".into(), uid: "u".into(), attempt: 0 };
    let around = SandboxConfig { key, ..SandboxConfig::default() };
    let sandbox = runtime.run_sandbox(&around).await.expect("a sandbox runs");
    let key = ContainerKey { name: "main".into(), attempt: 0 };
    let config = ContainerConfig { key, image: IMAGE.into(), command: command.words(), ..ContainerConfig::default() };
    let id = runtime.create_container(&sandbox, &config, &around).await.expect("a container is created");
    runtime.start_container(&id).await.expect("a container starts");
    id.to_string()
}

/// A field with a text in a message.
fn text(field: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2, u8::try_from(text.len()).expect("a short text")];
    bytes.extend(text.as_bytes());
    bytes
}

/// The URL of an exec that says something.
async fn url(served: &Served, id: &str) -> String {
    // An ExecRequest by hand: the container, the words, and its output.
    let words = ["say", "out", "err", "0"].map(|word| text(2, word)).concat();
    promised(served, "Exec", [text(1, id), words, vec![0x28, 1]].concat()).await
}

/// The URL that a call answers.
async fn promised(served: &Served, call: &str, message: Vec<u8>) -> String {
    let answer = served.remote.raw(&format!("/runtime.v1.RuntimeService/{call}"), message.into(), None).await;
    let answer = answer.expect("the server answers");
    assert_eq!(answer.code, 0, "{}", answer.message);
    String::from_utf8_lossy(&answer.body[2..]).into_owned()
}

/// What is answered at a URL to a request for a session.
async fn status_line(served: &Served, url: &str) -> String {
    use windlass_kernel::Dial;
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let (name, port) = host.rsplit_once(':').expect("a port");
    let target = Target::Host { host: name.into(), port: port.parse().expect("a port") };
    let mut stream = served.machine.dial(&target).await.expect("the streaming server is there");
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("an answer");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text").trim().to_owned()
}

fn once() {
    let served = Served::start();
    served.tokio.block_on(async {
        let id = container(&served.remote, &Program::Wait).await;
        let url = url(&served, &id).await;
        assert_eq!(status_line(&served, &url).await, "HTTP/1.1 101 Switching Protocols");
        assert_eq!(status_line(&served, &url).await, "HTTP/1.1 404 Not Found");
        let guessed = format!("{}x", &url[..url.len() - 1]);
        assert_eq!(status_line(&served, &guessed).await, "HTTP/1.1 404 Not Found");
    });
}

/// A WebSocket at a URL.
async fn socket(served: &Served, url: &str, protocol: &str) -> WebSocketStream<Compat<ByteStream>> {
    use windlass_kernel::Dial;
    let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a URL");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let target = Target::Host { host: host.into(), port: port.parse().expect("a port") };
    let stream = served.machine.dial(&target).await.expect("the streaming server is there");
    let uri = url.replacen("http", "ws", 1).parse().expect("a URL");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(protocol);
    tokio_tungstenite::client_async(request, stream.compat()).await.expect("a WebSocket").0
}

/// What comes on each channel until the end.
async fn heard(mut socket: WebSocketStream<Compat<ByteStream>>) -> Vec<Vec<u8>> {
    let mut heard = vec![Vec::new(); 5];
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(data) = message {
            heard[usize::from(data[0])].extend_from_slice(&data[1..]);
        }
    }
    heard
}

fn command_over_websocket() {
    let served = Served::start();
    served.tokio.block_on(async {
        let id = container(&served.remote, &Program::Wait).await;
        let words = Program::Copy.words().iter().map(|word| text(2, word)).collect::<Vec<_>>().concat();
        // With input and output.
        let url = promised(&served, "Exec", [text(1, &id), words, vec![0x20, 1, 0x28, 1]].concat()).await;
        let mut socket = socket(&served, &url, "v5.channel.k8s.io").await;
        for message in [&b"\x00one "[..], b"\x00two", b"\xff\x00"] {
            socket.send(Message::Binary(message.to_vec().into())).await.expect("the input is taken");
        }
        let heard = heard(socket).await;
        assert_eq!(heard[1], b"one two");
        assert_eq!(heard[3], br#"{"metadata":{},"status":"Success"}"#);
    });
}

fn ports_over_websocket() {
    use windlass_kernel::spdy::{Connection, Headers, Role};
    use windlass_transport::upgrade::{Protocols, Tunnel};
    let served = Served::start();
    served.tokio.block_on(async {
        container(&served.remote, &Program::Wait).await;
        let sandboxes = served.remote.sandboxes(&SandboxFilter::default()).await.expect("a list");
        let promise = || promised(&served, "PortForward", text(1, sandboxes[0].id.as_str()));
        let url = format!("{}?port=8080&port=81", promise().await);
        let heard = heard(socket(&served, &url, "v4.channel.k8s.io").await).await;
        // Each channel begins with its port, the smaller byte first.
        assert_eq!(heard[0], [&8080u16.to_le_bytes()[..], Program::GREETING.as_bytes()].concat());
        assert_eq!(heard[1], 8080u16.to_le_bytes());
        let why = String::from_utf8_lossy(&heard[3][2..]).into_owned();
        assert!(why.starts_with("error forwarding port 81: ") && why.contains("nothing is at port 81"), "{why}");

        let tunnel = Protocols::PORTS.socket[0];
        let socket = socket(&served, &promise().await, tunnel).await;
        let (connection, driver) = Connection::new(Tunnel::new(socket), Role::Client);
        served.machine.spawn("tunnel", driver.map(drop)).detach();
        let headers = |kind| Headers::of(&[("streamtype", kind), ("port", "8080"), ("requestid", "0")]);
        let _errors = connection.open(&headers("error")).await.expect("a stream");
        let mut data = connection.open(&headers("data")).await.expect("a stream");
        let mut said = vec![0; Program::GREETING.len()];
        data.read_exact(&mut said).await.expect("the greeting");
        assert_eq!(String::from_utf8_lossy(&said), Program::GREETING);
    });
}

fn panics() {
    let served = Served::with(|fake| {
        fake.with_script(|launch| {
            assert!(launch.command != ["panic"], "as it was told");
            Act::of_words(launch)
        })
    });
    served.tokio.block_on(async {
        let id = container(&served.remote, &Program::Wait).await.as_str().into();
        let error = served.remote.exec(&id, &["panic".into()], None).await.expect_err("the runtime panicked");
        assert!(error.is(ErrorKind::Internal) && error.to_string().contains("panicked in ExecSync"), "{error}");
        served.remote.version().await.expect("the runtime answers after that");
    });
}

fn stops() {
    let served = Served::start();
    served.tokio.block_on(async {
        use windlass_kernel::{
            node::{Session, Streams},
            runtime::Opening,
        };
        let id = container(&served.remote, &Program::Wait).await;
        let streams = Streams { stdin: true, stdout: true, ..Streams::default() };
        let opening = Opening::Exec { container: id.as_str().into(), command: Program::Copy.words(), streams };
        let Session::Process(mut process) = served.remote.session(opening).await.expect("a session opens") else {
            panic!("an exec is a process");
        };
        served.stop.stop();
        let mut said = Vec::new();
        let stdout = process.stdout.as_mut().expect("an output");
        // Its end, however it is told.
        let _ = stdout.read_to_end(&mut said).await;
        assert!(said.is_empty());
    });
}

/// A message with one text as its first field, and a flag as its second.
fn asked(text: &str, verbose: bool) -> Vec<u8> {
    let mut message = vec![0x0a, u8::try_from(text.len()).expect("a short text")];
    message.extend(text.as_bytes());
    message.extend([0x10, verbose.into()]);
    message
}

fn verbose() {
    let served = Served::start();
    served.tokio.block_on(async {
        let id = container(&served.remote, &Program::Wait).await;
        let sandboxes = served.remote.sandboxes(&SandboxFilter::default()).await.expect("a list");
        let sandbox = sandboxes[0].id.clone();
        let image = asked(IMAGE, false)[..IMAGE.len() + 2].to_vec();
        let image = |verbose: bool| {
            let mut message = vec![0x0a, u8::try_from(image.len()).expect("a short name")];
            message.extend(&image);
            message.extend([0x10, verbose.into()]);
            message
        };
        let runtime = |method: &'static str| format!("/runtime.v1.RuntimeService/{method}");
        for (method, expect, message) in [
            (runtime("Status"), "images", [vec![0x08, 0], vec![0x08, 1]]),
            (runtime("PodSandboxStatus"), "hostname", [false, true].map(|flag| asked(sandbox.as_str(), flag))),
            (runtime("ContainerStatus"), "command", [false, true].map(|flag| asked(&id, flag))),
            ("/runtime.v1.ImageService/ImageStatus".into(), "size", [false, true].map(image)),
        ] {
            for (message, verbose) in message.into_iter().zip([false, true]) {
                let answer = served.remote.raw(&method, message.into(), None).await.expect("the server answers");
                assert_eq!(answer.code, 0, "{method}: {}", answer.message);
                let told = String::from_utf8_lossy(&answer.body).contains(&format!("{{\"{expect}\":"));
                assert_eq!(told, verbose, "{method}");
            }
        }
        let runtime = &served.remote;
        for of in [InfoOf::Runtime, InfoOf::Sandbox(sandbox), InfoOf::Container(id.as_str().into())] {
            let told = runtime.info(&of).await.expect("info");
            assert!(!told.is_empty() && told == served.fake.info(&of).await.expect("info"), "{of:?}: {told:?}");
        }
        let told = runtime.image_info(&IMAGE.into()).await.expect("info");
        assert!(!told.is_empty() && told == served.fake.image_info(&IMAGE.into()).await.expect("info"), "{told:?}");
    });
}

fn group_alone() {
    use windlass_kernel::runtime::{ContainerConfig, ContainerKey, SandboxConfig, SandboxKey, Security, User};
    let served = Served::start();
    served.tokio.block_on(async {
        let alone = Security { group: Some(1002), ..Security::default() };
        let key = SandboxKey { name: "a".into(), namespace: "default".into(), uid: "u".into(), attempt: 0 };
        let around = SandboxConfig { key, ..SandboxConfig::default() };
        let refused = SandboxConfig { security: alone.clone(), ..around.clone() };
        let error = served.remote.run_sandbox(&refused).await.expect_err("whose group is not said");
        assert!(error.is(ErrorKind::Invalid) && error.to_string().contains("run_as_group needs"), "{error}");
        let sandbox = served.remote.run_sandbox(&around).await.expect("a sandbox runs");
        let key = ContainerKey { name: "main".into(), attempt: 0 };
        let config = |security| ContainerConfig {
            key: key.clone(),
            image: IMAGE.into(),
            command: Program::Wait.words(),
            security,
            ..ContainerConfig::default()
        };
        let created = served.remote.create_container(&sandbox, &config(alone.clone()), &around).await;
        let error = created.expect_err("whose group is not said");
        assert!(error.is(ErrorKind::Invalid) && error.to_string().contains("run_as_group needs"), "{error}");
        let both = Security { user: Some(User::Id(1)), ..alone };
        served.remote.create_container(&sandbox, &config(both), &around).await.expect("with a user there is a group");
    });
}

fn checkpoints() {
    let without = Served::start();
    without.tokio.block_on(async {
        assert!(without.remote.checkpoints().is_none());
        let id = container(&without.remote, &Program::Wait).await;
        let message = [asked(&id, false)[..id.len() + 2].to_vec(), vec![0x12, 2, b'/', b'a']].concat();
        let method = "/runtime.v1.RuntimeService/CheckpointContainer";
        let answer = without.remote.raw(method, message.into(), None).await.expect("the server answers");
        assert!(answer.code == 12 && answer.message.contains("checkpoints"), "{} {}", answer.code, answer.message);
    });
    let served = Served::with(FakeRuntime::with_checkpoints);
    served.tokio.block_on(async {
        let id = container(&served.remote, &Program::Wait).await.as_str().into();
        let service = served.remote.checkpoints().expect("the server has the service");
        // Seconds are what the wire has; a part of one is a whole one.
        for (timeout, told) in [(None, "main within None"), (Some(Duration::from_millis(1500)), "main within Some(2s)")]
        {
            service.checkpoint(&id, Path::new("/archive"), timeout).await.expect("a checkpoint is made");
            assert_eq!(served.fake.log("/archive").as_deref(), Some(told));
        }
        served.remote.stop_container(&id, Duration::ZERO).await.expect("a container stops");
        let error = service.checkpoint(&id, Path::new("/archive"), None).await.expect_err("it does not run");
        assert!(error.to_string().contains("does not run"), "{error}");
        let error = service.checkpoint(&"none".into(), Path::new("/archive"), None).await.expect_err("it is gone");
        assert!(error.is(ErrorKind::NotFound), "{error}");
    });
}
