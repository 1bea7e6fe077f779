//! Asks a container one question: a command, a request over HTTP or gRPC, a connection, or just some time.

use std::{net::IpAddr, sync::Arc, time::Duration};

use windlass_api::{
    core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction},
    types::IntOrString,
};
use windlass_kernel::{
    Clock, ClockExt, Dial, ErrorKind, Spawn,
    dial::Target as Address,
    runtime::{ContainerId, ExecOutput},
};

use super::{grpc, http, whole};
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
    Http(http::Get),
    Tcp {
        host: String,
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Sleep(Duration),
    /// It cannot be asked, and why.
    Never(String),
}

/// What it takes to ask anything but a command.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Means {
    fn of(needs: &Needs) -> Self {
        Self { dial: Arc::clone(&needs.dial), spawn: Arc::clone(&needs.spawn), clock: Arc::clone(&needs.clock) }
    }
}

/// An answer of so many bytes is enough to tell what went wrong.
pub(super) const BODY: usize = 10 << 10;

impl Ask {
    pub(crate) fn of_probe(probe: &Probe, container: &Container) -> Self {
        if let Some(grpc) = &probe.grpc {
            let Some(port) = u16::try_from(grpc.port).ok().filter(|port| *port > 0) else {
                return Self::Never(format!("invalid port number: {}", grpc.port));
            };
            return Self::Grpc { port, service: grpc.service.clone().unwrap_or_default() };
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
            let Some(port) = port(&http.port) else {
                return Self::Never(format!("invalid port number: {}", http.port));
            };
            let path = http.path.clone().unwrap_or_default();
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Self::Http(http::Get {
                secure: http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
                trusted: None,
                host: http.host.clone().unwrap_or_default(),
                port,
                path: format!("{slash}{path}"),
                headers: http.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
            });
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
            Ok(output) => ended(&output),
            Err(error) if error.is(ErrorKind::Timeout) => {
                Err(format!("command {command:?} timed out after {:?}", timeout.unwrap_or_default()))
            }
            Err(error) => Err(error.to_string()),
        },
        other => answer(&Means::of(needs), target.ip, other).await,
    }
}

/// What the end of a command says.
pub(crate) fn ended(output: &ExecOutput) -> Result<(), String> {
    if output.code == 0 {
        return Ok(());
    }
    let mut text = output.stdout.to_vec();
    text.extend_from_slice(&output.stderr);
    text.truncate(BODY);
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(if text.is_empty() { format!("command exited with code {}", output.code) } else { text })
}

/// Asks whatever is no command, of a pod at that address.
pub(crate) async fn answer(means: &Means, ip: Option<IpAddr>, ask: &Ask) -> Result<(), String> {
    // The host that is meant: the one named, or the pod.
    let at = |named: &str| {
        let pod = || ip.map(|ip| ip.to_string()).ok_or_else(|| "the pod has no address".to_owned());
        if named.is_empty() { pod() } else { Ok(named.to_owned()) }
    };
    match ask {
        Ask::Tcp { host, port } => {
            let address = Address::Host { host: at(host)?, port: *port };
            means.dial.dial(&address).await.map(drop).map_err(|error| whole(&error))
        }
        Ask::Http(get) => http::get(means, &at(&get.host)?, get).await,
        Ask::Grpc { port, service } => grpc::check(means, &at("")?, *port, service).await,
        Ask::Sleep(span) => {
            means.clock.sleep(*span).await;
            Ok(())
        }
        Ask::Exec(_) => Err("a command needs a container".into()),
        Ask::Never(why) => Err(why.clone()),
    }
}
