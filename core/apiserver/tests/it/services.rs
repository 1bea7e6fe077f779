//! Addresses and ports of services.

use serde_json::{Value, json};
use windlass_kernel::api::Verb;

use crate::rig::{Rig, value};

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
    assert!(outside.message().contains("the provided IP (1.2.3.4) is not in the valid range"), "{outside}");
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
