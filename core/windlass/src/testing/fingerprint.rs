//! One number for everything that a cluster came to.

use windlass_kernel::{
    Result, Store,
    store::{KeyRange, ListSpec, ReadAt},
};

/// A hash of a store's revision and of every entry with its revisions. Equal histories have equal ones, in every process.
///
/// # Errors
///
/// Those of the store.
pub async fn fingerprint(store: &dyn Store, seed: u64) -> Result<u64> {
    let listing = store.list(&ListSpec { range: KeyRange::prefix(""), at: ReadAt::Latest, limit: None }).await?;
    // FNV-1a is the same everywhere, which the hashers of the standard library do not promise to be.
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ seed);
    hash.write(&listing.revision.0.to_le_bytes());
    for entry in &listing.entries {
        hash.write(entry.key.as_str().as_bytes());
        hash.write(&entry.created.0.to_le_bytes());
        hash.write(&entry.modified.0.to_le_bytes());
        hash.write(&entry.value);
    }
    Ok(hash.0)
}

struct Fnv(u64);

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
