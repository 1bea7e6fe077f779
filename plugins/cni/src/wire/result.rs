//! What ADD answers, in every version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Version;

/// A successful ADD. Held in the form of 1.1.0; [`write`](Self::write) leaves out what an older version does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddResult {
    /// The version that it is written in.
    pub cni_version: String,
    /// The interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub interfaces: Vec<WireInterface>,
    /// The addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub ips: Vec<WireIp>,
    /// The routes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub routes: Vec<WireRoute>,
    /// How names are resolved.
    #[serde(skip_serializing_if = "WireDns::is_empty", deserialize_with = "nullable")]
    pub dns: WireDns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireInterface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The largest packet. From 1.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace; empty for the node's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A socket file in its place. From 1.1.0.
    #[serde(rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// The PCI device. From 1.1.0.
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireIp {
    /// `4` or `6`; before 1.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The address with its prefix.
    pub address: IpNet,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<i64>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireRoute {
    /// Where it leads.
    pub dst: IpNet,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The largest packet. This and what follows from 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The largest segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Lower goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireDns {
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub search: Vec<String>,
    /// Options.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub options: Vec<String>,
}

impl WireDns {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddResult {
    /// Reads a result of any version; it says its version itself, or is of `version`.
    ///
    /// # Errors
    ///
    /// A sentence on what is wrong.
    pub fn read(json: &Value, version: Version) -> Result<Self, String> {
        if !json.is_object() {
            // A list would be taken for the fields in their order.
            return Err("it is no JSON object".into());
        }
        let mut result: Self = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        if !result.cni_version.is_empty() {
            result.cni_version.parse::<Version>()?;
        }
        // What it was written in no longer matters: the newest form holds all of it.
        for ip in &mut result.ips {
            let family = if ip.address.addr().is_ipv4() { "4" } else { "6" };
            if ip.version.as_deref().is_some_and(|said| said != family) {
                return Err(format!("{} is said to be of IP version {:?}", ip.address, ip.version.as_deref()));
            }
            ip.version = None;
        }
        result.cni_version = version.to_string();
        Ok(result)
    }

    /// The result as JSON of a version.
    #[must_use]
    pub fn write(&self, version: Version) -> Value {
        let mut result = self.clone();
        result.cni_version = version.to_string();
        if version < Version::V1_1_0 {
            for interface in &mut result.interfaces {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, String::new(), String::new());
            }
            for route in &mut result.routes {
                *route = WireRoute {
                    dst: route.dst,
                    gw: route.gw,
                    mtu: None,
                    advmss: None,
                    priority: None,
                    table: None,
                    scope: None,
                };
            }
        }
        for ip in &mut result.ips {
            let family = if ip.address.addr().is_ipv4() { "4" } else { "6" };
            ip.version = (version < Version::V1_0_0).then(|| family.into());
        }
        serde_json::to_value(result).unwrap_or_default()
    }
}

/// Go programs write `null` for what is empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
