//! What a scripted pod's ports say: HTTP requests are answered with what was asked, anything else is echoed.
//!
//! Only as much HTTP/1.1 as clients of a cluster need: heads, bodies with a length or in chunks, one request after the
//! other, redirects and upgrades.

use std::io;

use futures::{AsyncReadExt, AsyncWriteExt};
use serde_json::json;
use windlass_kernel::controller::ObjectKey;

use crate::pipe::End;

/// A head that is longer is no head.
const HEAD: usize = 64 * 1024;

/// Serves one connection to `port` of a pod until its client ends it.
pub(super) async fn serve(mut stream: End, pod: ObjectKey, port: u16) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        if bytes.is_empty() && !fill(&mut stream, &mut bytes).await? {
            return Ok(());
        }
        if !speaks_http(&bytes) {
            return echo(stream, &bytes).await;
        }
        let end = loop {
            match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if bytes.len() > HEAD || !fill(&mut stream, &mut bytes).await? => {
                    return echo(stream, &bytes).await;
                }
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end);
        let asked = Asked::read(&head);
        if let Some(protocol) = asked.header("upgrade") {
            let head =
                format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            return echo(stream, &bytes).await;
        }
        let body = body(&asked, &mut stream, &mut bytes).await?;
        stream.write_all(&answer(&asked, &body, &pod, port)).await?;
        stream.flush().await?;
        if asked.header("connection").is_some_and(|text| text.eq_ignore_ascii_case("close")) {
            return stream.close().await;
        }
    }
}

async fn fill(stream: &mut End, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let read = stream.read(&mut chunk).await?;
    bytes.extend_from_slice(&chunk[..read]);
    Ok(read > 0)
}

async fn echo(stream: End, first: &[u8]) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    to.write_all(first).await?;
    futures::io::copy(&mut from, &mut to).await?;
    to.close().await
}

/// Whether the first bytes may begin a request: a method, a space and a path.
fn speaks_http(bytes: &[u8]) -> bool {
    const METHODS: [&str; 7] = ["GET /", "HEAD /", "POST /", "PUT /", "PATCH /", "DELETE /", "OPTIONS /"];
    METHODS.iter().any(|method| bytes.starts_with(method.as_bytes()))
}

struct Asked {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn read(head: &str) -> Self {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Self { method, path, headers }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

async fn body(asked: &Asked, stream: &mut End, bytes: &mut Vec<u8>) -> io::Result<String> {
    let mut out = Vec::new();
    let mut take = async |bytes: &mut Vec<u8>, length: usize| -> io::Result<Vec<u8>> {
        while bytes.len() < length {
            if !fill(stream, bytes).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes.drain(..length).collect())
    };
    if asked.header("transfer-encoding").is_some_and(|text| text.contains("chunked")) {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(take(bytes, 1).await?);
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
            let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            out.extend(take(bytes, size).await?);
            take(bytes, 2).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = asked.header("content-length").and_then(|text| text.parse().ok()) {
        out = take(bytes, length).await?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// `/status/N` answers that code, `/redirect/X` leads to `/X`; every other path is answered with what was asked.
fn answer(asked: &Asked, body: &str, pod: &ObjectKey, port: u16) -> Vec<u8> {
    let path = asked.path.split('?').next().unwrap_or_default();
    let code = path.strip_prefix("/status/").and_then(|code| code.parse::<u16>().ok());
    let (code, more) = match path.strip_prefix("/redirect/") {
        Some(to) => (302, format!("Location: /{to}\r\n")),
        None => (code.unwrap_or(200), String::new()),
    };
    let headers: serde_json::Map<_, _> =
        asked.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let said = json!({
        "pod": pod.to_string(), "port": port, "method": asked.method, "path": asked.path, "headers": headers, "body": body,
    });
    let said = if code == 204 || code == 304 { String::new() } else { format!("{said}\n") };
    let head = format!(
        "HTTP/1.1 {code} Scripted\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n",
        said.len()
    );
    let mut out = head.into_bytes();
    if asked.method != "HEAD" {
        out.extend_from_slice(said.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, executor::block_on, future::join};

    use super::*;
    use crate::pipe;

    fn check(sent: &str, expect: &[&str]) {
        let (mut near, far) = pipe::duplex();
        let talk = async {
            near.write_all(sent.as_bytes()).await.unwrap();
            near.close().await.unwrap();
            let mut said = String::new();
            near.read_to_string(&mut said).await.unwrap();
            said
        };
        let (said, _) = block_on(join(talk, serve(far, ObjectKey::new("n", "p"), 80)));
        for part in expect {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn requests_are_answered_and_other_bytes_echoed() {
        check("hello", &["hello"]);
        check("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", &["200", r#""path":"/a?b=c""#, r#""pod":"n/p""#]);
        check("PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", &[r#""body":"hi""#]);
        check("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", &[r#""body":"hi""#]);
        check("GET /redirect/b HTTP/1.1\r\n\r\n", &["302", "Location: /b\r\n"]);
        check("GET /status/404 HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n", &["404", r#""path":"/x""#]);
        check("GET / HTTP/1.1\r\nUpgrade: foo\r\n\r\nbytes", &["101", "Upgrade: foo\r\n", "\r\n\r\nbytes"]);
    }
}
