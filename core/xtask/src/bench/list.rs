//! A large list, beside a server that sends as many bytes over TLS and does nothing else.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use windlass_client::kubeconfig::{Access, Credential};

use super::client::{Protocol, Target};

/// How long an answer took, and how long it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) median: Duration,
    pub(super) bytes: usize,
}

/// Reads a page many times over one connection.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
pub(super) async fn read(target: &Target, path: &str, protocol: Protocol, times: usize) -> Result<Read> {
    let mut connection = target.connect(protocol).await?;
    let (mut took, mut bytes) = (Vec::new(), 0);
    for at in 0..=times {
        let started = Instant::now();
        let (status, length) = connection.send(Method::GET, path, Bytes::new()).await?;
        if status != StatusCode::OK {
            bail!("GET {path} answered {status}");
        }
        bytes = length;
        // The first opens windows and warms caches, for every server alike.
        if at > 0 {
            took.push(started.elapsed());
        }
    }
    took.sort_unstable();
    Ok(Read { median: took[took.len() / 2], bytes })
}

/// A process that answers every request with the same number of bytes.
#[derive(Debug)]
pub(super) struct Plain {
    child: Child,
    /// Dropped to end the process.
    input: Option<ChildStdin>,
    pub(super) target: Target,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Plain {
    pub(super) fn start(bytes: usize) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(own);
        command.args(["bench", "--serve-bytes", &bytes.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the plain server")?;
        let input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().context("a process has an output")?);
        let mut address = String::new();
        lines.read_line(&mut address)?;
        let mut authority = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                bail!("the plain server ended");
            }
            authority.push_str(&line);
            if line.starts_with("-----END") {
                break;
            }
        }
        let access = Access {
            server: format!("https://{}", address.trim()),
            insecure: false,
            server_name: None,
            authority: authority.into_bytes(),
            credential: Credential::Anonymous,
            namespace: String::new(),
        };
        Ok(Self { child, input, target: Target::new(&access)? })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Serves until the standard input ends. Prints its address and its certificate first.
pub(super) async fn serve(bytes: usize) -> Result<()> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let config = builder.with_single_cert(vec![cert.der().clone()], key)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    print!("{}\n{}", listener.local_addr()?, cert.pem());
    std::io::stdout().flush()?;
    let accepting = async {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let body: Vec<u8> = (0..bytes).map(|at| b"windlass"[at % 8]).collect();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut stream = acceptor.accept(stream).await?;
            let mut heard = Vec::new();
            while stream.read_buf(&mut heard).await? > 0 {
                if heard.ends_with(b"\r\n\r\n") {
                    heard.clear();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).await?;
                    stream.write_all(&body).await?;
                    stream.flush().await?;
                }
            }
        }
    };
    let ended = async {
        let mut nothing = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
        Ok(())
    };
    let (accepting, ended) = (std::pin::pin!(accepting), std::pin::pin!(ended));
    let first: Result<()> = futures::future::select(accepting, ended).await.factor_first().0;
    first
}
