//! Asks a container one question: a command, an HTTP request, a connection, or just some time.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_api::{
    core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction},
    types::IntOrString,
};
use windlass_kernel::{ClockExt, ErrorKind, SpawnExt, dial::Target as Address, runtime::ContainerId};

use crate::agent::Needs;

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) container: ContainerId,
    /// The pod's address.
    pub(crate) ip: Option<IpAddr>,
}

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Exec(Vec<String>),
    Http {
        host: String,
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        host: String,
        port: u16,
    },
    Sleep(Duration),
    /// It cannot be asked, and why.
    Never(String),
}

/// An answer of so many bytes is enough to tell what went wrong.
const BODY: usize = 10 << 10;

impl Ask {
    pub(crate) fn of_probe(probe: &Probe, container: &Container) -> Self {
        if probe.grpc.is_some() {
            return Self::Never("gRPC probes are not supported".into());
        }
        let exec = probe.exec.as_ref().map(|exec| exec.command.clone());
        Self::of(exec, probe.http_get.as_ref(), probe.tcp_socket.as_ref(), container)
    }

    pub(crate) fn of_hook(hook: &LifecycleHandler, container: &Container) -> Self {
        if let Some(sleep) = &hook.sleep {
            return Self::Sleep(crate::pod::seconds(sleep.seconds));
        }
        let exec = hook.exec.as_ref().map(|exec| exec.command.clone());
        Self::of(exec, hook.http_get.as_ref(), hook.tcp_socket.as_ref(), container)
    }

    fn of(
        exec: Option<Vec<String>>,
        http: Option<&HTTPGetAction>,
        tcp: Option<&TCPSocketAction>,
        container: &Container,
    ) -> Self {
        if let Some(command) = exec {
            return Self::Exec(command);
        }
        let port = |port: &IntOrString| -> Option<u16> {
            match port {
                IntOrString::Int(port) => u16::try_from(*port).ok(),
                IntOrString::String(name) => {
                    let named = container.ports.iter().find(|port| port.name.as_ref() == Some(name));
                    named.map_or_else(|| name.parse().ok(), |port| u16::try_from(port.container_port).ok())
                }
            }
            .filter(|port| *port > 0)
        };
        if let Some(http) = http {
            if http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
                return Self::Never("HTTPS probes are not supported".into());
            }
            let Some(port) = port(&http.port) else {
                return Self::Never(format!("invalid port number: {}", http.port));
            };
            let path = http.path.clone().unwrap_or_default();
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Self::Http {
                host: http.host.clone().unwrap_or_default(),
                port,
                path: format!("{slash}{path}"),
                headers: http.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
            };
        }
        if let Some(tcp) = tcp {
            let Some(port) = port(&tcp.port) else { return Self::Never(format!("invalid port number: {}", tcp.port)) };
            return Self::Tcp { host: tcp.host.clone().unwrap_or_default(), port };
        }
        Self::Never("missing handler".into())
    }
}

/// Asks, and waits no longer than `timeout`. `Err` says what was wrong with the answer.
pub(crate) async fn ask(needs: &Needs, target: &Target, ask: &Ask, timeout: Option<Duration>) -> Result<(), String> {
    match timeout {
        None => once(needs, target, ask, None).await,
        // The runtime keeps the time of a command; a little more lets its own answer come first.
        Some(limit) => {
            let slack = if matches!(ask, Ask::Exec(_)) { Duration::from_secs(2) } else { Duration::ZERO };
            let late = || Err(format!("context deadline exceeded (no answer within {limit:?})"));
            needs.clock.within(limit + slack, once(needs, target, ask, timeout)).await.unwrap_or_else(late)
        }
    }
}

async fn once(needs: &Needs, target: &Target, ask: &Ask, timeout: Option<Duration>) -> Result<(), String> {
    match ask {
        Ask::Exec(command) => match needs.runtime.exec(&target.container, command, timeout).await {
            Ok(output) if output.code == 0 => Ok(()),
            Ok(output) => {
                let mut text = output.stdout.to_vec();
                text.extend_from_slice(&output.stderr);
                text.truncate(BODY);
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                Err(if text.is_empty() { format!("command exited with code {}", output.code) } else { text })
            }
            Err(error) if error.is(ErrorKind::Timeout) => {
                Err(format!("command {command:?} timed out after {:?}", timeout.unwrap_or_default()))
            }
            Err(error) => Err(error.to_string()),
        },
        Ask::Tcp { host, port } => {
            let address = address(target, host, *port)?;
            needs.dial.dial(&address).await.map(drop).map_err(|error| full(&error))
        }
        Ask::Http { host, port, path, headers } => {
            let address = address(target, host, *port)?;
            http(needs, &address, path, headers).await
        }
        Ask::Sleep(span) => {
            needs.clock.sleep(*span).await;
            Ok(())
        }
        Ask::Never(why) => Err(why.clone()),
    }
}

fn address(target: &Target, host: &str, port: u16) -> Result<Address, String> {
    let own = || target.ip.map(|ip| ip.to_string()).ok_or_else(|| "the pod has no address".to_owned());
    let host = if host.is_empty() { own()? } else { host.to_owned() };
    Ok(Address::Host { host, port })
}

async fn http(needs: &Needs, address: &Address, path: &str, headers: &[(String, String)]) -> Result<(), String> {
    let Address::Host { host, port } = address else { return Err("no address to ask".into()) };
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let url = format!("http://{authority}{path}");
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
    let stream = needs.dial.dial(address).await.map_err(|error| failed(&full(&error)))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream.compat())).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // Ends with this request: its handle goes at the end of the function.
    let _driver = needs.spawn.spawn("node.probe.http", async move {
        // What goes wrong is seen by the request.
        let _ = connection.await;
    });
    let mut request = http::Request::get(path).header(http::header::CONNECTION, "close");
    let named = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let host = named("host").map_or(authority.as_str(), |(_, value)| value);
    request = request.header(http::header::HOST, host);
    for (name, default) in [("User-Agent", "kube-probe/1.36"), ("Accept", "*/*")] {
        if named(name).is_none() {
            request = request.header(name, default);
        }
    }
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    // Read to its end so that the server does not see a broken connection; what it says does not matter.
    let _ = Limited::new(answer.into_body(), BODY).collect().await;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
    }
}

fn full(error: &windlass_kernel::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
