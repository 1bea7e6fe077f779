//! What a server says of itself: versions, groups, resources, schemas, health.

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Check,
    world::{JSON, World},
};

const AREA: &str = "discovery";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const LEGACY: &str = "Conformance: Discovery, confirm the groupVerion and a resourcefrom each apiGroup";
const OPENAPI: &str = "https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition";
const HEALTH: &str = "https://kubernetes.io/docs/reference/using-api/health-checks/";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "the_version_is_told_in_full", "Conformance: Confirm a server version", |w| version(w).boxed()),
    Check::new(
        AREA,
        "every_group_prefers_one_of_its_versions",
        "Conformance: Discovery, confirm the PreferredVersion for each api group",
        |w| preferred(w).boxed(),
    ),
    Check::new(AREA, "every_resource_that_is_told_is_served", LEGACY, |w| served(w).boxed()),
    Check::new(
        AREA,
        "discovery_in_one_document_says_the_same",
        "Conformance: Aggregated Discovery Interface; KEP-3352",
        |w| aggregated(w).boxed(),
    ),
    Check::new(
        AREA,
        "discovery_comes_in_the_form_that_is_asked_for",
        "Conformance: Aggregated Discovery Endpoint Accept Headers",
        |w| accepted(w).boxed(),
    ),
    Check::new(AREA, "an_unchanged_document_is_not_sent_again", "RFC 9110, 13.1.2: If-None-Match", |w| tags(w).boxed()),
    Check::new(AREA, "a_schema_of_each_group_is_published", OPENAPI, |w| third(w).boxed()),
    Check::new(AREA, "all_schemas_are_published_in_one_document", OPENAPI, |w| second(w).boxed()),
    Check::new(AREA, "health_is_told_check_by_check", HEALTH, |w| health(w).boxed()),
    Check::new(
        AREA,
        "metrics_are_told_in_prometheus_text",
        "https://kubernetes.io/docs/reference/instrumentation/metrics/",
        |w| metrics(w).boxed(),
    ),
    Check::new(
        AREA,
        "anybody_may_ask_for_version_and_health",
        "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles",
        |w| public(w).boxed(),
    ),
    Check::new(
        AREA,
        "the_cluster_is_reached_by_its_own_service",
        "Conformance: Find Kubernetes Service in default Namespace",
        |w| kubernetes(w).boxed(),
    ),
];

async fn version(w: World) {
    let info = w.get("/version").await.ok();
    for field in
        ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"]
    {
        assert!(info[field].is_string(), "{field} is not in {info}");
    }
    let wanted = format!(
        "v{}.{}.",
        info["major"].as_str().unwrap_or_default(),
        info["minor"].as_str().unwrap_or_default().trim_end_matches('+')
    );
    assert!(info["gitVersion"].as_str().unwrap_or_default().starts_with(&wanted), "{info}");
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

async fn preferred(w: World) {
    let core = w.get("/api").await.ok();
    assert_eq!((&core["kind"], &core["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    let groups = w.get("/apis").await.ok();
    assert_eq!(groups["kind"], "APIGroupList");
    assert!(!list(&groups, "groups").is_empty());
    for group in list(&groups, "groups") {
        let wanted = &group["preferredVersion"]["groupVersion"];
        let one = list(group, "versions").iter().any(|version| version["groupVersion"] == *wanted);
        assert!(one, "the preferred version of {group} is none of its versions");
        let name = group["name"].as_str().unwrap_or_default();
        let alone = w.get(&format!("/apis/{name}")).await.ok();
        assert_eq!((&alone["kind"], &alone["versions"]), (&json!("APIGroup"), &group["versions"]));
    }
}

/// The documents of all versions: their group-version and the resources.
async fn documents(w: &World) -> Vec<(String, Vec<Value>)> {
    let groups = w.get("/apis").await.ok();
    let mut names: Vec<String> = list(&groups, "groups")
        .iter()
        .flat_map(|group| list(group, "versions"))
        .map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default()))
        .collect();
    names.insert(0, "/api/v1".into());
    let mut documents = Vec::new();
    for name in names {
        let document = w.get(&name).await.ok();
        assert_eq!(document["kind"], "APIResourceList", "{name}");
        let version = name.trim_start_matches("/api/").trim_start_matches("/apis/").to_owned();
        assert_eq!(document["groupVersion"], version.as_str());
        documents.push((name, list(&document, "resources").to_vec()));
    }
    documents
}

async fn served(w: World) {
    for (base, resources) in documents(&w).await {
        assert!(!resources.is_empty(), "{base} has no resources");
        for resource in resources {
            let name = resource["name"].as_str().unwrap_or_default();
            assert!(resource["kind"].is_string() && resource["namespaced"].is_boolean(), "{base}: {resource}");
            let verbs: Vec<_> = list(&resource, "verbs").iter().filter_map(Value::as_str).collect();
            assert!(!verbs.is_empty(), "{base}/{name} has no verbs");
            if verbs.contains(&"list") && !name.contains('/') {
                let items = w.get(&format!("{base}/{name}?limit=1")).await.ok();
                let kind = format!("{}List", resource["kind"].as_str().unwrap_or_default());
                assert_eq!(items["kind"], kind.as_str(), "{base}/{name}");
            }
        }
    }
}

async fn aggregated(w: World) {
    for (root, prefix) in [("/api", ""), ("/apis", "/")] {
        let document = w.get_as(root, AGGREGATED).await.ok();
        assert_eq!(
            (&document["kind"], &document["apiVersion"]),
            (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2"))
        );
        for group in list(&document, "items") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in list(group, "versions") {
                assert_eq!(version["freshness"], "Current", "{name}");
                let path = format!("{root}{prefix}{name}/{}", version["version"].as_str().unwrap_or_default());
                let legacy = w.get(&path).await.ok();
                let told: Vec<_> =
                    list(version, "resources").iter().map(|resource| resource["resource"].clone()).collect();
                let mut own: Vec<_> =
                    list(&legacy, "resources").iter().map(|resource| resource["name"].clone()).collect();
                own.retain(|name| !name.as_str().unwrap_or_default().contains('/'));
                assert_eq!(sorted(&told), sorted(&own), "{path}");
                let pods = list(version, "resources").iter().find(|resource| resource["resource"] == "pods");
                if let Some(pods) = pods.filter(|_| root == "/api") {
                    assert_eq!(pods["responseKind"]["kind"], "Pod");
                    assert_eq!((&pods["scope"], &pods["singularResource"]), (&json!("Namespaced"), &json!("pod")));
                    assert_eq!((&pods["shortNames"], &pods["categories"]), (&json!(["po"]), &json!(["all"])));
                    let below: Vec<_> =
                        list(pods, "subresources").iter().map(|sub| sub["subresource"].clone()).collect();
                    for sub in ["status", "log", "exec", "binding", "eviction", "ephemeralcontainers", "resize"] {
                        assert!(below.contains(&json!(sub)), "pods have no {sub}: {below:?}");
                    }
                }
            }
        }
    }
}

fn sorted(values: &[Value]) -> Vec<String> {
    let mut names: Vec<_> = values.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

async fn accepted(w: World) {
    for root in ["/api", "/apis"] {
        let answer = w.get_as(root, &format!("{AGGREGATED},{JSON}")).await;
        assert_eq!(answer.header("content-type"), AGGREGATED, "{root}");
        let answer = w.get_as(root, JSON).await;
        assert!(answer.header("content-type").starts_with(JSON));
        assert_ne!(answer.ok()["kind"], "APIGroupDiscoveryList");
        let unknown = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";
        let answer = w.get_as(root, &format!("{unknown},{JSON}")).await;
        assert_ne!(answer.ok()["kind"], "APIGroupDiscoveryList", "a version that is not known is passed over");
    }
}

async fn tags(w: World) {
    for (target, accept) in [("/apis", AGGREGATED), ("/openapi/v2", JSON)] {
        let first = w.get_as(target, accept).await;
        first.coded(200);
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') || tag.starts_with("W/"), "{target} has the ETag {tag:?}");
        let again = w.send("GET", target, &[("accept", accept), ("if-none-match", &tag)], Bytes::new()).await;
        assert_eq!((again.code, again.body.len()), (304, 0), "{target}");
        let other = w.send("GET", target, &[("accept", accept), ("if-none-match", "\"other\"")], Bytes::new()).await;
        other.coded(200);
    }
}

async fn third(w: World) {
    let index = w.get("/openapi/v3").await.ok();
    let paths = index["paths"].as_object().cloned().unwrap_or_default();
    for (base, _) in documents(&w).await {
        let path = base.trim_start_matches('/');
        let target = paths.get(path).map(|entry| entry["serverRelativeURL"].as_str().unwrap_or_default().to_owned());
        let Some(target) = target else { panic!("the index has no {path}") };
        let answer = w.get(&target).await;
        let document = answer.ok();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{path}");
        assert!(document["components"]["schemas"].is_object() && document["paths"].is_object(), "{path}");
    }
    let target = paths["api/v1"]["serverRelativeURL"].as_str().unwrap_or_default();
    let core = w.get(target).await.ok();
    let one = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"];
    let parameters: Vec<_> =
        list(&one["patch"], "parameters").iter().map(|parameter| parameter["name"].clone()).collect();
    for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
        assert!(parameters.contains(&json!(name)), "a patch of a pod has no {name}");
    }
    assert_eq!(one["get"]["x-kubernetes-group-version-kind"], json!({"group": "", "version": "v1", "kind": "Pod"}));
    let spec = &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(
        (&spec["x-kubernetes-list-type"], &spec["x-kubernetes-patch-merge-key"]),
        (&json!("map"), &json!("name"))
    );
}

async fn second(w: World) {
    let document = w.get("/openapi/v2").await.ok();
    assert_eq!(document["swagger"], "2.0");
    let pod = &document["definitions"]["io.k8s.api.core.v1.Pod"];
    let known = list(pod, "x-kubernetes-group-version-kind");
    assert!(known.iter().any(|kind| kind["kind"] == "Pod" && kind["version"] == "v1"), "{known:?}");
    assert!(document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"].is_object());
}

async fn health(w: World) {
    for page in ["/healthz", "/livez", "/readyz"] {
        let answer = w.get(page).await;
        assert_eq!((answer.code, answer.text().as_str()), (200, "ok"), "{page}");
        let verbose = w.get(&format!("{page}?verbose")).await;
        verbose.coded(200);
        assert!(verbose.text().contains("[+]ping ok"), "{}", verbose.text());
        let text = verbose.text();
        let end = text.trim_end().lines().last().unwrap_or_default().to_owned();
        assert_eq!(end, format!("{} check passed", page.trim_start_matches('/')));
        assert_eq!(w.get(&format!("{page}/ping")).await.text(), "ok");
        w.get(&format!("{page}?exclude=ping")).await.coded(200);
        w.get(&format!("{page}/nonsense")).await.coded(404);
    }
}

async fn metrics(w: World) {
    let answer = w.get("/metrics").await;
    answer.coded(200);
    assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.header("content-type"));
    let text = answer.text();
    for name in [
        "apiserver_request_total",
        "apiserver_request_duration_seconds_bucket",
        "apiserver_current_inflight_requests",
        "process_start_time_seconds",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "there is no {name}");
    }
}

async fn public(w: World) {
    for target in ["/version", "/healthz", "/livez", "/readyz"] {
        w.anonymously("GET", target, &[], Bytes::new()).await.coded(200);
    }
    let answer = w.anonymously("GET", "/api/v1/namespaces", &[], Bytes::new()).await;
    assert!(matches!(answer.code, 401 | 403), "{} {}", answer.code, answer.text());
}

async fn kubernetes(w: World) {
    let service = w.get("/api/v1/namespaces/default/services/kubernetes").await.ok();
    assert_eq!(service["spec"]["ports"][0]["name"], "https");
    assert_eq!(
        (&service["spec"]["ports"][0]["port"], &service["spec"]["ports"][0]["protocol"]),
        (&json!(443), &json!("TCP"))
    );
    assert!(service["spec"]["clusterIP"].is_string() && service["spec"].get("selector").is_none(), "{service}");
}
