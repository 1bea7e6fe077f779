//! Namespaces, scales, versions, reviews and refusals.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_kernel::{
    ErrorKind, Identity,
    api::{PatchType, Verb},
};

use crate::rig::{Rig, names, value};

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[test]
fn the_first_objects_are_there() {
    let rig = Rig::new();
    let namespaces = rig.list("namespaces", |_| ()).unwrap();
    assert_eq!(names(&namespaces), ["default", "kube-node-lease", "kube-public", "kube-system"]);
    let classes = rig.list("scheduling.k8s.io/v1/priorityclasses", |_| ()).unwrap();
    assert_eq!(names(&classes), ["system-cluster-critical", "system-node-critical"]);
    rig.get("rbac.authorization.k8s.io/v1/clusterroles", "cluster-admin").unwrap();
}

#[test]
fn a_namespace_ends_when_its_finalizer_is_taken_away() {
    let rig = Rig::new();
    rig.create("namespaces", json!({"metadata": {"name": "n"}})).unwrap();
    let mut going = rig.delete("namespaces", "n").unwrap();
    assert_eq!(going["status"]["phase"], "Terminating");
    let late = rig.request(Verb::Create, "configmaps").in_namespace("n").body(json!({"metadata": {"name": "c"}}));
    let error = rig.call(late).unwrap_err();
    assert_eq!(
        error.message(),
        "configmaps \"c\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(error.details().unwrap().causes[0].reason, "NamespaceTerminating");
    assert!(rig.delete("namespaces", "n").unwrap_err().is(ErrorKind::Conflict));
    going["spec"]["finalizers"] = json!([]);
    rig.call(rig.request(Verb::Update, "namespaces:finalize").named("n").body(going)).unwrap();
    assert!(rig.get("namespaces", "n").unwrap_err().is(ErrorKind::NotFound));
    let kept = rig.delete("namespaces", "kube-system").unwrap_err();
    assert_eq!(kept.message(), "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
}

#[test]
fn pods_are_not_explained_without_a_scheduler() {
    let rig = Rig::new();
    let error = rig.get("pods:schedulingexplanation", "p").unwrap_err();
    assert!(error.is(ErrorKind::NotSupported), "{error}");
    assert_eq!(error.message(), "explaining pods without a scheduler is not supported by this server");
}

#[test]
fn a_scale_is_read_and_written() {
    let rig = Rig::new();
    rig.create("apps/v1/deployments", deployment("d")).unwrap();
    let scale = rig.get("apps/v1/deployments:scale", "d").unwrap();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("app=x")));
    let patch = rig.request(Verb::Patch(PatchType::Merge), "apps/v1/deployments:scale").named("d");
    let scaled = value(rig.call(patch.body(json!({"spec": {"replicas": 5}}))).unwrap());
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let deployment = rig.get("apps/v1/deployments", "d").unwrap();
    assert_eq!((&deployment["spec"]["replicas"], &deployment["metadata"]["generation"]), (&json!(5), &json!(2)));
}

#[test]
fn one_object_is_seen_in_every_version() {
    let rig = Rig::new();
    let v1 = "autoscaling/v1/horizontalpodautoscalers";
    let v2 = "autoscaling/v2/horizontalpodautoscalers";
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let object = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70}});
    let made = rig.create(v1, object).unwrap();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(70))
    );
    let newer = rig.get(v2, "h").unwrap();
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    assert_eq!(newer["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);

    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "n", "reason": "R", "type": "Normal", "action": "A", "eventTime": "1970-01-01T00:00:00.000000Z",
        "reportingController": "c.io/x", "reportingInstance": "i"});
    rig.create("events.k8s.io/v1/events", event).unwrap();
    let core = rig.list("events", |request| request.options.field_selector = "involvedObject.name=p".into()).unwrap();
    assert_eq!(core.items[0].value().unwrap()["message"], "n");
    let newer =
        rig.list("events.k8s.io/v1/events", |request| request.options.field_selector = "regarding.name=p".into());
    assert_eq!(newer.unwrap().items[0].value().unwrap()["note"], "n");
}

#[test]
fn reviews_answer_and_store_nothing() {
    let rig = Rig::new();
    let ask = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = rig.create("authorization.k8s.io/v1/selfsubjectaccessreviews", ask).unwrap();
    assert_eq!(answer["status"]["allowed"], true);
    let other = json!({"spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = rig.create("authorization.k8s.io/v1/subjectaccessreviews", other).unwrap();
    assert_eq!(answer["status"], json!({"allowed": false}));
    let me = rig.create("authentication.k8s.io/v1/selfsubjectreviews", json!({})).unwrap();
    assert_eq!(me["status"]["userInfo"]["username"], "tester");
}

#[test]
fn an_identity_without_rights_is_told_what_it_may_not_do() {
    let rig = Rig::new();
    let mut request = rig.request(Verb::List, "pods");
    request.identity = Arc::new(Identity::new("nobody", &[]));
    assert_eq!(
        rig.call(request).unwrap_err().message(),
        "pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
}

#[test]
fn every_listable_resource_is_listed() {
    let rig = Rig::new();
    // What is used is read from agents, which there are none of here.
    let stored = windlass_api::resources::all().iter().filter(|info| info.group != "metrics.k8s.io");
    for info in stored.filter(|info| info.serves("list")) {
        let group = if info.group.is_empty() {
            info.plural.to_owned()
        } else {
            format!("{}/{}/{}", info.group, info.version, info.plural)
        };
        let list = rig.list(&group, |_| ()).unwrap();
        assert_eq!(list.kind, format!("{}List", info.kind));
    }
}

#[test]
fn a_server_says_where_it_is_and_corrects_it_at_the_next_start() {
    let clock = crate::rig::HandClock::default();
    let first = crate::rig::wait(crate::rig::builder(&clock).advertise([10, 0, 0, 1].into()).start()).unwrap();
    let again = crate::rig::builder(&clock).store(Arc::clone(first.store())).port(7443).advertise([10, 0, 0, 2].into());
    let rig = Rig::over(&clock, crate::rig::wait(again.start()).unwrap());
    // The first one is believed for a while.
    clock.advance(std::time::Duration::from_secs(16));
    let end = rig.run("advertised", |server| async move { server.keep_advertised().await });
    rig.until("discovery.k8s.io/v1/endpointslices", "kubernetes", |slice| {
        let slice = slice.unwrap();
        (&slice["endpoints"][0]["addresses"], &slice["ports"][0]["port"]) == (&json!(["10.0.0.2"]), &json!(7443))
    });
    rig.until("endpoints", "kubernetes", |found| {
        found.unwrap()["subsets"][0]["addresses"] == json!([{"ip": "10.0.0.2"}])
    });
    end.abort();
}

#[test]
fn a_certificate_request_is_approved_apart_from_its_status() {
    let rig = Rig::new();
    let requests = "certificates.k8s.io/v1/certificatesigningrequests";
    // Only the form is checked here: a PEM block of the right type.
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUEwPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let object = json!({"metadata": {"name": "r"}, "spec": {"request": pem, "signerName": "example.com/s",
        "usages": ["client auth"], "username": "somebody-else"}});
    let made = rig.create(requests, object).unwrap();
    assert_eq!(made["spec"]["username"], "tester");
    let mut approved = made.clone();
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "R", "message": "m"}]);
    let request = rig.request(Verb::Update, &format!("{requests}:approval")).named("r").body(approved);
    let approved = value(rig.call(request).unwrap());
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
}

#[test]
fn conditions_of_a_certificate_request_are_dated() {
    let rig = Rig::new();
    let requests = "certificates.k8s.io/v1/certificatesigningrequests";
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUEwPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let object = json!({"metadata": {"name": "r"}, "spec": {"request": pem, "signerName": "example.com/s",
        "usages": ["client auth"]}});
    let write = |part: &str, mut object: Value, conditions: Value| {
        object["status"]["conditions"] = conditions;
        let request = rig.request(Verb::Update, &format!("{requests}:{part}")).named("r").body(object);
        rig.call(request).map(value)
    };
    let made = rig.create(requests, object).unwrap();
    let created = made["metadata"]["creationTimestamp"].clone();
    let approval = json!({"type": "Approved", "status": "True", "reason": "R"});
    let approved = write("approval", made, json!([approval])).unwrap();
    let dated = json!({"type": "Approved", "status": "True", "reason": "R", "lastUpdateTime": created,
        "lastTransitionTime": created});
    assert_eq!(approved["status"]["conditions"], json!([dated]));

    // What is said again is not newer for that, and times that are given stay.
    rig.clock.advance(std::time::Duration::from_secs(60));
    let given = "2026-01-02T03:04:05Z";
    let other = json!({"type": "Odd", "status": "Unknown", "lastTransitionTime": given});
    let again = write("approval", approved, json!([approval, other])).unwrap();
    let [first, second] = [0, 1].map(|at| again["status"]["conditions"][at].clone());
    assert_eq!(first["lastTransitionTime"], created);
    assert_ne!(first["lastUpdateTime"], created);
    assert_eq!(second["lastTransitionTime"], given);
    assert_eq!(second["lastUpdateTime"], first["lastUpdateTime"]);

    // A write to the status dates what it adds, and leaves the decision as it is written down.
    let failed = json!({"type": "Failed", "status": "True", "reason": "F"});
    let ended = write("status", again.clone(), json!([approval, second, failed])).unwrap();
    assert_eq!(ended["status"]["conditions"][0], first);
    assert_eq!(ended["status"]["conditions"][2]["lastTransitionTime"], first["lastUpdateTime"]);
    let undecided = write("status", ended, json!([second, failed])).unwrap_err();
    assert!(undecided.message().contains("updates may not remove a condition of type \"Approved\""), "{undecided}");
}

#[test]
fn a_scale_is_applied_and_its_replicas_belong_to_who_applied() {
    let rig = Rig::new();
    let labels = json!({"a": "b"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "c"}]}}}});
    let apply = |resource: &str, manager: &str, object: &Value, force: bool| {
        let mut request = rig.request(Verb::Patch(PatchType::Apply), resource).named("d").body(object.clone());
        request.options.field_manager = manager.into();
        request.options.force = force;
        rig.call(request).map(value)
    };
    let scale =
        |replicas: u64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas}});
    let missing = apply("apps/v1/deployments:scale", "scaler", &scale(3), false).unwrap_err();
    assert!(missing.is(ErrorKind::NotFound), "{missing}");
    apply("apps/v1/deployments", "owner", &deployment, false).unwrap();
    let conflict = apply("apps/v1/deployments:scale", "scaler", &scale(3), false).unwrap_err();
    assert!(
        conflict.message().contains("conflict with \"owner\"") && conflict.message().contains(".spec.replicas"),
        "{conflict}"
    );
    let applied = apply("apps/v1/deployments:scale", "scaler", &scale(3), true).unwrap();
    assert_eq!((&applied["kind"], &applied["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let own = rig.get("apps/v1/deployments", "d").unwrap();
    let entries = own["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!(
        (&entry["operation"], &entry["subresource"], &entry["apiVersion"], &entry["fieldsV1"]),
        (&json!("Apply"), &json!("scale"), &json!("apps/v1"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    // Whoever applied the rest would take the replicas back.
    let conflict = apply("apps/v1/deployments", "owner", &deployment, false).unwrap_err();
    assert!(conflict.message().contains("conflict with \"scaler\" with subresource \"scale\""), "{conflict}");
    let negative = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": -1}});
    let refused = apply("apps/v1/deployments:scale", "scaler", &negative, true).unwrap_err();
    assert!(refused.message().contains("must be greater than or equal to 0"), "{refused}");
    let other = apply("apps/v1/deployments:scale", "scaler", &deployment, true).unwrap_err();
    assert!(other.message().contains("is no Scale of autoscaling/v1"), "{other}");
}
