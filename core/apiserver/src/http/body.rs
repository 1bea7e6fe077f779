//! Bodies: what is sent, and how much is read.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::{Frame, Incoming},
    header::{self, HeaderValue},
};
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The body of a request, wherever it came from.
pub type Asked = UnsyncBoxBody<Bytes, Error>;

/// The largest body that is read: 3 MiB, as upstream.
pub(super) const LIMIT: usize = 3 * 1024 * 1024;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of bytes as they come.
pub(super) fn stream(chunks: impl futures::Stream<Item = Result<Bytes>> + Send + 'static) -> Body {
    use futures::StreamExt as _;
    let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(Box::from));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// An error as an HTTP answer with a Status.
#[must_use]
pub fn status(error: &Error) -> Response<Body> {
    let value = error.to_status();
    let mut out = Response::new(full(value.to_string()));
    let code = value["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    *out.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = value["details"]["retryAfterSeconds"].as_u64() {
        out.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    out
}

/// As [`status`], in protobuf; whoever could not be answered in what they accept gets JSON.
pub(super) fn packed_status(error: &Error) -> Response<Body> {
    let mut out = status(error);
    let message = windlass_api::protobuf::message_of("v1", "Status");
    let packed = message.filter(|_| !error.is(ErrorKind::NotAcceptable));
    if let Some(Ok(bytes)) = packed.map(|message| windlass_api::protobuf::encode(&error.to_status(), message)) {
        *out.body_mut() = full(bytes);
        let media_type = HeaderValue::from_static("application/vnd.kubernetes.protobuf");
        out.headers_mut().insert(header::CONTENT_TYPE, media_type);
    }
    out
}

/// The body of a request that came over a connection.
pub(super) fn received(body: Incoming) -> Asked {
    let broken = |error: hyper::Error| Error::new(ErrorKind::BadRequest, "a request broke off").with_source(error);
    BodyExt::boxed_unsync(body.map_err(broken))
}

/// The body of a request, of these bytes.
pub fn asked(bytes: impl Into<Bytes>) -> Asked {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a request's body, up to the limit.
pub(super) async fn read(body: Asked) -> Result<Bytes> {
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::new(ErrorKind::TooLarge, format!("Request entity too large: limit is {LIMIT}")))
        }
        Err(error) => Err(Error::new(ErrorKind::BadRequest, "cannot read the request's body").with_source(error)),
    }
}
