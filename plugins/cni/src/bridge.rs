//! A network on a Linux bridge: addresses, ports of the node, masquerade, limits of traffic, for IPv4 and IPv6.
//!
//! What is attached is written down before it is made and struck out after it is gone, so that a process that dies at any
//! instruction leaves nothing that DEL or GC would not find. Links go over netlink; packet rules are one `nft` batch.

mod attach;
mod inspect;
mod ranges;
mod record;
mod release;
mod reservations;
mod rules;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_kernel::{
    Error, ErrorKind, PodNetwork, Result, SpawnExt,
    network::{Attached, Attachment, AttachmentKey},
};

use self::{record::Records, reservations::Reservations, rules::Rules, settings::Settings};
use crate::{failed, hash, skel::Setup, turns::Turns};

/// A network on a bridge of this process's network namespace. Clones are the same one.
///
/// It reads the configuration of the well-known `bridge` plugin with `host-local` addresses, and has port mappings and
/// limits of bandwidth built in; see `docs/guide/writing-a-network-plugin.md` for its fields.
#[derive(Clone, Debug)]
pub struct Bridge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setup: Setup,
    settings: Settings,
    records: Records,
    reservations: Reservations,
    rules: Rules,
    turns: Turns,
}

impl Bridge {
    /// The network of a configuration. Nothing is made yet.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) or [`NotSupported`](ErrorKind::NotSupported), naming the field.
    pub fn new(setup: &Setup) -> Result<Self> {
        let settings = Settings::read(setup)?;
        let network = &setup.config.name;
        Ok(Self(Arc::new(Inner {
            records: Records::of(&settings.state_dir, network),
            reservations: Reservations::of(&settings.data_dir, network),
            rules: Rules::of(network),
            turns: Turns::default(),
            settings,
            setup: setup.clone(),
        })))
    }

    /// Runs work on an attachment when those before it are done.
    async fn work_on<T: Send + 'static>(
        &self,
        attachment: &Attachment,
        work: fn(&Inner, &Attachment) -> Result<T>,
    ) -> Result<T> {
        let turn = self.0.turns.next(&attachment.key.sandbox).await;
        let attachment = attachment.clone();
        self.work(move |inner| {
            let _turn = turn;
            work(inner, &attachment)
        })
        .await
    }

    /// Runs work that blocks, where such work belongs.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let done = self.0.setup.spawn.run_blocking("cni.bridge", move || work(&inner)).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the bridge's worker panicked").maybe_applied()))
    }
}

#[async_trait]
impl PodNetwork for Bridge {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        self.work_on(attachment, Inner::attach).await
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        self.work_on(attachment, Inner::detach).await
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        self.work_on(attachment, Inner::check).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        let valid = valid.to_vec();
        self.work(move |inner| inner.collect(&valid)).await
    }

    async fn ready(&self) -> Result<()> {
        self.work(Inner::ready).await
    }
}

/// The names of an attachment's links on the node. They follow from what it is, so that they are found with nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    /// The node's end of the cable.
    cable: String,
    /// The link through which what the pod sends is shaped.
    turn: String,
}

impl Names {
    fn of(network: &str, key: &AttachmentKey) -> Self {
        let hash = hash(&format!("{network}\n{}\n{}", key.sandbox, key.interface));
        let short = format!("{:011x}", (hash ^ (hash >> 44)) & 0xfff_ffff_ffff);
        Self { cable: format!("veth{short}"), turn: format!("ifb{short}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_differ_and_fit() {
        let names = |sandbox: &str, interface: &str| Names::of("pods", &AttachmentKey::new(sandbox, interface));
        let mut all: Vec<_> = (0..500).map(|n| names(&format!("sandbox{n}"), "eth0").cable).collect();
        all.push(names("sandbox1", "eth1").cable);
        assert!(all.iter().all(|name| name.len() == 15));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 501);
        assert_eq!(names("a", "eth0"), names("a", "eth0"));
    }
}
