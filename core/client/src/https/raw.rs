//! HTTP as it is, for whoever has to see what typed calls hide: any path, any header, any body, and connections of one's own.

use bytes::Bytes;
use futures::StreamExt;
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{ClockExt, Error, ErrorKind, Result, api::Chunks, dial::ByteStream};

use super::{ANSWER, Face, HttpsApi, REFUSAL, answer, frames, url::Message};

/// A request, word by word.
#[derive(Clone, Debug, Default)]
pub struct RawRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path and query, percent-encoded, below the server's URL.
    pub target: String,
    /// Names and values. The credential is added unless there is an `authorization` among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// An answer, word by word.
#[derive(Debug)]
pub struct RawReply {
    /// The status code.
    pub code: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it comes.
    pub body: Chunks,
}

impl RawReply {
    /// What a server says that refuses: the Status in the body, or its text. No more than 64 KiB of it are read.
    pub async fn refusal(mut self) -> Error {
        let mut said = Vec::new();
        while let Some(Ok(chunk)) = self.body.0.next().await {
            said.extend_from_slice(&chunk);
            if said.len() > REFUSAL {
                break;
            }
        }
        let mut head = http::Response::new(()).into_parts().0;
        head.status = http::StatusCode::from_u16(self.code).unwrap_or(http::StatusCode::BAD_GATEWAY);
        answer::refusal(&head, &said)
    }
}

impl HttpsApi {
    /// Sends a request as it is and waits for the head of the answer, whatever its code.
    ///
    /// # Errors
    ///
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid) where the method or the target cannot be sent; those of the
    /// connection.
    pub async fn raw(&self, request: RawRequest) -> Result<RawReply> {
        let face = self.face();
        let message = self.worded(&face, request)?;
        let sent = self.clock.timeout(ANSWER, face.server.send(&message)).await;
        let (head, body) = sent.inspect_err(|_| face.server.forget())??.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Ok(RawReply { code: head.status.as_u16(), headers, body: frames::chunks(body) })
    }

    /// Sends a request that asks for another protocol (`upgrade` among its headers) on a connection of its own, and answers
    /// with the connection once the server has agreed.
    ///
    /// # Errors
    ///
    /// As [`raw`](Self::raw); what the server says where it does not agree.
    pub async fn upgrade(&self, request: RawRequest) -> Result<ByteStream> {
        let face = self.face();
        let message = self.worded(&face, request)?;
        self.clock.timeout(ANSWER, face.server.switch(&message)).await?
    }

    fn worded(&self, face: &Face, request: RawRequest) -> Result<Message> {
        let RawRequest { method, target, headers, body } = request;
        let invalid = |what: &str| Error::new(ErrorKind::Invalid, format!("cannot send the {what}"));
        let method = method.parse().map_err(|error| invalid("method").with_source(error))?;
        let target = format!("{}{target}", face.server.endpoint.base);
        target.parse::<http::Uri>().map_err(|error| invalid("target").with_source(error))?;
        let own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        if let Some(value) = face.authorization(self.clock.uptime())?.filter(|_| !own) {
            headers.push(("authorization".into(), value));
        }
        Ok(Message { method, target, headers, body })
    }

    /// Opens a connection of its own and agrees on TLS, on HTTP/2 if `two` and on HTTP/1.1 else. What is said on it is
    /// the caller's.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](windlass_kernel::ErrorKind::NotSupported) where the server does not speak HTTP/2; those of the
    /// connection.
    pub async fn connection(&self, two: bool) -> Result<ByteStream> {
        let stream = self.face().server.plain(two).await?;
        Ok(Box::new(stream.compat()))
    }

    /// Opens a connection of its own on which nothing was said, not even TLS.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn bare_connection(&self) -> Result<ByteStream> {
        self.face().server.bare().await
    }
}
