//! Where requests for the `proxy` sub-resources of pods, services and nodes go on to. Carrying them is the servers' business.

use serde_json::{Value, json};
use windlass_kernel::{
    EntropyExt,
    api::{Answer, Destination, Request, Response, Verb},
    dial::Target,
    error::{Error, ErrorKind, Result},
};

use crate::{errors, registry::Served, server::ApiServer, verbs, write};

/// The port of a node's agent unless its status says another (`daemonEndpoints.kubeletEndpoint`).
const AGENT: u16 = 10_250;

/// Finds the server that the request names.
pub(super) async fn locate(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let asked = request.name.clone();
    let place = Place::read(&served.info.kind, &asked)?;
    request.name.clone_from(&place.name);
    let object = verbs::read(server, served, &request).await?.value()?;
    let mut options = json!({"kind": format!("{}ProxyOptions", served.info.kind), "apiVersion": "v1"});
    let mut warnings = Vec::new();
    let connecting = Request { verb: Verb::Connect, ..request.clone() };
    write::posted(server, served, &connecting, &mut options, &mut warnings).await?;
    let destination = match &*served.info.plural {
        "services" => {
            let none = || Error::new(ErrorKind::Unavailable, format!("no endpoints available for service {asked:?}"));
            service(server, &request.namespace, &place, &object).await?.ok_or_else(none)?
        }
        "nodes" => node(&place, &object)?,
        _ => pod(&request.namespace, &place, &object)?,
    };
    Ok(Response { code: 200, warnings, answer: Answer::Destination(destination) })
}

/// What the name of a proxied object says: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    name: String,
    /// A number, the name of a port, or nothing.
    port: String,
}

impl Place {
    fn read(kind: &str, text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(errors::bad_request(format!("invalid {} request {text:?}", kind.to_lowercase())));
        }
        Ok(Self { tls: scheme == "https", name: name.into(), port: port.into() })
    }

    /// The port where it is a number; where none is given, the scheme's.
    fn number(&self) -> Result<u16> {
        match self.port.as_str() {
            "" => Ok(if self.tls { 443 } else { 80 }),
            text => text.parse().map_err(|_| errors::bad_request(format!("invalid port {text:?}"))),
        }
    }

    fn to(&self, target: Target, host: &str, port: u16) -> Destination {
        let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Destination { target, tls: self.tls, host }
    }
}

fn pod(namespace: &str, place: &Place, pod: &Value) -> Result<Destination> {
    let ports = || {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.flat_map(|container| container["ports"].as_array().into_iter().flatten())
    };
    let number = |port: &Value| port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let declared = match place.port.as_str() {
        "" => ports().next().and_then(number),
        name => ports().find(|port| port["name"] == name).and_then(number),
    };
    let port = declared.map_or_else(|| place.number(), Ok)?;
    let Some(ip) = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty()) else {
        return Err(errors::bad_request("address not allowed"));
    };
    let target = Target::Pod { namespace: namespace.into(), name: place.name.clone(), port };
    Ok(place.to(target, ip, port))
}

fn node(place: &Place, node: &Value) -> Result<Destination> {
    let (address, agent) = agent_of(node)?;
    let port = if place.port.is_empty() { agent } else { place.number()? };
    let to = place.to(Target::Node { name: place.name.clone(), port }, &address, port);
    // Whoever reaches a node's agent speaks TLS with it, and says who asks.
    Ok(Destination { tls: to.tls && port != agent, ..to })
}

/// The address of a node and the port of its agent, as the Node says (`status.addresses`, `status.daemonEndpoints`).
///
/// # Errors
///
/// [`Unavailable`](ErrorKind::Unavailable) where it has no address.
pub fn agent_of(node: &Value) -> Result<(String, u16)> {
    let agent = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let agent = agent.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(AGENT);
    let addresses = || node["status"]["addresses"].as_array().into_iter().flatten();
    let address = ["InternalIP", "ExternalIP", "Hostname"]
        .iter()
        .find_map(|kind| addresses().find(|address| address["type"] == *kind))
        .and_then(|address| address["address"].as_str());
    let name = &node["metadata"]["name"];
    let address = address
        .ok_or_else(|| Error::new(ErrorKind::Unavailable, format!("no preferred addresses found for node {name}")))?;
    Ok((address.to_owned(), agent))
}

/// One of the pods behind a service, any of them; `None` where there is none.
async fn service(server: &ApiServer, namespace: &str, place: &Place, service: &Value) -> Result<Option<Destination>> {
    let wanted = port_of(place, service)?;
    let endpoints = server.parts.registry.known("", "v1", "endpoints")?.key(namespace, &place.name);
    let Some(endpoints) = server.read(&endpoints).await? else { return Ok(None) };
    let endpoints = endpoints.value()?;
    let choices = choices(&endpoints, &wanted);
    let at = server.parts.entropy.below(choices.len().max(1) as u64);
    let chosen = usize::try_from(at).ok().and_then(|at| choices.get(at));
    Ok(chosen.map(|&Choice { pod, ip, port }| {
        place.to(Target::Pod { namespace: namespace.into(), name: pod.into(), port }, ip, port)
    }))
}

/// The name of the service's port that is meant: the one named, the one of that number, or the only one.
fn port_of(place: &Place, service: &Value) -> Result<String> {
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |port: &Value| port["name"].as_str().unwrap_or_default().to_owned();
    if let Ok(number) = place.port.parse::<u64>() {
        let found = ports.iter().find(|port| port["port"] == number);
        return found.map(name).ok_or_else(|| {
            let message = format!("no service port {number} found for service {:?}", place.name);
            Error::new(ErrorKind::Unavailable, message)
        });
    }
    match ports {
        [only] if place.port.is_empty() => Ok(name(only)),
        _ => Ok(place.port.clone()),
    }
}

/// A pod behind a service.
#[derive(Clone, Copy)]
struct Choice<'e> {
    pod: &'e str,
    ip: &'e str,
    port: u16,
}

/// The ready pods that serve the port of that name.
fn choices<'e>(endpoints: &'e Value, wanted: &str) -> Vec<Choice<'e>> {
    let list = |value: &'e Value| value.as_array().into_iter().flatten();
    let mut out = Vec::new();
    for subset in list(&endpoints["subsets"]) {
        let port = list(&subset["ports"]).find(|port| port["name"].as_str().unwrap_or_default() == wanted);
        let port = port.and_then(|port| port["port"].as_u64()).and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else { continue };
        let pods = list(&subset["addresses"]).filter(|address| address["targetRef"]["kind"] == "Pod");
        out.extend(pods.filter_map(|address| {
            Some(Choice { pod: address["targetRef"]["name"].as_str()?, ip: address["ip"].as_str()?, port })
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expect: Option<(bool, &str, &str)>) {
        let expect = expect.map(|(tls, name, port)| Place { tls, name: name.into(), port: port.into() });
        assert_eq!(Place::read("Service", text).ok(), expect, "{text}");
    }

    #[test]
    fn a_name_may_carry_a_scheme_and_a_port() {
        check("web", Some((false, "web", "")));
        check("web:80", Some((false, "web", "80")));
        check("https:web:main", Some((true, "web", "main")));
        check("http:web:", Some((false, "web", "")));
        check("ftp:web:21", None);
        check("a:b:c:d", None);
        check(":80", None);
        let refused = Place::read("Service", "a:b:c:d").unwrap_err();
        assert_eq!(refused.message(), "invalid service request \"a:b:c:d\"");
    }

    #[test]
    fn a_pods_port_is_a_number_a_name_or_the_first() {
        let object = json!({
            "spec": {"containers": [{"ports": [{"containerPort": 8080}, {"name": "admin", "containerPort": 9}]}]},
            "status": {"podIP": "10.0.0.1"}
        });
        let host = |text: &str| pod("n", &Place::read("Pod", text).unwrap(), &object).map(|to| to.host);
        assert_eq!(host("p").unwrap(), "10.0.0.1:8080");
        assert_eq!(host("p:admin").unwrap(), "10.0.0.1:9");
        assert_eq!(host("p:443").unwrap(), "10.0.0.1:443");
        assert!(host("p:other").is_err());
        let bare = json!({"spec": {"containers": [{}]}, "status": {"podIP": "fd00::1"}});
        assert_eq!(pod("n", &Place::read("Pod", "https:p:").unwrap(), &bare).unwrap().host, "[fd00::1]:443");
        let waiting = pod("n", &Place::read("Pod", "p").unwrap(), &json!({"spec": {}, "status": {}})).unwrap_err();
        assert_eq!(waiting.message(), "address not allowed");
    }

    #[test]
    fn only_ready_pods_serve_a_service() {
        let pod = |name: &str, ip: &str| json!({"ip": ip, "targetRef": {"kind": "Pod", "name": name}});
        let endpoints = json!({"subsets": [{
            "addresses": [pod("a", "1.1.1.1"), {"ip": "9.9.9.9"}], "notReadyAddresses": [pod("b", "1.1.1.2")],
            "ports": [{"name": "web", "port": 8080}]
        }]});
        let found = choices(&endpoints, "web");
        assert_eq!(found.iter().map(|choice| (choice.pod, choice.port)).collect::<Vec<_>>(), [("a", 8080)]);
        assert!(choices(&endpoints, "other").is_empty());
    }
}
