//! Messages of the WebSocket protocols: a channel's number, then its bytes, plain or in base 64. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// How bytes stand in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Base64,
}

impl Encoding {
    /// What the name of a protocol says.
    pub(super) fn of(protocol: &str) -> Self {
        if protocol.contains("base64") { Self::Base64 } else { Self::Plain }
    }

    /// A message of bytes alone.
    pub(super) fn whole(self, data: Bytes) -> Message {
        match self {
            Self::Plain => Message::Binary(data),
            Self::Base64 => Message::text(STANDARD.encode(data)),
        }
    }

    /// A message of a channel.
    pub(super) fn frame(self, channel: u8, data: &[u8]) -> Message {
        match self {
            Self::Plain => {
                let mut bytes = BytesMut::with_capacity(data.len() + 1);
                bytes.put_u8(channel);
                bytes.put_slice(data);
                Message::Binary(bytes.freeze())
            }
            Self::Base64 => Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(data))),
        }
    }

    /// The channel and bytes of a message; `None` for what is neither.
    pub(super) fn read(self, message: Message) -> Option<(u8, Bytes)> {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            _ => return None,
        };
        let channel = data.try_get_u8().ok()?;
        match self {
            Self::Plain => Some((channel, data)),
            Self::Base64 => Some((channel.checked_sub(b'0')?, STANDARD.decode(&data).ok()?.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoding: Encoding, channel: u8, data: &[u8], expect: &Message) {
        let frame = encoding.frame(channel, data);
        assert_eq!(&frame, expect);
        assert_eq!(encoding.read(frame), Some((channel, Bytes::copy_from_slice(data))));
    }

    #[test]
    fn a_message_is_a_channel_and_its_bytes() {
        check(Encoding::Plain, 1, b"hi", &Message::Binary(Bytes::from_static(b"\x01hi")));
        check(Encoding::Plain, 2, b"", &Message::Binary(Bytes::from_static(b"\x02")));
        check(Encoding::Base64, 1, b"hi", &Message::text("1aGk="));
    }

    #[test]
    fn what_is_no_message_of_a_channel_is_passed_over() {
        assert_eq!(Encoding::Plain.read(Message::Binary(Bytes::new())), None);
        assert_eq!(Encoding::Base64.read(Message::text("1?")), None);
        assert_eq!(Encoding::Plain.read(Message::Ping(Bytes::from_static(b"\x01"))), None);
    }
}
