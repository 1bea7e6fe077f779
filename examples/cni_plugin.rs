//! A CNI plugin that gives every pod a limit of traffic where nobody wished for one; the rest is the bridge's.
//!
//! `docs/guide/writing-a-network-plugin.md` tells how it is configured and proved.

use std::process::ExitCode;

use async_trait::async_trait;
use windlass::{
    cni::{
        bridge::Bridge,
        skel::{self, Setup},
    },
    kernel::{
        PodNetwork, Result,
        network::{Attached, Attachment, AttachmentKey, Rate},
    },
};

/// The bridge, with a limit for those who wished for none.
#[derive(Debug)]
struct Limited {
    inner: Bridge,
    rate: Rate,
}

/// The plugin's own fields of the network configuration.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    default_bits_per_second: u64,
}

impl Limited {
    fn new(setup: &Setup) -> Result<Self> {
        let bits = setup.own::<Fields>()?.default_bits_per_second;
        Ok(Self { inner: Bridge::new(setup)?, rate: Rate { bits, burst: bits } })
    }

    fn limited(&self, attachment: &Attachment) -> Attachment {
        let mut attachment = attachment.clone();
        let bandwidth = &mut attachment.wishes.bandwidth;
        bandwidth.ingress.get_or_insert(self.rate);
        bandwidth.egress.get_or_insert(self.rate);
        attachment
    }
}

#[async_trait]
impl PodNetwork for Limited {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        self.inner.attach(&self.limited(attachment)).await
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        self.inner.detach(&self.limited(attachment)).await
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        self.inner.check(&self.limited(attachment)).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        self.inner.collect(valid).await
    }

    async fn ready(&self) -> Result<()> {
        self.inner.ready().await
    }
}

fn main() -> ExitCode {
    skel::main(|setup| Limited::new(&setup))
}
