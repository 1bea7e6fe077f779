//! What a server is told about serving: its versions, its certificates.

use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use windlass_apiserver::http::tls::KeyAndCertificate;

use crate::rim::{self, Answer, Rim, Setup};

const CLASSES: &str = "/apis/resource.k8s.io/v1beta1/deviceclasses";

async fn start(versions: &str) -> Rim {
    rim::assemble(Setup { versions, ..Setup::default() }).await
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
}

async fn versions_of(rim: &Rim, group: &str) -> Vec<String> {
    let group = rim.send(&format!("GET /apis/{group}")).await.json();
    let versions = group["versions"].as_array().unwrap();
    versions.iter().map(|version| version["version"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn versions_that_are_not_stable_are_served_when_that_is_asked_for() {
    let rim = start("").await;
    assert_eq!(versions_of(&rim, "resource.k8s.io").await, ["v1"]);
    let absent = rim.send(&format!("GET {CLASSES}")).await;
    let message = "the server could not find the requested resource";
    assert_eq!((absent.code, &absent.json()["message"]), (404, &json!(message)));
    let hidden = rim.send_anonymous(&format!("GET {CLASSES}\nAuthorization: Bearer user-token")).await;
    assert_eq!(hidden.code, 403);

    let rim = start("api/beta=true").await;
    assert_eq!(versions_of(&rim, "resource.k8s.io").await, ["v1", "v1beta2", "v1beta1"]);
    assert_eq!(rim.send(&format!("GET {CLASSES}")).await.code, 200);
    let openapi = rim.send("GET /openapi/v3").await.json();
    assert!(openapi["paths"]["apis/resource.k8s.io/v1beta1"].is_object(), "{openapi}");
    let class = json!({"apiVersion": "resource.k8s.io/v1beta1", "kind": "DeviceClass", "metadata": {"name": "c"},
        "spec": {}});
    let made = rim.send(&format!("POST {CLASSES}\n\n{class}")).await;
    assert_eq!((made.code, &made.json()["apiVersion"]), (201, &json!("resource.k8s.io/v1beta1")), "{made:?}");
    let told = "299 - \"resource.k8s.io/v1beta1 DeviceClass is deprecated in v1.35+, unavailable in v1.38+\"";
    assert_eq!(warnings(&made), [told]);
    let stable = rim.send("GET /apis/resource.k8s.io/v1/deviceclasses/c").await;
    assert_eq!((stable.code, warnings(&stable)), (200, vec![]));
}

#[tokio::test]
async fn stable_versions_can_be_left_out() {
    let rim = start("batch/v1=false,apps/v1/daemonsets=false").await;
    assert_eq!(rim.send("GET /apis/batch").await.code, 404);
    assert_eq!(rim.send("GET /apis/batch/v1/namespaces/default/jobs").await.code, 404);
    assert_eq!(rim.send("GET /apis/apps/v1/namespaces/default/daemonsets").await.code, 404);
    assert_eq!(rim.send("GET /apis/apps/v1/namespaces/default/deployments").await.code, 200);
    let resources = rim.send("GET /apis/apps/v1").await.json();
    assert!(!resources.to_string().contains("daemonsets") && resources.to_string().contains("deployments/status"));
}

/// What a server shows to a client that asks for a name, or connects to an address.
async fn shown(rim: &Rim, name: &str) -> Vec<u8> {
    let stream = std::net::TcpStream::connect(("127.0.0.1", rim.port)).unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    let connector = TlsConnector::from(rim.tls(false, b"http/1.1"));
    let stream = connector.connect(name.to_owned().try_into().unwrap(), stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn handshakes_use_the_newest_certificate_that_is_for_the_name() {
    let rim = rim::start().await;
    let now = rim.clock.now();
    let first = shown(&rim, "localhost").await;
    assert_eq!(shown(&rim, "127.0.0.1").await, first);
    let mut kept = rim.http1(true).await;

    let sign = |names: &[&str]| rim.authority.server("given", names, now).unwrap();
    rim.certificates.give(&sign(&["localhost", "api.example.com"])).unwrap();
    let given = shown(&rim, "localhost").await;
    assert_ne!(given, first);
    assert_eq!(shown(&rim, "api.example.com").await, given);
    assert_eq!(shown(&rim, "127.0.0.1").await, first, "the given certificate is for no address");

    rim.certificates.give(&sign(&["localhost", "127.0.0.1"])).unwrap();
    let newer = shown(&rim, "localhost").await;
    assert!(newer != given && newer != first);
    assert_eq!(shown(&rim, "127.0.0.1").await, newer);

    // A certificate with the key of another is not shown.
    let (one, other) = (sign(&["localhost"]), sign(&["localhost"]));
    let wrong = KeyAndCertificate { certificate: one.certificate, key: other.key };
    assert!(rim.certificates.give(&wrong).is_err());
    assert_eq!(shown(&rim, "localhost").await, newer);

    let again = rim.authority.server("kube-apiserver", &["kubernetes"], now).unwrap();
    rim.certificates.renew(&again).unwrap();
    assert_ne!(shown(&rim, "kubernetes").await, newer);
    // What is connected stays connected.
    assert_eq!(rim::read(kept.send_request(rim::parse("GET /livez")).await.unwrap()).await.code, 200);
}

async fn uid(rim: &Rim, resource: &str, name: &str) -> String {
    let found = rim.send(&format!("GET /apis/flowcontrol.apiserver.k8s.io/v1/{resource}/{name}")).await.json();
    found["metadata"]["uid"].as_str().unwrap_or_else(|| panic!("no {name}: {found}")).to_owned()
}

fn flow(answer: &Answer) -> (&str, &str) {
    (answer.header("x-kubernetes-pf-flowschema-uid"), answer.header("x-kubernetes-pf-prioritylevel-uid"))
}

#[tokio::test]
async fn answers_name_the_flow_that_a_request_belongs_to() {
    let rim = rim::start().await;
    let exempt = [uid(&rim, "flowschemas", "exempt").await, uid(&rim, "prioritylevelconfigurations", "exempt").await];
    let answer = rim.send("GET /api/v1/namespaces").await;
    assert_eq!(flow(&answer), (&*exempt[0], &*exempt[1]));
    assert_eq!(flow(&rim.send("GET /api/v1/namespaces/absent").await), (&*exempt[0], &*exempt[1]));
    let global = [
        uid(&rim, "flowschemas", "global-default").await,
        uid(&rim, "prioritylevelconfigurations", "global-default").await,
    ];
    let alice = "Authorization: Bearer user-token";
    let refused = rim.send_anonymous(&format!("GET /api/v1/namespaces\n{alice}")).await;
    assert_eq!((refused.code, flow(&refused)), (403, (&*global[0], &*global[1])));
    let unknown = rim.send_anonymous("GET /api/v1/namespaces\nAuthorization: Bearer wrong").await;
    assert_eq!((unknown.code, flow(&unknown)), (401, ("", "")));

    // A schema of one's own counts from the next request on.
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": "alice"}, "spec": {"matchingPrecedence": 50,
            "priorityLevelConfiguration": {"name": "workload-low"}, "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "alice"}}],
                "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["namespaces"],
                    "clusterScope": true}]}]}});
    let made = rim.send(&format!("POST /apis/flowcontrol.apiserver.k8s.io/v1/flowschemas\n\n{schema}")).await;
    assert_eq!(made.code, 201, "{made:?}");
    let own = made.json()["metadata"]["uid"].as_str().unwrap().to_owned();
    let listed = rim.send_anonymous(&format!("GET /api/v1/namespaces\n{alice}")).await;
    let low = uid(&rim, "prioritylevelconfigurations", "workload-low").await;
    assert_eq!(flow(&listed), (&*own, &*low));
    let read = rim.send_anonymous(&format!("GET /api/v1/namespaces/default\n{alice}")).await;
    assert_eq!(flow(&read).0, global[0]);
}

#[tokio::test]
async fn metrics_tell_what_was_read_watched_stored_and_deprecated() {
    let rim = start("api/beta=true").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "1"}});
    rim.send(&format!("POST {maps}\n\n{}", map("one"))).await;
    rim.send(&format!("POST {maps}\n\n{}", map("two"))).await;
    let watched = rim.send(&format!("GET {maps}?watch=true&timeoutSeconds=1")).await;
    assert_eq!(watched.body.iter().filter(|byte| **byte == b'\n').count(), 2);
    rim.send(&format!("GET {maps}")).await;
    rim.send(&format!("GET {CLASSES}")).await;

    let text = String::from_utf8(rim.send("GET /metrics").await.body.to_vec()).unwrap();
    let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    has("apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} 2");
    has("apiserver_watch_events_sizes_count{group=\"\",resource=\"configmaps\",version=\"v1\"} 2");
    has("apiserver_storage_objects{resource=\"configmaps\"} 2");
    has("apiserver_storage_objects{resource=\"deployments.apps\"} 0");
    has("apiserver_response_sizes_count{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"configmaps\",\
         subresource=\"\",scope=\"namespace\",component=\"apiserver\"} 1");
    has("apiserver_requested_deprecated_apis{group=\"resource.k8s.io\",removed_release=\"1.38\",\
         resource=\"deviceclasses\",subresource=\"\",version=\"v1beta1\"} 1");
    has("kubernetes_build_info{git_version=\"v1.36.0+windlass\"} 1");
}

async fn metrics(rim: &Rim) -> String {
    String::from_utf8(rim.send("GET /metrics").await.body.to_vec()).unwrap()
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|own| own == line), "{line}\n{text}");
}

#[tokio::test]
async fn metrics_tell_of_flows() {
    let rim = rim::start().await;
    let namespaces = "/api/v1/namespaces";
    assert_eq!(rim.send_anonymous(&format!("GET {namespaces}\nAuthorization: Bearer user-token")).await.code, 403);
    assert_eq!(rim.send(&format!("GET {namespaces}?watch=true&timeoutSeconds=1")).await.code, 200);
    let text = metrics(&rim).await;
    let global = "flow_schema=\"global-default\",priority_level=\"global-default\"";
    let exempt = "flow_schema=\"exempt\",priority_level=\"exempt\"";
    has(&text, &format!("apiserver_flowcontrol_dispatched_requests_total{{{global}}} 1"));
    has(&text, &format!("apiserver_flowcontrol_dispatched_requests_total{{{exempt}}} 2"));
    has(&text, &format!("apiserver_flowcontrol_current_executing_requests{{{global}}} 0"));
    // Whoever reads this.
    has(&text, &format!("apiserver_flowcontrol_current_executing_requests{{{exempt}}} 1"));
    has(&text, &format!("apiserver_flowcontrol_current_inqueue_requests{{{global}}} 0"));
    let executed = "apiserver_flowcontrol_request_execution_seconds_count";
    has(&text, &format!("{executed}{{{global},type=\"regular\"}} 1"));
    has(&text, &format!("{executed}{{{exempt},type=\"watch\"}} 1"));
}

#[tokio::test]
async fn metrics_tell_of_admission() {
    let rim = rim::start().await;
    let maps = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    let create = async |namespace: &str, name: &str| {
        let map = json!({"metadata": {"name": name}, "data": {"a": "1"}});
        rim.send(&format!("POST {}\n\n{map}", maps(namespace))).await.code
    };
    assert_eq!(create("default", "one").await, 201);
    assert_eq!(create("absent", "one").await, 404);
    assert_eq!(rim.send(&format!("DELETE {}/one", maps("default"))).await.code, 200);
    let text = metrics(&rim).await;
    let lifecycle = "apiserver_admission_controller_admission_duration_seconds_count{name=\"NamespaceLifecycle\"";
    has(&text, &format!("{lifecycle},operation=\"CREATE\",rejected=\"false\",type=\"admit\"}} 1"));
    has(&text, &format!("{lifecycle},operation=\"CREATE\",rejected=\"true\",type=\"admit\"}} 1"));
    let quota = "apiserver_admission_controller_admission_duration_seconds_count{name=\"ResourceQuota\"";
    has(&text, &format!("{quota},operation=\"CREATE\",rejected=\"false\",type=\"validate\"}} 1"));
    let step = "apiserver_admission_step_admission_duration_seconds_count";
    has(&text, &format!("{step}{{operation=\"CREATE\",rejected=\"true\",type=\"admit\"}} 1"));
    has(&text, &format!("{step}{{operation=\"DELETE\",rejected=\"false\",type=\"validate\"}} 1"));
}

#[tokio::test]
async fn metrics_tell_what_policies_came_to() {
    let rim = rim::start().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let made = async |plural: &str, kind: &str, name: &str, spec: serde_json::Value| {
        let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
            "spec": spec});
        assert_eq!(rim.send(&format!("POST {group}/{plural}\n\n{body}")).await.code, 201);
    };
    for (name, expression, failure) in
        [("denies", "object.data.a == '1'", "Fail"), ("fails", "object.data.b == '1'", "Ignore")]
    {
        let spec = json!({"failurePolicy": failure, "validations": [{"expression": expression}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["configmaps"]}]}});
        made("validatingadmissionpolicies", "ValidatingAdmissionPolicy", name, spec).await;
        let spec = json!({"policyName": name, "validationActions": ["Deny"]});
        made("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", name, spec).await;
    }
    for (name, expression) in [("adds", "Object{data: {'c': '3'}}"), ("errs", "Object{data: {'c': object.data.none}}")]
    {
        let spec = json!({"failurePolicy": "Ignore", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["configmaps"]}]}});
        made("mutatingadmissionpolicies", "MutatingAdmissionPolicy", name, spec).await;
        let spec = json!({"policyName": name});
        made("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", name, spec).await;
    }
    for (value, code) in [("1", 201), ("2", 422)] {
        let map = json!({"metadata": {"name": format!("m{value}")}, "data": {"a": value}});
        assert_eq!(rim.send(&format!("POST /api/v1/namespaces/default/configmaps\n\n{map}")).await.code, code);
    }
    let text = metrics(&rim).await;
    let denied = "{enforcement_action=\"deny\",error_type=\"no_error\",policy=\"denies\",policy_binding=\"denies\"} 1";
    let ignored =
        "{enforcement_action=\"allow\",error_type=\"invalid_error\",policy=\"fails\",policy_binding=\"fails\"} 2";
    for labels in [denied, ignored] {
        has(&text, &format!("apiserver_validating_admission_policy_check_total{labels}"));
        has(&text, &format!("apiserver_validating_admission_policy_check_duration_seconds_count{labels}"));
    }
    for (name, error) in [("adds", "no_error"), ("errs", "invalid_error")] {
        let labels = format!("{{error_type=\"{error}\",policy=\"{name}\",policy_binding=\"{name}\"}} 2");
        has(&text, &format!("apiserver_mutating_admission_policy_check_total{labels}"));
        has(&text, &format!("apiserver_mutating_admission_policy_check_duration_seconds_count{labels}"));
    }
    let plugin = "{name=\"ValidatingAdmissionPolicy\",operation=\"CREATE\",rejected=\"true\",type=\"validate\"} 1";
    has(&text, &format!("apiserver_admission_controller_admission_duration_seconds_count{plugin}"));
}

#[tokio::test]
async fn metrics_tell_what_was_asked_of_the_store() {
    let rim = rim::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "one"}, "data": {"a": "1"}});
    assert_eq!(rim.send(&format!("POST {maps}\n\n{map}")).await.code, 201);
    let changed = json!({"metadata": {"name": "one"}, "data": {"a": "2"}});
    assert_eq!(rim.send(&format!("PUT {maps}/one\n\n{changed}")).await.code, 200);
    assert_eq!(rim.send(&format!("GET {maps}")).await.code, 200);
    let future = rim.send(&format!("GET {maps}?resourceVersion=99999999&resourceVersionMatch=Exact")).await;
    assert_ne!(future.code, 200, "{future:?}");
    let before = metrics(&rim).await;
    assert_eq!(rim.send(&format!("DELETE {maps}/one")).await.code, 200);
    let text = metrics(&rim).await;
    let of = |operation: &str| format!("{{group=\"\",operation=\"{operation}\",resource=\"configmaps\"}}");
    for operation in ["create", "update", "delete"] {
        has(&text, &format!("etcd_requests_total{} 1", of(operation)));
        has(&text, &format!("etcd_request_duration_seconds_count{} 1", of(operation)));
    }
    has(&text, &format!("etcd_request_errors_total{} 1", of("list")));
    has(&before, "apiserver_resource_objects{group=\"\",resource=\"configmaps\"} 1");
    has(&text, "apiserver_resource_objects{group=\"\",resource=\"configmaps\"} 0");
    has(&text, "apiserver_resource_objects{group=\"apps\",resource=\"deployments\"} 0");
}
