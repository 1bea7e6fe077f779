//! Watchers that do not read, while others write and watch.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use windlass_store::HistoryLimits;

use crate::rim::{self, Rim, Setup, parse, read};

const WATCHED: &str = "/api/v1/namespaces/default/configmaps";
/// What one event carries, so that a watcher's share of buffers is a small number of events.
const VALUE: usize = 4096;
const WRITES: usize = 4000;
/// So many changes the store keeps.
const KEPT: usize = 500;

async fn start() -> Rim {
    let history = HistoryLimits { changes: KEPT, ..HistoryLimits::default() };
    rim::assemble(Setup { history, ..Setup::default() }).await
}

/// Writes one object over and over, each write after the answer to the last.
async fn write(rim: &Rim) {
    let mut sender = rim.http1(true).await;
    let object = |value: usize| {
        let data = json!({"value": format!("{value:0VALUE$}")});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "busy"}, "data": data})
    };
    let made = sender.send_request(parse(&format!("POST {WATCHED}\n\n{}", object(0)))).await.unwrap();
    assert_eq!(read(made).await.code, 201);
    for value in 1..WRITES {
        let put = parse(&format!("PUT {WATCHED}/busy\n\n{}", object(value)));
        sender.ready().await.unwrap();
        assert_eq!(read(sender.send_request(put).await.unwrap()).await.code, 200);
    }
}

/// The events of a watch, however they were cut into chunks.
struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    fn new(answer: hyper::Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        Self { body: answer.into_body(), buffer: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

/// The number in an object, which counts its writes.
fn value(event: &Value) -> usize {
    event["object"]["data"]["value"].as_str().unwrap_or_else(|| panic!("{event}")).parse().unwrap()
}

/// Reads what a watcher is still told: writes in order from the first, and then that the rest is gone.
///
/// Returns how many writes it was told of, and the last revision that it saw.
async fn read_late(mut events: Events) -> (usize, String) {
    let (mut seen, mut last) = (0, String::new());
    while let Some(event) = events.next().await {
        if event["type"] == "ERROR" {
            let status = &event["object"];
            assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")), "{event}");
            assert_eq!(events.next().await, None, "an error is the last thing that a watch says");
            return (seen, last);
        }
        assert_eq!(value(&event), seen, "writes are told in order, each once");
        last = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        seen += 1;
    }
    panic!("a watch that missed changes ended without saying so, after {seen}");
}

/// What a client does whose watch is gone: it tries from where it was, lists, and watches from there.
async fn recover(rim: &Rim, last: &str) {
    let again = rim.http1(true).await.send_request(parse(&format!("GET {WATCHED}?watch=true&resourceVersion={last}")));
    let mut again = Events::new(again.await.unwrap());
    assert_eq!(again.next().await.unwrap()["object"]["code"], 410);
    let list = rim.send(&format!("GET {WATCHED}")).await.json();
    assert_eq!(value(&json!({"object": list["items"][0]})), WRITES - 1);
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("GET {WATCHED}?watch=true&resourceVersion={from}");
    let mut sender = rim.http1(true).await;
    let mut following = Events::new(sender.send_request(parse(&watch)).await.unwrap());
    rim.send(&format!("DELETE {WATCHED}/busy")).await;
    assert_eq!(following.next().await.unwrap()["type"], "DELETED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_read_holds_up_neither_writers_nor_the_next_stream_and_is_told_what_it_missed() {
    let rim = start().await;
    let window = 64 * 1024;
    let mut sender = rim.streams(window).await;
    let mut watch = async || {
        let request = rim::absolute(parse(&format!("GET {WATCHED}?watch=true")));
        Events::new(sender.send_request(request).await.unwrap())
    };
    let slow = watch().await;
    let mut quick = watch().await;
    // Each write has its answer before the next: a writer that waited for a watcher would never end.
    let follow = async {
        for expect in 0..WRITES {
            assert_eq!(value(&quick.next().await.unwrap()), expect);
        }
    };
    futures::join!(write(&rim), follow);

    let (seen, last) = read_late(slow).await;
    // One window at the client, one buffer of the server's, and what was cut in the middle.
    let most = (window as usize + 512 * 1024) / VALUE;
    assert!((1..=most).contains(&seen), "{seen} events were held for one who does not read");
    recover(&rim, &last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_read_holds_up_nobody_and_is_told_what_it_missed() {
    let rim = start().await;
    let mut sender = rim.http1(true).await;
    let slow = Events::new(sender.send_request(parse(&format!("GET {WATCHED}?watch=true"))).await.unwrap());
    let mut other = rim.http1(true).await;
    let mut quick = Events::new(other.send_request(parse(&format!("GET {WATCHED}?watch=true"))).await.unwrap());
    let follow = async {
        for expect in 0..WRITES {
            assert_eq!(value(&quick.next().await.unwrap()), expect);
        }
    };
    futures::join!(write(&rim), follow);

    let (seen, last) = read_late(slow).await;
    // What the kernel's buffers of a connection hold is more, but less than was written.
    assert!((1..WRITES - KEPT).contains(&seen), "{seen}");
    recover(&rim, &last).await;
}

#[tokio::test]
async fn a_watcher_that_goes_away_in_the_middle_is_forgotten() {
    let rim = rim::start().await;
    let watch = parse(&format!("GET {WATCHED}?watch=true"));
    let mut sender = rim.http1(true).await;
    let events = Events::new(sender.send_request(watch).await.unwrap());
    let open = async || {
        let text = String::from_utf8(rim.send("GET /metrics").await.body.to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with("apiserver_longrunning_requests{")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(open().await, "1");
    drop((events, sender));
    while open().await != "0" {
        tokio::task::yield_now().await;
    }
}

/// Requests without a body, as streams of one connection take them.
type Streams = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

impl Rim {
    /// An HTTP/2 connection as the administrator, each stream of which takes so many bytes before they are read.
    async fn streams(&self, window: u32) -> Streams {
        let mut builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(64 * window);
        let (sender, connection) = builder.handshake(self.connect(true, b"h2").await).await.unwrap();
        Handle::current().spawn(connection);
        sender
    }
}
