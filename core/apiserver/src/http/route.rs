//! URLs as requests: which resource, object and sub-resource a path names. Pure.

use percent_encoding::percent_decode_str;

/// What an API path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) subresource: String,
    /// What follows the sub-resource: the path that a proxy forwards.
    pub(super) rest: String,
    /// Whether it is one of the old `/watch/` paths.
    pub(super) watch: bool,
}

impl Target {
    /// Whether bytes go both ways, by a path of its own or to somewhere else.
    pub(super) fn connects(&self) -> bool {
        self.group.is_empty() && matches!(&*self.subresource, "exec" | "attach" | "portforward" | "proxy")
    }
}

/// Reads a path; `None` where it is not one of a resource.
pub(super) fn parse(path: &str) -> Option<Target> {
    let rest = path.strip_prefix('/')?;
    let mut parts = rest.split('/');
    let mut target = Target::default();
    match parts.next()? {
        "api" => {}
        "apis" => target.group = decode(parts.next()?)?,
        _ => return None,
    }
    target.version = decode(parts.next()?)?;
    let mut parts: Vec<&str> = parts.collect();
    // A slash at the end names nothing more, except to whom a proxy forwards.
    if parts.last() == Some(&"") && !parts.contains(&"proxy") {
        parts.pop();
    }
    if parts.first() == Some(&"watch") && parts.len() > 1 {
        target.watch = true;
        parts.remove(0);
    }
    let core = target.group.is_empty();
    let own = |part: Option<&&str>| core && matches!(part, Some(&"status" | &"finalize"));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 && !own(parts.get(2)) {
        target.namespace = decode(parts[1])?;
        parts.drain(..2);
    }
    let mut parts = parts.into_iter();
    target.resource = decode(parts.next().filter(|part| !part.is_empty())?)?;
    target.name = decode(parts.next().unwrap_or_default())?;
    target.subresource = decode(parts.next().unwrap_or_default())?;
    target.rest = parts.collect::<Vec<_>>().join("/");
    let sound = target.rest.is_empty() || target.connects();
    sound.then_some(target)
}

fn decode(part: &str) -> Option<String> {
    percent_decode_str(part).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: &str) {
        let shown = parse(path).map_or_else(String::new, |t| {
            let words = [t.group, t.version, t.namespace, t.resource, t.name, t.subresource, t.rest];
            format!("{}{}", words.join(" "), if t.watch { " watch" } else { "" })
        });
        assert_eq!(shown, expect, "{path}");
    }

    #[test]
    fn every_form_of_path_names_its_target() {
        check("/api/v1/pods", " v1  pods   ");
        check("/api/v1/namespaces/a/pods", " v1 a pods   ");
        check("/api/v1/namespaces/a/pods/x", " v1 a pods x  ");
        check("/api/v1/namespaces/a/pods/x/log", " v1 a pods x log ");
        check("/api/v1/namespaces", " v1  namespaces   ");
        check("/api/v1/namespaces/a", " v1  namespaces a  ");
        check("/api/v1/namespaces/a/status", " v1  namespaces a status ");
        check("/api/v1/namespaces/a/finalize", " v1  namespaces a finalize ");
        check("/api/v1/nodes/n/proxy/logs/x", " v1  nodes n proxy logs/x");
        check("/api/v1/namespaces/a/services/http:s:80/proxy/", " v1 a services http:s:80 proxy ");
        check("/api/v1/watch/namespaces/a/pods", " v1 a pods    watch");
        check("/api/v1/watch/pods", " v1  pods    watch");
        check("/apis/apps/v1/namespaces/a/deployments/d/scale", "apps v1 a deployments d scale ");
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "rbac.authorization.k8s.io v1  clusterroles system:node  ",
        );
    }

    #[test]
    fn other_paths_name_none() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis/apps/v1/",
            "/version",
            "/api/v1/pods/x/log/y",
        ] {
            check(path, "");
        }
    }
}
