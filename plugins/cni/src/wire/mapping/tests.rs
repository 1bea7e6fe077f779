//! What goes through the wire comes back the same, in every version, but for what a version has no words for.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, option, prelude::*};
use windlass_kernel::Certainty;

use super::*;
use crate::wire::{SUPPORTED, Version};

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()),
    ]
}

fn net() -> impl Strategy<Value = IpNet> {
    (ip(), 0..=128u8).prop_map(|(ip, length)| {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        IpNet::new(ip, length.min(longest)).expect("a prefix that fits")
    })
}

fn interface() -> impl Strategy<Value = Interface> {
    let texts = ("[a-z]{1,15}", "([0-9a-f]{2}:){5}[0-9a-f]{2}|");
    let paths = (option::of("/run/[a-z]{1,9}"), option::of("/run/[a-z]{1,9}"), option::of("[0-9]{4}:[0-9]{2}"));
    (texts, option::of(any::<u32>()), paths).prop_map(|((name, mac), mtu, (sandbox, socket, pci))| Interface {
        name,
        mac,
        mtu,
        sandbox: sandbox.map(Into::into),
        socket: socket.map(Into::into),
        pci,
    })
}

fn route() -> impl Strategy<Value = Route> {
    let numbers = vec(option::of(any::<u32>()), 4);
    (net(), option::of(ip()), numbers, option::of(any::<u8>())).prop_map(|(destination, gateway, numbers, scope)| {
        Route {
            destination,
            gateway,
            mtu: numbers[0],
            advertised_mss: numbers[1],
            priority: numbers[2],
            table: numbers[3],
            scope,
        }
    })
}

fn attached() -> impl Strategy<Value = Attached> {
    let address = (net(), option::of(ip()), option::of(0..9usize));
    let address = address.prop_map(|(address, gateway, interface)| Address { address, gateway, interface });
    let words = || vec("[a-z0-9.:]{1,12}", 0..3);
    let dns = (words(), "[a-z.]{0,9}", words(), words());
    let dns = dns.prop_map(|(servers, domain, searches, options)| Dns { servers, domain, searches, options });
    (vec(interface(), 0..4), vec(address, 0..4), vec(route(), 0..4), dns)
        .prop_map(|(interfaces, addresses, routes, dns)| Attached { interfaces, addresses, routes, dns })
}

/// What a version has words for.
fn sayable(attached: &Attached, version: Version) -> Attached {
    let mut attached = attached.clone();
    if version < Version::V1_1_0 {
        for interface in &mut attached.interfaces {
            (interface.mtu, interface.socket, interface.pci) = (None, None, None);
        }
        for route in &mut attached.routes {
            *route = Route { gateway: route.gateway, ..Route::to(route.destination) };
        }
    }
    attached
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    option::of((1..u64::MAX, 1..u64::MAX).prop_map(|(bits, burst)| Rate { bits, burst }))
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let port = (protocol, 1..=u16::MAX, any::<u16>(), "([0-9]{1,3}\\.){3}[0-9]{1,3}|");
    let port = port.prop_map(|(protocol, container_port, host_port, host_ip)| PortMapping {
        protocol,
        container_port,
        host_port,
        host_ip,
    });
    let range = (net(), option::of(ip()), option::of(ip()), option::of(ip()));
    let range = range.prop_map(|(subnet, start, end, gateway)| AddressRange { subnet, start, end, gateway });
    let dns = (vec("[a-z]{1,9}", 0..3), vec("[a-z]{1,9}", 0..3), vec("[a-z]{1,9}", 0..3));
    let dns = dns.prop_map(|(servers, searches, options)| Dns { servers, domain: String::new(), searches, options });
    let more = (option::of(dns), vec("[a-z]{1,9}", 0..3), option::of("/[a-z]{1,9}"), option::of("[a-z0-9]{1,9}"));
    let mac = option::of("([0-9a-f]{2}:){5}[0-9a-f]{2}");
    (vec(port, 0..3), rate(), rate(), vec(vec(range, 0..3), 0..3), vec(net(), 0..3), mac, more).prop_map(
        |(ports, ingress, egress, ranges, addresses, mac, (dns, aliases, cgroup, device))| Wishes {
            ports,
            bandwidth: Bandwidth { ingress, egress },
            ranges,
            addresses,
            mac,
            dns,
            aliases,
            cgroup,
            device,
        },
    )
}

proptest! {
    #[test]
    fn results_come_back(attached in attached()) {
        for version in SUPPORTED {
            let json = attached_to_wire(&attached).write(version);
            let text = serde_json::to_string(&json).unwrap();
            let read = AddResult::read(&serde_json::from_str(&text).unwrap(), version).unwrap();
            prop_assert_eq!(attached_from_wire(&read), sayable(&attached, version));
        }
    }

    #[test]
    fn wishes_come_back(wishes in wishes()) {
        let text = serde_json::to_string(&wishes_to_wire(&wishes)).unwrap();
        prop_assert_eq!(wishes_from_wire(&serde_json::from_str(&text).unwrap()).unwrap(), wishes);
    }

    #[test]
    fn keys_come_back(names in vec(("[a-z0-9]{1,9}", "[a-z0-9]{1,9}"), 0..4)) {
        let keys: Vec<_> = names.iter().map(|(a, b)| AttachmentKey::new(a.as_str(), b.as_str())).collect();
        let text = serde_json::to_string(&keys_to_wire(&keys)).unwrap();
        let read: Vec<ValidAttachment> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(keys_from_wire(&read), keys);
    }

    #[test]
    fn arguments_come_back(names in vec("[a-z0-9-]{1,9}", 3), more in vec(("[A-Z]{1,7}", "[a-z0-9]{0,9}"), 0..3)) {
        let pod = PodIdentity { namespace: names[0].clone(), name: names[1].clone(), uid: names[2].clone() };
        let attachment = Attachment {
            key: AttachmentKey::new("a", "eth0"),
            pod: Some(pod),
            arguments: more.into_iter().collect(),
            ..Attachment::default()
        };
        let words: Vec<_> = arguments_to_wire(&attachment).iter().map(|(k, v)| format!("{k}={v}")).collect();
        let (pod, arguments) = arguments_from_wire(&words.join(";")).unwrap();
        prop_assert_eq!((pod, arguments), (attachment.pod, attachment.arguments));
    }
}

#[test]
fn results_of_other_writers_are_read() {
    let check = |json: &str, version: Version, expect: Option<&str>| {
        let read = AddResult::read(&serde_json::from_str(json).unwrap(), version);
        let first = read.ok().map(|read| attached_from_wire(&read).ips().map(|ip| ip.to_string()).collect::<Vec<_>>());
        assert_eq!(first.map(|ips| ips.join(" ")).as_deref(), expect, "{json}");
    };
    let old = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/x"}],
        "ips":[{"version":"4","interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"}],
        "routes":[{"dst":"0.0.0.0/0"}],"dns":{}}"#;
    check(old, Version::V0_3_1, Some("10.1.0.5"));
    check(r#"{"cniVersion":"1.0.0","interfaces":null,"ips":null,"dns":null}"#, Version::V1_0_0, Some(""));
    // An address of the node's side is not the sandbox's.
    let node = r#"{"interfaces":[{"name":"br0"}],"ips":[{"interface":0,"address":"10.1.0.1/16"}]}"#;
    check(node, Version::V1_1_0, Some(""));
    check(r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/16"}}"#, Version::V1_0_0, None);
    check(r#"{"ips":[{"version":"6","address":"10.1.0.5/16"}]}"#, Version::V0_4_0, None);
    check(r#"{"ips":[{"address":"10.1.0.500/16"}]}"#, Version::V1_0_0, None);
    check("[]", Version::V1_0_0, None);
}

#[test]
fn error_codes_mean_what_the_specification_says() {
    let check = |code: u32, kind: ErrorKind, certainty: Certainty| {
        let error = error_from_wire("attach a/eth0", CniError::new(code, "why").with_details("more"));
        assert_eq!((error.kind(), error.certainty()), (kind, certainty), "{code}");
        assert_eq!(error.message(), format!("cannot attach a/eth0: why (CNI error {code}): more"));
    };
    check(1, ErrorKind::NotSupported, Certainty::NotApplied);
    check(2, ErrorKind::NotSupported, Certainty::NotApplied);
    check(3, ErrorKind::NotFound, Certainty::Unknown);
    check(4, ErrorKind::Invalid, Certainty::NotApplied);
    check(5, ErrorKind::Internal, Certainty::Unknown);
    check(6, ErrorKind::Invalid, Certainty::NotApplied);
    check(7, ErrorKind::Invalid, Certainty::NotApplied);
    check(11, ErrorKind::Unavailable, Certainty::Unknown);
    check(50, ErrorKind::Unavailable, Certainty::Unknown);
    check(51, ErrorKind::Unavailable, Certainty::Unknown);
    check(107, ErrorKind::Internal, Certainty::Unknown);
    for kind in [ErrorKind::NotSupported, ErrorKind::NotFound, ErrorKind::Invalid, ErrorKind::Unavailable] {
        let there = error_to_wire(&Error::new(kind, "x"));
        assert_eq!(error_from_wire("try", there).kind(), kind);
    }
}

#[test]
fn wishes_that_make_no_sense_are_named() {
    let check = |json: &str, names: &str| {
        let error = wishes_from_wire(&serde_json::from_str(json).unwrap()).unwrap_err();
        assert!(error.is(ErrorKind::Invalid) && error.message().contains(names), "{error}");
    };
    check(r#"{"bandwidth":{"ingressRate":5}}"#, "ingress");
    check(r#"{"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"icmp"}]}"#, "icmp");
    check(r#"{"portMappings":[{"hostPort":1}]}"#, "containerPort");
    check(r#"{"ips":["10.0.0.x"]}"#, "10.0.0.x");
}
