//! A pod's `/etc/hosts` (KEP-less: PodSpec.hostAliases, hostname and subdomain). Pure.

use std::{fmt::Write as _, net::IpAddr};

use windlass_api::core::v1::Pod;

/// The host name of a pod, and its full name where it has a subdomain.
pub(crate) fn names(pod: &Pod, domain: &str) -> (String, Option<String>) {
    let own = pod.spec.hostname.clone().filter(|name| !name.is_empty());
    let name = own.unwrap_or_else(|| pod.metadata.name.clone().unwrap_or_default());
    let name: String = name.chars().take(63).collect();
    let name = name.trim_end_matches(['-', '.']).to_owned();
    let full = pod.spec.subdomain.as_deref().filter(|sub| !sub.is_empty()).map(|sub| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        format!("{name}.{sub}.{namespace}.svc.{domain}")
    });
    (name, full)
}

/// The file's text. `node` is that of the node, which pods on its network begin with.
pub(crate) fn hosts(pod: &Pod, ips: &[IpAddr], domain: &str, node: &str) -> String {
    // Clients look for this line to tell whose file it is.
    let mut text = String::from("# Kubernetes-managed hosts file.\n");
    // Writing to a string cannot fail.
    if pod.spec.host_network == Some(true) {
        let _ = write!(text, "{node}");
    } else {
        text.push_str("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        text.push_str(
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let (name, full) = names(pod, domain);
        for ip in ips {
            let _ = match &full {
                Some(full) => writeln!(text, "{ip}\t{full}\t{name}"),
                None => writeln!(text, "{ip}\t{name}"),
            };
        }
    }
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in &pod.spec.host_aliases {
            let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_finds_itself_and_its_aliases() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"hostname": "h", "subdomain": "s", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]},
        }))
        .unwrap();
        let text = hosts(&pod, &["10.0.0.1".parse().unwrap()], "cluster.local", "");
        assert!(text.contains("10.0.0.1\th.s.n.svc.cluster.local\th\n"), "{text}");
        assert!(text.contains("1.2.3.4\tx\ty\n"), "{text}");
    }
}
