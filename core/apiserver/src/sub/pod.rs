//! What logs and sessions need of a pod: its node, and the container that is meant.

use std::sync::Arc;

use serde_json::Value;
use windlass_kernel::{
    api::Request,
    controller::ObjectKey,
    error::{Error, ErrorKind, Result},
    node::NodeAgent,
};

use crate::{errors, object, registry::Served, server::ApiServer, verbs};

const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A pod that somebody wants to reach.
#[derive(Debug)]
pub(super) struct Reached {
    /// The pod.
    pub(super) pod: Value,
    /// Its name.
    pub(super) key: ObjectKey,
    /// Its uid.
    pub(super) uid: String,
}

impl Reached {
    /// Reads the pod that the request names.
    pub(super) async fn read(server: &ApiServer, served: &Served, request: &Request) -> Result<Self> {
        let document = verbs::read(server, served, request).await?;
        let key = ObjectKey::new(&*request.namespace, &*request.name);
        Ok(Self { uid: document.uid().to_owned(), pod: document.value()?, key })
    }

    /// The node it is assigned to; empty before that.
    pub(super) fn node(&self) -> &str {
        self.pod["spec"]["nodeName"].as_str().unwrap_or_default()
    }

    /// The agent of its node.
    pub(super) fn agent(&self, server: &ApiServer) -> Result<Arc<dyn NodeAgent>> {
        let agents = server.parts.agents.as_ref();
        let agents = agents.ok_or_else(|| errors::not_supported("reaching into pods without node agents"))?;
        agents.agent(self.node()).map_err(|error| {
            let message = format!("the agent of node {:?} cannot be reached", self.node());
            Error::new(if error.is(ErrorKind::NotFound) { ErrorKind::Unavailable } else { error.kind() }, message)
                .with_source(error)
        })
    }

    /// The container that is meant: the one named, or the only one.
    pub(super) fn container(&self, asked: Option<&str>) -> Result<String> {
        container(&self.pod, asked.unwrap_or_default()).map_err(errors::bad_request)
    }
}

fn container(pod: &Value, asked: &str) -> Result<String, String> {
    let name = object::name(pod);
    let of = |list: &str| -> Vec<&str> {
        let all = pod["spec"][list].as_array().into_iter().flatten();
        all.filter_map(|container| container["name"].as_str()).collect()
    };
    if asked.is_empty() {
        let names = of("containers");
        if let [only] = names[..] {
            return Ok(only.to_owned());
        }
        let mut why = format!("a container name must be specified for pod {name}");
        if !names.is_empty() {
            why += &format!(", choose one of: [{}]", names.join(" "));
        }
        let init = of("initContainers");
        if !init.is_empty() {
            why += &format!(" or one of the init containers: [{}]", init.join(" "));
        }
        let ephemeral = of("ephemeralContainers");
        if !ephemeral.is_empty() {
            why += &format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" "));
        }
        return Err(why);
    }
    if LISTS.iter().any(|list| of(list).contains(&asked)) {
        Ok(asked.to_owned())
    } else {
        Err(format!("container {asked} is not valid for pod {name}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: &Value, asked: &str, expect: Result<&str, &str>) {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        assert_eq!(container(&pod, asked).as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn the_container_is_named_or_the_only_one() {
        let one = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]});
        check(&one, "", Ok("a"));
        check(&one, "i", Ok("i"));
        check(&one, "x", Err("container x is not valid for pod p"));
        let two = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let why =
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]";
        check(&two, "", Err(why));
    }
}
