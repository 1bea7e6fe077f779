//! Field selectors of each kind, and label selectors.

use serde_json::{Value, json};

use crate::api::{
    answer::{names, says},
    world::{World, template},
};

/// A resource, an object of it, and selectors of fields with whether they select it.
type Case = (&'static str, Value, &'static [(&'static str, bool)]);

fn cases(w: &World) -> Vec<Case> {
    let node = json!({"metadata": {"name": "x"}, "spec": {
        "nodeName": "nowhere", "restartPolicy": "Never", "schedulerName": "nobody", "serviceAccountName": "default",
        "containers": [{"name": "c", "image": "i"}],
    }});
    let about = json!({"kind": "ConfigMap", "namespace": w.namespace, "name": "about", "uid": "u", "apiVersion": "v1",
        "resourceVersion": "7", "fieldPath": "data"});
    vec![
        (
            "pods",
            node,
            &[
                ("metadata.name=x", true),
                ("metadata.name!=x", false),
                ("spec.nodeName=nowhere", true),
                ("spec.nodeName==nowhere,spec.restartPolicy=Never", true),
                ("spec.nodeName!=nowhere", false),
                ("spec.restartPolicy=Always", false),
                ("spec.schedulerName=nobody", true),
                ("spec.serviceAccountName=default", true),
                ("spec.hostNetwork=false", true),
                ("status.phase=Pending", true),
                ("status.phase!=Pending", false),
                ("status.podIP=", true),
                ("status.podIPs=10.0.0.1", false),
                ("status.nominatedNodeName=", true),
            ],
        ),
        (
            "events",
            json!({"metadata": {"name": "x"}, "involvedObject": about, "reason": "Because", "type": "Normal",
            "source": {"component": "me"}, "reportingComponent": "them", "message": "m"}),
            &[
                ("involvedObject.kind=ConfigMap", true),
                ("involvedObject.name=about", true),
                ("involvedObject.name=other", false),
                ("involvedObject.uid=u", true),
                ("involvedObject.apiVersion=v1", true),
                ("involvedObject.resourceVersion=7", true),
                ("involvedObject.fieldPath=data", true),
                ("reason=Because", true),
                ("reason!=Because", false),
                ("reportingComponent=them", true),
                ("source=me", true),
                ("type=Warning", false),
            ],
        ),
        (
            "secrets",
            json!({"metadata": {"name": "x"}, "type": "example.com/kind"}),
            &[("type=example.com/kind", true), ("type=Opaque", false)],
        ),
        (
            "replicationcontrollers",
            json!({"metadata": {"name": "x"}, "spec": {"replicas": 0, "selector": {"a": "b"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
            &[("status.replicas=0", true), ("status.replicas=1", false)],
        ),
        (
            "apps/v1/replicasets",
            json!({"metadata": {"name": "x"}, "spec": {"replicas": 0,
            "selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
            &[("metadata.name=x", true)],
        ),
        (
            "batch/v1/jobs",
            json!({"metadata": {"name": "x"}, "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}),
            &[("status.successful=0", true), ("status.successful=1", false)],
        ),
        (
            "services",
            json!({"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}),
            &[("spec.clusterIP=None", true), ("spec.type=ClusterIP", true), ("spec.type=NodePort", false)],
        ),
        ("configmaps", json!({"metadata": {"name": "x"}}), &[("metadata.name=x", true), ("metadata.name=y", false)]),
    ]
}

fn encoded(selector: &str) -> String {
    selector.replace('=', "%3D").replace(',', "%2C").replace('!', "%21").replace('/', "%2F").replace(' ', "%20")
}

pub(super) async fn fields(w: World) {
    w.account().await;
    for (resource, object, selectors) in cases(&w) {
        w.create(&w.path(resource), &object).await.with(201);
        for (selector, selects) in selectors {
            let list = w.get(&format!("{}?fieldSelector={}", w.path(resource), encoded(selector))).await.ok();
            assert_eq!(names(&list).contains(&"x"), *selects, "{resource} by {selector}");
        }
        let namespace = format!("metadata.namespace={}", w.namespace);
        let list = w.get(&format!("{}?fieldSelector={}", w.path(resource), encoded(&namespace))).await.ok();
        assert!(names(&list).contains(&"x"), "{resource} by {namespace}");
    }
    let own = format!("metadata.name={},status.phase=Active", w.namespace);
    let list = w.get(&format!("/api/v1/namespaces?fieldSelector={}", encoded(&own))).await.ok();
    assert_eq!(names(&list), [w.namespace.as_str()]);
    w.get(&format!("/api/v1/nodes?fieldSelector={}", encoded("spec.unschedulable=true"))).await.ok();
    let signer = encoded("spec.signerName=example.com/none");
    let list =
        w.get(&format!("/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector={signer}")).await.ok();
    assert_eq!(list["items"], json!([]));
}

pub(super) async fn unknown(w: World) {
    for (resource, selector, says_) in [
        ("pods", "spec.unknown=x", "field label not supported: spec.unknown"),
        ("secrets", "data=x", "field label not supported: data"),
        (
            "configmaps",
            "data=x",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "apps/v1/deployments",
            "spec.replicas=1",
            "\"spec.replicas\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
    ] {
        let status = w.get(&format!("{}?fieldSelector={}", w.path(resource), encoded(selector))).await;
        says(&status.refused(400, "BadRequest"), &[says_]);
    }
    for selector in ["metadata.name", "metadata.name in (a)"] {
        w.get(&format!("{}?fieldSelector={}", w.path("pods"), encoded(selector))).await.refused(400, "BadRequest");
    }
}

pub(super) async fn labels(w: World) {
    for (name, labels) in
        [("a", json!({"app": "x", "tier": "1"})), ("b", json!({"app": "y", "example.com/z": ""})), ("c", json!({}))]
    {
        let mut object = template(name);
        object["metadata"]["labels"] = labels;
        w.create(&w.path("podtemplates"), &object).await.with(201);
    }
    for (selector, expect) in [
        ("app=x", "a"),
        ("app==x", "a"),
        ("app!=x", "b c"),
        ("app", "a b"),
        ("!app", "c"),
        ("app in (x,y)", "a b"),
        ("app in (y)", "b"),
        ("app notin (x)", "b c"),
        ("app in (x,y),tier=1", "a"),
        ("tier>0", "a"),
        ("tier<1", ""),
        ("example.com/z=", "b"),
        ("example.com/z", "b"),
        ("", "a b c"),
    ] {
        let selector_ =
            encoded(selector).replace('(', "%28").replace(')', "%29").replace('<', "%3C").replace('>', "%3E");
        let list = w.get(&format!("{}?labelSelector={selector_}", w.path("podtemplates"))).await.ok();
        assert_eq!(names(&list).join(" "), expect, "{selector:?}");
    }
    for selector in ["app in x", "=x", "app=x y", "app in ("] {
        let selector = encoded(selector).replace('(', "%28");
        w.get(&format!("{}?labelSelector={selector}", w.path("podtemplates"))).await.refused(400, "BadRequest");
    }
}
