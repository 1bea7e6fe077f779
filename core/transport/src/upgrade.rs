//! The HTTP end of sessions: what client and server agree on before the upgrade, and who carries the session after it.
//!
//! [`agree`] is pure; [`carry_process`] and [`carry_ports`] take the bytes of a connection that was upgraded. Which server
//! that is, and how it answers, is its own business.

mod frames;
mod handshake;
mod ports;
mod process;
mod socket;
mod tunnel;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::compat::TokioAsyncReadCompatExt;

use self::handshake::TUNNEL;
pub use self::{
    handshake::{Agreed, Protocols, agree, wants_socket},
    ports::named_ports,
    socket::{Channels, Socket, open},
    tunnel::Tunnel,
};
use windlass_kernel::{
    carry::{Keeping, exec_over_spdy, ports_over_spdy},
    node::{Ports, Process, Session, Streams},
};

/// Carries a process over whatever was agreed on.
pub async fn carry_process<T>(io: T, agreed: &Agreed, process: Process, streams: Streams, keeping: &Keeping)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    match agreed {
        Agreed::Socket { protocol, .. } => {
            process::over_socket(open(io).await, protocol, process, streams, keeping).await;
        }
        Agreed::Spdy { protocol } => exec_over_spdy(io.compat(), protocol, process, streams, keeping).await,
    }
}

/// The ports of a pod, as a client sees them.
pub struct Forwarded<'a> {
    /// Connects to them.
    pub ports: &'a dyn Ports,
    /// Whose they are, for the client to read where a connection fails.
    pub pod: &'a str,
    /// Which ports the request named, for protocols in which nothing later does.
    pub asked: &'a [u16],
}

impl std::fmt::Debug for Forwarded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarded").field("pod", &self.pod).field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// Forwards ports over whatever was agreed on.
pub async fn carry_ports<T>(io: T, agreed: &Agreed, forwarded: Forwarded<'_>, keeping: &Keeping)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let Forwarded { ports, pod, asked } = forwarded;
    match agreed {
        Agreed::Socket { protocol: TUNNEL, .. } => {
            ports_over_spdy(Tunnel::new(open(io).await), ports, pod, keeping).await;
        }
        Agreed::Socket { protocol, .. } => {
            ports::over_socket(open(io).await, protocol, ports, asked, keeping).await;
        }
        Agreed::Spdy { .. } => ports_over_spdy(io.compat(), ports, pod, keeping).await,
    }
}

/// A session as it was agreed on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How it is carried.
    pub agreed: Agreed,
    /// Which streams a process has.
    pub streams: Streams,
    /// Which ports the request named.
    pub ports: Vec<u16>,
    /// Whose ports they are, for the client to read where a connection fails.
    pub of: String,
}

impl Wanted {
    /// Carries the session over a connection that was upgraded, until either end or the server ends it.
    pub async fn carry<T>(&self, io: T, session: Session, keeping: &Keeping)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let Self { agreed, streams, ports: asked, of } = self;
        match session {
            Session::Process(process) => carry_process(io, agreed, process, *streams, keeping).await,
            Session::Ports(ports) => {
                carry_ports(io, agreed, Forwarded { ports: &*ports, pod: of, asked }, keeping).await;
            }
        }
    }
}
