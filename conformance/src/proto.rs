//! Messages of protocol buffers by hand, for checks that say what no generated client would. Numbers, texts and messages only.

/// A message as it is built, field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A text.
    pub(crate) fn text(self, number: u32, text: &str) -> Self {
        self.bytes(number, text.as_bytes())
    }

    /// A text, bytes, or a message as bytes.
    pub(crate) fn bytes(mut self, number: u32, bytes: &[u8]) -> Self {
        self.0.extend(field(number, bytes));
        self
    }

    /// A number, an enum or a boolean.
    pub(crate) fn number(mut self, number: u32, value: u64) -> Self {
        varint(&mut self.0, u64::from(number) << 3);
        varint(&mut self.0, value);
        self
    }

    /// The bytes.
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// A text or message as the field of a number.
pub(crate) fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(bytes.len() + 4);
    varint(&mut field, u64::from(number) << 3 | 2);
    varint(&mut field, bytes.len() as u64);
    field.extend(bytes);
    field
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// The first text or message of a number in a message; `None` where it has none, or is no message.
pub(crate) fn find(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut rest = message;
    while !rest.is_empty() {
        let key = take(&mut rest)?;
        let value = match key & 7 {
            0 => {
                take(&mut rest)?;
                None
            }
            1 => {
                rest = rest.get(8..)?;
                None
            }
            2 => {
                let length = usize::try_from(take(&mut rest)?).ok()?;
                let value = rest.get(..length)?;
                rest = &rest[length..];
                Some(value)
            }
            5 => {
                rest = rest.get(4..)?;
                None
            }
            _ => return None,
        };
        if key >> 3 == u64::from(number) && value.is_some() {
            return value;
        }
    }
    None
}

/// A number off the front.
fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (place, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *rest = &rest[place + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found() {
        let long = "x".repeat(300);
        let inner = Message::default().text(2, &long).done();
        let message = Message::default().number(3, 70_000).text(1, "a").bytes(18, &inner).done();
        assert_eq!(find(&message, 1), Some(&b"a"[..]));
        assert_eq!(find(&message, 3), None);
        assert_eq!(find(find(&message, 18).unwrap(), 2), Some(long.as_bytes()));
        assert_eq!(find(&message[..message.len() - 1], 18), None);
        // As the documentation of the encoding has it: 150 as field 1.
        assert_eq!(Message::default().number(1, 150).done(), [0x08, 0x96, 0x01]);
    }
}
