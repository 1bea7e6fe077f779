//! The operating system's randomness.

use windlass_kernel::Entropy;

/// The operating system's randomness, fit for keys and tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}
