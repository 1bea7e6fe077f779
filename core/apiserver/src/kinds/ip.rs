//! What is wrong with the text of an address or a range, as upstream has it since it reads them strictly
//! (`StrictIPCIDRValidation`, KEP-4858).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) complaint: &'static str,
    /// Whether it was let through before, so that an object that has it may keep it.
    pub(super) once_right: bool,
}

const fn never(complaint: &'static str) -> Option<Wrong> {
    Some(Wrong { complaint, once_right: false })
}

const fn once(complaint: &'static str) -> Option<Wrong> {
    Some(Wrong { complaint, once_right: true })
}

/// What is wrong with the text of an IP address.
pub(super) fn address(text: &str) -> Option<Wrong> {
    match text.parse() {
        Ok(ip) if is_mapped(ip) => once("must not be an IPv4-mapped IPv6 address"),
        Ok(_) => None,
        Err(_) if zeros(text) => once("must not have leading 0s"),
        Err(_) => never("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    }
}

/// What is wrong with the text of a range of addresses.
pub(super) fn range(text: &str) -> Option<Wrong> {
    const NONE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let Some((ip, length)) = text.split_once('/') else { return never(NONE) };
    let parsed = ip.parse::<IpAddr>().ok();
    let most = if ip.contains(':') { 128 } else { 32 };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let Some(bits) = length.parse::<u8>().ok().filter(|bits| digits && *bits <= most) else { return never(NONE) };
    let Some(parsed) = parsed else { return if zeros(ip) { once(ZEROS) } else { never(NONE) } };
    if length.len() > 1 && length.starts_with('0') {
        return once(ZEROS);
    }
    if is_mapped(parsed) {
        return once("must not have an IPv4-mapped IPv6 address");
    }
    match IpNet::new(parsed, bits) {
        Ok(net) if net.addr() != net.network() => once("must not have bits set beyond the prefix length"),
        Ok(_) => None,
        Err(_) => never(NONE),
    }
}

const ZEROS: &str = "must not have leading 0s in IP or prefix length";

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(six) if six.to_ipv4_mapped().is_some())
}

/// Whether it is an IPv4 address but for zeros that numbers begin with.
fn zeros(text: &str) -> bool {
    let bare = |number: &str| {
        let short = number.trim_start_matches('0');
        if short.is_empty() && !number.is_empty() { "0".to_owned() } else { short.to_owned() }
    };
    let bare: Vec<String> = text.split('.').map(bare).collect();
    bare.join(".").parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wrong: fn(&str) -> Option<Wrong>, text: &str, expect: Option<(&str, bool)>) {
        let found = wrong(text);
        assert_eq!(found.is_some(), expect.is_some(), "{text}: {found:?}");
        if let (Some(found), Some((begin, once_right))) = (found, expect) {
            assert!(found.complaint.starts_with(begin), "{text}: {found:?}");
            assert_eq!(found.once_right, once_right, "{text}");
        }
    }

    #[test]
    fn addresses_are_read_strictly() {
        for right in ["1.2.3.4", "0.0.0.0", "255.255.255.255", "1234::ABCD", "0:0:0:0:0:0:0:0", "0001:002:03:4::"] {
            check(address, right, None);
        }
        for zeros in ["1.1.1.01", "010.000.000.005"] {
            check(address, zeros, Some(("must not have leading 0s", true)));
        }
        check(address, "::ffff:1.1.1.1", Some(("must not be an IPv4-mapped", true)));
        for wrong in ["", "a", "1.2.3.0/24", "1.2.3.400", "1.2.3.0400", "-1.0.0.0", "1.2.3", "1..2.3", "::1%eth0"] {
            check(address, wrong, Some(("must be a valid IP address", false)));
        }
    }

    #[test]
    fn ranges_are_read_strictly() {
        for right in ["1.0.0.0/8", "0.0.0.0/0", "1.1.1.1/32", "::/0", "::1/128", "2001:DB8::/64"] {
            check(range, right, None);
        }
        for zeros in ["1.1.01.0/24", "192.168.0.0/016"] {
            check(range, zeros, Some(("must not have leading 0s in IP or prefix length", true)));
        }
        for mapped in ["::ffff:1.1.1.0/24", "::ffff:1.1.1.0/120"] {
            check(range, mapped, Some(("must not have an IPv4-mapped", true)));
        }
        for bits in ["1.2.3.4/24", "2001:db8::1/64"] {
            check(range, bits, Some(("must not have bits set beyond", true)));
        }
        for wrong in
            ["", "1.2.3.4", "1.2.3.0/33", "1.2.3.0/x", "1.2.3.0/0/99", "1.2.3.0/-16", "1.2.3.0/+16", "1.2.3.0/"]
        {
            check(range, wrong, Some(("must be a valid CIDR value", false)));
        }
    }
}
