//! Endpoints and EndpointSlices: addresses and ports that stand behind a service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::{default_to, each};
use crate::kinds::errors::{Errors, IMMUTABLE};
use crate::kinds::field::{Field, lookup};
use crate::kinds::{BASE, Kind, ip, prepare};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MAX_ENDPOINTS: usize = 1000;
const MAX_PORTS: usize = 20000;
const MAX_ADDRESSES: usize = 100;
const MAX_HINTS: usize = 8;

pub(in crate::kinds) static ENDPOINTS: Kind = Kind {
    default: |endpoints| {
        each(endpoints, "subsets", |subset| each(subset, "ports", |port| default_to(port, "protocol", "TCP")));
    },
    validate: |new, _, errors| {
        for subset in Field::top(new, "subsets").items() {
            self::subset(&subset, errors);
        }
    },
    create_on_update: true,
    ..BASE
};

pub(in crate::kinds) static SLICE: Kind = Kind {
    default: |slice| {
        each(slice, "ports", |port| {
            if lookup(port, "name").is_null() {
                crate::kinds::edit::set(port, "name", "");
            }
            default_to(port, "protocol", "TCP");
        });
    },
    prepare_create: prepare::count,
    prepare_update: |new, old| {
        prepare::count_changes(new, old, &["addressType", "endpoints", "ports"]);
    },
    validate: slice,
    ..BASE
};

fn subset(subset: &Field<'_, '_>, errors: &mut Errors) {
    let lists = [subset.get("addresses"), subset.get("notReadyAddresses")];
    if lists.iter().all(Field::is_empty) {
        errors.required(subset, "must specify `addresses` or `notReadyAddresses`");
    }
    for list in &lists {
        for address in list.items() {
            self::address(&address, errors);
        }
    }
    let ports = subset.get("ports");
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            errors.invalid_each(&name, names::dns_1123_label(name.text()));
        } else if ports.len() > 1 {
            errors.required(&name, "");
        }
        let number = port.get("port");
        let shown = json!(number.number());
        errors.invalid_each(&number.with(&shown), names::port_number(number.number()));
        errors.one_of(&port.get("protocol"), PROTOCOLS);
        let protocol = port.get("appProtocol");
        if protocol.present() {
            errors.invalid_each(&protocol, names::qualified_name(protocol.text()));
        }
    }
}

fn address(address: &Field<'_, '_>, errors: &mut Errors) {
    let (ip, host, node) = (address.get("ip"), address.get("hostname"), address.get("nodeName"));
    let before = errors.len();
    errors.ip(&ip);
    let well_formed = errors.len() == before;
    if !host.is_empty() {
        errors.invalid_each(&host, names::dns_1123_label(host.text()));
    }
    if node.present() {
        errors.invalid_each(&node, names::dns_1123_subdomain(node.text()));
    }
    if well_formed {
        ordinary_ip(&ip, errors);
    }
}

/// Refuses addresses that mean something only on one machine.
pub(in crate::kinds) fn ordinary_ip(field: &Field<'_, '_>, errors: &mut Errors) {
    let Ok(ip) = field.text().parse::<IpAddr>() else { return };
    let (local, multicast) = match ip {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (six.segments()[0] & 0xffc0 == 0xfe80, six.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_unspecified() {
        errors.invalid(field, format!("may not be unspecified ({})", field.text()));
    }
    if ip.is_loopback() {
        errors.invalid(field, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if local {
        errors.invalid(field, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        errors.invalid(field, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn slice(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (kind, endpoints, ports) =
        (Field::top(new, "addressType"), Field::top(new, "endpoints"), Field::top(new, "ports"));
    if errors.require(&kind, "") {
        errors.optional_one_of(&kind, &["FQDN", "IPv4", "IPv6"]);
    }
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&endpoints, MAX_ENDPOINTS);
    } else {
        for endpoint in endpoints.items() {
            self::endpoint(&endpoint, kind.text(), errors);
        }
    }
    if ports.len() > MAX_PORTS {
        errors.too_many(&ports, MAX_PORTS);
    }
    let mut seen = BTreeSet::new();
    for port in ports.items().take(MAX_PORTS) {
        let name = port.get("name");
        if !name.is_empty() {
            errors.invalid_each(&name, names::dns_1123_label(name.text()));
        }
        if !seen.insert(name.text()) {
            errors.duplicate(&name);
        }
        errors.one_of(&port.get("protocol"), PROTOCOLS);
        let number = port.get("port");
        if number.present() {
            errors.invalid_each(&number, names::port_number(number.number()));
        }
        let protocol = port.get("appProtocol");
        if protocol.present() {
            errors.invalid_each(&protocol, names::qualified_name(protocol.text()));
        }
    }
    if old.is_some_and(|old| lookup(old, "addressType") != kind.value()) {
        errors.invalid(&kind, IMMUTABLE);
    }
}

fn endpoint(endpoint: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        errors.required(&addresses, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(&addresses, MAX_ADDRESSES);
    }
    for address in addresses.items() {
        let is_ip = matches!(kind, "IPv4" | "IPv6");
        // An address that is no more written this way is none of either family.
        if is_ip && ip::address(address.text()).is_some_and(|wrong| wrong.once_right) {
            errors.ip(&address);
            continue;
        }
        match (kind, address.text().parse::<IpAddr>()) {
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => ordinary_ip(&address, errors),
            ("IPv4", _) => errors.invalid(&address, "must be a valid IPv4 address"),
            ("IPv6", _) => errors.invalid(&address, "must be a valid IPv6 address"),
            ("FQDN", _) => errors.invalid_each(&address, names::dns_1123_subdomain(address.text())),
            _ => {}
        }
    }
    let node = endpoint.get("nodeName");
    if node.present() {
        errors.invalid_each(&node, names::dns_1123_subdomain(node.text()));
    }
    let topology = endpoint.get("deprecatedTopology");
    crate::kinds::meta::labels(&topology, errors);
    let host = endpoint.get("hostname");
    if host.present() {
        errors.invalid_each(&host, names::dns_1123_label(host.text()));
    }
    let hints = endpoint.get("hints");
    for list in ["forZones", "forNodes"] {
        let list = hints.get(list);
        if list.len() > MAX_HINTS {
            errors.too_many(&list, MAX_HINTS);
        }
        let mut seen = BTreeSet::new();
        for hint in list.items() {
            let name = hint.get("name");
            if !seen.insert(name.text()) {
                errors.duplicate(&name);
            }
            for complaint in names::dns_1123_subdomain(name.text()) {
                errors.invalid_text(&name, name.text(), complaint);
            }
        }
    }
}
