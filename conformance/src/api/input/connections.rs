//! Connections that do not behave.

use std::pin::pin;

use futures::{
    AsyncReadExt, AsyncWriteExt,
    future::{join_all, select},
};

use super::lives;
use crate::api::{Opened, world::World};

/// So many connections misbehave at once.
const CROWD: usize = 40;

pub(super) async fn half_open(w: World) {
    let mut kept = Vec::new();
    for number in 0..CROWD {
        let mut stream = w.open(Opened::Bare).await.expect("a connection");
        // Nothing, the start of a greeting, a greeting that never ends, and what is no TLS at all.
        let said: &[u8] = match number % 4 {
            0 => b"",
            1 => b"\x16\x03\x01",
            2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            _ => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        // The server may have hung up on nonsense already.
        let _ = stream.write_all(said).await;
        let _ = stream.flush().await;
        kept.push(stream);
    }
    // A new connection gets through to the server beside them.
    let mut stream = w.open(Opened::One).await.expect("a connection beside those that do not behave");
    let head = exchange(&w, &mut stream, "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    lives(&w).await;
    drop(kept);
    lives(&w).await;
}

/// What is answered to a text, until the server ends the connection.
async fn exchange(
    w: &World,
    stream: &mut (impl futures::AsyncRead + futures::AsyncWrite + Send + Unpin),
    text: &str,
) -> String {
    let work = async {
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        // A connection that is cut says no less than one that ends well.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    w.within("the connection ends", work).await
}

pub(super) async fn slow(w: World) {
    let mut kept = Vec::new();
    for number in 0..CROWD {
        let mut stream = w.open(Opened::One).await.expect("a connection");
        let said = if number % 2 == 0 {
            "GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned()
        } else {
            format!(
                "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{",
                w.path("configmaps")
            )
        };
        stream.write_all(said.as_bytes()).await.expect("a server that listens");
        stream.flush().await.expect("a server that listens");
        kept.push(stream);
    }
    let others = (0..20).map(|_| lives(&w));
    join_all(others).await;
    drop(kept);
    lives(&w).await;
}

pub(super) async fn smuggled(w: World) {
    for text in [
        "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /version HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        "GET /version HTTP/9.9\r\nHost: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut stream = w.open(Opened::One).await.expect("a connection");
        let answer = exchange(&w, &mut stream, text).await;
        let code = answer.split(' ').nth(1).unwrap_or_default();
        assert!(answer.is_empty() || code.starts_with('4') || code == "505", "{text:?} was answered {answer:?}");
    }
    let mut stream = w.open(Opened::One).await.expect("a connection");
    let large = format!("GET /version HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(4 << 20));
    let answer = exchange(&w, &mut stream, &large).await;
    let code = answer.split(' ').nth(1).unwrap_or_default();
    assert!(answer.is_empty() || code.starts_with('4'), "a header of 4 MiB was answered {:?}", answer.get(..100));
    lives(&w).await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(super) async fn reset(w: World) {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    let stream = match w.open(Opened::Two).await {
        Ok(stream) => stream,
        // Nothing can be reset where HTTP/2 is not spoken.
        Err(error) if error.is(windlass_kernel::ErrorKind::NotSupported) => return,
        Err(error) => panic!("no connection: {error}"),
    };
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    // GET / over https of the authority "x", by HPACK's static table.
    let head = [0x82, 0x84, 0x87, 0x41, 1, b'x'];
    for number in 0..5_000 {
        let id = 2 * number + 1;
        said.extend(frame(HEADERS, 0b101, id, &head));
        said.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let (mut reading, mut writing) = stream.split();
    let write = pin!(async {
        // The server is free to hang up in the middle.
        let _ = writing.write_all(&said).await;
        let _ = writing.flush().await;
    });
    // Whoever does not read what is answered would be in its own way.
    let mut answers = Vec::new();
    let read = pin!(reading.read_to_end(&mut answers));
    w.within("the streams are sent", select(write, read)).await;
    let others = (0..20).map(|_| lives(&w));
    join_all(others).await;
    drop((reading, writing));
    lives(&w).await;
}
