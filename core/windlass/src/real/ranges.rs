//! The node's range of pod addresses: where it comes from, that it stays while pods have addresses of it, and what leaves it.

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ipnet::{IpNet, Ipv4Net};
use windlass_controllers::node_ipam::PodRanges;
use windlass_cri::containerd::Settings;
use windlass_kernel::{Error, ErrorKind, Result, SpawnExt};
use windlass_node::host::pod_ranges as ranges_of;

use super::ContainerNode;
use crate::{NodeParts, NodeSource};

/// The range of which all nodes have theirs, unless somebody says otherwise.
pub const CLUSTER_RANGE: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 88, 0, 0), 16));

/// The table that has the node's address stand for those of its pods.
const TABLE: &str = "inet windlass_pods";

/// How pods of other nodes are reached: the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// By routes through the other nodes, which have to be in one directly attached subnet.
    Routed,
    /// In VXLAN packets from node to node, whatever is between them.
    Vxlan,
}

/// Parts of the cluster's range for its nodes, each with a prefix of that length, for
/// [`Builder::pod_ranges`](crate::Builder::pod_ranges).
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where the range has no such parts.
pub fn pod_ranges(range: IpNet, length: u8) -> Result<PodRanges> {
    PodRanges::new(vec![range], (length, length))
}

impl ContainerNode {
    /// How pods of other nodes are reached, by a build that can.
    pub(super) fn routing(&self) -> Option<Routing> {
        self.routing.filter(|_| cfg!(feature = "cni"))
    }

    /// What says which range the pods of a data directory have addresses of, until the machine or the node goes down.
    pub(super) fn range_note(data_dir: &Path) -> PathBuf {
        Self::settings(data_dir).state_dir.join("pod-range")
    }

    /// What the routes of a data directory's node say of it.
    pub(super) fn node_file(data_dir: &Path) -> PathBuf {
        Self::settings(data_dir).state_dir.join("pod-network.json")
    }

    /// The settings of a runtime of our own, whose pods have addresses of the node's range.
    pub(super) async fn network(&self, parts: &NodeParts) -> Result<Settings> {
        let settings = Settings { mirrors: self.mirrors.clone(), ..Self::settings(&self.data_dir) };
        if !self.has_own_network() {
            return Ok(settings);
        }
        let IpNet::V4(cluster) = self.cluster_range else {
            let message = format!("{} cannot be the range of pods: only IPv4 is supported", self.cluster_range);
            return Err(Error::new(ErrorKind::NotSupported, message));
        };
        let ranges = ranges_of(&self.registration(), &parts.informers, self.pod_range.as_slice()).await?;
        let range = first(&ranges)?;
        let routed = self.routing().is_some();
        if routed && !cluster.contains(&range) {
            let message = format!(
                "the node's pod range {range} is not in the cluster's, {cluster}: say which that is, or turn off routes to \
                 pods of other nodes"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let (note, bridge) = (Self::range_note(&self.data_dir), settings.bridge.clone());
        let done = parts.spawn.run_blocking("node.range", move || {
            keep(&note, range)?;
            if routed { nft(&script(range, cluster, &bridge)) } else { remove_table(TABLE) }
        });
        done.await
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the look at the pod range was interrupted")))?;
        // What goes to pods elsewhere has to come from the pod that sent it, which no plugin knows of.
        Ok(Settings { pod_range: range.to_string(), masquerade: !routed, ..settings })
    }
}

/// The IPv4 range among those of a node.
fn first(ranges: &[IpNet]) -> Result<Ipv4Net> {
    let four = ranges.iter().find_map(|range| match range {
        IpNet::V4(range) => Some(*range),
        IpNet::V6(_) => None,
    });
    four.ok_or_else(|| {
        let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        let message =
            format!("the node has no IPv4 range of pod addresses, but {}: only IPv4 is supported", ranges.join(","));
        Error::new(ErrorKind::NotSupported, message)
    })
}

/// Notes the range, and refuses another one than pods have addresses of. Blocks.
fn keep(note: &Path, range: Ipv4Net) -> Result<()> {
    let failed = |error| Error::new(ErrorKind::Internal, format!("cannot keep {}", note.display())).with_source(error);
    match fs::read_to_string(note) {
        Ok(before) if before.trim() == range.to_string() => return Ok(()),
        Ok(before) => {
            let message = format!(
                "pods of this node have addresses of {}, and its range is {range} now: `windlass down` removes them",
                before.trim()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    if let Some(folder) = note.parent() {
        // As the runtime makes it: others may pass through.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(failed)?;
    }
    fs::write(note, format!("{range}\n")).map_err(failed)
}

/// Packets of the node's pods to anything but pods, and not within the node's bridge, leave by the node's address.
fn script(range: Ipv4Net, cluster: Ipv4Net, bridge: &str) -> String {
    // Without the first line the second would fail where there is no table.
    format!(
        "add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n  chain leaving {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    \
         ip saddr {range} ip daddr != {{ {cluster}, 224.0.0.0/4 }} oifname != \"{bridge}\" masquerade\n  }}\n}}\n"
    )
}

/// Forgets which range the pods had that are gone, and what left it. Blocks.
pub(super) fn forget(data_dir: &Path) -> Result<()> {
    if let Err(error) = fs::remove_file(ContainerNode::range_note(data_dir))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::new(ErrorKind::Internal, "cannot forget the range of pods").with_source(error));
    }
    remove_table(TABLE)
}

/// Removes a table of packet rules, where there is one. Blocks.
pub(super) fn remove_table(table: &str) -> Result<()> {
    let nft = |verb: &str| {
        let mut command = Command::new("nft");
        command.args([verb, "table"]).args(table.split(' '));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if nft("list") && !nft("delete") {
        return Err(Error::new(ErrorKind::Internal, format!("cannot delete the nftables table {table}")));
    }
    Ok(())
}

fn nft(script: &str) -> Result<()> {
    let failed = |why: String| Error::new(ErrorKind::Internal, format!("nft does not change the table {TABLE}: {why}"));
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "nft does not start: is nftables installed?").with_source(error)
    })?;
    if let Some(mut input) = child.stdin.take() {
        // Where it ends early, it says why.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed("it did not end".into()).with_source(error))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_while_pods_may_have_addresses_of_it() {
        let folder = std::env::temp_dir().join(format!("windlass-range-{}", std::process::id()));
        let note = folder.join("state/pod-range");
        let [one, other] = ["10.88.1.0/24", "10.88.2.0/24"].map(|text| text.parse().unwrap());
        keep(&note, one).unwrap();
        keep(&note, one).unwrap();
        let refused = keep(&note, other).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        let says = refused.message().contains("of 10.88.1.0/24, and its range is 10.88.2.0/24 now: `windlass down`");
        assert!(refused.is(ErrorKind::Invalid) && says, "{refused}");
        keep(&note, other).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_ranges_of_ipv4_are_used() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(first(&nets(&["fd00::/64", "10.88.1.0/24"])).unwrap().to_string(), "10.88.1.0/24");
        let refused = first(&nets(&["fd00::/64"])).unwrap_err();
        assert!(refused.is(ErrorKind::NotSupported) && refused.message().contains("fd00::/64"), "{refused}");
    }
}
