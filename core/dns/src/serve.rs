//! The name server's sockets: UDP and TCP in, upstream servers for what is not the cluster's.
//!
//! This is where the crate meets the network; what to answer is decided in [`message`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use windlass_kernel::{Clock, ClockExt, Error, ErrorKind, Result, Spawn, SpawnExt, Stop};
use windlass_transport::tcp;

use crate::{
    message::{self, Reply},
    zone::Zone,
};

/// How long one upstream server may take.
const UPSTREAM: Duration = Duration::from_secs(2);
/// How long a TCP client may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// What UDP carries without EDNS (RFC 1035 section 2.3.4).
const UDP: usize = 512;
/// The greatest message.
const GREATEST: usize = 65_535;

/// A name server for a zone.
#[derive(Clone, Debug)]
pub struct Server {
    zone: Arc<RwLock<Zone>>,
    upstream: Arc<[SocketAddr]>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

/// A name server that has its address.
#[derive(Debug)]
pub struct Bound {
    server: Server,
    address: SocketAddr,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: Stop) {
        let Self { server, udp, tcp, .. } = self;
        stop.race(futures::future::join(server.clone().serve_udp(udp), server.serve_tcp(tcp))).await;
    }
}

impl Server {
    /// A server that answers from `zone` and asks `upstream`, in order, for other names.
    #[must_use]
    pub fn new(
        zone: Arc<RwLock<Zone>>,
        upstream: Vec<SocketAddr>,
        clock: Arc<dyn Clock>,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        Self { zone, upstream: upstream.into(), clock, spawn }
    }

    /// Serves on `address`, by UDP and TCP, until `stop`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the address cannot be listened on.
    pub async fn run(self, address: SocketAddr, stop: Stop) -> Result<()> {
        self.bind(address).await?.run(stop).await;
        Ok(())
    }

    /// Takes `address` for UDP and TCP; port 0 takes any that is free.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the address cannot be listened on.
    pub async fn bind(self, address: SocketAddr) -> Result<Bound> {
        let taken = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("cannot serve DNS on {address}")).with_source(error)
        };
        let udp = UdpSocket::bind(address).await.map_err(taken)?;
        let address = udp.local_addr().map_err(taken)?;
        let tcp = TcpListener::bind(address).await.map_err(taken)?;
        Ok(Bound { server: self, address, udp: Arc::new(udp), tcp })
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; GREATEST];
        loop {
            // An error here is an earlier client's refusal (ICMP); the socket stays good.
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
            let query = buffer[..length].to_vec();
            let (server, socket) = (self.clone(), Arc::clone(&socket));
            let answering = async move {
                if let Some(answer) = server.answer(&query, UDP).await {
                    // The client asks again where the answer is lost.
                    let _ = socket.send_to(&answer, client).await;
                }
            };
            self.spawn.spawn("dns.udp", answering).detach();
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let stream = tcp::accept(&listener, &*self.clock).await;
            let server = self.clone();
            self.spawn.spawn("dns.tcp", async move { server.converse(stream).await }).detach();
        }
    }

    async fn converse(self, mut stream: TcpStream) {
        loop {
            let Some(Ok(query)) = self.clock.within(IDLE, read(&mut stream)).await else { return };
            let Some(answer) = self.answer(&query, GREATEST).await else { return };
            if write(&mut stream, &answer).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, query: &[u8], limit: usize) -> Option<Vec<u8>> {
        let reply = message::reply(&self.zone.read(), query, limit);
        match reply {
            Reply::Drop => None,
            Reply::Forward => self.ask(query, limit).await.or_else(|| message::failure(query)),
            Reply::Answer(answer) => match message::dangling(&answer) {
                None => Some(answer),
                Some(alias) => {
                    let more = match message::follow(query, &alias) {
                        Some(query) => self.ask(&query, limit).await,
                        None => None,
                    };
                    more.and_then(|more| message::join(&answer, &more)).or(Some(answer))
                }
            },
        }
    }

    /// Asks the upstream servers one after the other; by TCP where the client came by it.
    async fn ask(&self, query: &[u8], limit: usize) -> Option<Vec<u8>> {
        for server in self.upstream.iter() {
            let answer = if limit > UDP {
                self.clock.within(UPSTREAM, ask_tcp(*server, query)).await
            } else {
                self.clock.within(UPSTREAM, ask_udp(*server, query)).await
            };
            if let Some(Ok(answer)) = answer {
                return Some(answer);
            }
        }
        None
    }
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    // A socket of its own gives each query a port of its own: a forged answer must guess it and the id.
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; GREATEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].get(..2) == query.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "an upstream server is outside the cluster that Dial knows")]
async fn ask_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, query).await?;
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

/// The upstream servers that a `resolv.conf` names (`resolv.conf(5)`), with the standard port.
#[must_use]
pub fn upstream_of(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.trim().parse().ok()).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text = "search x\nnameserver 1.1.1.1\n# nameserver 2.2.2.2\nnameserver ::1\nnameserver bad\n";
        let expect: Vec<SocketAddr> = vec!["1.1.1.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(upstream_of(text), expect);
    }
}
