//! Answers requests for sessions: agrees on a protocol, has the session opened, and starts the task that carries it.

use async_trait::async_trait;
use futures::{FutureExt, select_biased};
use hyper::{Method, Response, StatusCode, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use windlass_kernel::{
    Authorizer, Result,
    access::{Attributes, Decision},
    api::{Answer, Request, Verb},
    carry::Keeping,
};
use windlass_transport::upgrade::{self, Agreed, Protocols, Wanted};

use super::{logs, proxy};
use crate::{
    errors,
    http::{Body, Connect, Connecting, empty, status},
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
    let protocols = match subresource.as_str() {
        "exec" | "attach" => Protocols::PROCESS,
        "portforward" => Protocols::PORTS,
        _ => logs::PROTOCOLS,
    };
    let agreed = match upgrade::agree(http.headers(), &protocols) {
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
    let ports = if subresource == "portforward" && agreed.needs_ports_named() {
        let named = request.options.query.iter().filter(|(key, _)| key == "ports");
        upgrade::named_ports("ports", named.map(|(_, value)| value.as_str()))?
    } else {
        Vec::new()
    };
    let of = request.name.clone();
    let answer = api.call(request).await?.answer;
    let mut out = Response::new(empty());
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *out.headers_mut() = agreed.headers();
    let (keeping, upgrading) = (Keeping { clock, stop }, hyper::upgrade::on(&mut http));
    let session = async move {
        let upgraded = select_biased! {
            upgraded = upgrading.fuse() => upgraded,
            () = keeping.stop.wait().fuse() => return,
        };
        match upgraded {
            Ok(upgraded) => carry(upgraded, answer, Wanted { agreed, streams, ports, of }, &keeping).await,
            Err(error) => tracing::debug!(%error, "a session's client left before it began"),
        }
    };
    spawn.start("stream.session", Box::pin(session));
    Ok(out)
}

async fn carry(upgraded: Upgraded, answer: Answer, wanted: Wanted, keeping: &Keeping) {
    let io = TokioIo::new(upgraded);
    match (answer, &wanted.agreed) {
        (Answer::Session(session), _) => wanted.carry(io, session, keeping).await,
        (Answer::Stream(chunks), Agreed::Socket { protocol, .. }) => {
            logs::over_socket(upgrade::open(io).await, protocol, chunks, keeping).await;
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
