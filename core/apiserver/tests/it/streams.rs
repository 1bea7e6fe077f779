//! Sessions over HTTP: WebSocket channels, SPDY streams and SPDY in a WebSocket, against a node without containers.

use std::sync::Arc;

use base64::Engine as _;
use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, ClientRequestBuilder, Message},
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Error, ErrorKind, NodeAgent, Result,
    node::NodeAgents,
    spdy::{Connection, Headers, Role, Stream},
};
use windlass_testkit::{FakeAgent, FakeNode};

use crate::{
    pods::pod,
    rim::{self, Rim, read},
};

#[derive(Debug)]
struct One(FakeAgent);

impl NodeAgents for One {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        let known = name == "n1";
        known.then(|| Arc::new(self.0.clone()) as _).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such node"))
    }
}

type Socket = WebSocketStream<rim::Stream>;

/// A server with a pod `a` that runs.
async fn start() -> Rim {
    let mut agent = None;
    let rim = rim::start_on(|clock, spawn| {
        let fake = FakeAgent::new(FakeNode::new("n1", 0), clock, spawn);
        agent = Some(fake.clone());
        Arc::new(One(fake))
    })
    .await;
    let agent = agent.unwrap();
    let account = r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}"#;
    create(&rim, "serviceaccounts", account).await;
    let mut object = pod("a");
    object["apiVersion"] = "v1".into();
    object["kind"] = "Pod".into();
    object["spec"]["nodeName"] = "n1".into();
    let made = create(&rim, "pods", &object.to_string()).await;
    let mut reports = agent.reports();
    agent.sync(vec![Arc::new(serde_json::from_value(made).unwrap())]).await.unwrap();
    reports.next().await.unwrap();
    rim
}

async fn create(rim: &Rim, resource: &str, body: &str) -> Value {
    let head = format!("POST /api/v1/namespaces/default/{resource}\ncontent-type: application/json\n\n{body}");
    let answer = rim.send(&head).await;
    assert_eq!(answer.code, 201, "{answer:?}");
    answer.json()
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const POD: &str = "/api/v1/namespaces/default/pods/a";

async fn dial(rim: &Rim, target: &str, protocol: &str) -> tungstenite::Result<Socket> {
    let uri = format!("wss://localhost{POD}/{target}").parse().unwrap();
    let request = ClientRequestBuilder::new(uri);
    let request = if protocol.is_empty() { request } else { request.with_sub_protocol(protocol) };
    tokio_tungstenite::client_async(request, rim.stream().await).await.map(|(socket, _)| socket)
}

/// All that comes until the server closes: the text of each channel, by channel.
async fn hear(socket: &mut Socket) -> Vec<String> {
    let mut heard = vec![Vec::new(); 5];
    while let Some(message) = socket.next().await {
        match message.unwrap() {
            Message::Binary(data) => heard[usize::from(data[0])].extend_from_slice(&data[1..]),
            Message::Text(text) => {
                let data = base64::engine::general_purpose::STANDARD.decode(&text[1..]).unwrap();
                heard[usize::from(text.as_bytes()[0] - b'0')].extend_from_slice(&data);
            }
            Message::Close(frame) => assert_eq!(u16::from(frame.unwrap().code), 1000),
            _ => {}
        }
    }
    heard.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

fn exec(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("&command={word}")).collect();
    format!("exec?stdin=true&stdout=true&stderr=true{words}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_its_output_and_how_it_ended() {
    let rim = start().await;
    let mut socket = dial(&rim, &exec(&["echo", "hi"]), "v5.channel.k8s.io").await.unwrap();
    let heard = hear(&mut socket).await;
    assert_eq!((&*heard[1], &*heard[2]), ("hi\n", ""));
    assert_eq!(heard[3], r#"{"metadata":{},"status":"Success"}"#);

    let mut socket = dial(&rim, &exec(&["exit", "3"]), "v4.channel.k8s.io").await.unwrap();
    let told: Value = serde_json::from_str(&hear(&mut socket).await[3]).unwrap();
    assert_eq!((told["reason"].as_str(), told["status"].as_str()), (Some("NonZeroExitCode"), Some("Failure")));
    assert_eq!(told["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));

    for protocol in ["", "channel.k8s.io", "base64.channel.k8s.io"] {
        let mut socket = dial(&rim, &exec(&["echo", "hi"]), protocol).await.unwrap();
        assert_eq!(hear(&mut socket).await, ["", "hi\n", "", "", ""], "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_input_can_be_said_since_version_5() {
    let rim = start().await;
    let mut socket = dial(&rim, &exec(&["cat"]), "v5.channel.k8s.io").await.unwrap();
    for data in [&b"\x00one "[..], b"\x00", b"\x00two", b"\xff\x00"] {
        socket.send(Message::Binary(data.to_vec().into())).await.unwrap();
    }
    assert_eq!(hear(&mut socket).await[1], "one two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_as_a_status_before_the_upgrade() {
    let rim = start().await;
    for (target, code, why) in [
        (format!("a/{}&container=x", exec(&["echo"])), 400, "container x is not valid for pod a"),
        (format!("a/{}", exec(&[])), 400, "you must specify at least one command for the container"),
        ("a/portforward?ports=x".into(), 400, "invalid port \"x\": must be from 1 to 65535"),
        ("b/exec?stdout=true&command=a".into(), 404, "pods \"b\" not found"),
    ] {
        let path = format!("{PODS}/{target}");
        let request = format!(
            "GET {path}\nconnection: Upgrade\nupgrade: websocket\nsec-websocket-version: 13\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\nsec-websocket-protocol: v4.channel.k8s.io"
        );
        let answer = rim.send(&request).await;
        assert_eq!((answer.code, answer.json()["message"].as_str()), (code, Some(why)), "{path}");
    }
    let plain = rim.send(&format!("GET {POD}/{}", exec(&["echo"]))).await;
    assert_eq!((plain.code, plain.json()["message"].as_str()), (400, Some("Upgrade request required")));
    let mut sender = rim.http1(false).await;
    let stranger = rim::parse(&format!("GET {POD}/{}\nauthorization: Bearer user-token", exec(&["echo"])));
    assert_eq!(read(sender.send_request(stranger).await.unwrap()).await.code, 403);
}

/// A SPDY connection to the pod, by an upgrade.
async fn spdy(rim: &Rim, target: &str, protocol: &str) -> Connection {
    let mut sender = rim.http1(true).await;
    let request =
        format!("POST {POD}/{target}\nconnection: Upgrade\nupgrade: SPDY/3.1\nx-stream-protocol-version: {protocol}");
    let answer = sender.send_request(rim::parse(&request)).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-stream-protocol-version"].to_str().unwrap()),
        (101, protocol)
    );
    let upgraded = hyper::upgrade::on(answer).await.unwrap();
    let (connection, driver) = Connection::new(TokioIo::new(upgraded).compat(), Role::Client);
    tokio::runtime::Handle::current().spawn(driver);
    connection
}

async fn text(mut stream: Stream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_over_spdy_streams() {
    let rim = start().await;
    let connection = spdy(&rim, &exec(&["cat"]), "v4.channel.k8s.io").await;
    let open = |kind| {
        let connection = connection.clone();
        async move { connection.open(&Headers::of(&[("streamType", kind)])).await.unwrap() }
    };
    let (error, mut stdin, stdout) = (open("error").await, open("stdin").await, open("stdout").await);
    let stderr = open("stderr").await;
    let large = "0123456789".repeat(50_000);
    let said = async {
        stdin.write_all(large.as_bytes()).await.unwrap();
        stdin.close().await.unwrap();
    };
    let (heard, (), told, err) = futures::join!(text(stdout), said, text(error), text(stderr));
    assert!(heard == large);
    assert_eq!((&*told, &*err), (r#"{"metadata":{},"status":"Success"}"#, ""));
}

async fn forward(connection: &Connection) {
    for request in ["0", "1"] {
        let headers = |kind| Headers::of(&[("streamtype", kind), ("port", "80"), ("requestid", request)]);
        let mut error = connection.open(&headers("error")).await.unwrap();
        error.close().await.unwrap();
        let mut data = connection.open(&headers("data")).await.unwrap();
        data.write_all(b"knock knock").await.unwrap();
        data.close().await.unwrap();
        assert_eq!((text(data).await, text(error).await), ("knock knock".into(), String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_over_spdy_plain_and_in_a_websocket() {
    let rim = start().await;
    forward(&spdy(&rim, "portforward", "portforward.k8s.io").await).await;

    let socket = dial(&rim, "portforward", "SPDY/3.1+portforward.k8s.io").await.unwrap();
    let (near, far) = windlass_testkit::pipe::duplex();
    let (mut sink, mut stream) = socket.split();
    let (mut from, mut to) = far.split();
    tokio::runtime::Handle::current().spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            to.write_all(&message.into_data()).await.unwrap();
        }
    });
    tokio::runtime::Handle::current().spawn(async move {
        let mut buffer = vec![0; 1000];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            sink.send(Message::Binary(buffer[..count].to_vec().into())).await.unwrap();
        }
    });
    let (connection, driver) = Connection::new(near, Role::Client);
    tokio::runtime::Handle::current().spawn(driver);
    forward(&connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_over_pairs_of_channels() {
    let rim = start().await;
    let mut socket = dial(&rim, "portforward?ports=80&ports=8080", "v4.channel.k8s.io").await.unwrap();
    let mut named = Vec::new();
    for _ in 0..4 {
        named.push(socket.next().await.unwrap().unwrap().into_data().to_vec());
    }
    named.sort();
    assert_eq!(named, [vec![0, 80, 0], vec![1, 80, 0], vec![2, 144, 31], vec![3, 144, 31]]);
    socket.send(Message::Binary(b"\x02knock".to_vec().into())).await.unwrap();
    assert_eq!(&*socket.next().await.unwrap().unwrap().into_data(), b"\x02knock");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_over_a_websocket() {
    let rim = start().await;
    let mut socket = dial(&rim, "log", "binary.k8s.io").await.unwrap();
    let mut log = Vec::new();
    while let Some(Ok(Message::Binary(data))) = socket.next().await {
        log.extend_from_slice(&data);
    }
    assert_eq!(String::from_utf8(log).unwrap(), "c runs i\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_the_server() {
    let rim = start().await;
    let mut socket = dial(&rim, &exec(&["cat"]), "v5.channel.k8s.io").await.unwrap();
    assert_eq!(&*socket.next().await.unwrap().unwrap().into_data(), b"\x01");
    rim.stop.stop();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(frame.code), 1001);
}
