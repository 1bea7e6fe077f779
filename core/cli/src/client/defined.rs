//! What only the cluster knows: its custom resources, and their tables.

use futures::StreamExt;
use serde_json::Value;
use windlass::{
    api::resources::find,
    kernel::{Error, ErrorKind, Result},
};
use windlass_client::https::RawRequest;

use super::{connect::Connected, resources::Resource};

/// Discovery of everything in one document.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// Rows and columns instead of objects, so that printer columns need not be worked out here.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

impl Connected {
    /// The resources that the cluster serves and that are not built in, preferred versions first.
    pub(super) async fn defined(&self) -> Result<Vec<Resource>> {
        let document = self.read("/apis", DISCOVERY).await?;
        Ok(read(&document))
    }

    /// The table of custom objects that a path leads to.
    pub(super) async fn table(&self, path: &str) -> Result<Value> {
        self.read(path, TABLE).await
    }

    async fn read(&self, target: &str, accept: &str) -> Result<Value> {
        let headers = vec![("accept".into(), accept.into())];
        let request = RawRequest { method: "GET".into(), target: target.into(), headers, ..RawRequest::default() };
        let mut reply = self.api.raw(request).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = reply.body.0.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        match value {
            Some(value) if reply.code == 200 => Ok(value),
            Some(status) if status["kind"] == "Status" => Err(Error::from_status(reply.code, &status)),
            _ => {
                let message = format!("the cluster answered {} to GET {target}", reply.code);
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }
}

fn read(document: &Value) -> Vec<Resource> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| items(value).iter().map(text).collect();
    let mut found: Vec<Resource> = Vec::new();
    for group in items(&document["items"]) {
        for version in items(&group["versions"]) {
            for own in items(&version["resources"]) {
                let resource = Resource {
                    group: text(&group["metadata"]["name"]),
                    version: text(&version["version"]),
                    plural: text(&own["resource"]),
                    singular: text(&own["singularResource"]),
                    kind: text(&own["responseKind"]["kind"]),
                    namespaced: own["scope"] == "Namespaced",
                    short_names: texts(&own["shortNames"]),
                    categories: texts(&own["categories"]),
                    built_in: false,
                };
                if find(&resource.group, &resource.version, &resource.plural).is_none() {
                    found.push(resource);
                }
            }
        }
    }
    // A category shows the same objects once, in the preferred version.
    let mut seen = std::collections::BTreeSet::new();
    for resource in &mut found {
        if !seen.insert((resource.group.clone(), resource.plural.clone())) {
            resource.categories.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn custom_resources_are_read_from_discovery() {
        let widget = json!({"resource": "widgets", "singularResource": "widget", "scope": "Namespaced",
            "responseKind": {"kind": "Widget"}, "shortNames": ["wd"], "categories": ["all"]});
        let document = json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [{"resource": "deployments"}]}]},
            {"metadata": {"name": "example.com"}, "versions": [
                {"version": "v2", "resources": [widget]}, {"version": "v1", "resources": [widget]}]}]});
        let found = read(&document);
        let shown: Vec<_> = found.iter().map(|own| format!("{} {:?}", own.api_version(), own.categories)).collect();
        assert_eq!(shown, ["example.com/v2 [\"all\"]", "example.com/v1 []"]);
        assert_eq!((&*found[0].kind, &*found[0].short_names[0], found[0].namespaced), ("Widget", "wd", true));
    }
}
