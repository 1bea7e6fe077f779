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
    skel::Setup,
    wire::{self, IpRange, WireRoute},
};

/// Fields of the well-known bridge plugin that would change what a pod gets, and are not there.
const NOT_SUPPORTED: &[&str] = &[
    "vlan",
    "vlanTrunk",
    "preserveDefaultVlan",
    "macspoofchk",
    "disableContainerInterface",
    "portIsolation",
    "promiscMode",
    "forceAddress",
];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) bridge: String,
    /// Whether the bridge has the gateways' addresses.
    pub(super) gateway: bool,
    /// Whether everything else is reached by them too.
    pub(super) default_gateway: bool,
    pub(super) masquerade: bool,
    pub(super) hairpin: bool,
    /// 0 leaves it to the kernel.
    pub(super) mtu: u32,
    pub(super) state_dir: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) ipam: Ipam,
    pub(super) dns: Dns,
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
    is_default_gateway: bool,
    ip_masq: bool,
    hairpin_mode: bool,
    mtu: u32,
    state_dir: PathBuf,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            bridge: "cni0".into(),
            mode: "bridge".into(),
            is_gateway: false,
            is_default_gateway: false,
            ip_masq: false,
            hairpin_mode: false,
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
        if fields.mode != "bridge" {
            return Err(unsupported("mode", &own["mode"], "only \"bridge\" is there"));
        }
        let device = setup.config.runtime_config.device_id.as_ref();
        if let Some(device) = device {
            return Err(unsupported("runtimeConfig.deviceID", &device.as_str().into(), "a bridge makes its own links"));
        }
        if setup.config.runtime_config.mac.as_ref().is_some_and(|mac| mac_bytes(mac).is_none()) {
            return Err(Error::new(ErrorKind::Invalid, "runtimeConfig.mac: it is no hardware address of six bytes"));
        }
        let (ipam, data_dir) = ipam(setup.config.ipam.as_ref())?;
        let dns = &setup.config.dns;
        Ok(Self {
            bridge: fields.bridge,
            gateway: fields.is_gateway || fields.is_default_gateway,
            default_gateway: fields.is_default_gateway,
            masquerade: fields.ip_masq,
            hairpin: fields.hairpin_mode,
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
        check(json!({"macspoofchk": true}), ErrorKind::NotSupported, "macspoofchk");
        check(json!({"mode": "vxlan"}), ErrorKind::NotSupported, "vxlan");
        check(json!({"runtimeConfig": {"deviceID": "0000:00"}}), ErrorKind::NotSupported, "deviceID");
        check(json!({"runtimeConfig": {"mac": "zz"}}), ErrorKind::Invalid, "mac");
        check(json!({"mtu": "big"}), ErrorKind::Invalid, "big");
        check(json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/99"}}), ErrorKind::Invalid, "ipam");
        check(json!({"name": "../x"}), ErrorKind::Invalid, "../x");
        assert!(read(json!({"macspoofchk": false})).is_ok());
    }
}
