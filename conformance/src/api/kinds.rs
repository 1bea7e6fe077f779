//! What clients do to any kind: every verb of its collection and its objects, once for each kind.

mod cluster;
mod namespaced;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Check, Run,
    answer::{names, version},
    world::{JSON, MERGE, World, body},
};

/// A kind, and an object of it that a server takes as it is.
#[derive(Debug)]
pub(super) struct Kind {
    /// The check's name.
    pub(super) name: &'static str,
    /// The conformance test or page that settles it.
    pub(super) clause: &'static str,
    /// The resource: `configmaps`, or `apps/v1/deployments`.
    pub(super) resource: &'static str,
    /// Whether its objects are in namespaces.
    pub(super) namespaced: bool,
    /// The fields beside `metadata`, as JSON.
    pub(super) fields: &'static str,
    /// A merge patch that changes something other than metadata, as JSON; empty where nothing can be changed.
    pub(super) change: &'static str,
    /// A merge patch of the status, as JSON; empty where there is no sub-resource for it.
    pub(super) status: &'static str,
}

pub(super) fn checks() -> impl Iterator<Item = Check> {
    let kinds = namespaced::KINDS.iter().chain(cluster::KINDS);
    kinds.map(|kind| Check {
        area: "kinds",
        name: kind.name,
        clause: kind.clause,
        needs: |_| None,
        run: Run::Kind(kind),
    })
}

/// Walks through the life of three objects of a kind.
pub(super) async fn operations(w: World, kind: &'static Kind) {
    let subject = Subject::new(&w, kind);
    let mut watch = w.watch(&format!("{}&timeoutSeconds=120", subject.selected())).await;
    let made = subject.create("a").await;
    assert_eq!(w.get(&subject.at("a")).await.ok()["metadata"]["uid"], made["metadata"]["uid"]);
    watch.until("ADDED", &subject.object_name("a")).await;
    for name in ["b", "c"] {
        subject.create(name).await;
    }
    subject.listed().await;
    subject.changed().await;
    watch.until("MODIFIED", &subject.object_name("a")).await;
    if !kind.status.is_empty() {
        subject.status().await;
    }
    subject.deleted().await;
    watch.until("DELETED", &subject.object_name("a")).await;
}

struct Subject<'a> {
    w: &'a World,
    kind: &'static Kind,
    collection: String,
}

impl<'a> Subject<'a> {
    fn new(w: &'a World, kind: &'static Kind) -> Self {
        let collection = if kind.namespaced { w.path(kind.resource) } else { everywhere(kind) };
        if !kind.namespaced {
            let label = format!("run%3D{}", w.prefix());
            w.later(format!("{collection}?labelSelector={label}"));
        }
        Self { w, kind, collection }
    }

    /// The name in the cluster of what the check calls so.
    fn object_name(&self, name: &str) -> String {
        if self.kind.namespaced { name.to_owned() } else { self.w.name(name) }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{}", self.collection, self.object_name(name))
    }

    /// The collection, as far as the check made it.
    fn selected(&self) -> String {
        format!("{}?labelSelector=run%3D{}", self.collection, self.w.prefix())
    }

    fn object(&self, name: &str) -> Value {
        let text = self.kind.fields.replace("$NAMESPACE", &self.w.namespace).replace("$NAME", &self.object_name(name));
        let mut object: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("the fields of {}: {error}", self.kind.resource));
        object["metadata"] = json!({"name": self.object_name(name), "labels": {"run": self.w.prefix()}});
        object
    }

    async fn create(&self, name: &str) -> Value {
        if self.kind.resource == "pods" {
            self.w.account().await;
        }
        let made = self.w.create(&self.collection, &self.object(name)).await.with(201);
        assert_eq!(made["metadata"]["name"], self.object_name(name));
        version(&made);
        made
    }

    async fn listed(&self) {
        let mut wanted = ["a", "b", "c"].map(|name| self.object_name(name));
        wanted.sort();
        let list = self.w.get(&self.selected()).await.ok();
        assert_eq!(names(&list), wanted);
        if self.kind.namespaced {
            let all =
                self.w.get(&format!("{}?labelSelector=run%3D{}", everywhere(self.kind), self.w.prefix())).await.ok();
            assert_eq!(names(&all), wanted, "over all namespaces");
        }
        let table = self.w.get_as(&self.selected(), super::reads::TABLE).await.ok();
        assert_eq!(table["rows"].as_array().map(Vec::len), Some(3), "as a table");
        // What is built in is read in protobuf by most controllers.
        let proto = self.w.get_as(&self.at("a"), "application/vnd.kubernetes.protobuf").await;
        proto.coded(200);
        let read = match windlass_api::protobuf::decode(&proto.body) {
            Ok(read) => read,
            Err(error) => panic!("the protobuf of {} cannot be read: {error}", self.kind.resource),
        };
        assert_eq!(read["metadata"]["name"], self.object_name("a"));
    }

    /// A patch of metadata, a patch of more, a replacement of what was read, in protobuf too.
    async fn changed(&self) {
        let (w, target) = (self.w, self.at("a"));
        let patch = json!({"metadata": {"annotations": {"example.com/patched": "yes"}}});
        let patched = w.patch(&target, MERGE, &patch).await.ok();
        assert_eq!(patched["metadata"]["annotations"]["example.com/patched"], "yes");
        if !self.kind.change.is_empty() {
            let change: Value = serde_json::from_str(self.kind.change).expect("the change of a kind is JSON");
            let changed = w.patch(&target, MERGE, &change).await.ok();
            holds(&change, &changed, self.kind.resource);
        }
        for turn in 0.. {
            let mut read = w.get(&target).await.ok();
            read["metadata"]["annotations"]["example.com/replaced"] = "yes".into();
            let answer = w.send("PUT", &target, &[("content-type", JSON)], body(&read)).await;
            // A controller may have come in between.
            if answer.code == 409 && turn < 20 {
                continue;
            }
            assert_eq!(answer.ok()["metadata"]["annotations"]["example.com/replaced"], "yes");
            break;
        }
    }

    async fn status(&self) {
        let (w, target) = (self.w, self.at("a") + "/status");
        let change: Value = serde_json::from_str(self.kind.status).expect("the status of a kind is JSON");
        assert_eq!(w.get(&target).await.ok()["metadata"]["name"], self.object_name("a"));
        let patched = w.patch(&target, MERGE, &json!({"status": change})).await.ok();
        holds(&json!({"status": change}), &patched, self.kind.resource);
        for turn in 0.. {
            let mut read = w.get(&target).await.ok();
            read["metadata"]["annotations"]["example.com/status"] = "yes".into();
            let answer = w.replace(&target, &read).await;
            if answer.code == 409 && turn < 20 {
                continue;
            }
            answer.ok();
            break;
        }
    }

    async fn deleted(&self) {
        let (w, target) = (self.w, self.at("a"));
        let now = [("content-type", JSON)];
        let options = body(&json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}));
        let answer = w.send("DELETE", &target, &now, options.clone()).await;
        assert!(matches!(answer.code, 200 | 202), "{} {}", answer.code, answer.text());
        w.until("the object is gone", &target, |answer| answer.code == 404).await;
        assert_eq!(names(&w.get(&self.selected()).await.ok()).len(), 2);
        let answer = w.send("DELETE", &self.selected(), &now, options).await;
        assert!(matches!(answer.code, 200 | 202), "{} {}", answer.code, answer.text());
        w.until("the collection is empty", &self.selected(), |answer| {
            answer.code == 200 && names(&answer.json()).is_empty()
        })
        .await;
        w.send("GET", &target, &[], Bytes::new()).await.refused(404, "NotFound");
    }
}

/// The collection over all namespaces.
fn everywhere(kind: &Kind) -> String {
    match kind.resource.rsplit_once('/') {
        Some((group, plural)) => format!("/apis/{group}/{plural}"),
        None => format!("/api/v1/{}", kind.resource),
    }
}

/// Every field of a merge patch stands in the object. Lists are compared by their length: items are defaulted.
fn holds(patch: &Value, object: &Value, what: &str) {
    match (patch, object) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                holds(value, &object[name], &format!("{what}.{name}"));
            }
        }
        (Value::Array(items), Value::Array(own)) => {
            assert!(own.len() >= items.len(), "{what} is {object} after a patch to {patch}")
        }
        (patch, object) => assert_eq!(patch, object, "{what} after a patch"),
    }
}
