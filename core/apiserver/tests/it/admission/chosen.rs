//! Plugins that are turned on and off by name, and what configurations and files tell them.

use serde_json::{Value, json};
use windlass_api::features::Gates;
use windlass_apiserver::{AdmissionConfiguration, Builder, Manifest, Plugins};
use windlass_kernel::{Error, ErrorKind, Result, api::Verb};

use crate::rig::{self, HandClock, Rig, value};

fn choose(enable: &str, disable: &str) -> Plugins {
    Plugins::choose(&[enable.to_owned()], &[disable.to_owned()]).unwrap()
}

fn started(change: impl FnOnce(Builder) -> Builder) -> Result<Rig> {
    let clock = HandClock::default();
    let server = rig::wait(change(rig::builder(&clock)).start())?;
    Ok(Rig::over(&clock, server))
}

fn with(enable: &str, disable: &str) -> Rig {
    started(|builder| builder.admission_plugins(choose(enable, disable))).unwrap()
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    spec.as_object().into_iter().flatten().for_each(|(field, value)| pod["spec"][field] = value.clone());
    pod
}

#[track_caller]
fn forbidden(result: Result<Value, Error>, why: &str) {
    let error = result.unwrap_err();
    assert!(error.is(ErrorKind::Forbidden) && error.message().contains(why), "{error}");
}

#[test]
fn a_plugin_that_is_turned_off_does_nothing() {
    let rig = with("", "ServiceAccount,DefaultTolerationSeconds,ResourceQuota");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}});
    rig.create("resourcequotas", quota).unwrap();
    let made = rig.create("pods", pod("p", &json!({}))).unwrap();
    assert_eq!((&made["spec"]["serviceAccountName"], &made["spec"]["tolerations"]), (&Value::Null, &Value::Null));
    assert!(made["spec"]["priority"].is_number(), "the others run: {made}");
}

#[test]
fn images_are_pulled_and_devices_tolerated_where_that_is_asked_for() {
    let rig = with("AlwaysPullImages,ExtendedResourceToleration", "ServiceAccount");
    let made = rig
        .create(
            "pods",
            pod(
                "p",
                &json!({"containers": [{"name": "c", "image": "i:1", "imagePullPolicy": "Never",
        "resources": {"limits": {"example.com/gpu": "1"}, "requests": {"example.com/gpu": "1"}}}]}),
            ),
        )
        .unwrap();
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let wanted = json!({"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"});
    assert!(made["spec"]["tolerations"].as_array().unwrap().contains(&wanted), "{made}");
}

#[test]
fn pods_keep_apart_by_nodes_only() {
    let rig = with("LimitPodHardAntiAffinityTopology", "ServiceAccount");
    let apart = |key: &str| {
        let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}});
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    rig.create("pods", pod("near", &apart("kubernetes.io/hostname"))).unwrap();
    forbidden(
        rig.create("pods", pod("far", &apart("zone"))),
        "has TopologyKey zone but only key kubernetes.io/hostname is allowed",
    );
}

#[test]
fn services_get_no_addresses_of_others() {
    let service = |addresses: Value| json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": addresses}});
    let rig = with("DenyServiceExternalIPs", "");
    forbidden(
        rig.create("services", service(json!(["192.0.2.1"]))),
        "Use of external IPs is denied by admission control",
    );
    rig.create("services", service(json!([]))).unwrap();
    forbidden(rig.update("services", service(json!(["192.0.2.1"]))), "Use of external IPs");
}

#[test]
fn namespaces_select_the_nodes_of_their_pods() {
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "PodNodeSelector", "configuration": {"podNodeSelectorPluginConfig":
            {"clusterDefaultNodeSelector": "disk=any", "default": "disk=ssd,zone=a"}}}]});
    let configuration = AdmissionConfiguration::read(&file).unwrap();
    let plugins = choose("PodNodeSelector", "ServiceAccount");
    let rig = started(|builder| builder.admission_plugins(plugins).admission_configuration(configuration)).unwrap();
    let mut namespace = rig.get("namespaces", "default").unwrap();
    namespace["metadata"]["annotations"] = json!({"scheduler.alpha.kubernetes.io/node-selector": "disk=ssd"});
    rig.update("namespaces", namespace).unwrap();
    let made = rig.create("pods", pod("p", &json!({"nodeSelector": {"zone": "a"}}))).unwrap();
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "ssd", "zone": "a"}));
    forbidden(
        rig.create("pods", pod("q", &json!({"nodeSelector": {"disk": "hdd"}}))),
        "pod node label selector conflicts with its namespace node label selector",
    );
    forbidden(
        rig.create("pods", pod("q", &json!({"nodeSelector": {"zone": "b"}}))),
        "pod node label selector labels conflict with its namespace whitelist",
    );
}

#[test]
fn pods_tolerate_what_their_namespace_says_and_no_more_than_it_allows() {
    let any = json!({"key": "any", "operator": "Exists", "effect": "NoSchedule"});
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "PodTolerationRestriction", "configuration": {
            "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration",
            "default": [any], "whitelist": []}}]});
    let configuration = AdmissionConfiguration::read(&file).unwrap();
    let plugins = choose("PodTolerationRestriction", "ServiceAccount,DefaultTolerationSeconds");
    let rig = started(|builder| builder.admission_plugins(plugins).admission_configuration(configuration)).unwrap();
    let made = rig.create("pods", pod("p", &json!({}))).unwrap();
    assert_eq!(made["spec"]["tolerations"], json!([any]));
    let own = json!({"key": "own", "operator": "Exists", "effect": "NoSchedule"});
    let mut namespace = rig.get("namespaces", "default").unwrap();
    namespace["metadata"]["annotations"] = json!({
        "scheduler.alpha.kubernetes.io/defaultTolerations": json!([own]).to_string(),
        "scheduler.alpha.kubernetes.io/tolerationsWhitelist": json!([own]).to_string()});
    rig.update("namespaces", namespace).unwrap();
    let made = rig.create("pods", pod("q", &json!({"tolerations": [own]}))).unwrap();
    assert_eq!(made["spec"]["tolerations"], json!([own]));
    forbidden(
        rig.create("pods", pod("r", &json!({"tolerations": [any]}))),
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
    );
}

#[test]
fn events_are_taken_no_faster_than_a_file_says() {
    let limits = json!([{"type": "Namespace", "qps": 1, "burst": 2}, {"type": "Server", "qps": 100, "burst": 100}]);
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "EventRateLimit", "configuration": {
            "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration", "limits": limits}}]});
    let configuration = AdmissionConfiguration::read(&file).unwrap();
    let plugins = choose("EventRateLimit", "");
    let rig = started(|builder| builder.admission_plugins(plugins).admission_configuration(configuration)).unwrap();
    let event = |name: &str| json!({"metadata": {"name": name}, "involvedObject": {"namespace": "default"}});
    rig.create("events", event("a")).unwrap();
    rig.create("events", event("b")).unwrap();
    let refused = rig.create("events", event("c")).unwrap_err();
    let status = refused.to_status();
    assert_eq!((&status["code"], &status["reason"]), (&json!(429), &json!("TooManyRequests")));
    assert_eq!(status["message"], "Too many requests: limit reached on type Namespace for key default");
    rig.clock.advance(std::time::Duration::from_secs(1));
    rig.create("events", event("c")).unwrap();
}

#[test]
fn namespaces_are_made_where_that_is_asked_for() {
    let rig = with("NamespaceAutoProvision", "");
    let map = |rig: &Rig| {
        rig.request(Verb::Create, "configmaps").in_namespace("new").body(json!({"metadata": {"name": "a"}}))
    };
    let mut dry = map(&rig);
    dry.options.dry_run = true;
    assert!(rig.call(dry).unwrap_err().is(ErrorKind::NotFound));
    rig.call(map(&rig)).unwrap();
    assert_eq!(rig.get("namespaces", "new").unwrap()["status"]["phase"], "Active");
}

#[test]
fn owners_are_named_by_those_who_may_delete() {
    let rig = with("OwnerReferencesPermissionEnforcement", "");
    let owner = rig.create("configmaps", json!({"metadata": {"name": "owner"}})).unwrap();
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
    rig.create("configmaps", json!({"metadata": {"name": "a", "ownerReferences": [reference]}})).unwrap();
    let mut unknown = reference.clone();
    unknown["kind"] = "Nothing".into();
    forbidden(
        rig.create("configmaps", json!({"metadata": {"name": "b", "ownerReferences": [unknown]}})),
        "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion v1 Kind Nothing",
    );
}

#[test]
fn nothing_is_written_where_there_is_no_namespace() {
    let rig = with("NamespaceExists", "NamespaceLifecycle");
    let map = json!({"metadata": {"name": "a"}});
    let request = rig.request(Verb::Create, "configmaps").in_namespace("none").body(map.clone());
    let missing = rig.call(request).unwrap_err();
    assert!(missing.is(ErrorKind::NotFound) && missing.message() == "namespaces \"none\" not found", "{missing}");
    rig.create("configmaps", map).unwrap();
}

#[test]
fn everything_is_denied_where_that_is_asked_for() {
    let rig = with("AlwaysDeny", "");
    forbidden(
        rig.create("configmaps", json!({"metadata": {"name": "a"}})),
        "admission control is denying all modifications",
    );
    rig.get("namespaces", "default").unwrap();
}

#[test]
fn a_pod_gets_the_labels_that_say_where_its_node_is() {
    let bound = |change: fn(Builder) -> Builder| {
        let rig = started(|builder| change(builder.admission_plugins(choose("", "ServiceAccount")))).unwrap();
        let labels = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"});
        rig.create("nodes", json!({"metadata": {"name": "n", "labels": labels}})).unwrap();
        rig.create("pods", pod("p", &json!({}))).unwrap();
        let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
        rig.call(rig.request(Verb::Create, "pods:binding").named("p").body(binding)).unwrap();
        rig.get("pods", "p").unwrap()["metadata"]["labels"].clone()
    };
    let places = json!({"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"});
    assert_eq!(bound(|builder| builder), places);
    let off = bound(|builder| builder.feature_gates("PodTopologyLabelsAdmission=false".parse().unwrap()));
    assert_eq!(off, Value::Null);
}

#[test]
fn a_watch_does_not_begin_with_what_there_is_where_that_gate_is_off() {
    let gates: Gates = "WatchList=false".parse().unwrap();
    let rig = started(|builder| builder.feature_gates(gates)).unwrap();
    let mut request = rig.request(Verb::Watch, "configmaps");
    request.options.send_initial_events = Some(true);
    request.options.version_match = Some(windlass_kernel::api::VersionMatch::NotOlderThan);
    let refused = rig::wait(windlass_kernel::Api::watch(&*rig.server, request)).err().unwrap();
    assert!(refused.message().contains("unless the WatchList feature gate is enabled"), "{refused}");
}

#[cfg(feature = "cel")]
mod fixed {
    use super::*;

    const POLICIES: &str = "admissionregistration.k8s.io/v1/validatingadmissionpolicies";

    fn policy(name: &str, group: &str, resource: &str, expression: &str) -> Value {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [resource]}]},
                "validations": [{"expression": expression, "message": "it is kept"}]}})
    }

    fn binding(name: &str, policy: &str) -> Value {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": policy, "validationActions": ["Deny"]}})
    }

    fn configuration(objects: &[Value]) -> AdmissionConfiguration {
        let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
            {"name": "ValidatingAdmissionPolicy", "configuration": {"apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyConfiguration", "staticManifestsDir": "/fixed"}}]});
        let read = |_: &str| {
            Ok(objects.iter().map(|value| Manifest { file: "/fixed/a.yaml".into(), value: value.clone() }).collect())
        };
        AdmissionConfiguration::read_with(&file, &read).unwrap()
    }

    fn rig(objects: &[Value]) -> Result<Rig> {
        let gates: Gates = "ManifestBasedAdmissionControlConfig=true".parse().unwrap();
        let configuration = configuration(objects);
        started(|builder| builder.feature_gates(gates).admission_configuration(configuration))
    }

    #[test]
    fn policies_of_files_hold_from_the_start_and_for_policies_too() {
        let rig = rig(&[
            json!({"apiVersion": "v1", "kind": "List", "items": [
                policy("maps.static.k8s.io", "", "configmaps", "object.metadata.name != 'odd'"),
                binding("maps.static.k8s.io", "maps.static.k8s.io")]}),
            policy(
                "kept.static.k8s.io",
                "admissionregistration.k8s.io",
                "validatingadmissionpolicies",
                "request.operation == 'CREATE' || !has(oldObject.metadata.labels)",
            ),
            binding("kept.static.k8s.io", "kept.static.k8s.io"),
        ])
        .unwrap();
        let refused = rig.create("configmaps", json!({"metadata": {"name": "odd"}})).unwrap_err();
        assert!(
            refused
                .message()
                .contains("'maps.static.k8s.io' with binding 'maps.static.k8s.io' denied request: it is kept"),
            "{refused}"
        );
        rig.create("configmaps", json!({"metadata": {"name": "even"}})).unwrap();
        // They are nowhere in the API.
        assert!(rig::names(&rig.list(POLICIES, |_| ()).unwrap()).is_empty());
        assert!(rig.get(POLICIES, "maps.static.k8s.io").is_err());
        let mut kept = policy("kept", "", "secrets", "true");
        kept["metadata"]["labels"] = json!({"kept": "yes"});
        rig.create(POLICIES, kept).unwrap();
        assert!(rig.delete(POLICIES, "kept").unwrap_err().message().contains("it is kept"));
        let taken = rig.create(POLICIES, policy("mine.static.k8s.io", "", "secrets", "true")).unwrap_err();
        assert!(taken.message().contains("suffix is reserved for static manifest-based configurations"), "{taken}");
    }

    #[test]
    fn files_that_change_while_a_server_runs_hold_from_the_next_request_on() {
        let of = |expression: &str| {
            [
                policy("maps.static.k8s.io", "", "configmaps", expression),
                binding("maps.static.k8s.io", "maps.static.k8s.io"),
            ]
        };
        let rig = rig(&of("object.metadata.name != 'odd'")).unwrap();
        let make = |name: &str| rig.create("configmaps", json!({"metadata": {"name": name}})).map(drop);
        assert!(make("odd").is_err());
        rig.create(POLICIES, policy("of-the-api", "", "secrets", "true")).unwrap();
        assert!(rig.server.renew_manifests(configuration(&of("object.metadata.name != 'even'"))).unwrap());
        assert!(!rig.server.renew_manifests(configuration(&of("object.metadata.name != 'even'"))).unwrap());
        assert!(make("even").is_err());
        make("odd").unwrap();
        // What may not be there changes nothing.
        let wrong = rig.server.renew_manifests(configuration(&[policy("a", "", "secrets", "true")])).unwrap_err();
        assert!(wrong.message().contains("must have a name ending with"), "{wrong}");
        assert!(make("even").is_err());
        assert!(rig.server.renew_manifests(configuration(&[])).unwrap());
        make("even").unwrap();
    }

    #[test]
    fn names_of_files_are_warned_of_before_they_are_reserved() {
        let rig = Rig::new();
        let request = rig.request(Verb::Create, POLICIES).body(policy("mine.static.k8s.io", "", "secrets", "true"));
        let made = rig.call(request).unwrap();
        assert_eq!(made.warnings.len(), 1, "{:?}", made.warnings);
        assert_eq!(value(made)["metadata"]["name"], "mine.static.k8s.io");
    }

    #[test]
    fn what_may_not_be_in_a_file_keeps_the_server_from_starting() {
        let check = |objects: &[Value], why: &str| {
            let refused = rig(objects).map(|_| ()).unwrap_err();
            assert!(refused.message().starts_with("/fixed/a.yaml: ") && refused.message().contains(why), "{refused}");
        };
        let own = policy("a.static.k8s.io", "", "secrets", "true");
        check(&[policy("a", "", "secrets", "true")], "\"a\" must have a name ending with \".static.k8s.io\"");
        check(&[own.clone(), own.clone()], "duplicate name \"a.static.k8s.io\"");
        check(&[binding("b.static.k8s.io", "a.static.k8s.io")], "is in no static manifest");
        check(&[json!({"apiVersion": "v1", "kind": "Pod"})], "ValidatingAdmissionPolicy takes no Pod of v1");
        check(&[policy("a.static.k8s.io", "", "secrets", "object.(")], "compilation failed");
        let mut unknown = own.clone();
        unknown["spec"]["nothing"] = true.into();
        check(&[unknown], "unknown field \"spec.nothing\"");
        let mut params = own.clone();
        params["spec"]["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        check(&[params], "parameters are not supported in static manifests");
        let configuration = configuration(&[own]);
        let gated = started(|builder| builder.admission_configuration(configuration)).map(|_| ()).unwrap_err();
        assert!(gated.message().contains("requires the ManifestBasedAdmissionControlConfig feature gate"), "{gated}");
    }
}
