//! Randomness as an input. One seed gives one history.

use std::fmt::Debug;

/// A source of random bytes.
///
/// # Contract
///
/// 1. **Whole.** Every call fills the whole buffer.
/// 2. **Unpredictable or seeded.** A production source is fit for keys and tokens; a seeded one gives the same bytes
///    for the same seed and the same order of calls.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// What users of [`Entropy`] enjoy.
pub trait EntropyExt: Entropy {
    /// A random number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number below `limit`; 0 where `limit` is 0.
    fn below(&self, limit: u64) -> u64 {
        // The high half of a widening product is uniform enough: the bias is below 2^-64 times `limit`.
        let product = u128::from(self.u64()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A random (version 4) UUID in its usual text form.
    fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = bytes.iter().fold(String::with_capacity(36), |mut text, byte| {
            if matches!(text.len(), 8 | 13 | 18 | 23) {
                text.push('-');
            }
            text.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')));
            text
        });
        debug_assert_eq!(hex.len(), 36);
        hex
    }
}

impl<E: Entropy + ?Sized> EntropyExt for E {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Bytes(u8);
    impl Entropy for Bytes {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn a_uuid_has_version_four_and_the_usual_form() {
        assert_eq!(Bytes(0xff).uuid(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Bytes(0x00).uuid(), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn a_draw_stays_below_its_limit() {
        assert_eq!(Bytes(0xff).below(10), 9);
        assert_eq!(Bytes(0).below(10), 0);
        assert_eq!(Bytes(7).below(0), 0);
    }
}
