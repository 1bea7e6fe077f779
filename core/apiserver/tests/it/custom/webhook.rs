//! Conversion by a webhook that listens on this machine.

use std::sync::Arc;

use serde_json::{Value, json};

use super::widgets;
use crate::{
    hook::{self, Reply},
    rim::{self, Rim},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How the webhook behaves.
#[derive(Clone, Copy)]
enum Webhook {
    /// `hostPort` of v1 is `host` and `port` in v2.
    Converts,
    Refuses,
}

fn answer(review: &Value, webhook: Webhook) -> Value {
    let request = &review["request"];
    let result = match webhook {
        Webhook::Converts => json!({"status": "Success"}),
        Webhook::Refuses => json!({"status": "Failure", "message": "not today"}),
    };
    let objects: Vec<Value> = request["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| converted(object, &request["desiredAPIVersion"]))
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}})
}

fn converted(object: &Value, to: &Value) -> Value {
    let mut object = object.clone();
    let spec = object["spec"].clone();
    object["apiVersion"] = to.clone();
    object["spec"] = if *to == "example.com/v2" {
        let (host, port) = spec["hostPort"].as_str().unwrap().split_once(':').unwrap();
        json!({"host": host, "port": port})
    } else {
        json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap(), spec["port"].as_str().unwrap())})
    };
    object
}

async fn define(rim: &Rim, webhook: Webhook) {
    let hook = hook::listen(rim, move |_, review| Reply::Json(answer(review, webhook))).await;
    let text = json!({"type": "string"});
    let mut definition = widgets(&json!({"type": "object", "properties": {"hostPort": text}}));
    definition["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.hostPort"}]);
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = json!({"host": text, "port": text});
    second["selectableFields"] = json!([{"jsonPath": ".spec.host"}]);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": hook.client("/convert")}});
    let made = rim.send(&format!("POST {DEFINITIONS}\n\n{definition}")).await;
    assert_eq!(made.code, 201, "{made:?}");
}

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/widgets")
}

fn object(version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn objects_are_converted_on_their_way_in_and_out() {
    let rim = rim::start_dialling(Arc::new(rim::Loopback)).await;
    define(&rim, Webhook::Converts).await;
    let first = object("v1", "a", &json!({"hostPort": "x:1"}));
    assert_eq!(rim.send(&format!("POST {}\n\n{first}", path("v1"))).await.code, 201);
    let second = object("v2", "b", &json!({"host": "y", "port": "2"}));
    let made = rim.send(&format!("POST {}\n\n{second}", path("v2"))).await;
    assert_eq!((made.code, &made.json()["spec"]), (201, &json!({"host": "y", "port": "2"})));
    let read = rim.send(&format!("GET {}/a", path("v2"))).await.json();
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v2"), &json!({"host": "x", "port": "1"})));
    assert_eq!(rim.send(&format!("GET {}/b", path("v1"))).await.json()["spec"]["hostPort"], "y:2");

    // Objects of both stored versions are listed in one.
    let mut definition = rim.send(&format!("GET {DEFINITIONS}/widgets.example.com")).await.json();
    definition["spec"]["versions"][0]["storage"] = false.into();
    definition["spec"]["versions"][1]["storage"] = true.into();
    assert_eq!(rim.send(&format!("PUT {DEFINITIONS}/widgets.example.com\n\n{definition}")).await.code, 200);
    let third = object("v2", "c", &json!({"host": "x", "port": "3"}));
    assert_eq!(rim.send(&format!("POST {}\n\n{third}", path("v2"))).await.code, 201);
    let list = rim.send(&format!("GET {}", path("v2"))).await.json();
    let specs: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]).collect();
    assert_eq!(
        specs,
        [&json!({"host": "x", "port": "1"}), &json!({"host": "y", "port": "2"}), &json!({"host": "x", "port": "3"})]
    );
    let list = rim.send(&format!("GET {}?fieldSelector=spec.host%3Dx", path("v2"))).await.json();
    let names: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "c"]);
    let patch = format!(
        "PATCH {}/a\nContent-Type: application/merge-patch+json\n\n{{\"spec\":{{\"port\":\"9\"}}}}",
        path("v2")
    );
    assert_eq!(rim.send(&patch).await.json()["spec"]["port"], "9");
    assert_eq!(rim.send(&format!("GET {}/a", path("v1"))).await.json()["spec"]["hostPort"], "x:9");
    assert_eq!(rim.send(&format!("DELETE {}/b", path("v1"))).await.code, 200);
}

#[tokio::test]
async fn a_webhook_that_refuses_is_an_error_with_its_reason() {
    let rim = rim::start_dialling(Arc::new(rim::Loopback)).await;
    define(&rim, Webhook::Refuses).await;
    let first = object("v1", "a", &json!({"hostPort": "x:1"}));
    assert_eq!(rim.send(&format!("POST {}\n\n{first}", path("v1"))).await.code, 201);
    let read = rim.send(&format!("GET {}/a", path("v2"))).await;
    assert_eq!(read.code, 500);
    assert_eq!(read.json()["message"], "conversion webhook for example.com/v2, Kind=Widget failed: not today");
}
