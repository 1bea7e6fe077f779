//! Requests for resources: from the HTTP request to the kernel's, and from its answer back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};
use windlass_api::resources;
use windlass_kernel::{
    EntropyExt, Identity, Result,
    access::{Attributes, Decision},
    api::{self, Answer, GroupVersionResource, List, PatchType, Verb},
    error::{Error, ErrorKind},
};
use windlass_transport::upgrade::wants_socket;

use super::{
    body::{self, Asked, Body, full},
    gzip,
    handler::{Server, is_watch},
    list,
    metrics::Labels,
    negotiate::{self, Encoding, Offer, Shape},
    options,
    route::Target,
    shape::Format,
    upgrade::{Connecting, Held},
    watch::{Frames, holding, until_stopped},
};
use crate::{
    access::forbidden,
    discovery::{Resource, Schema, api_version},
    table::{IncludeObject, Look},
};

/// Decoding more objects than this is not done between other requests.
const MANY: usize = 100;
const PATCHES: [PatchType; 4] = [PatchType::Json, PatchType::Merge, PatchType::Strategic, PatchType::Apply];

impl Server {
    pub(super) async fn resource(
        &self,
        identity: Arc<Identity>,
        target: Target,
        labels: &Labels,
        http: Request<Asked>,
    ) -> Result<Response<Body>> {
        let mut request = read_target(identity, &target, &http)?;
        if target.connects() || (target.subresource == "log" && wants_socket(http.headers())) {
            return Ok(Box::pin(self.connect(request, target, labels, http)).await);
        }
        let snapshot = self.parts().catalog.snapshot();
        let resource = snapshot.find(&target.group, &target.version, &target.resource).cloned();
        if resource.is_none() {
            self.shown(&request).await?;
        }
        let format = self.format(&request, resource.as_deref(), &http)?;
        let may = self.parts().inside.as_ref().is_none_or(|server| server.parts.gates.compresses);
        let packs = may && gzip::accepted(http.headers());
        let media_type = media_type(http.headers());
        request.verb = self.verb(&target, &http, &media_type)?;
        if request.verb == Verb::Watch {
            return Box::pin(self.watch(request, format, labels)).await;
        }
        let patch = matches!(request.verb, Verb::Patch(_));
        if matches!(request.verb, Verb::Create | Verb::Update | Verb::Delete | Verb::DeleteCollection) || patch {
            let bytes = body::read(http.into_body()).await?;
            request.body = api::Body::Bytes { media_type, bytes };
        }
        let answered = self.parts().api.call(request).await?;
        let mut out = self.write(answered.answer, &format, packs, labels).await?;
        *out.status_mut() = StatusCode::from_u16(answered.code).unwrap_or(StatusCode::OK);
        for warning in told(&answered.warnings) {
            if let Some(value) = warning_header(&warning) {
                out.headers_mut().append(header::WARNING, value);
            }
        }
        Ok(out)
    }

    /// Refuses a built-in resource that clients are not shown, as if it did not exist.
    async fn shown(&self, request: &api::Request) -> Result<()> {
        let GroupVersionResource { group, version, resource } = &request.resource;
        if resources::find(group, version, resource).is_none() {
            // Custom resources come and go, and are looked for behind the API.
            return Ok(());
        }
        let attributes = Attributes {
            verb: "get".into(),
            group: group.to_string(),
            version: version.to_string(),
            resource: resource.to_string(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            ..Attributes::default()
        };
        // Whoever may not ask is not told what exists.
        match self.parts().authorizer.authorize(&request.identity, &attributes).await? {
            Decision::Allow(_) => {
                Err(Error::new(ErrorKind::NotFound, "the server could not find the requested resource"))
            }
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(forbidden(&request.identity, &attributes, &reason))
            }
        }
    }

    async fn connect(
        &self,
        mut request: api::Request,
        target: Target,
        labels: &Labels,
        http: Request<Asked>,
    ) -> Response<Body> {
        request.verb = Verb::Connect;
        let parts = self.parts();
        let connecting = Connecting {
            request,
            rest: target.rest,
            http,
            api: Arc::clone(&parts.api),
            authorizer: Arc::clone(&parts.authorizer),
            dial: Arc::clone(&parts.dial),
            clock: Arc::clone(&parts.clock),
            spawn: Arc::clone(&parts.spawn),
            stop: self.stop().clone(),
            held: Held(self.metrics().running(labels)),
        };
        parts.connector.connect(connecting).await
    }

    fn verb(&self, target: &Target, http: &Request<Asked>, media_type: &str) -> Result<Verb> {
        let named = !target.name.is_empty();
        Ok(match *http.method() {
            Method::GET if is_watch(target, http.method(), http.uri().query().unwrap_or_default()) => Verb::Watch,
            Method::GET | Method::HEAD if named => Verb::Get,
            Method::GET | Method::HEAD => Verb::List,
            // What has a name is posted to only where it is a sub-resource.
            Method::POST if !named || !target.subresource.is_empty() => Verb::Create,
            Method::PUT if named => Verb::Update,
            Method::PATCH if named => Verb::Patch(patch_type(media_type)?),
            Method::DELETE if named => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(Error::new(ErrorKind::MethodNotAllowed, message));
            }
        })
    }

    fn format(&self, request: &api::Request, resource: Option<&Resource>, http: &Request<Asked>) -> Result<Format> {
        let query = http.uri().query().unwrap_or_default();
        let log = request.subresource == "log";
        let protobuf = resource.is_none_or(|resource| matches!(resource.schema, Schema::BuiltIn(_)));
        let stream = options::watches(query) && request.name.is_empty();
        let shapes = resource.is_some_and(|resource| resource.serves("get"));
        let (encoding, shape) = if log {
            // A log is text whatever is asked for.
            (Encoding::Json, Shape::Whole)
        } else {
            negotiate::choose(http.headers(), Offer { protobuf, shapes, stream })?
        };
        let mut format = Format::new(encoding, shape, resource);
        let sub = resource.and_then(|own| own.subresources.iter().find(|sub| sub.name == request.subresource.as_str()));
        if let Some([group, _, kind]) = sub.map(|sub| &sub.kind) {
            // A status is shown as the object that it is a part of.
            if request.subresource != "status" {
                format.look = Look::BuiltIn { group: group.to_string(), kind: kind.to_string() };
            }
            format.kind = kind.to_string();
        }
        format.pretty = options::parameter(query, "pretty").is_some_and(|value| !matches!(&*value, "false" | "0"));
        format.include = match options::parameter(query, "includeObject").as_deref() {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        };
        Ok(format)
    }

    async fn watch(&self, mut request: api::Request, format: Format, labels: &Labels) -> Result<Response<Body>> {
        if request.options.timeout.is_none() {
            // Watches without an end of their own end between half an hour and an hour, not all at once.
            let seconds = 1800 + self.parts().entropy.below(1800);
            request.options.timeout = Some(Duration::from_secs(seconds));
        }
        let group_version = api_version(&request.resource.group, &request.resource.version);
        let events = self.parts().api.watch(request).await?;
        let media_type = match format.encoding {
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            _ => "application/json",
        };
        let frames = Frames::new(format, group_version, Arc::clone(&self.parts().clock)).of(events, self.stop());
        let told = self.metrics().watched(labels);
        let frames = frames.inspect(move |frame| frame.iter().for_each(|frame| told.tell(frame.len())));
        let mut out = Response::new(body::stream(holding(Box::pin(frames), self.metrics().running(labels))));
        out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Ok(out)
    }

    async fn write(&self, answer: Answer, format: &Format, packs: bool, labels: &Labels) -> Result<Response<Body>> {
        let now = self.parts().clock.now();
        let media_type = format.encoding.media_type();
        let bytes: Bytes = match answer {
            Answer::Object(document) if format.verbatim() => document.to_bytes(),
            Answer::Object(document) => format.encode(&format.object(document.value()?, now))?,
            Answer::Value(value) => format.encode(&format.object(value, now))?,
            Answer::List(list) if format.verbatim() => return Ok(stream_list(list, packs)),
            Answer::List(list) if list.items.len() > MANY => {
                let format = format.clone();
                self.apart("http.list", move || format.page(&list, now)).await?
            }
            Answer::List(list) => format.page(&list, now)?,
            Answer::Stream(chunks) => {
                let running = self.metrics().running(labels);
                let chunks = Box::pin(until_stopped(chunks.0, self.stop()));
                let mut out = Response::new(body::stream(holding(chunks, running)));
                out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                return Ok(out);
            }
            Answer::Session(_) | Answer::Destination(_) => {
                return Err(Error::new(ErrorKind::BadRequest, "a session needs a connection that can be upgraded"));
            }
        };
        let mut out = if packs && bytes.len() > gzip::THRESHOLD {
            packed(gzip::Packed::new(std::iter::once(bytes)))
        } else {
            Response::new(full(bytes))
        };
        out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Ok(out)
    }
}

fn stream_list(list: List, packs: bool) -> Response<Body> {
    let size = list::size(&list);
    let mut chunks = list::Chunks::new(list);
    let mut out = if size < 32 * 1024 {
        Response::new(full(chunks.next().unwrap_or_default()))
    } else if packs && size > gzip::THRESHOLD {
        packed(gzip::Packed::new(chunks))
    } else {
        Response::new(body::stream(stream::iter(chunks).map(Ok)))
    };
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out
}

fn packed(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut out = Response::new(body::stream(stream::iter(chunks).map(Ok)));
    out.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    out.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    out
}

/// Everything but the verb and the body.
fn read_target(identity: Arc<Identity>, target: &Target, http: &Request<Asked>) -> Result<api::Request> {
    let resource = GroupVersionResource {
        group: target.group.clone().into(),
        version: target.version.clone().into(),
        resource: target.resource.clone().into(),
    };
    let mut request = api::Request::new(identity, Verb::Get, resource);
    request.namespace = target.namespace.clone();
    request.subresource = target.subresource.clone();
    if target.subresource != "proxy" {
        // What is asked of a proxied server is its own to read.
        let kind = match *http.method() {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            Method::DELETE => "DeleteOptions",
            _ => "ListOptions",
        };
        request.options = options::parse(http.uri().query().unwrap_or_default(), kind)?;
    }
    let agent = http.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    request.user_agent = agent.unwrap_or_default().to_owned();
    if target.watch && !target.name.is_empty() {
        // The old path of one object is a watch of the collection by that name.
        let own = format!("metadata.name={}", target.name);
        let given = &mut request.options.field_selector;
        *given = if given.is_empty() { own } else { format!("{given},{own}") };
    } else {
        request.name = target.name.clone();
    }
    Ok(request)
}

/// The media type of a body, without its parameters.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn patch_type(media_type: &str) -> Result<PatchType> {
    PATCHES.into_iter().find(|kind| kind.media_type() == media_type).ok_or_else(|| {
        let known: Vec<&str> = PATCHES.iter().map(|kind| kind.media_type()).collect();
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            known.join(", ")
        );
        Error::new(ErrorKind::UnsupportedMediaType, message)
    })
}

/// Warnings that fit into headers, each once: where all are too many, each is cut and the last ones are left out.
fn told(warnings: &[String]) -> Vec<String> {
    const MOST: usize = 4096;
    const EACH: usize = 256;
    let long = |text: &String| text.chars().count();
    let mut seen = BTreeSet::new();
    let warnings: Vec<String> = warnings.iter().filter(|text| seen.insert(text.as_str())).cloned().collect();
    if warnings.iter().map(long).sum::<usize>() <= MOST {
        return warnings;
    }
    let mut left = MOST;
    let cut = warnings.iter().map(|text| text.chars().take(EACH).collect::<String>());
    cut.take_while(|text| {
        let fits = long(text) <= left;
        left = left.saturating_sub(long(text));
        fits
    })
    .collect()
}

/// `299 - "text"` (RFC 7234, 5.5).
fn warning_header(text: &str) -> Option<HeaderValue> {
    let mut out = String::from("299 - \"");
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    HeaderValue::from_bytes(out.as_bytes()).ok()
}
