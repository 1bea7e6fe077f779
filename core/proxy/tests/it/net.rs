//! A node with three pods on a bridge, as network namespaces of this test's own.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, id},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

/// Where the servers in the pods listen.
pub(crate) const PORT: u16 = 8080;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server in that pod answered, and saw the client under this address.
    Answered { server: usize, client: IpAddr },
    /// It was refused.
    Refused,
    /// Nobody answered in time, or the network is unreachable.
    Silent,
}

/// Why this machine cannot run the tests, if it cannot.
pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    ["nft", "ip"].iter().find(|tool| Command::new(tool).arg("-V").output().is_err()).map(|tool| format!("needs {tool}"))
}

/// The namespaces. Dropping them removes everything.
pub(crate) struct Lab {
    prefix: String,
}

impl Lab {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let short: String = name.split('_').filter_map(|word| word.chars().next()).collect();
        let lab = Self { prefix: format!("wl{}{short}", id()) };
        let node = lab.name("node");
        run(&["ip", "netns", "add", &node])?;
        lab.inside(&node, &["ip", "link", "set", "lo", "up"])?;
        lab.inside(&node, &["ip", "link", "add", "br0", "type", "bridge"])?;
        lab.inside(&node, &["ip", "addr", "add", "10.201.0.1/24", "dev", "br0"])?;
        lab.inside(&node, &["ip", "link", "set", "br0", "up"])?;
        // A default route, so that service addresses are routable from the node at all.
        lab.inside(&node, &["ip", "route", "add", "default", "dev", "br0"])?;
        for knob in ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables", "net.ipv4.conf.br0.route_localnet"] {
            lab.inside(&node, &["sysctl", "-qw", &format!("{knob}=1")])?;
        }
        for pod in 0..3 {
            lab.add_pod(pod)?;
        }
        Ok(lab)
    }

    fn add_pod(&self, at: usize) -> io::Result<()> {
        let (node, pod, link) = (self.name("node"), self.name(&format!("pod{at}")), format!("v{at}"));
        run(&["ip", "netns", "add", &pod])?;
        self.inside(&node, &["ip", "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pod])?;
        self.inside(&node, &["ip", "link", "set", &link, "master", "br0", "up"])?;
        self.inside(&node, &["ip", "link", "set", &link, "type", "bridge_slave", "hairpin", "on"])?;
        self.inside(&pod, &["ip", "addr", "add", &format!("{}/24", self.pod(at)), "dev", "eth0"])?;
        self.inside(&pod, &["ip", "link", "set", "lo", "up"])?;
        self.inside(&pod, &["ip", "link", "set", "eth0", "up"])?;
        self.inside(&pod, &["ip", "route", "add", "default", "via", "10.201.0.1"])?;
        let listener = within(&pod, move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        thread::Builder::new().name(format!("pod{at}")).spawn(move || serve(&listener, at))?;
        let socket = within(&pod, move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        thread::Builder::new().name(format!("pod{at}")).spawn(move || echo(&socket, at))?;
        Ok(())
    }

    pub(crate) fn pod(&self, at: usize) -> IpAddr {
        Ipv4Addr::new(10, 201, 0, 10 + u8::try_from(at).unwrap()).into()
    }

    pub(crate) fn node(&self) -> IpAddr {
        Ipv4Addr::new(10, 201, 0, 1).into()
    }

    pub(crate) fn pod_connects(&self, at: usize, ip: IpAddr, port: u16) -> Outcome {
        connect(&self.name(&format!("pod{at}")), (ip, port).into())
    }

    /// A socket of a pod, for packets without a connection.
    pub(crate) fn pod_socket(&self, at: usize) -> UdpSocket {
        let bind = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        };
        within(&self.name(&format!("pod{at}")), bind).unwrap()
    }

    /// The file of a pod's namespace.
    pub(crate) fn pod_space(&self, at: usize) -> PathBuf {
        format!("/run/netns/{}", self.name(&format!("pod{at}"))).into()
    }

    /// The file of the node's namespace.
    pub(crate) fn node_space(&self) -> PathBuf {
        format!("/run/netns/{}", self.name("node")).into()
    }

    pub(crate) fn node_connects(&self, ip: IpAddr, port: u16) -> Outcome {
        connect(&self.name("node"), (ip, port).into())
    }

    pub(crate) fn node_command(&self, program: &str) -> Vec<String> {
        ["ip", "netns", "exec", &self.name("node"), program].map(Into::into).into()
    }

    pub(crate) fn node_output(&self, program: &str, arguments: &[&str]) -> String {
        let command = self.node_command(program);
        let output = Command::new(&command[0]).args(&command[1..]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    fn inside(&self, namespace: &str, command: &[&str]) -> io::Result<()> {
        run(&[&["ip", "netns", "exec", namespace], command].concat())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for part in ["pod0", "pod1", "pod2", "node"] {
            let _ = run(&["ip", "netns", "del", &self.name(part)]);
        }
    }
}

fn run(command: &[&str]) -> io::Result<()> {
    let output = Command::new(command[0]).args(&command[1..]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}

/// Runs `work` on a thread inside a network namespace; the sockets it makes stay there.
pub(crate) fn within<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = format!("/run/netns/{namespace}");
    let inside = thread::Builder::new().spawn(move || {
        let file = std::fs::File::open(path)?;
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
        work()
    })?;
    inside.join().map_err(|_| io::Error::other("the thread panicked"))?
}

/// Tells each client which pod answered and under which address it came.
fn serve(listener: &TcpListener, at: usize) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let Ok(peer) = stream.peer_addr() else { continue };
        let _ = write!(stream, "{at} {}", peer.ip());
    }
}

/// Tells whoever sends something which pod got it.
fn echo(socket: &UdpSocket, at: usize) {
    let mut buffer = [0; 8];
    while let Ok((_, client)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(at.to_string().as_bytes(), client);
    }
}

/// Sends a packet and returns which pod got it; `None` if nobody did.
pub(crate) fn ask(socket: &UdpSocket, ip: IpAddr, port: u16) -> Option<usize> {
    socket.send_to(b"?", (ip, port)).unwrap();
    let mut buffer = [0; 8];
    let length = socket.recv(&mut buffer).ok()?;
    String::from_utf8_lossy(&buffer[..length]).parse().ok()
}

fn connect(namespace: &str, to: SocketAddr) -> Outcome {
    let answer = within(namespace, move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    match answer {
        Ok(text) => {
            let (server, client) = text.split_once(' ').expect("a server says who it is");
            Outcome::Answered { server: server.parse().unwrap(), client: client.parse().unwrap() }
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Silent,
    }
}
