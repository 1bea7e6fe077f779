//! The protobuf wire format: varints, fixed numbers and length-delimited bytes. It knows nothing of messages.

use super::DecodeError;

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Reads fields one after another; never looks beyond its bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Item<'a>)>, DecodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| DecodeError::malformed(format!("illegal tag {tag}")))?;
        let item = match tag & 7 {
            0 => Item::Varint(self.varint()?),
            1 => Item::Fixed64(self.fixed::<8>().map(u64::from_le_bytes)?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).ok().filter(|n| *n <= self.rest.len());
                let length =
                    length.ok_or_else(|| DecodeError::malformed("unexpected end: a length exceeds what is left"))?;
                Item::Bytes(self.take(length)?)
            }
            5 => self.fixed::<4>().map(|_| Item::Fixed32)?,
            other => return Err(DecodeError::malformed(format!("illegal wire type {other}"))),
        };
        Ok(Some((number, item)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::malformed("a number has more than 64 bits"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(end)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(end)?;
        self.rest = rest;
        Ok(head)
    }
}

fn end() -> DecodeError {
    DecodeError::malformed("unexpected end")
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field with a number in it; negative numbers take ten bytes.
pub fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

/// Appends a field with a floating-point number in it.
pub fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// Appends a field with bytes in it: a text, or a message that was written before.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}
