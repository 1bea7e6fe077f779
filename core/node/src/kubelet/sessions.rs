//! Sessions into pods of the node: `/exec`, `/attach` and `/portForward`, and `/run`, which answers with what a command wrote.

use futures::{AsyncReadExt, FutureExt, future, select_biased};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use windlass_kernel::{
    Error, ErrorKind, Result, SpawnExt,
    carry::Keeping,
    controller::ObjectKey,
    node::{Exit, Process, Session, SessionRequest, Streams},
};
use windlass_transport::upgrade::{self, Protocols, Wanted};

use super::{Body, Kubelet, Query, text};

/// So much of what a command writes is answered by `/run`.
const WRITTEN: u64 = 16 << 20;

impl Kubelet {
    /// Opens the session that the path and the query name.
    pub(super) async fn session(
        &self,
        segments: &[&str],
        mut request: Request<Incoming>,
        keeping: Keeping,
    ) -> Result<Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n"));
        }
        let (kind, pod, uid, container) = match *segments {
            [kind @ "portForward", namespace, pod] => (kind, ObjectKey::new(namespace, pod), None, ""),
            [kind @ "portForward", namespace, pod, uid] => (kind, ObjectKey::new(namespace, pod), Some(uid), ""),
            [kind @ ("exec" | "attach"), namespace, pod, container] => {
                (kind, ObjectKey::new(namespace, pod), None, container)
            }
            [kind @ ("exec" | "attach"), namespace, pod, uid, container] => {
                (kind, ObjectKey::new(namespace, pod), Some(uid), container)
            }
            _ => return Ok(text(StatusCode::NOT_FOUND, "404 page not found\n")),
        };
        let uid = self.uid(&pod, uid)?;
        let of = pod.to_string();
        let query = Query::read(request.uri().query().unwrap_or_default());
        let streams = streams(&query);
        let (asked, known) = if kind == "portForward" {
            (SessionRequest::PortForward { pod, uid }, Protocols::PORTS)
        } else {
            if !(streams.stdin || streams.stdout || streams.stderr) {
                return Err(bad("you must specify at least 1 of stdin, stdout, stderr"));
            }
            let container = container.to_owned();
            let asked = if kind == "attach" {
                SessionRequest::Attach { pod, uid, container, streams }
            } else {
                let command: Vec<String> = query.all("command").map(ToOwned::to_owned).collect();
                if command.is_empty() {
                    return Err(bad("you must specify at least one command for the container"));
                }
                SessionRequest::Exec { pod, uid, container, command, streams }
            };
            (asked, Protocols::PROCESS)
        };
        let agreed = upgrade::agree(request.headers(), &known)?;
        let ports = match agreed.needs_ports_named() && kind == "portForward" {
            true => upgrade::named_ports("port", query.all("port"))?,
            false => Vec::new(),
        };
        // Opened before the answer: so it can say why not.
        let session = self.agent.open(asked).await?;
        let upgrading = hyper::upgrade::on(&mut request);
        let mut out = text(StatusCode::SWITCHING_PROTOCOLS, "");
        *out.headers_mut() = agreed.headers();
        let wanted = Wanted { agreed, streams, ports, of };
        let carried = async move {
            let upgraded = select_biased! {
                upgraded = upgrading.fuse() => upgraded,
                () = keeping.stop.wait().fuse() => return,
            };
            match upgraded {
                Ok(upgraded) => wanted.carry(TokioIo::new(upgraded), session, &keeping).await,
                Err(error) => tracing::debug!(%error, "a session's client left before it began"),
            }
        };
        self.spawn.spawn("node.session", carried).detach();
        Ok(out)
    }

    /// Runs a command (`cmd`, words between spaces) and answers with what it wrote.
    pub(super) async fn run(
        &self,
        pod: ObjectKey,
        uid: Option<&str>,
        container: &str,
        request: &Request<Incoming>,
    ) -> Result<Response<Body>> {
        if *request.method() != Method::POST {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n"));
        }
        let uid = self.uid(&pod, uid)?;
        let query = Query::read(request.uri().query().unwrap_or_default());
        let command: Vec<String> =
            query.first("cmd").unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
        if command.is_empty() {
            return Err(bad("you must specify a command (cmd)"));
        }
        let streams = Streams { stdout: true, stderr: true, ..Streams::default() };
        let asked = SessionRequest::Exec { pod, uid, container: container.into(), command, streams };
        let Session::Process(Process { stdout, stderr, exit, .. }) = self.agent.open(asked).await? else {
            return Err(Error::new(ErrorKind::Internal, "the agent opened another session"));
        };
        let read = |stream: Option<Box<dyn futures::AsyncRead + Send + Unpin>>| async move {
            let mut written = Vec::new();
            if let Some(stream) = stream {
                // What was written before it broke is the answer still.
                let _ = stream.take(WRITTEN).read_to_end(&mut written).await;
            }
            written
        };
        let (mut written, errors, exit) = future::join3(read(stdout), read(stderr), exit).await;
        written.extend(errors);
        let written = String::from_utf8_lossy(&written);
        match exit {
            Exit::Code(0) => Ok(text(StatusCode::OK, &written)),
            Exit::Code(code) => {
                let said = format!("{written}\ncommand terminated with exit code {code}\n");
                Ok(text(StatusCode::INTERNAL_SERVER_ERROR, &said))
            }
            Exit::Failed(why) => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{written}\n{why}\n"))),
        }
    }
}

/// Which streams are asked for, under the names that kubelets know.
fn streams(query: &Query) -> Streams {
    let tty = query.flag("tty");
    // A terminal has one output.
    Streams { stdin: query.flag("input"), stdout: query.flag("output"), stderr: query.flag("error") && !tty, tty }
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}
