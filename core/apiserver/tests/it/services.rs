//! Addresses and ports of services.

use serde_json::{Value, json};
use windlass_apiserver::Builder;
use windlass_kernel::{ErrorKind, api::Verb};

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
    for _ in 0..4 {
        clock.advance(std::time::Duration::from_secs(5));
    }
    until(&rig, "endpoints", |object| object["subsets"][0]["addresses"] == json!([{"ip": "192.0.2.7"}]));
    until(&rig, slice, |object| object["endpoints"].as_array().is_some_and(|all| all.len() == 1));
    end.abort();
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
