//! Pods that send from their own hardware address only (`macspoofchk`).
//!
//! All networks share one rule, which looks at two sets: the cables that are checked, and which address each may send from.

use std::fmt::Write as _;

use serde_json::Value;
use windlass_kernel::Result;

use super::{nft, table};

const TABLE: &str = "bridge windlass_cni";

/// Lets a cable's pod send from this address and no other.
pub(in crate::bridge) fn allow(cable: &str, mac: &str) -> Result<()> {
    let script = format!(
        "add table {TABLE}
add set {TABLE} checked {{ type ifname; }}
add set {TABLE} senders {{ type ifname . ether_addr; }}
add chain {TABLE} origin {{ type filter hook prerouting priority -300; }}
flush chain {TABLE} origin
add rule {TABLE} origin iifname @checked iifname . ether saddr != @senders drop
add element {TABLE} senders {{ \"{cable}\" . {mac} }}
add element {TABLE} checked {{ \"{cable}\" }}
"
    );
    nft(&["-f", "-"], &script).map(drop)
}

/// Whether a cable's pod is checked.
pub(in crate::bridge) fn checked(cable: &str) -> Result<bool> {
    let Sets { checked, senders } = sets()?;
    Ok(checked.iter().any(|name| name == cable) && senders.iter().any(|(name, _)| name == cable))
}

/// Forgets the cables that are chosen. Those that are not known are forgotten.
pub(in crate::bridge) fn forget(which: impl Fn(&str) -> bool) -> Result<()> {
    let Sets { checked, senders } = sets()?;
    let mut script = String::new();
    for name in checked.iter().filter(|name| which(name)) {
        let _ = writeln!(script, "delete element {TABLE} checked {{ \"{name}\" }}");
    }
    for (name, mac) in senders.iter().filter(|(name, _)| which(name)) {
        let _ = writeln!(script, "delete element {TABLE} senders {{ \"{name}\" . {mac} }}");
    }
    if script.is_empty() { Ok(()) } else { nft(&["-f", "-"], &script).map(drop) }
}

/// What is in the two sets.
struct Sets {
    /// Cables.
    checked: Vec<String>,
    /// Cables with an address that each may send from.
    senders: Vec<(String, String)>,
}

fn sets() -> Result<Sets> {
    let all = table("bridge")?;
    let elements = |name: &str| {
        let set = all.iter().map(|one| &one["set"]).find(|set| set["name"] == name);
        set.and_then(|set| set["elem"].as_array()).cloned().unwrap_or_default()
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |value: &Value| (word(&value["concat"][0]), word(&value["concat"][1]));
    Ok(Sets {
        checked: elements("checked").iter().map(word).collect(),
        senders: elements("senders").iter().map(pair).collect(),
    })
}
