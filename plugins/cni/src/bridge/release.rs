//! The unmaking of attachments: of one, of what a failed attach left, and of all that nobody wants.

use windlass_kernel::{
    Result,
    network::{Attachment, AttachmentKey},
};

use super::{
    Inner, Names,
    record::Record,
    rules::{self, spoof},
    settings::Ipam,
};
use crate::{failed, net::Socket};

impl Inner {
    pub(super) fn detach(&self, attachment: &Attachment) -> Result<()> {
        attachment.key.validate()?;
        let _turn = self.records.hold(&attachment.key)?;
        self.unmake(attachment, self.records.read(&attachment.key)?.as_ref())
    }

    /// Removes everything that a record may stand for, and then the record. Each step may have been done before. Without a
    /// record, the names of links, the marks of rules and the owners of addresses say what is left.
    ///
    /// The address is the last to go, so that nobody gets it while anything still leads to it.
    pub(super) fn unmake(&self, attachment: &Attachment, record: Option<&Record>) -> Result<()> {
        let key = &attachment.key;
        let names = Names::of(&self.setup.config.name, key);
        let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
        // One end takes the other along, wherever that is.
        host.remove(&names.cable).map_err(failed(format!("remove {}", names.cable)))?;
        host.remove(&names.turn).map_err(failed(format!("remove {}", names.turn)))?;
        if record.map_or_else(rules::available, |record| !record.ports.is_empty()) {
            self.rules.remove(&names.cable)?;
        }
        if record.map_or_else(rules::available, |record| record.checked) {
            spoof::forget(|cable| cable == names.cable)?;
        }
        match &self.settings.ipam {
            Ipam::None => {}
            Ipam::Own { .. } => self.reservations.free(key, record.map_or(&[], |record| &record.addresses[..]))?,
            Ipam::Delegated(plugin) => {
                self.setup.delegate(plugin, "DEL", Some(attachment))?;
            }
        }
        self.records.end(key)
    }

    pub(super) fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        for key in self.records.keys()?.into_iter().filter(|key| !valid.contains(key)) {
            self.detach(&Attachment { key, ..Attachment::default() })?;
        }
        let cables: Vec<String> = valid.iter().map(|key| Names::of(&self.setup.config.name, key).cable).collect();
        if rules::available() {
            self.rules.keep(&cables)?;
            // A cable's name does not say whose it is; one that is gone sends nothing.
            let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
            let there: Vec<String> =
                host.links().map_err(failed("list links"))?.into_iter().map(|link| link.name).collect();
            spoof::forget(|cable| !there.iter().any(|name| name == cable))?;
        }
        match &self.settings.ipam {
            Ipam::None => Ok(()),
            Ipam::Own { .. } => self.reservations.keep(valid),
            Ipam::Delegated(plugin) => self.setup.with_valid(valid).delegate(plugin, "GC", None).map(drop),
        }
    }
}
