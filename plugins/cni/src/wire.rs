//! What the CNI specification says, as plain types: configurations, results, errors, versions. Versions 0.3.0 to 1.1.0.
//!
//! `mapping` alone turns them into the kernel's types and back. No process is run and no file is read.

mod config;
mod error;
mod mapping;
mod result;
mod version;

pub use self::{
    config::{
        IpRange, NetworkList, PluginConfig, PortMap, RuntimeBandwidth, RuntimeConfig, RuntimeDns, ValidAttachment,
    },
    error::{CniError, code},
    mapping::{
        arguments_from_wire, arguments_to_wire, attached_from_wire, attached_to_wire, error_from_wire, error_to_wire,
        keys_from_wire, keys_to_wire, range_from_wire, route_from_wire, wishes_from_wire, wishes_to_wire,
    },
    result::{AddResult, WireDns, WireInterface, WireIp, WireRoute},
    version::{SUPPORTED, Version, VersionInfo},
};
