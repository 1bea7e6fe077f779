//! Pod networks: what CNI is, without its wire.
//!
//! Which network a pod belongs to, and when its sandbox is made, is the runtime's business; a network knows attachments.

mod attached;
mod attachment;

use std::fmt::Debug;

use async_trait::async_trait;

pub use self::{
    attached::{Address, Attached, Dns, Interface, Route},
    attachment::{AddressRange, Attachment, AttachmentKey, Bandwidth, PodIdentity, Rate, Wishes},
};
use crate::error::Result;

/// Connects sandboxes to one network.
///
/// A caller that lost an answer detaches and tries again. Dropping a future does not take the call back: what was begun
/// goes on or stops half-way, and the next [`detach`](PodNetwork::detach) of the key removes whatever is there.
///
/// # Contract
///
/// 1. **Attached is connected.** When attach has succeeded, the sandbox has an interface of the key's name that is up,
///    and that has every address which the answer lists for it; the node and the network's other sandboxes reach it.
/// 2. **One per key.** Attaching a key that is attached already is refused, and what is attached is not changed.
/// 3. **Addresses are unique.** No two attachments share an address, however many calls run at once.
/// 4. **Gone is success.** Detaching what was detached before, or never was attached, succeeds and changes nothing else.
/// 5. **Works after a reboot.** Detach needs neither the namespace nor its interface: without them it frees everything
///    that outlived them.
/// 6. **Nothing is left.** After detach no link, address, rule or reservation of the attachment remains. What all
///    attachments of a network share, such as a bridge, may stay.
/// 7. **Any instant.** Whenever an attach is interrupted, detach removes what it left, and the key can be attached again.
/// 8. **Check looks.** Check succeeds on what attach made, and fails once the interface or an address of it is gone.
/// 9. **Collect keeps what is named.** Collect frees all of this network's attachments that are not named, and disturbs
///    none that is. Idempotent.
/// 10. **Wishes are fulfilled or refused.** A wish that the network offers is fulfilled: a mapped port of the node leads to
///     the sandbox's port, a bandwidth is kept. A node's port that is taken is refused.
/// 11. **Nonsense is refused.** A key that cannot name a sandbox or an interface, or a namespace that is none, is refused,
///     and nothing is left of the call.
/// 12. **Ready tells.** [`ready`](PodNetwork::ready) succeeds when attach can be expected to, and else says what is
///     missing. It changes nothing.
/// 13. **Any order, at once.** Calls on different keys run at once and do not disturb each other.
///
/// `windlass_conformance::network` checks them.
#[async_trait]
pub trait PodNetwork: Debug + Send + Sync + 'static {
    /// Gives a sandbox an interface in the network.
    async fn attach(&self, attachment: &Attachment) -> Result<Attached>;

    /// Takes an interface away, with all that came with it. The namespace may be gone.
    async fn detach(&self, attachment: &Attachment) -> Result<()>;

    /// Fails with what is wrong if an attachment is not as attach made it.
    async fn check(&self, attachment: &Attachment) -> Result<()>;

    /// Frees what belongs to no attachment of `valid`, which names all that are wanted in this network.
    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()>;

    /// Fails with [`Unavailable`](crate::ErrorKind::Unavailable) and the reason while the network cannot attach.
    async fn ready(&self) -> Result<()>;
}
