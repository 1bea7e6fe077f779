//! What the configuration says, and what it asks for that this bridge does not do.

use std::{net::IpAddr, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{AddressRange, Dns, Route},
};

use crate::{
    net::mac_bytes,
    routes::{NODE_FILE, NodeFile},
    skel::Setup,
    wire::{self, IpRange, WireRoute},
};

/// Fields of the well-known bridge plugin that would change what a pod gets, and are not there.
const NOT_SUPPORTED: &[&str] = &["vlan", "vlanTrunk"];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) bridge: String,
    /// Whether the bridge has the gateways' addresses.
    pub(super) gateway: bool,
    /// Whether everything else is reached by them too.
    pub(super) default_gateway: bool,
    pub(super) masquerade: bool,
    pub(super) hairpin: bool,
    /// Whether the bridge takes packets that are for nobody on it.
    pub(super) promiscuous: bool,
    /// Whether an address that the bridge has in place of its gateway's goes.
    pub(super) force_address: bool,
    /// Whether pods of the bridge do not reach each other.
    pub(super) isolated: bool,
    /// Whether a pod sends from its own hardware address only.
    pub(super) spoof_check: bool,
    /// Whether the pod's interface is left down.
    pub(super) down: bool,
    /// Whose ranges and routes the network is made of, where that is the node's.
    pub(super) node: Option<OfNode>,
    /// 0 leaves it to the kernel.
    pub(super) mtu: u32,
    pub(super) state_dir: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) ipam: Ipam,
    pub(super) dns: Dns,
}

/// A network whose ranges are the node's (`spec.podCIDRs`), and that reaches other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfNode {
    mode: String,
    file: PathBuf,
}

impl OfNode {
    /// What the node is now.
    pub(super) fn read(&self) -> Result<NodeFile> {
        NodeFile::read(&self.file, &self.mode)
    }
}

/// Who assigns addresses.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ipam {
    /// Nobody: pods get a cable and no address.
    None,
    /// This crate.
    Own {
        /// One address comes of each set.
        sets: Vec<Vec<AddressRange>>,
        routes: Vec<Route>,
    },
    /// Another plugin.
    Delegated(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    bridge: String,
    mode: String,
    is_gateway: bool,
    is_default_gateway: Option<bool>,
    ip_masq: bool,
    hairpin_mode: bool,
    promisc_mode: bool,
    force_address: bool,
    port_isolation: bool,
    macspoofchk: bool,
    disable_container_interface: bool,
    node_file: PathBuf,
    mtu: u32,
    state_dir: PathBuf,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            bridge: "cni0".into(),
            mode: "bridge".into(),
            is_gateway: false,
            is_default_gateway: None,
            ip_masq: false,
            hairpin_mode: false,
            promisc_mode: false,
            force_address: false,
            port_isolation: false,
            macspoofchk: false,
            disable_container_interface: false,
            node_file: NODE_FILE.into(),
            mtu: 0,
            state_dir: "/var/lib/cni/windlass-bridge".into(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IpamFields {
    #[serde(rename = "type")]
    kind: String,
    ranges: Vec<Vec<IpRange>>,
    subnet: Option<ipnet::IpNet>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    gateway: Option<IpAddr>,
    routes: Vec<WireRoute>,
    data_dir: Option<PathBuf>,
}

impl Settings {
    pub(super) fn read(setup: &Setup) -> Result<Self> {
        let own = &setup.config.own;
        let name = &setup.config.name;
        let tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        // It becomes the name of folders and of a chain of rules.
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(tail) || name.len() > 64 {
            let message = format!("name: {name:?} is not 1 to 64 of letters, digits, '_', '.' and '-'");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let set = |name: &&&str| own.get(**name).is_some_and(|value| *value != Value::Bool(false) && !value.is_null());
        if let Some(name) = NOT_SUPPORTED.iter().find(set) {
            return Err(unsupported(name, &own[*name], "remove the field"));
        }
        let fields: Fields = setup.own()?;
        let of_node = matches!(fields.mode.as_str(), "routed" | "vxlan");
        if !of_node && fields.mode != "bridge" {
            return Err(unsupported("mode", &own["mode"], "\"bridge\", \"routed\" and \"vxlan\" are there"));
        }
        let invalid = |what: &str| Err(Error::new(ErrorKind::Invalid, what.to_owned()));
        if fields.hairpin_mode && fields.promisc_mode {
            return invalid("hairpinMode and promiscMode cannot both be set: a pod would get what it sends twice");
        }
        let device = setup.config.runtime_config.device_id.as_ref();
        if let Some(device) = device {
            return Err(unsupported("runtimeConfig.deviceID", &device.as_str().into(), "a bridge makes its own links"));
        }
        if setup.config.runtime_config.mac.as_ref().is_some_and(|mac| mac_bytes(mac).is_none()) {
            return Err(Error::new(ErrorKind::Invalid, "runtimeConfig.mac: it is no hardware address of six bytes"));
        }
        let (mut ipam, data_dir) = ipam(setup.config.ipam.as_ref())?;
        if fields.disable_container_interface && ipam != Ipam::None {
            return invalid("disableContainerInterface: an interface that is down can have no address; remove ipam");
        }
        if of_node {
            match &mut ipam {
                Ipam::Own { sets, .. } if sets.is_empty() => {}
                none @ Ipam::None if !fields.disable_container_interface => {
                    *none = Ipam::Own { sets: vec![], routes: vec![] };
                }
                _ => return invalid("ipam: in this mode the ranges are the node's podCIDRs; leave all of it out"),
            }
        }
        let default_gateway = fields.is_default_gateway.unwrap_or(of_node);
        let dns = &setup.config.dns;
        Ok(Self {
            bridge: fields.bridge,
            gateway: fields.is_gateway || default_gateway || of_node,
            default_gateway,
            masquerade: fields.ip_masq,
            hairpin: fields.hairpin_mode,
            promiscuous: fields.promisc_mode,
            force_address: fields.force_address,
            isolated: fields.port_isolation,
            spoof_check: fields.macspoofchk,
            down: fields.disable_container_interface,
            node: of_node.then(|| OfNode { mode: fields.mode.clone(), file: fields.node_file }),
            mtu: fields.mtu,
            state_dir: fields.state_dir,
            data_dir: data_dir.unwrap_or_else(|| "/var/lib/cni/networks".into()),
            ipam,
            dns: Dns {
                servers: dns.nameservers.clone(),
                domain: dns.domain.clone(),
                searches: dns.search.clone(),
                options: dns.options.clone(),
            },
        })
    }
}

fn unsupported(name: &str, value: &Value, cure: &str) -> Error {
    Error::new(ErrorKind::NotSupported, format!("windlass-bridge does not support {name}: {value}; {cure}"))
}

fn ipam(json: Option<&Map<String, Value>>) -> Result<(Ipam, Option<PathBuf>)> {
    let Some(json) = json else { return Ok((Ipam::None, None)) };
    let invalid = |what: String| Error::new(ErrorKind::Invalid, format!("ipam: {what}"));
    let fields: IpamFields =
        serde_json::from_value(json.clone().into()).map_err(|error| invalid(error.to_string()).with_source(error))?;
    if fields.kind.is_empty() {
        return Ok((Ipam::None, None));
    }
    if fields.kind != "host-local" {
        return Ok((Ipam::Delegated(fields.kind), None));
    }
    let single = fields.subnet.map(|subnet| IpRange {
        subnet,
        range_start: fields.range_start,
        range_end: fields.range_end,
        gateway: fields.gateway,
    });
    let sets = single.map(|one| vec![one]).into_iter().chain(fields.ranges);
    let sets = sets.map(|set| set.iter().map(wire::range_from_wire).collect()).collect();
    let routes = fields.routes.iter().map(wire::route_from_wire).collect();
    Ok((Ipam::Own { sets, routes }, fields.data_dir))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::skel::Inline;

    fn read(extra: Value) -> Result<Settings> {
        let mut config = json!({"cniVersion": "1.1.0", "name": "pods", "type": "windlass-bridge"});
        let Value::Object(extra) = extra else { panic!("fields are an object") };
        config.as_object_mut().unwrap().extend(extra);
        Settings::read(&Setup::of(serde_json::from_value(config).unwrap(), Arc::new(Inline))?)
    }

    #[test]
    fn the_well_known_fields_are_read() {
        let settings = read(json!({
            "bridge": "br7", "isDefaultGateway": true, "ipMasq": true, "mtu": 1400,
            "ipam": {"type": "host-local", "subnet": "10.1.2.3/24", "ranges": [[{"subnet": "fd00::/64"}]],
                     "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/x"},
        }));
        let settings = settings.unwrap();
        assert_eq!((settings.bridge.as_str(), settings.gateway, settings.mtu), ("br7", true, 1400));
        assert_eq!(settings.data_dir, PathBuf::from("/x"));
        let Ipam::Own { sets, routes } = settings.ipam else { panic!("own addresses") };
        assert_eq!((sets.len(), sets[0][0].subnet.to_string(), routes.len()), (2, "10.1.2.3/24".into(), 1));
        assert_eq!(read(json!({})).unwrap().ipam, Ipam::None);
        let delegated = read(json!({"ipam": {"type": "static"}})).unwrap().ipam;
        assert_eq!(delegated, Ipam::Delegated("static".into()));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let check = |extra: Value, kind: ErrorKind, names: &str| {
            let error = read(extra).unwrap_err();
            assert!(error.is(kind) && error.message().contains(names), "{error}");
        };
        check(json!({"vlan": 7}), ErrorKind::NotSupported, "vlan: 7");
        check(json!({"mode": "ipip"}), ErrorKind::NotSupported, "ipip");
        check(json!({"hairpinMode": true, "promiscMode": true}), ErrorKind::Invalid, "hairpinMode and promiscMode");
        let ipam = json!({"type": "host-local", "subnet": "10.0.0.0/24"});
        check(json!({"disableContainerInterface": true, "ipam": ipam}), ErrorKind::Invalid, "remove ipam");
        check(json!({"mode": "routed", "ipam": ipam}), ErrorKind::Invalid, "podCIDRs");
        check(json!({"runtimeConfig": {"deviceID": "0000:00"}}), ErrorKind::NotSupported, "deviceID");
        check(json!({"runtimeConfig": {"mac": "zz"}}), ErrorKind::Invalid, "mac");
        check(json!({"mtu": "big"}), ErrorKind::Invalid, "big");
        check(json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/99"}}), ErrorKind::Invalid, "ipam");
        check(json!({"name": "../x"}), ErrorKind::Invalid, "../x");
        assert!(read(json!({"macspoofchk": false})).is_ok());
    }
}
