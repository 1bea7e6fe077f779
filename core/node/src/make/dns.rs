//! How names are resolved inside a pod (PodSpec.dnsPolicy and dnsConfig). Pure.

use windlass_api::core::v1::Pod;
use windlass_kernel::runtime::Dns;

/// The cluster's DNS.
#[derive(Clone, Debug, Default)]
pub struct ClusterDns {
    /// Its servers; none where the cluster has no DNS.
    pub servers: Vec<String>,
    /// The domain of the cluster, such as `cluster.local`.
    pub domain: String,
}

/// What a pod's resolver is configured with. `node` is the text of the node's own configuration.
pub(crate) fn dns(pod: &Pod, cluster: &ClusterDns, node: &str) -> Dns {
    let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let first = match policy {
        "ClusterFirst" => pod.spec.host_network != Some(true),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = match policy {
        "None" => Dns::default(),
        _ if first && !cluster.servers.is_empty() => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
            let domain = &cluster.domain;
            let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            searches.extend(parse(node).searches);
            Dns { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".into()] }
        }
        _ => parse(node),
    };
    if let Some(own) = &pod.spec.dns_config {
        dns.servers.extend(own.nameservers.clone());
        dns.searches.extend(own.searches.clone());
        for option in &own.options {
            let name = option.name.clone().unwrap_or_default();
            dns.options.retain(|known| known.split(':').next() != Some(&name));
            dns.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }
    unique(&mut dns.servers);
    unique(&mut dns.searches);
    dns
}

fn unique(words: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.servers.extend(words.next()),
            Some("search") => dns.searches = words.filter(|word| word != ".").collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, expect: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap();
        let cluster = ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() };
        let dns = dns(&pod, &cluster, "# node\nnameserver 192.0.2.1\nsearch corp\noptions timeout:1\n");
        assert_eq!(
            format!("{} | {} | {}", dns.servers.join(" "), dns.searches.join(" "), dns.options.join(" ")),
            expect
        );
    }

    #[test]
    fn the_policy_decides_whose_servers_are_asked() {
        let cluster = "10.96.0.10 | n.svc.cluster.local svc.cluster.local cluster.local corp | ndots:5";
        check(json!({}), cluster);
        check(json!({"hostNetwork": true}), "192.0.2.1 | corp | timeout:1");
        check(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster);
        check(json!({"dnsPolicy": "Default"}), "192.0.2.1 | corp | timeout:1");
    }

    #[test]
    fn a_pods_own_configuration_comes_on_top() {
        let config =
            json!({"nameservers": ["1.2.3.4"], "searches": ["x"], "options": [{"name": "ndots", "value": "1"}]});
        check(json!({"dnsPolicy": "None", "dnsConfig": config}), "1.2.3.4 | x | ndots:1");
        check(json!({"dnsPolicy": "Default", "dnsConfig": config}), "192.0.2.1 1.2.3.4 | corp x | timeout:1 ndots:1");
    }
}
