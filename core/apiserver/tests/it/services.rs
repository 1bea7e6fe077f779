//! Addresses and ports of services.

use serde_json::{Value, json};
use windlass_apiserver::Builder;
use windlass_kernel::{
    ErrorKind,
    api::Verb,
    store::{Key, Op, ReadAt, Txn},
};

use crate::rig::{self, HandClock, Rig, value};

const ADDRESSES: &str = "networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "networking.k8s.io/v1/servicecidrs";

fn service(name: &str, spec: &Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

#[test]
fn the_service_of_the_server_has_the_first_address() {
    let rig = Rig::new();
    assert_eq!(rig.get("services", "kubernetes").unwrap()["spec"]["clusterIP"], "10.96.0.1");
}

#[test]
fn a_service_gets_an_address_and_keeps_it() {
    let rig = Rig::new();
    let made = rig.create("services", service("s", &json!({}))).unwrap();
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert!(ip.starts_with("10."), "{ip}");
    assert_eq!(made["spec"]["clusterIPs"], json!([ip]));
    assert_eq!(
        (&made["spec"]["ipFamilies"], &made["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    let again = rig.update("services", service("s", &json!({"ports": [{"port": 81}]}))).unwrap();
    assert_eq!(again["spec"]["clusterIP"], made["spec"]["clusterIP"]);
}

#[test]
fn addresses_and_ranges_are_read_strictly() {
    let rig = Rig::new();
    let refused = |spec: Value| rig.create("services", service("s", &spec)).unwrap_err().message().to_owned();
    let invalid = "Service \"s\" is invalid: spec";
    assert_eq!(
        refused(json!({"externalIPs": ["192.000.002.001"]})),
        format!("{invalid}.externalIPs[0]: Invalid value: \"192.000.002.001\": must not have leading 0s")
    );
    assert_eq!(
        refused(json!({"externalIPs": ["::ffff:192.0.2.1"]})),
        format!(
            "{invalid}.externalIPs[0]: Invalid value: \"::ffff:192.0.2.1\": must not be an IPv4-mapped IPv6 address"
        )
    );
    let balanced = refused(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.1/24"]}));
    assert!(balanced.ends_with("Invalid value: \"192.0.2.1/24\": must not have bits set beyond the prefix length"));
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.01"]}],
        "ports": []});
    let refused = rig.create("discovery.k8s.io/v1/endpointslices", slice).unwrap_err();
    assert!(refused.message().ends_with("must not have leading 0s"), "{refused}");
    let range = json!({"metadata": {"name": "r"}, "spec": {"cidrs": ["10.97.0.1/16"]}});
    let refused = rig.create(RANGES, range).unwrap_err();
    assert_eq!(refused.message().matches("must not have bits set").count(), 1, "{refused}");
}

/// What was written before addresses were read strictly, in place of what was written just now.
fn stored_before(rig: &Rig, key: &str, now: &str, before: &str) {
    assert_eq!(now.len(), before.len());
    let (store, key) = (rig.server.store(), Key::from(key));
    let entry = rig::wait(store.get(&key, ReadAt::Latest)).unwrap().unwrap();
    let mut value = entry.value.to_vec();
    let places: Vec<usize> =
        value.windows(now.len()).enumerate().filter(|(_, text)| *text == now.as_bytes()).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| value[at..at + now.len()].copy_from_slice(before.as_bytes()));
    let ops = vec![Op::Put { key, value: value.into(), lease: None }];
    rig::wait(store.txn(Txn { ops, ..Txn::default() })).unwrap();
}

#[test]
fn an_object_keeps_ranges_that_it_had_before_they_were_read_strictly() {
    let rig = Rig::new();
    let policies = "networking.k8s.io/v1/networkpolicies";
    let policy = |ranges: &[&str]| {
        let peers: Vec<Value> = ranges.iter().map(|range| json!({"ipBlock": {"cidr": range}})).collect();
        json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingress": [{"from": peers}]}})
    };
    rig.create(policies, policy(&["192.0.2.0/24"])).unwrap();
    let key = "/registry/networking.k8s.io/networkpolicies/default/p";
    stored_before(&rig, key, "192.0.2.0/24", "192.0.2.9/24");
    let kept = rig.update(policies, policy(&["198.51.100.0/24", "192.0.2.9/24"])).unwrap();
    assert_eq!(kept["spec"]["ingress"][0]["from"][1]["ipBlock"]["cidr"], "192.0.2.9/24");
    let refused = rig.update(policies, policy(&["192.0.2.9/24", "192.0.2.8/24"])).unwrap_err();
    assert_eq!(
        refused.message(),
        "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0].from[1].ipBlock.cidr: Invalid value: \
         \"192.0.2.8/24\": must not have bits set beyond the prefix length"
    );
    rig.update(policies, policy(&["192.0.2.0/24"])).unwrap();
    assert!(rig.update(policies, policy(&["192.0.2.9/24"])).is_err(), "what is gone is not taken back");
}

#[test]
fn addresses_from_outside_are_warned_about() {
    let rig = Rig::new();
    let told = |spec: Value| {
        let request = rig.request(Verb::Create, "services").body(service("s", &spec));
        let warnings = rig.call(request).unwrap().warnings;
        rig.delete("services", "s").unwrap();
        warnings
    };
    let addresses = json!(["192.0.2.1"]);
    let deprecated = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    assert_eq!(told(json!({"externalIPs": addresses})), [deprecated]);
    let headless = told(json!({"clusterIP": "None", "externalIPs": addresses}));
    assert_eq!(headless, ["spec.externalIPs is ignored for headless services"]);
    let named = told(json!({"type": "ExternalName", "externalName": "a.example", "externalIPs": addresses}));
    assert_eq!(named, ["spec.externalIPs is ignored when spec.type is \"ExternalName\""]);
    assert_eq!(told(json!({})), [""; 0]);
}

#[test]
fn a_headless_service_gets_none() {
    let rig = Rig::new();
    let made = rig.create("services", service("s", &json!({"clusterIP": "None"}))).unwrap();
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
}

#[test]
fn a_chosen_address_is_given_once_and_again_after_its_release() {
    let rig = Rig::new();
    let with = |name: &str| service(name, &json!({"clusterIP": "10.96.0.99"}));
    rig.create("services", with("a")).unwrap();
    let taken = rig.create("services", with("b")).unwrap_err();
    assert_eq!(
        taken.message(),
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.99\"]: failed to allocate IP 10.96.0.99: provided IP is already allocated"
    );
    rig.delete("services", "a").unwrap();
    rig.create("services", with("b")).unwrap();
    let outside = rig.create("services", service("c", &json!({"clusterIP": "1.2.3.4"}))).unwrap_err();
    assert!(outside.message().ends_with("the provided network does not match the current range"), "{outside}");
}

#[test]
fn node_ports_are_drawn_chosen_and_released() {
    let rig = Rig::new();
    let made = rig.create("services", service("a", &json!({"type": "NodePort"}))).unwrap();
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port));
    let same = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let taken = rig.create("services", service("b", &same)).unwrap_err();
    let expect = format!(
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated"
    );
    assert_eq!(taken.message(), expect);
    let plain = rig.update("services", service("a", &json!({"type": "ClusterIP"}))).unwrap();
    assert_eq!(plain["spec"]["ports"][0]["nodePort"], Value::Null);
    rig.create("services", service("b", &same)).unwrap();
}

#[test]
fn a_dry_run_takes_no_address() {
    let rig = Rig::new();
    let with = |name: &str| service(name, &json!({"clusterIP": "10.96.0.98"}));
    let mut request = rig.request(Verb::Create, "services").body(with("a"));
    request.options.dry_run = true;
    assert_eq!(value(rig.call(request).unwrap())["spec"]["clusterIP"], "10.96.0.98");
    rig.create("services", with("b")).unwrap();
}

#[test]
fn an_address_object_says_whose_an_address_is() {
    let rig = Rig::new();
    let with = |name: &str| service(name, &json!({"clusterIP": "10.96.0.97"}));
    rig.create("services", with("s")).unwrap();
    let address = rig.get(ADDRESSES, "10.96.0.97").unwrap();
    let parent = json!({"resource": "services", "namespace": "default", "name": "s"});
    assert_eq!(address["spec"]["parentRef"], parent);
    assert_eq!(address["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");
    assert_eq!(address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"], "IPv4");
    rig.delete("services", "s").unwrap();
    assert!(rig.get(ADDRESSES, "10.96.0.97").unwrap_err().is(ErrorKind::NotFound));
    // What somebody else took by hand is not given, and not given back either.
    let mut taken = address.clone();
    taken["metadata"] = json!({"name": "10.96.0.97"});
    taken["spec"]["parentRef"]["name"] = "other".into();
    rig.create(ADDRESSES, taken).unwrap();
    let refused = rig.create("services", with("s")).unwrap_err();
    assert!(refused.message().ends_with("provided IP is already allocated"), "{refused}");
}

#[test]
fn addresses_come_from_every_range_that_is_ready() {
    let rig = Rig::new();
    let range = rig.get(RANGES, "kubernetes").unwrap();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/12"]));
    assert_eq!(range["status"]["conditions"][0]["type"], "Ready");
    let with = |name: &str, ip: &str| service(name, &json!({"clusterIP": ip}));
    let outside = rig.create("services", with("a", "10.200.0.1")).unwrap_err();
    assert!(outside.message().ends_with("the provided network does not match the current range"), "{outside}");
    let more = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": ["10.200.0.0/30"]}});
    rig.create(RANGES, more).unwrap();
    rig.create("services", with("a", "10.200.0.1")).unwrap();
    let network = rig.create("services", with("b", "10.200.0.0")).unwrap_err();
    assert!(network.message().contains("The range of valid IPs is 10.200.0.0/30"), "{network}");
    rig.create("services", with("b", "10.200.0.2")).unwrap();
}

/// A server that is advertised, with the task that keeps it so.
fn advertised(clock: &HandClock, builder: Builder, address: &str) -> (Rig, futures::future::AbortHandle) {
    let builder = builder.advertise(address.parse().unwrap()).port(7443);
    let rig = Rig::over(clock, rig::wait(builder.start()).unwrap());
    let end = rig.run("advertised", |server| async move { server.keep_advertised().await });
    (rig, end)
}

/// Waits until an object of the service `kubernetes` is as it has to be.
fn until(rig: &Rig, resource: &str, so: impl Fn(&Value) -> bool) {
    rig.until(resource, "kubernetes", |found| found.is_some_and(&so));
}

#[test]
fn the_endpoints_of_the_server_are_kept_against_whoever_changes_them() {
    let clock = HandClock::default();
    let (rig, end) = advertised(&clock, rig::builder(&clock), "192.0.2.7");
    let subsets =
        json!([{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}]}]);
    let endpoints = rig.get("endpoints", "kubernetes").unwrap();
    assert_eq!(endpoints["subsets"], subsets);
    assert_eq!(rig.get("services", "kubernetes").unwrap()["spec"]["ports"][0]["targetPort"], 7443);
    let slice = "discovery.k8s.io/v1/endpointslices";
    assert_eq!(rig.get(slice, "kubernetes").unwrap()["endpoints"][0]["addresses"], json!(["192.0.2.7"]));

    rig.delete("endpoints", "kubernetes").unwrap();
    until(&rig, "endpoints", |object| object["subsets"] == subsets);
    let mut other = rig.get("endpoints", "kubernetes").unwrap();
    other["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.1"}]);
    rig.update("endpoints", other).unwrap();
    until(&rig, "endpoints", |object| object["subsets"] == subsets);
    rig.delete("services", "kubernetes").unwrap();
    until(&rig, "services", |object| object["spec"]["clusterIP"] == "10.96.0.1");
    end.abort();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the clock stands still while the server works, in threads of its own")]
fn a_server_that_is_gone_for_good_leaves_the_endpoints() {
    let clock = HandClock::default();
    let (rig, end) = advertised(&clock, rig::builder(&clock), "192.0.2.7");
    let beside = rig::builder(&clock).store(std::sync::Arc::clone(rig.server.store()));
    let (other, end_other) = advertised(&clock, beside, "192.0.2.1");
    let both = json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.7"}]);
    let slice = "discovery.k8s.io/v1/endpointslices";
    until(&rig, "endpoints", |object| object["subsets"][0]["addresses"] == both);
    until(&rig, slice, |object| object["endpoints"].as_array().is_some_and(|all| all.len() == 2));
    end_other.abort();
    drop(other);
    // The server that stays may not have begun to wait: time goes on until it has, and not faster than it works.
    let alone = || {
        let [old, new] = ["endpoints", slice].map(|resource| rig.get(resource, "kubernetes").unwrap());
        old["subsets"][0]["addresses"] == json!([{"ip": "192.0.2.7"}])
            && new["endpoints"].as_array().is_some_and(|all| all.len() == 1)
    };
    for _ in 0..1000 {
        if alone() {
            return end.abort();
        }
        clock.advance(std::time::Duration::from_secs(5));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the server that is gone is still advertised");
}

#[test]
fn an_address_that_nobody_else_reaches_is_not_advertised() {
    for (address, why) in
        [("127.0.0.1", "loopback"), ("::1", "loopback"), ("0.0.0.0", "unspecified"), ("169.254.1.1", "link-local")]
    {
        let clock = HandClock::default();
        let refused = rig::wait(rig::builder(&clock).advertise(address.parse().unwrap()).start()).unwrap_err();
        assert!(refused.is(ErrorKind::Invalid) && refused.message().contains(why), "{refused}");
    }
}
