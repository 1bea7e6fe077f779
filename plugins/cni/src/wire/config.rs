//! Configurations: what an administrator writes, and what a plugin is handed.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Version, WireDns};

/// A network: the plugins that make it, in order (a `.conflist` file).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkList {
    /// The version that it is written in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cni_version: String,
    /// All versions that it can be run with. From 1.1.0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cni_versions: Vec<String>,
    /// The network's name.
    pub name: String,
    /// Whether CHECK must not be called. From 0.4.0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_check: bool,
    /// Whether GC must not be called, for networks that several hosts share. From 1.1.0.
    #[serde(rename = "disableGC", skip_serializing_if = "std::ops::Not::not")]
    pub disable_gc: bool,
    /// Whether the plugins that stand here are all. Else those in the folder of the network's name follow. From 1.1.0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub load_only_inlined_plugins: bool,
    /// The plugins' own configurations.
    pub plugins: Vec<Map<String, Value>>,
}

impl NetworkList {
    /// Reads a list of plugins (`.conflist`), or a single one (`.conf`), which is a list of one.
    ///
    /// # Errors
    ///
    /// A sentence on what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, |_| Ok(Vec::new()))
    }

    /// As [`parse`](Self::parse); `others` has the plugins of the network of a name that stand elsewhere, which follow those
    /// of the list. It is not asked for a single plugin, nor where the list says that its own are all.
    ///
    /// # Errors
    ///
    /// A sentence on what is wrong with it.
    pub fn parse_with(
        text: &str,
        others: impl FnOnce(&str) -> Result<Vec<Map<String, Value>>, String>,
    ) -> Result<Self, String> {
        let json: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let single = json.contains_key("type") && !json.contains_key("plugins");
        let mut list: Self = if single {
            let word = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            Self { cni_version: word("cniVersion"), name: word("name"), plugins: vec![json], ..Self::default() }
        } else {
            serde_json::from_value(Value::Object(json)).map_err(|error| error.to_string())?
        };
        list.validate_name()?;
        if !single && !list.load_only_inlined_plugins {
            list.plugins.extend(others(&list.name)?);
        }
        list.validate()?;
        Ok(list)
    }

    /// The name may become one of a file or of a folder.
    fn validate_name(&self) -> Result<(), String> {
        let tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if self.name.starts_with(|c: char| c.is_ascii_alphanumeric()) && self.name.chars().all(tail) {
            return Ok(());
        }
        Err(format!("{:?} cannot name a network: letters, digits, '_', '.' and '-' can", self.name))
    }

    fn validate(&self) -> Result<(), String> {
        self.version()?;
        if self.plugins.is_empty() {
            return Err("it has no plugins".into());
        }
        let typed =
            |plugin: &Map<String, Value>| plugin.get("type").and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        match self.plugins.iter().position(|plugin| !typed(plugin)) {
            Some(at) => Err(format!("plugins[{at}] has no type")),
            None => Ok(()),
        }
    }

    /// The newest version of the list that this crate speaks.
    ///
    /// # Errors
    ///
    /// A sentence, where there is none.
    pub fn version(&self) -> Result<Version, String> {
        let offered = self.cni_versions.iter().chain([&self.cni_version]).map(String::as_str);
        Version::newest(offered).ok_or_else(|| match self.cni_version.parse::<Version>() {
            Err(why) => why,
            Ok(version) => format!("version {version} cannot be used"),
        })
    }
}

/// What a plugin is handed on its standard input: its own configuration, and what the runtime adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginConfig {
    /// The version that is spoken.
    pub cni_version: String,
    /// The network's name.
    pub name: String,
    /// The plugin's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the capabilities that the plugin declares are to be used for.
    pub runtime_config: RuntimeConfig,
    /// The result of the plugin before, or of the whole ADD for CHECK and DEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_result: Option<Value>,
    /// With GC, all attachments that are wanted.
    #[serde(rename = "cni.dev/valid-attachments", skip_serializing_if = "Option::is_none")]
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// How names are to be resolved.
    #[serde(skip_serializing_if = "WireDns::is_empty")]
    pub dns: WireDns,
    /// How addresses are assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Map<String, Value>>,
    /// Everything else.
    #[serde(flatten)]
    pub own: BTreeMap<String, Value>,
}

/// One attachment that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface.
    pub ifname: String,
}

/// The well-known capability arguments (the specification's conventions).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeConfig {
    /// `portMappings`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMap>,
    /// `bandwidth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<RuntimeBandwidth>,
    /// `ipRanges`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_ranges: Vec<Vec<IpRange>>,
    /// `ips`: with or without a prefix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// `mac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `dns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<RuntimeDns>,
    /// `aliases`, by network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `cgroupPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_path: Option<String>,
    /// `deviceID`.
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
}

/// A port of the node that leads to one of the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMap {
    /// The node's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The node's address; empty for all.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// Limits in bits per second, and bursts in bits. Zero is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeBandwidth {
    /// Of what the container receives.
    #[serde(skip_serializing_if = "none")]
    pub ingress_rate: u64,
    /// Its burst.
    #[serde(skip_serializing_if = "none")]
    pub ingress_burst: u64,
    /// Of what the container sends.
    #[serde(skip_serializing_if = "none")]
    pub egress_rate: u64,
    /// Its burst.
    #[serde(skip_serializing_if = "none")]
    pub egress_burst: u64,
}

fn none(value: &u64) -> bool {
    *value == 0
}

/// Addresses to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpRange {
    /// Their network.
    pub subnet: IpNet,
    /// The first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_start: Option<IpAddr>,
    /// The last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_end: Option<IpAddr>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// How the pod's names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeDns {
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_is_handed_is_kept_whole() {
        let text = serde_json::json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "bridge": "cni0", "mtu": 1450,
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
            "prevResult": {"cniVersion": "1.1.0"},
            "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
            "ipam": {"type": "host-local"},
        });
        let config: PluginConfig = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(config.runtime_config.port_mappings[0].host_port, 8080);
        assert_eq!(serde_json::to_value(config).unwrap(), text);
    }

    #[test]
    fn a_list_is_run_with_the_newest_version_that_both_speak() {
        let check = |list: Value, expect: Option<Version>| {
            let list: NetworkList = serde_json::from_value(list).unwrap();
            assert_eq!(list.version().ok(), expect);
        };
        check(serde_json::json!({"cniVersion": "0.4.0"}), Some(Version::V0_4_0));
        check(serde_json::json!({"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "3.0.0"]}), Some(Version::V1_0_0));
        check(serde_json::json!({"cniVersion": "0.1.0"}), None);
        check(serde_json::json!({}), None);
    }
}
