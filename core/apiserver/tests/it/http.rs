//! The API as clients meet it: real TLS on loopback, both versions of HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use serde_json::json;
use windlass_apiserver::http::asked;
use windlass_kernel::{
    Api, Identity, Result,
    api::{Events, Request, Response, Verb},
};

use crate::rim::{self, parse};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value}}).to_string()
}

#[tokio::test]
async fn objects_are_written_and_read_in_every_encoding() {
    let rim = rim::start().await;
    // Without a media type a body is JSON.
    let made = rim.send(&format!("POST {CONFIG_MAPS}\n\n{}", config_map("one", "1"))).await;
    assert_eq!((made.code, made.header("content-type")), (201, "application/json"));
    assert!(!made.header("audit-id").is_empty());
    assert_eq!(made.header("cache-control"), "no-cache, private");

    let yaml = rim.send(&format!("GET {CONFIG_MAPS}/one\nAccept: application/yaml")).await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    let body = String::from_utf8(yaml.body.to_vec()).unwrap().replace("name: one", "name: two");
    let body: String = body
        .lines()
        .filter(|line| !line.contains("uid:") && !line.contains("resourceVersion:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let made = rim.send(&format!("POST {CONFIG_MAPS}\nContent-Type: application/yaml\n\n{body}")).await;
    assert_eq!(made.code, 201, "{made:?}");

    let proto =
        rim.send(&format!("GET {CONFIG_MAPS}/one\nAccept: application/vnd.kubernetes.protobuf,application/json")).await;
    assert_eq!(proto.header("content-type"), "application/vnd.kubernetes.protobuf");
    assert_eq!(windlass_api::protobuf::decode(&proto.body).unwrap()["data"]["a"], "1");
    let list = rim.send(&format!("GET {CONFIG_MAPS}\nAccept: application/vnd.kubernetes.protobuf")).await;
    let list = windlass_api::protobuf::decode(&list.body).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));

    let list = rim.http2(&format!("GET {CONFIG_MAPS}?limit=1")).await.json();
    assert_eq!(list["metadata"]["remainingItemCount"], 1);
    assert_eq!(list["items"][0]["metadata"]["name"], "one");

    let patch =
        format!("PATCH {CONFIG_MAPS}/one\nContent-Type: application/merge-patch+json\n\n{{\"data\":{{\"a\":\"2\"}}}}");
    assert_eq!(rim.send(&patch).await.json()["data"]["a"], "2");
    let patch = format!("PATCH {CONFIG_MAPS}/one\nContent-Type: text/plain\n\n{{}}");
    assert_eq!(rim.send(&patch).await.code, 415);
    let delete = format!("DELETE {CONFIG_MAPS}/one\n\n{{\"preconditions\":{{\"uid\":\"other\"}}}}");
    assert_eq!(rim.send(&delete).await.code, 409);
    assert_eq!(rim.send(&format!("DELETE {CONFIG_MAPS}/one")).await.code, 200);
    let gone = rim.send(&format!("GET {CONFIG_MAPS}/one")).await;
    assert_eq!((gone.code, &gone.json()["reason"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn answers_take_the_shape_that_was_asked_for() {
    let rim = rim::start().await;
    rim.send(&format!("POST {CONFIG_MAPS}\n\n{}", config_map("one", "1"))).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rows = rim.send(&format!("GET {CONFIG_MAPS}\nAccept: {table}")).await.json();
    assert_eq!((&rows["kind"], &rows["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(rows["rows"][0]["cells"][0], "one");
    assert_eq!(rows["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let rows = rim.send(&format!("GET {CONFIG_MAPS}/one?includeObject=Object\nAccept: {table}")).await.json();
    assert_eq!(rows["rows"][0]["object"]["data"]["a"], "1");

    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = rim.send(&format!("GET {CONFIG_MAPS}\nAccept: {partial}")).await.json();
    assert_eq!((&list["kind"], list["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));

    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let refused = rim.send(&format!("POST {review}\nAccept: {table}\n\n{{}}")).await;
    assert_eq!((refused.code, &refused.json()["reason"]), (406, &json!("NotAcceptable")));
}

#[tokio::test]
async fn a_watch_sends_each_event_as_it_happens_and_ends_with_the_server() {
    let rim = rim::start().await;
    let mut sender = rim.http1(true).await;
    let request = format!(
        "GET {CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut answer = sender.send_request(parse(&request)).await.unwrap().into_body();
    let mut next = async || {
        let frame = answer.frame().await?.unwrap().into_data().unwrap();
        Some(serde_json::from_slice::<serde_json::Value>(&frame).unwrap())
    };
    let bookmark = next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");

    rim.send(&format!("POST {CONFIG_MAPS}\n\n{}", config_map("one", "1"))).await;
    let added = next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]["data"]["a"]), (&json!("ADDED"), &json!("1")));
    rim.send(&format!("DELETE {CONFIG_MAPS}/one")).await;
    assert_eq!(next().await.unwrap()["type"], "DELETED");

    rim.stop.stop();
    assert_eq!(next().await, None);
    drop(sender);
    rim.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_asks_is_proven_by_certificate_or_token_and_may_be_somebody_else() {
    let rim = rim::start().await;
    let code = async |request: &str| rim.send_anonymous(request).await.code;
    assert_eq!(code("GET /version").await, 200);
    assert_eq!(code("GET /api/v1/namespaces").await, 403);
    assert_eq!(code("GET /nowhere").await, 403);
    assert_eq!(code("GET /api/v1/namespaces\nAuthorization: Bearer wrong").await, 401);
    assert_eq!(code("GET /api/v1/namespaces\nAuthorization: Bearer root-token").await, 200);
    assert_eq!(code("GET /apis\nAuthorization: Bearer user-token").await, 200);
    assert_eq!(code("GET /api/v1/namespaces\nAuthorization: Bearer user-token").await, 403);
    assert_eq!(code("GET /api/v1/namespaces\nAuthorization: Bearer user-token\nImpersonate-User: root").await, 403);
    let refused = rim.send_anonymous("GET /api/v1/namespaces\nAuthorization: Bearer wrong").await.json();
    assert_eq!((&refused["kind"], &refused["message"]), (&json!("Status"), &json!("Unauthorized")));

    let acting = rim.send("GET /api/v1/namespaces\nImpersonate-User: bob\nImpersonate-Group: devs").await;
    let message = "namespaces is forbidden: User \"bob\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope";
    assert_eq!((acting.code, &acting.json()["message"]), (403, &json!(message)));
    assert_eq!(rim.send("GET /nowhere").await.body, "404 page not found\n");
}

#[tokio::test]
async fn discovery_and_openapi_tell_what_is_served() {
    let rim = rim::start().await;
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = rim.send(&format!("GET /apis\nAccept: {v2},application/json")).await;
    assert_eq!(aggregated.header("content-type"), v2);
    let groups = aggregated.json();
    let apps = groups["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|resource| resource["resource"] == "deployments").unwrap();
    assert_eq!(deployments["responseKind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    let tag = aggregated.header("etag").to_owned();
    let again = rim.send(&format!("GET /apis\nAccept: {v2}\nIf-None-Match: {tag}")).await;
    assert_eq!((again.code, again.body.len()), (304, 0));
    assert_eq!(rim.send("GET /apis").await.json()["kind"], "APIGroupList");
    assert_eq!(rim.send("GET /api").await.json()["versions"], json!(["v1"]));
    assert_eq!(rim.send("GET /apis/apps/v1").await.json()["groupVersion"], "apps/v1");
    assert_eq!(rim.send("GET /apis/none/v1").await.code, 404);

    let index = rim.send("GET /openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = rim.send(&format!("GET {url}")).await;
    assert_eq!(document.header("cache-control"), "public, immutable");
    let document = document.json();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"));
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    dangling(&document, schemas, "#/components/schemas/");

    // What is served beside upstream's resources is described, too.
    let own = "dev.windlass.scheduling.v1alpha1.SchedulingExplanation";
    let path = "/api/v1/namespaces/{namespace}/pods/{name}/schedulingexplanation";
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let core = rim.send(&format!("GET {url}")).await.json();
    let get = &core["paths"][path]["get"];
    assert_eq!(get["operationId"], "readCoreV1NamespacedPodSchedulingexplanation");
    let kind = json!({"group": "scheduling.windlass.dev", "version": "v1alpha1", "kind": "SchedulingExplanation"});
    assert_eq!(get["x-kubernetes-group-version-kind"], kind);
    let answer = &get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(answer.as_str(), Some(&*format!("#/components/schemas/{own}")));
    let schema = &core["components"]["schemas"][own];
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([kind]));
    assert_eq!(schema["properties"]["nodes"]["items"]["properties"]["fits"]["type"], "boolean");
    dangling(&core, &core["components"]["schemas"], "#/components/schemas/");

    let old = rim.send("GET /openapi/v2").await;
    let tag = old.header("etag").to_owned();
    let document = old.json();
    dangling(&document, &document["definitions"], "#/definitions/");
    let answer = &document["paths"][path]["get"]["responses"]["200"]["schema"]["$ref"];
    assert_eq!(answer.as_str(), Some(&*format!("#/definitions/{own}")));
    assert_eq!(document["definitions"][own]["properties"]["verdict"]["type"], "string");
    assert_eq!(rim.send(&format!("GET /openapi/v2\nIf-None-Match: {tag}")).await.code, 304);
}

/// Every reference of a document leads somewhere.
fn dangling(value: &serde_json::Value, definitions: &serde_json::Value, prefix: &str) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(|target| target.as_str()?.strip_prefix(prefix)) {
                assert!(definitions.get(name).is_some(), "{name}");
            }
            fields.values().for_each(|value| dangling(value, definitions, prefix));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| dangling(value, definitions, prefix)),
        _ => {}
    }
}

#[tokio::test]
async fn bad_requests_are_told_why() {
    let rim = rim::start().await;
    let large = "x".repeat(3 * 1024 * 1024);
    let refused = rim.http2(&format!("POST {CONFIG_MAPS}\n\n{}", config_map("big", &large))).await;
    assert_eq!((refused.code, &refused.json()["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(rim.send(&format!("GET {CONFIG_MAPS}?limit=many")).await.code, 400);
    assert_eq!(rim.send(&format!("GET {CONFIG_MAPS}\nAccept: text/html")).await.code, 406);
    assert_eq!(rim.send("GET /api/v1/nosuch").await.code, 404);
    let exec = rim
        .send("GET /api/v1/namespaces/default/pods/p/exec?command=ls\nConnection: Upgrade\nUpgrade: websocket")
        .await;
    // As upstream, a pod that is not there is missed before the key of the WebSocket.
    assert_eq!((exec.code, &exec.json()["reason"]), (404, &json!("NotFound")));
    assert_eq!(rim.send("GET /readyz?verbose").await.body, "[+]ping ok\n[+]store ok\nreadyz check passed\n");
    assert_eq!(rim.send("GET /livez").await.body, "ok");
    let metrics = rim.send("GET /metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("apiserver_request_total{code=\"400\""), "{metrics}");
    // What others count stands on the same page, in either form.
    let lamps = "# HELP lamps_lit_total Lamps that were lit.\n# TYPE lamps_lit_total counter\nlamps_lit_total 3\n";
    assert!(metrics.ends_with(lamps), "{metrics}");
    let open = rim.send("GET /metrics\nAccept: application/openmetrics-text").await;
    let open = String::from_utf8(open.body.to_vec()).unwrap();
    assert!(open.ends_with("# TYPE lamps_lit counter\nlamps_lit_total 3\n# EOF\n"), "{open}");
}

#[tokio::test]
async fn large_lists_are_whole_with_and_without_gzip() {
    let rim = rim::start().await;
    for number in 0..40 {
        let made =
            rim.send(&format!("POST {CONFIG_MAPS}\n\n{}", config_map(&format!("c{number}"), &"y".repeat(8192)))).await;
        assert_eq!(made.code, 201);
    }
    let plain = rim.http2(&format!("GET {CONFIG_MAPS}")).await;
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 40);
    let packed = rim.send(&format!("GET {CONFIG_MAPS}\nAccept-Encoding: gzip")).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 10);
}

/// Breaks when it is to delete, and passes on the rest.
#[derive(Debug)]
struct Fragile(Arc<dyn Api>);

#[async_trait]
impl Api for Fragile {
    async fn call(&self, request: Request) -> Result<Response> {
        assert!(request.verb != Verb::Delete, "nothing is deleted here");
        self.0.call(request).await
    }

    async fn watch(&self, request: Request) -> Result<Events> {
        self.0.watch(request).await
    }
}

#[tokio::test]
async fn a_request_that_panics_is_answered_and_hurts_nobody_else() {
    let rim = rim::start_with(|api| Arc::new(Fragile(api))).await;
    let mut sender = rim.http1(true).await;
    let broken = sender.send_request(parse("DELETE /api/v1/namespaces/default")).await.unwrap();
    let broken = rim::read(broken).await;
    assert_eq!((broken.code, &broken.json()["reason"]), (500, &json!("InternalError")));
    let next = rim::read(sender.send_request(parse("GET /api/v1/namespaces/default")).await.unwrap()).await;
    assert_eq!(next.code, 200);
}

#[tokio::test]
async fn whoever_asks_in_process_is_known_unless_a_token_says_otherwise() {
    let rim = rim::start().await;
    let ask = async |who: Identity, token: &str| {
        let mut request = hyper::Request::get("/api/v1/namespaces");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        rim.http.answer_in_process(who, request.body(asked("")).unwrap()).await.status().as_u16()
    };
    let admin = || Identity::new("root", &["system:masters"]);
    assert_eq!(ask(admin(), "").await, 200);
    assert_eq!(ask(Identity::new("alice", &[]), "").await, 403);
    assert_eq!(ask(Identity::anonymous(), "root-token").await, 200);
    assert_eq!(ask(admin(), "user-token").await, 403);
    assert_eq!(ask(admin(), "wrong").await, 401);
}

#[tokio::test]
async fn a_minted_token_opens_the_door_and_its_keys_are_published() {
    let rim = rim::start().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    rim.send(&format!("POST /api/v1/namespaces/default/serviceaccounts\n\n{account}")).await;
    let wanted =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let minted = rim.send(&format!("POST /api/v1/namespaces/default/serviceaccounts/robot/token\n\n{wanted}")).await;
    assert_eq!(minted.code, 201, "{minted:?}");
    let minted = minted.json();
    let token = minted["status"]["token"].as_str().unwrap();

    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = format!("POST /apis/authentication.k8s.io/v1/selfsubjectreviews\nAuthorization: Bearer {token}\n\n{who}");
    let who = rim.send_anonymous(&who).await.json();
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:robot", "{who}");

    let keys = rim.send_anonymous(&format!("GET /openid/v1/jwks\nAuthorization: Bearer {token}")).await;
    assert_eq!((keys.code, keys.header("content-type")), (200, "application/jwk-set+json"));
    assert_eq!(keys.json()["keys"][0]["alg"], "ES256");
    let about =
        rim.send_anonymous(&format!("GET /.well-known/openid-configuration\nAuthorization: Bearer {token}")).await;
    assert_eq!(about.json()["issuer"], rim::ISSUER);
}
