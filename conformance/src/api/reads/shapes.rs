//! The shapes of answers: tables, metadata alone, YAML, protobuf, compressed.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::api::{
    objects::map,
    world::{JSON, World, YAML},
};

pub(in crate::api) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
pub(in crate::api) const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIALS: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

pub(super) async fn tables(w: World) {
    w.account().await;
    for name in ["a", "b", "c"] {
        let pod = json!({"metadata": {"name": name}, "spec": {"schedulerName": "nobody",
            "containers": [{"name": "c", "image": "i"}]}});
        w.create(&w.path("pods"), &pod).await.with(201);
    }
    let table = w.get_as(&w.path("pods"), TABLE).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<_> = table["columnDefinitions"].as_array().into_iter().flatten().collect();
    let wide = |column: &Value| column["priority"] != json!(0);
    let narrow: Vec<_> = columns.iter().filter(|c| !wide(c)).map(|c| c["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(narrow, ["Name", "Ready", "Status", "Restarts", "Age"]);
    assert!(columns.iter().any(|column| wide(column) && column["name"] == "IP"), "{columns:?}");
    assert_eq!(columns[0]["format"], "name");
    let rows = table["rows"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["cells"].as_array().map(Vec::len), Some(columns.len()), "a cell for each column");
    assert_eq!(
        (&rows[0]["cells"][0], &rows[0]["cells"][1], &rows[0]["cells"][2]),
        (&json!("a"), &json!("0/1"), &json!("Pending"))
    );
    let object = &rows[0]["object"];
    assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    assert!(object.get("spec").is_none());
    let whole = w.get_as(&format!("{}?includeObject=Object", w.path("pods")), TABLE).await.ok();
    assert_eq!(whole["rows"][0]["object"]["kind"], "Pod");
    assert!(whole["rows"][0]["object"]["spec"].is_object());
    let none = w.get_as(&format!("{}?includeObject=None", w.path("pods")), TABLE).await.ok();
    assert!(none["rows"][0].get("object").is_none_or(Value::is_null), "{}", none["rows"][0]);
    let page = w.get_as(&format!("{}?limit=1", w.path("pods")), TABLE).await.ok();
    assert_eq!(page["metadata"]["remainingItemCount"], 2);
    assert!(page["metadata"]["continue"].is_string());
    let one = w.get_as(&w.at("pods", "b"), TABLE).await.ok();
    assert_eq!((&one["kind"], &one["rows"][0]["cells"][0]), (&json!("Table"), &json!("b")));
    // A client names what it would rather have, in order.
    let either = w.get_as(&w.path("pods"), &format!("{TABLE},{JSON}")).await.ok();
    assert_eq!(either["kind"], "Table");
}

pub(super) async fn unacceptable(w: World) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = crate::api::world::body(&review);
    let answer = w.send("POST", target, &[("accept", TABLE), ("content-type", JSON)], body).await;
    answer.refused(406, "NotAcceptable");
    for accept in ["application/nonsense", "application/json;as=Nonsense;v=v1;g=meta.k8s.io", "text/html"] {
        w.get_as(&w.path("configmaps"), accept).await.coded(406);
    }
}

pub(super) async fn metadata(w: World) {
    let mut object = map("a");
    object["metadata"]["labels"] = json!({"app": "x"});
    let made = w.create(&w.path("configmaps"), &object).await.with(201);
    let one = w.get_as(&w.at("configmaps", "a"), PARTIAL).await.ok();
    assert_eq!((&one["kind"], &one["apiVersion"]), (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1")));
    assert_eq!(one["metadata"], made["metadata"]);
    assert!(one.get("data").is_none());
    let list = w.get_as(&format!("{}?labelSelector=app%3Dx", w.path("configmaps")), PARTIALS).await.ok();
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["name"]),
        (&json!("PartialObjectMetadataList"), &json!("a"))
    );
    assert!(list["items"][0].get("data").is_none() && list["metadata"]["resourceVersion"].is_string());
    let patch = crate::api::world::body(&json!({"metadata": {"labels": {"app": "y"}}}));
    let headers = [("accept", PARTIAL), ("content-type", crate::api::world::MERGE)];
    let patched = w.send("PATCH", &w.at("configmaps", "a"), &headers, patch).await.ok();
    assert_eq!(
        (&patched["kind"], &patched["metadata"]["labels"]["app"]),
        (&json!("PartialObjectMetadata"), &json!("y"))
    );
}

pub(super) async fn encodings(w: World) {
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v # a comment\n";
    let headers = [("content-type", YAML), ("accept", YAML)];
    let made = w.send("POST", &w.path("configmaps"), &headers, yaml.into()).await;
    made.coded(201);
    assert_eq!(made.header("content-type"), YAML);
    assert!(made.text().contains("\ndata:\n  k: v\n") || made.text().contains("data:\n  k: v\n"), "{}", made.text());
    let target = w.at("configmaps", "a");
    let plain = w.get(&target).await;
    assert_eq!(plain.header("content-type"), JSON, "without a wish the answer is JSON");
    for accept in ["*/*", "application/*", "application/json", "application/xml;q=0.1,application/json;q=0.9"] {
        assert_eq!(w.get_as(&target, accept).await.header("content-type"), JSON, "{accept}");
    }
    let proto = w.get_as(&target, PROTOBUF).await;
    proto.coded(200);
    assert_eq!(proto.header("content-type"), PROTOBUF);
    assert!(proto.body.starts_with(b"k8s\0"), "protobuf is enveloped");
    let read = windlass_api::protobuf::decode(&proto.body).expect("the protobuf of a ConfigMap");
    assert_eq!((&read["data"], &read["metadata"]["uid"]), (&json!({"k": "v"}), &plain.json()["metadata"]["uid"]));
    // And back: what was read in one encoding is written in it.
    w.delete(&target).await.coded(200);
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}});
    let known = windlass_api::resources::find("", "v1", "configmaps").expect("ConfigMaps are built in");
    let bytes = windlass_api::protobuf::encode(&bare, known.message).expect("a ConfigMap as protobuf");
    let headers = [("content-type", PROTOBUF), ("accept", JSON)];
    let made = w.send("POST", &w.path("configmaps"), &headers, Bytes::from(bytes)).await.with(201);
    assert_eq!(made["data"]["k"], "w");
    let list = w.get_as(&w.path("configmaps"), &format!("{PROTOBUF},{JSON}")).await;
    assert!(list.body.starts_with(b"k8s\0"));
    w.send("POST", &w.path("configmaps"), &[("content-type", "text/csv")], "a,b".into())
        .await
        .refused(415, "UnsupportedMediaType");
}

pub(super) async fn compressed(w: World) {
    let mut large = map("a");
    large["data"]["k"] = "compress me ".repeat(30_000).into();
    w.create(&w.path("configmaps"), &large).await.with(201);
    let target = w.at("configmaps", "a");
    let plain = w.get(&target).await;
    assert_eq!(plain.header("content-encoding"), "");
    let packed = w.send("GET", &target, &[("accept-encoding", "gzip")], Bytes::new()).await;
    packed.coded(200);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len() / 10);
    w.create(&w.path("configmaps"), &map("b")).await.with(201);
    let small = w.send("GET", &w.at("configmaps", "b"), &[("accept-encoding", "gzip")], Bytes::new()).await;
    assert_eq!(small.header("content-encoding"), "", "what is small goes as it is");
}
