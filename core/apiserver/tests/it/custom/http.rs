//! What clients are told of custom resources: discovery, OpenAPI, tables.

use serde_json::{Value, json};

use super::{widget, widgets};
use crate::rim::{self, Rim};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

async fn start() -> Rim {
    let rim = rim::start().await;
    let mut definition = widgets(&json!({"type": "object", "description": "What is wanted.", "required": ["size"],
        "properties": {"size": {"type": "integer"}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "either": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}}));
    let version = &mut definition["spec"]["versions"][0];
    version["additionalPrinterColumns"] = json!([{"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1}]);
    version["subresources"] = json!({"status": {}, "scale": {"specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.replicas"}});
    let made = rim.send(&format!("POST {DEFINITIONS}\n\n{definition}")).await;
    assert_eq!(made.code, 201, "{made:?}");
    rim
}

async fn get(rim: &Rim, path: &str) -> Value {
    let answer = rim.send(&format!("GET {path}")).await;
    assert_eq!(answer.code, 200, "{path} {answer:?}");
    answer.json()
}

#[tokio::test]
async fn discovery_has_a_custom_resource_on_the_next_request() {
    let rim = start().await;
    let groups = get(&rim, "/apis").await;
    let last = groups["groups"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["name"], &last["preferredVersion"]["groupVersion"]),
        (&json!("example.com"), &json!("example.com/v1"))
    );
    let list = get(&rim, "/apis/example.com/v1").await;
    let own = &list["resources"][0];
    assert_eq!(own["name"], "widgets");
    assert_eq!(
        (&own["singularName"], &own["shortNames"], &own["categories"]),
        (&json!("widget"), &json!(["wd"]), &json!(["all"]))
    );
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|own| own["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = rim.send(&format!("GET /apis\nAccept: {aggregated}")).await.json();
    let group =
        all["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "example.com").unwrap();
    assert_eq!(group["versions"][0]["resources"][0]["responseKind"]["kind"], "Widget");
    let gone = rim.send(&format!("DELETE {DEFINITIONS}/widgets.example.com")).await;
    assert_eq!((gone.code, &gone.json()["kind"]), (200, &json!("CustomResourceDefinition")));
}

#[tokio::test]
async fn openapi_has_the_schema_of_a_custom_resource() {
    let rim = start().await;
    let index = get(&rim, "/openapi/v3").await;
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = get(&rim, &url).await;
    let own = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        own["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Widget"}])
    );
    assert_eq!(own["properties"]["spec"]["description"], "What is wanted.");
    assert_eq!(
        own["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status"].is_object());
    assert!(document["components"]["schemas"]["com.example.v1.WidgetList"].is_object());
    let two = get(&rim, "/openapi/v2").await;
    let own = &two["definitions"]["com.example.v1.Widget"]["properties"]["spec"]["properties"];
    assert_eq!(own["free"]["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(own["either"]["x-kubernetes-int-or-string"], true);
    assert_eq!(own["either"]["anyOf"], Value::Null);
    let mut definition = get(&rim, &format!("{DEFINITIONS}/widgets.example.com")).await;
    let first = definition["spec"]["versions"][0].clone();
    definition["spec"]["versions"][0]["served"] = false.into();
    let mut second = first;
    second["name"] = "v2".into();
    second["storage"] = false.into();
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    let put = rim.send(&format!("PUT {DEFINITIONS}/widgets.example.com\n\n{definition}")).await;
    assert_eq!(put.code, 200, "{put:?}");
    let two = get(&rim, "/openapi/v2").await;
    assert!(two["definitions"]["com.example.v1.Widget"].is_null());
    assert!(two["definitions"]["com.example.v2.Widget"].is_object());
}

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let rim = start().await;
    let made = rim.send(&format!("POST {WIDGETS}\n\n{}", widget("a", &json!({"size": 3})))).await;
    assert_eq!(made.code, 201, "{made:?}");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rows = rim.send(&format!("GET {WIDGETS}\nAccept: {table}")).await.json();
    let columns: Vec<&str> =
        rows["columnDefinitions"].as_array().unwrap().iter().map(|own| own["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Size", "Age"]);
    assert_eq!(rows["columnDefinitions"][2]["priority"], 1);
    assert_eq!((&rows["rows"][0]["cells"][0], &rows["rows"][0]["cells"][1]), (&json!("a"), &json!(3)));
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let own = rim.send(&format!("GET {WIDGETS}/a\nAccept: {partial}")).await.json();
    assert_eq!(
        (&own["kind"], &own["metadata"]["name"], &own["spec"]),
        (&json!("PartialObjectMetadata"), &json!("a"), &Value::Null)
    );
    let proto = rim.send(&format!("GET {WIDGETS}/a\nAccept: application/vnd.kubernetes.protobuf")).await;
    assert_eq!(proto.code, 406);
    let both = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(rim.send(&format!("GET {WIDGETS}/a\nAccept: {both}")).await.header("content-type"), "application/json");
    let strategic = format!("PATCH {WIDGETS}/a\nContent-Type: application/strategic-merge-patch+json\n\n{{}}");
    assert_eq!(rim.send(&strategic).await.code, 415);
}
