//! Calls word by word, for those who check what a plugin answers to what nobody should send.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use windlass_kernel::{Error, ErrorKind, Result};

/// What came of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawAnswer {
    /// The code of gRPC; 0 for success.
    pub code: i32,
    /// What was said about it.
    pub message: String,
    /// The answer's message, where there is one.
    pub body: Bytes,
}

/// Calls a method, such as `/csi.v1.Controller/CreateVolume`, with a message as it is. The server is told of a deadline.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where `method` is no path; [`Unavailable`](ErrorKind::Unavailable) without a connection.
pub async fn raw(channel: &Channel, method: &str, message: Bytes, deadline: Option<Duration>) -> Result<RawAnswer> {
    let path: PathAndQuery = method.parse().map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("{method:?} is no method of gRPC")).with_source(error)
    })?;
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Error::new(ErrorKind::Unavailable, "no plugin answers").with_source(error))?;
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    Ok(match client.unary(request, path, Plain).await {
        Ok(answer) => RawAnswer { body: answer.into_inner(), ..RawAnswer::default() },
        Err(status) => RawAnswer { code: status.code().into(), message: status.message().into(), body: Bytes::new() },
    })
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
