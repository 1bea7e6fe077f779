//! Names that are not the cluster's, asked of servers upstream: real sockets on loopback, time that stands still.

use std::{net::SocketAddr, str::FromStr, sync::Arc};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Handle,
    sync::Notify,
};
use windlass_dns::{Server, Zone, zone::Service};
use windlass_kernel::{Stop, controller::ObjectKey};
use windlass_machine::TokioSpawn;
use windlass_testkit::ManualClock;

/// A server upstream: knows one address for every name, or says nothing.
#[derive(Clone)]
struct Upstream {
    address: SocketAddr,
    silent: bool,
    /// What was asked, and by which transport.
    asked: Arc<Mutex<Vec<String>>>,
    heard: Arc<Notify>,
}

impl Upstream {
    async fn start(silent: bool) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let upstream = Self { address, silent, asked: Arc::default(), heard: Arc::default() };
        let (by_udp, by_tcp) = (upstream.clone(), upstream.clone());
        Handle::current().spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = by_udp.answer("udp", &buffer[..length]) {
                    udp.send_to(&answer, client).await.unwrap();
                }
            }
        });
        Handle::current().spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let query = read(&mut stream).await;
                if let Some(answer) = by_tcp.answer("tcp", &query) {
                    write(&mut stream, &answer).await;
                }
            }
        });
        upstream
    }

    fn answer(&self, transport: &str, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries[0].clone();
        self.asked.lock().push(format!("{transport} {} {}", question.name(), question.query_type()));
        self.heard.notify_one();
        let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        answer.add_query(question.clone());
        let address = RData::A(A([192, 0, 2, 7].into()));
        answer.add_answers([Record::from_rdata(question.name().clone(), 60, address)]);
        (!self.silent).then(|| answer.to_vec().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u16().await.unwrap();
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.unwrap();
    message
}

async fn write(stream: &mut TcpStream, message: &[u8]) {
    stream.write_u16(u16::try_from(message.len()).unwrap()).await.unwrap();
    stream.write_all(message).await.unwrap();
}

/// The cluster's name server, which knows one alias: `alias.n` is `www.example.com`.
struct Cluster {
    address: SocketAddr,
    clock: ManualClock,
    stop: Stop,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

async fn serve(upstream: Vec<SocketAddr>) -> Cluster {
    let mut zone = Zone::new("cluster.local");
    zone.set(&ObjectKey::new("n", "alias"), Some(Service::External("www.example.com".into())));
    let (clock, stop) = (ManualClock::default(), Stop::new());
    let spawn = Arc::new(TokioSpawn::current());
    let server = Server::new(Arc::new(RwLock::new(zone)), upstream, Arc::new(clock.clone()), spawn);
    let bound = server.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    Handle::current().spawn(bound.run(stop.clone()));
    Cluster { address, clock, stop }
}

fn query(name: &str) -> Vec<u8> {
    let mut query = Message::query();
    query.metadata.id = 7;
    query.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    query.to_vec().unwrap()
}

/// The addresses and the code of an answer.
fn said(answer: &[u8]) -> (Vec<String>, ResponseCode) {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!(answer.metadata.id, 7);
    (answer.answers.iter().map(|record| record.data.to_string()).collect(), answer.metadata.response_code)
}

impl Cluster {
    async fn ask_udp(&self, name: &str) -> (Vec<String>, ResponseCode) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&query(name), self.address).await.unwrap();
        let mut answer = [0; 4096];
        let (length, _) = socket.recv_from(&mut answer).await.unwrap();
        said(&answer[..length])
    }

    #[allow(clippy::disallowed_methods, reason = "a client of the server under test")]
    async fn ask_tcp(&self, name: &str) -> (Vec<String>, ResponseCode) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        write(&mut stream, &query(name)).await;
        said(&read(&mut stream).await)
    }
}

#[tokio::test]
async fn other_names_are_asked_upstream_by_the_clients_transport() {
    let upstream = Upstream::start(false).await;
    let cluster = serve(vec![upstream.address]).await;
    let found = (vec!["192.0.2.7".to_owned()], ResponseCode::NoError);
    assert_eq!(cluster.ask_udp("example.com.").await, found);
    assert_eq!(cluster.ask_tcp("example.org.").await, found);
    assert_eq!(upstream.asked(), ["udp example.com. A", "tcp example.org. A"]);
}

#[tokio::test]
async fn the_clusters_own_names_are_never_asked_upstream() {
    let upstream = Upstream::start(false).await;
    let cluster = serve(vec![upstream.address]).await;
    let (records, code) = cluster.ask_udp("absent.n.svc.cluster.local.").await;
    assert_eq!((records.len(), code), (0, ResponseCode::NXDomain));
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn an_alias_is_answered_with_the_address_behind_it() {
    let upstream = Upstream::start(false).await;
    let cluster = serve(vec![upstream.address]).await;
    let (records, _) = cluster.ask_udp("alias.n.svc.cluster.local.").await;
    assert_eq!(records, ["www.example.com.", "192.0.2.7"]);
    assert_eq!(upstream.asked(), ["udp www.example.com. A"]);
}

#[tokio::test]
async fn a_silent_server_is_followed_by_the_next() {
    let (silent, second) = (Upstream::start(true).await, Upstream::start(false).await);
    let cluster = serve(vec![silent.address, second.address]).await;
    let patience = async {
        silent.heard.notified().await;
        cluster.clock.advance(std::time::Duration::from_secs(2));
    };
    let ((records, _), ()) = futures::join!(cluster.ask_udp("example.com."), patience);
    assert_eq!((records, second.asked().len()), (vec!["192.0.2.7".to_owned()], 1));
}

#[tokio::test]
async fn without_a_server_upstream_the_failure_is_said() {
    let cluster = serve(vec![]).await;
    assert_eq!(cluster.ask_udp("example.com.").await, (vec![], ResponseCode::ServFail));
}
