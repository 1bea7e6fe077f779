//! What a pod's environment says of the services around it: names and addresses in the two forms that Kubernetes has had
//! from the start. Pure.

use std::collections::BTreeMap;

use windlass_api::core::v1::{Pod, Service};

/// The variables of a pod. `api` is where the API is while there is no service that says so.
pub(crate) fn variables(
    pod: &Pod,
    services: &[impl AsRef<Service>],
    api: Option<&(String, u16)>,
) -> BTreeMap<String, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.enable_service_links != Some(false);
    let mut variables = BTreeMap::new();
    let mut known = false;
    for service in services.iter().map(AsRef::as_ref) {
        let Some(ip) = service.spec.cluster_ip.as_deref().filter(|ip| !matches!(*ip, "" | "None")) else { continue };
        let meta = &service.metadata;
        let (own, name) = (meta.namespace.as_deref() == Some(namespace), meta.name.as_deref().unwrap_or_default());
        let is_api = meta.namespace.as_deref() == Some("default") && name == "kubernetes";
        // A service of the pod's own that is called so too goes before the API's, as upstream has it.
        let wanted = if own { links || is_api } else { is_api && !known };
        if wanted {
            known |= name == "kubernetes";
            let ports = service.spec.ports.iter().map(|port| Port {
                name: port.name.as_deref().unwrap_or_default(),
                number: i64::from(port.port),
                protocol: port.protocol.as_str(),
            });
            add(&mut variables, name, ip, &ports.collect::<Vec<_>>());
        }
    }
    if let Some((host, port)) = api.filter(|_| !known) {
        add(&mut variables, "kubernetes", host, &[Port { name: "https", number: i64::from(*port), protocol: "TCP" }]);
    }
    variables
}

struct Port<'a> {
    name: &'a str,
    number: i64,
    protocol: &'a str,
}

fn add(variables: &mut BTreeMap<String, String>, service: &str, ip: &str, ports: &[Port<'_>]) {
    let name = word(service);
    let mut set = |key: String, value: String| variables.insert(key, value);
    set(format!("{name}_SERVICE_HOST"), ip.to_owned());
    for (index, port) in ports.iter().enumerate() {
        if index == 0 {
            set(format!("{name}_SERVICE_PORT"), port.number.to_string());
        }
        if !port.name.is_empty() {
            set(format!("{name}_SERVICE_PORT_{}", word(port.name)), port.number.to_string());
        }
        let protocol = if port.protocol.is_empty() { "TCP" } else { port.protocol };
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.number);
        if index == 0 {
            set(format!("{name}_PORT"), url.clone());
        }
        let link = format!("{name}_PORT_{}_{}", port.number, protocol.to_uppercase());
        set(link.clone(), url);
        set(format!("{link}_PROTO"), protocol.to_lowercase());
        set(format!("{link}_PORT"), port.number.to_string());
        set(format!("{link}_ADDR"), ip.to_owned());
    }
}

/// A name as a part of a variable's.
fn word(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, ip: &str, ports: Value) -> Arc<Service> {
        let service =
            json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip, "ports": ports}});
        Arc::new(serde_json::from_value(service).unwrap())
    }

    fn check(spec: Value, services: &[Arc<Service>], expect: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap();
        let found = variables(&pod, services, Some(&("192.0.2.1".into(), 6443)));
        let words: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(words.join(" "), expect);
    }

    fn api(host: &str, port: u16) -> String {
        format!(
            "KUBERNETES_PORT=tcp://{host}:{port} KUBERNETES_PORT_{port}_TCP=tcp://{host}:{port} \
             KUBERNETES_PORT_{port}_TCP_ADDR={host} KUBERNETES_PORT_{port}_TCP_PORT={port} \
             KUBERNETES_PORT_{port}_TCP_PROTO=tcp KUBERNETES_SERVICE_HOST={host} KUBERNETES_SERVICE_PORT={port} \
             KUBERNETES_SERVICE_PORT_HTTPS={port}"
        )
    }

    #[test]
    fn a_service_is_told_with_its_ports_in_both_forms() {
        let kubernetes = service("default", "kubernetes", "10.96.0.1", json!([{"name": "https", "port": 443}]));
        let ports = json!([{"name": "dns-udp", "port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]);
        let expect = format!(
            "{} MY_DNS_PORT=udp://10.96.0.9:53 MY_DNS_PORT_53_UDP=udp://10.96.0.9:53 MY_DNS_PORT_53_UDP_ADDR=10.96.0.9 \
             MY_DNS_PORT_53_UDP_PORT=53 MY_DNS_PORT_53_UDP_PROTO=udp MY_DNS_PORT_80_TCP=tcp://10.96.0.9:80 \
             MY_DNS_PORT_80_TCP_ADDR=10.96.0.9 MY_DNS_PORT_80_TCP_PORT=80 MY_DNS_PORT_80_TCP_PROTO=tcp \
             MY_DNS_SERVICE_HOST=10.96.0.9 MY_DNS_SERVICE_PORT=53 MY_DNS_SERVICE_PORT_DNS_UDP=53",
            api("10.96.0.1", 443)
        );
        check(json!({}), &[service("n", "my-dns", "10.96.0.9", ports), kubernetes], &expect);
    }

    #[test]
    fn without_links_only_the_api_is_told() {
        let own = service("n", "web", "10.96.0.9", json!([{"port": 80}]));
        let kubernetes = service("default", "kubernetes", "10.96.0.1", json!([{"name": "https", "port": 443}]));
        check(json!({"enableServiceLinks": false}), &[own, kubernetes], &api("10.96.0.1", 443));
    }

    #[test]
    fn services_without_an_address_and_those_of_others_are_not_told() {
        let headless = service("n", "db", "None", json!([{"port": 80}]));
        let other = service("m", "web", "10.96.0.9", json!([{"port": 80}]));
        check(json!({}), &[headless, other], &api("192.0.2.1", 6443));
    }

    #[test]
    fn an_address_of_version_six_stands_in_brackets_in_urls_only() {
        let own = service("n", "kubernetes", "fd00::1", json!([{"port": 443}]));
        check(
            json!({}),
            &[own],
            "KUBERNETES_PORT=tcp://[fd00::1]:443 KUBERNETES_PORT_443_TCP=tcp://[fd00::1]:443 \
             KUBERNETES_PORT_443_TCP_ADDR=fd00::1 KUBERNETES_PORT_443_TCP_PORT=443 KUBERNETES_PORT_443_TCP_PROTO=tcp \
             KUBERNETES_SERVICE_HOST=fd00::1 KUBERNETES_SERVICE_PORT=443",
        );
    }
}
