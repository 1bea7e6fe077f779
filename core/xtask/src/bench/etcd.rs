//! Raw puts into etcd, where it is installed: what the store under a Kubernetes API server takes by itself.

use std::{
    cell::Cell,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes};
use futures::future::try_join_all;
use http::Method;

use super::{client::Connection, process::Usage};

/// Puts in a second, and the CPU of each in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Puts {
    pub(super) rate: f64,
    pub(super) cpu_micros: f64,
}

struct Etcd {
    child: Child,
    folder: PathBuf,
    address: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn start(folder: &Path) -> Result<Option<Etcd>> {
    let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
    if Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let folder = folder.join("etcd");
    let _ = fs::remove_dir_all(&folder);
    let (address, peers) = (free_address()?, free_address()?);
    let mut command = Command::new(&program);
    for (flag, value) in [
        ("--listen-client-urls", format!("http://{address}")),
        ("--advertise-client-urls", format!("http://{address}")),
        ("--listen-peer-urls", format!("http://{peers}")),
        ("--initial-advertise-peer-urls", format!("http://{peers}")),
        ("--initial-cluster", format!("default=http://{peers}")),
    ] {
        command.args([flag, &value]);
    }
    command.arg("--data-dir").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("cannot start etcd")?;
    Ok(Some(Etcd { child, folder, address }))
}

/// Puts values of `size` bytes from `clients` connections. `None` where there is no etcd.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
pub(super) async fn puts(folder: &Path, clients: usize, size: usize, time: Duration) -> Result<Option<Puts>> {
    let Some(etcd) = start(folder)? else { return Ok(None) };
    let begun = Instant::now();
    while put(&etcd.address, size).await.is_err() {
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("etcd takes no put after 30 seconds");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let connections = try_join_all((0..clients).map(|_| Connection::clear(&etcd.address))).await?;
    let pid = [etcd.child.id()];
    let (before, given) = (Usage::of(&pid)?, Cell::new(0_u64));
    let started = Instant::now();
    let each = connections.into_iter().map(|mut connection| {
        let given = &given;
        async move {
            while started.elapsed() < time {
                given.set(given.get() + 1);
                send(&mut connection, &format!("/bench/{:08}", given.get()), size).await?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(each).await?;
    let (took, used) = (started.elapsed(), Usage::of(&pid)? - before);
    let done = given.get() as f64;
    Ok(Some(Puts { rate: done / took.as_secs_f64(), cpu_micros: used.cpu.as_secs_f64() * 1e6 / done }))
}

async fn put(address: &str, size: usize) -> Result<()> {
    send(&mut Connection::clear(address).await?, "/bench/first", size).await
}

async fn send(connection: &mut Connection, key: &str, size: usize) -> Result<()> {
    let body = message(key.as_bytes(), &vec![b'x'; size]);
    let (kind, path) = (Some("application/grpc"), "/etcdserverpb.KV/Put");
    let (status, length) = connection.exchange(Method::POST, path, kind, body).await?;
    // A refusal has no message, only trailers.
    if !status.is_success() || length == 0 {
        bail!("etcd refused a put: {status}");
    }
    Ok(())
}

/// A gRPC frame with a `PutRequest`: the key is field 1, the value field 2.
fn message(key: &[u8], value: &[u8]) -> Bytes {
    let mut request = Vec::with_capacity(key.len() + value.len() + 16);
    for (tag, bytes) in [(0x0a_u8, key), (0x12, value)] {
        request.put_u8(tag);
        let mut left = bytes.len();
        while left >= 0x80 {
            request.put_u8((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        request.put_u8(left as u8);
        request.put_slice(bytes);
    }
    let mut frame = Vec::with_capacity(request.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(request.len()).unwrap_or(u32::MAX));
    frame.put_slice(&request);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_framed_as_grpc_has_it() {
        assert_eq!(message(b"k", b"v").as_ref(), [0, 0, 0, 0, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
        assert_eq!(message(b"", &[0; 300])[5..10], [0x0a, 0, 0x12, 0xac, 2]);
    }
}
