//! Answers requests for sessions: agrees on a protocol, has the session opened, and starts the task that carries it.

use async_trait::async_trait;
use futures::{FutureExt, select_biased};
use hyper::{Method, Response, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Authorizer, Result,
    access::{Attributes, Decision},
    api::{Answer, Request, Verb},
    carry::{Keeping, exec_over_spdy, ports_over_spdy},
    node::{Session, Streams},
};

use super::{
    exec,
    handshake::{self, Agreed, TUNNEL},
    logs, ports, proxy, socket,
    tunnel::Tunnel,
};
use crate::{
    errors,
    http::{Body, Connect, Connecting, status},
    sub,
};

/// Opens exec, attach, port-forward and log sessions over WebSockets and SPDY/3.1, and forwards proxied requests.
///
/// A `GET` needs the permission to `create` the session as well as to `get` it, as upstream since 1.35.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sessions;

#[async_trait]
impl Connect for Sessions {
    async fn connect(&self, connecting: Connecting) -> Response<Body> {
        let proxied = connecting.request.subresource == "proxy";
        let answer = if proxied { proxy::forward(connecting).await } else { open(connecting).await };
        answer.unwrap_or_else(|error| status(&error))
    }
}

async fn open(connecting: Connecting) -> Result<Response<Body>> {
    let Connecting { mut request, mut http, api, authorizer, clock, spawn, stop, .. } = connecting;
    let subresource = request.subresource.clone();
    if !matches!(*http.method(), Method::GET | Method::POST) {
        return Err(errors::no_such_verb(&request));
    }
    if *http.method() == Method::GET {
        may(&*authorizer, &request, "get").await?;
    }
    if subresource == "log" {
        request.verb = Verb::Get;
    } else {
        // The API asks this as well; asked here, whoever may not is told so before any other mistake.
        may(&*authorizer, &request, "create").await?;
    }
    let agreed = match handshake::agree(http.headers(), &subresource) {
        Ok(agreed) => agreed,
        Err(error) if request.verb == Verb::Connect => {
            // As upstream, who may not open the session learns that before what is wrong with the connection.
            request.options.dry_run = true;
            api.call(request).await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    let streams = sub::streams(&request.options);
    let asked = match &agreed {
        Agreed::Socket { protocol, .. } if subresource == "portforward" && *protocol != TUNNEL => {
            ports::asked(&request.options)?
        }
        _ => Vec::new(),
    };
    let pod = request.name.clone();
    let answer = api.call(request).await?.answer;
    let out = agreed.answer();
    let (keeping, upgrade) = (Keeping { clock, stop }, hyper::upgrade::on(&mut http));
    let session = async move {
        let upgraded = select_biased! {
            upgraded = upgrade.fuse() => upgraded,
            () = keeping.stop.wait().fuse() => return,
        };
        match upgraded {
            Ok(upgraded) => carry(upgraded, answer, Wanted { agreed, streams, ports: asked, pod }, &keeping).await,
            Err(error) => tracing::debug!(%error, "a session's client left before it began"),
        }
    };
    spawn.start("stream.session", Box::pin(session));
    Ok(out)
}

struct Wanted {
    agreed: Agreed,
    streams: Streams,
    ports: Vec<u16>,
    pod: String,
}

async fn carry(upgraded: Upgraded, answer: Answer, wanted: Wanted, keeping: &Keeping) {
    let Wanted { agreed, streams, ports: asked, pod } = wanted;
    match (answer, agreed) {
        (Answer::Session(Session::Process(process)), Agreed::Socket { protocol, .. }) => {
            exec::over_socket(socket::open(upgraded).await, protocol, process, streams, keeping).await;
        }
        (Answer::Session(Session::Process(process)), Agreed::Spdy { protocol }) => {
            exec_over_spdy(TokioIo::new(upgraded).compat(), protocol, process, streams, keeping).await;
        }
        (Answer::Session(Session::Ports(ports)), Agreed::Socket { protocol: TUNNEL, .. }) => {
            ports_over_spdy(Tunnel::new(socket::open(upgraded).await), &*ports, &pod, keeping).await;
        }
        (Answer::Session(Session::Ports(ports)), Agreed::Socket { protocol, .. }) => {
            ports::over_socket(socket::open(upgraded).await, protocol, &*ports, &asked, keeping).await;
        }
        (Answer::Session(Session::Ports(ports)), Agreed::Spdy { .. }) => {
            ports_over_spdy(TokioIo::new(upgraded).compat(), &*ports, &pod, keeping).await;
        }
        (Answer::Stream(chunks), Agreed::Socket { protocol, .. }) => {
            logs::over_socket(socket::open(upgraded).await, protocol, chunks, keeping).await;
        }
        (answer, _) => tracing::error!(?answer, "the API answered a session with something else"),
    }
}

/// Refuses a request whose identity may not use `verb` on what it names.
async fn may(authorizer: &dyn Authorizer, request: &Request, verb: &str) -> Result<()> {
    let wanted = Attributes {
        verb: verb.into(),
        group: request.resource.group.to_string(),
        version: request.resource.version.to_string(),
        resource: request.resource.resource.to_string(),
        subresource: request.subresource.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        ..Attributes::default()
    };
    match authorizer.authorize(&request.identity, &wanted).await? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => {
            Err(errors::unauthorized(&wanted, &request.identity.name, &reason))
        }
    }
}
