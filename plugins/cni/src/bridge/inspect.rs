//! Looks whether an attachment is as it was made, and whether another could be made.

use std::net::IpAddr;

use ipnet::IpNet;
use windlass_kernel::{Error, ErrorKind, Result, network::Attachment};

use super::{
    Inner, Names,
    attach::node_sets,
    record::Record,
    rules::{self, Needs, spoof},
    settings::{Ipam, OfNode},
};
use crate::{failed, namespace, net::Socket};

impl Inner {
    pub(super) fn check(&self, attachment: &Attachment) -> Result<()> {
        attachment.key.validate()?;
        let wrong = |what: String| Error::new(ErrorKind::Conflict, format!("{}: {what}", attachment.key));
        let Some(record) = self.records.read(&attachment.key)? else {
            return Err(Error::new(ErrorKind::NotFound, format!("{} is not attached", attachment.key)));
        };
        let names = Names::of(&self.setup.config.name, &attachment.key);
        let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
        let bridge = &self.settings.bridge;
        let ports = host.link(bridge).map_err(failed(format!("look at {bridge}")))?.filter(|link| link.up);
        let ports = ports.ok_or_else(|| wrong(format!("bridge {bridge} is gone or down")))?;
        let cable = host.link(&names.cable).map_err(failed("look at the cable"))?.filter(|link| link.up);
        let cable = cable.ok_or_else(|| wrong(format!("its link {} on the node is gone or down", names.cable)))?;
        if cable.master != ports.index {
            return Err(wrong(format!("its link {} is not plugged into {bridge}", names.cable)));
        }
        self.check_limits(attachment, &mut host, cable.index, &names)?;
        let present = self.check_inside(attachment, &record)?;
        for ip in &record.addresses {
            let kept =
                !matches!(self.settings.ipam, Ipam::Own { .. }) || self.reservations.has(&attachment.key, *ip)?;
            if !kept {
                return Err(wrong(format!("its address {ip} is no longer reserved")));
            }
        }
        if let Ipam::Delegated(plugin) = &self.settings.ipam {
            self.setup.delegate(plugin, "CHECK", Some(attachment))?;
        }
        let masquerade = self.settings.masquerade;
        let needs = Needs { cable: &names.cable, addresses: &present, ports: &record.ports, masquerade, inside: &[] };
        if self.settings.spoof_check && !spoof::checked(&names.cable)? {
            return Err(wrong("nothing keeps it from sending with another's hardware address".into()));
        }
        match self.rules.missing(&needs)?.first() {
            Some(port) => Err(wrong(format!("nothing leads from the node's port {port} to it"))),
            None => Ok(()),
        }
    }

    /// The interface in the namespace; the answer is its addresses, in the order of the record.
    fn check_inside(&self, attachment: &Attachment, record: &Record) -> Result<Vec<IpNet>> {
        let wrong = |what: String| Error::new(ErrorKind::Conflict, format!("{}: {what}", attachment.key));
        let path = attachment.namespace.as_ref().ok_or_else(|| wrong("it has no network namespace".into()))?;
        let interface = attachment.key.interface.clone();
        let inside = namespace::inside(&namespace::open(path)?, || {
            let mut socket = Socket::open().map_err(failed("open a netlink socket in the namespace"))?;
            let link = socket.link(&interface).map_err(failed(format!("look at {interface}")))?;
            let Some(link) = link else { return Ok(None) };
            let addresses = socket.addresses(link.index).map_err(failed("look at its addresses"))?;
            Ok(Some((link.up, addresses)))
        })?;
        let (up, addresses) = inside.ok_or_else(|| wrong(format!("interface {interface} is gone")))?;
        if !up && !self.settings.down {
            return Err(wrong(format!("interface {interface} is down")));
        }
        let find = |ip: &IpAddr| addresses.iter().find(|address| address.addr() == *ip).copied();
        record
            .addresses
            .iter()
            .map(|ip| find(ip).ok_or_else(|| wrong(format!("interface {interface} has lost the address {ip}"))))
            .collect()
    }

    fn check_limits(&self, attachment: &Attachment, host: &mut Socket, cable: u32, names: &Names) -> Result<()> {
        let limits = attachment.wishes.bandwidth;
        let wrong = |what: &str| {
            Error::new(ErrorKind::Conflict, format!("{}: the limit of what it {what} is gone", attachment.key))
        };
        let limited = |host: &mut Socket, index: u32| {
            let queues = host.queues(index).map_err(failed("look at queues"))?;
            Ok::<_, Error>(queues.iter().any(|queue| queue == "tbf"))
        };
        if limits.ingress.is_some() && !limited(host, cable)? {
            return Err(wrong("receives"));
        }
        if limits.egress.is_some() {
            let turn = host.link(&names.turn).map_err(failed("look at the link that limits"))?;
            let index = turn.ok_or_else(|| wrong("sends"))?.index;
            if !limited(host, index)? {
                return Err(wrong("sends"));
            }
        }
        Ok(())
    }

    pub(super) fn ready(&self) -> Result<()> {
        let unavailable = |what: &str| Error::new(ErrorKind::Unavailable, what.to_owned());
        if !nix::unistd::geteuid().is_root() {
            return Err(unavailable("windlass-bridge needs root"));
        }
        if (self.settings.masquerade || self.settings.spoof_check) && !rules::available() {
            return Err(unavailable("windlass-bridge needs nft for ipMasq and macspoofchk: install nftables"));
        }
        Socket::open().map_err(|error| unavailable("netlink cannot be used").with_source(error))?;
        match &self.settings.ipam {
            Ipam::None => Ok(()),
            Ipam::Own { sets, .. } => {
                let node = self.settings.node.as_ref().map(OfNode::read).transpose()?;
                let own = node.as_ref().map(node_sets).unwrap_or_default();
                self.reservations.could(&own.into_iter().chain(sets.iter().cloned()).collect::<Vec<_>>())
            }
            Ipam::Delegated(plugin) => self.setup.delegate(plugin, "STATUS", None).map(drop),
        }
    }
}
