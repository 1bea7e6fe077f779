//! Warnings about services, policies, ingresses and slices: addresses that are written oddly, and fields that do nothing.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::tell;
use crate::kinds::field::{Field, text};
use crate::kinds::meta;

/// Warnings about a service.
pub(super) fn service(new: &Value, told: &mut Vec<String>) {
    let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
    let annotations = meta.get("annotations");
    if annotations.get("service.kubernetes.io/topology-aware-hints").present() {
        told.push("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead".into());
    }
    let kind = spec.get("type").text();
    let headless = kind == "ClusterIP" && spec.get("clusterIP").text() == "None";
    if !headless && kind != "ExternalName" {
        addresses(&spec.get("clusterIPs"), told);
    }
    if headless {
        for (field, name) in [("loadBalancerIP", "loadBalancerIP"), ("externalIPs", "externalIPs")] {
            if !spec.get(field).is_empty() {
                told.push(format!("spec.{name} is ignored for headless services"));
            }
        }
        if spec.get("sessionAffinity").text() != "None" {
            told.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    addresses(&spec.get("externalIPs"), told);
    if !spec.get("externalIPs").is_empty() && !headless && kind != "ExternalName" {
        told.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !spec.get("loadBalancerIP").is_empty() {
        address(&spec.get("loadBalancerIP"), told);
    }
    for range in spec.get("loadBalancerSourceRanges").items() {
        self::range(&range, told);
    }
    if kind == "ExternalName" && !spec.get("externalIPs").is_empty() {
        told.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if kind != "ExternalName" && !spec.get("externalName").is_empty() {
        told.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.get("trafficDistribution").text() == "PreferClose" {
        let what = "\"PreferClose\" is deprecated; use \"PreferSameZone\"";
        tell(told, &spec.get("trafficDistribution"), what);
    }
}

/// Warnings about a network policy.
pub(super) fn policy(new: &Value, told: &mut Vec<String>) {
    let spec = Field::top(new, "spec");
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(rules).items() {
            for peer in rule.get(peers).items() {
                let block = peer.get("ipBlock");
                if block.present() {
                    range(&block.get("cidr"), told);
                    for except in block.get("except").items() {
                        range(&except, told);
                    }
                }
            }
        }
    }
}

/// Warnings about an ingress.
pub(super) fn ingress(new: &Value, told: &mut Vec<String>) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let meta = meta::of(new);
    if meta.get("annotations").get(CLASS).present() {
        told.push(format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"));
    }
}

/// Warnings about a slice of endpoints.
pub(super) fn slice(new: &Value, told: &mut Vec<String>) {
    match text(new, &["addressType"]) {
        "FQDN" => told.push("spec.addressType: FQDN endpoints are deprecated".into()),
        _ => {
            for endpoint in Field::top(new, "endpoints").items() {
                addresses(&endpoint.get("addresses"), told);
            }
        }
    }
}

fn addresses(list: &Field<'_, '_>, told: &mut Vec<String>) {
    for item in list.items() {
        address(&item, told);
    }
}

/// Warns of an address that is not written as others write it.
fn address(field: &Field<'_, '_>, told: &mut Vec<String>) {
    let shown = field.text();
    match shown.parse::<IpAddr>() {
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => {
            let plain = six.to_canonical();
            tell(told, field, &format!("non-standard IP address {shown:?} is invalid: use \"{plain}\""));
        }
        Ok(IpAddr::V6(six)) if six.to_string() != shown => {
            let what = format!("IPv6 address {shown:?} should be in RFC 5952 canonical format (\"{six}\")");
            tell(told, field, &what);
        }
        _ => {}
    }
}

/// Warns of a range that is not written as others write it.
fn range(field: &Field<'_, '_>, told: &mut Vec<String>) {
    let shown = field.text();
    let Ok(net) = shown.parse::<IpNet>() else { return };
    let before = told.len();
    if net.addr() != net.network() {
        let (whole, bits) = (net.trunc(), if net.addr().is_ipv4() { 32 } else { 128 });
        let what = format!(
            "CIDR value {shown:?} is ambiguous in this context (should be \"{whole}\" or \"{}/{bits}\"?)",
            net.addr()
        );
        tell(told, field, &what);
    }
    let mapped = matches!(net.addr(), IpAddr::V6(six) if Ipv6Addr::to_ipv4_mapped(&six).is_some());
    if told.len() == before && !mapped && net.addr().is_ipv6() && net.to_string() != shown {
        let what = format!("IPv6 CIDR value {shown:?} should be in RFC 5952 canonical format (\"{net}\")");
        tell(told, field, &what);
    }
}
