//! What a request to a node's API is to its authorizer: a verb on a sub-resource of the node (upstream: kubelet authorization,
//! KEP-2862). Pure.

use http::Method;
use windlass_kernel::access::Attributes;

/// What somebody must be allowed for the request, one of these: the finer first.
pub(super) fn wanted(node: &str, method: &Method, path: &str) -> Vec<Attributes> {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let verb = match method.as_str() {
        // Upstream's kubelets ask for `get` where a session is a WebSocket, which roles that only read have; the API server of
        // upstream asks for `create` since 1.35.
        _ if matches!(first, "exec" | "attach" | "portForward" | "run") => "create",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    };
    let subresources: &[&str] = match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    };
    let one = |subresource: &&str| Attributes {
        verb: verb.into(),
        version: "v1".into(),
        resource: "nodes".into(),
        subresource: (*subresource).to_owned(),
        name: node.into(),
        ..Attributes::default()
    };
    subresources.iter().map(one).collect()
}

/// What whoever may none of these is told, word by word as upstream's kubelet says it.
pub(super) fn forbidden(user: &str, wanted: &[Attributes]) -> String {
    let verb = wanted.first().map_or("", |first| &first.verb);
    let subresources: Vec<&str> = wanted.iter().map(|one| one.subresource.as_str()).collect();
    format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{}])\n", subresources.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expect: &str) {
        let wanted = wanted("n1", &method, path);
        assert!(wanted.iter().all(|one| one.name == "n1" && one.resource == "nodes" && one.group.is_empty()));
        assert_eq!(forbidden("eve", &wanted), expect, "{method} {path}");
    }

    #[test]
    fn a_request_is_a_verb_on_a_part_of_the_node() {
        let said = |verb: &str, parts: &str| {
            format!("Forbidden (user=eve, verb={verb}, resource=nodes, subresource(s)=[{parts}])\n")
        };
        check(Method::GET, "/stats/summary", &said("get", "stats"));
        check(Method::GET, "/metrics", &said("get", "metrics"));
        check(Method::GET, "/metricsx", &said("get", "proxy"));
        check(Method::GET, "/pods", &said("get", "pods proxy"));
        check(Method::HEAD, "/healthz/ping", &said("get", "healthz proxy"));
        check(Method::POST, "/exec/ns/pod/c", &said("create", "proxy"));
        check(Method::GET, "/exec/ns/pod/c", &said("create", "proxy"));
        check(Method::GET, "/logs/", &said("get", "log"));
        check(Method::DELETE, "/", &said("delete", "proxy"));
    }
}
