//! What requests over HTTP may say, and what is said to them where they say too much.

use serde_json::{Value, json};

use crate::rim;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn options_are_validated_under_the_name_of_their_kind() {
    let rim = rim::start().await;
    rim.send(&format!("POST {MAPS}\n\n{{\"metadata\":{{\"name\":\"a\"}}}}")).await;
    for (request, kind) in [
        (format!("POST {MAPS}?dryRun=Some\n\n{{}}"), "CreateOptions"),
        (format!("PUT {MAPS}/a?fieldValidation=Loud\n\n{{}}"), "UpdateOptions"),
        (format!("GET {MAPS}?resourceVersion=1&resourceVersionMatch=Some"), "ListOptions"),
        (format!("DELETE {MAPS}/a?propagationPolicy=Some"), "DeleteOptions"),
        (format!("DELETE {MAPS}/a\n\n{{\"dryRun\":[\"Some\"]}}"), "DeleteOptions"),
        (format!("DELETE {MAPS}/a\n\n{{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}}"), "DeleteOptions"),
    ] {
        let refused = rim.send(&request).await;
        assert_eq!(refused.code, 422, "{request}");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{kind}.meta.k8s.io \"\" is invalid: ")), "{request}: {message}");
    }
    for body in ["[]", "\"text\"", "{\"gracePeriodSeconds\":\"soon\"}", "{\"preconditions\":5}", "{"] {
        assert_eq!(rim.send(&format!("DELETE {MAPS}/a\n\n{body}")).await.code, 400, "{body}");
    }
    let yaml = format!("DELETE {MAPS}/a\nContent-Type: application/yaml\n\npreconditions: {{uid: other}}");
    assert_eq!(rim.send(&yaml).await.code, 409);
    assert_eq!(rim.send(&format!("GET {MAPS}/a")).await.code, 200);
}

#[tokio::test]
async fn an_object_is_not_posted_to() {
    let rim = rim::start().await;
    let refused = rim.send(&format!("POST {MAPS}/a\n\n{{\"metadata\":{{\"name\":\"a\"}}}}")).await;
    assert_eq!((refused.code, &refused.json()["reason"]), (405, &json!("MethodNotAllowed")));
    assert_eq!(rim.send(&format!("GET {MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn warnings_fit_into_headers_however_many_there_are() {
    let rim = rim::start().await;
    let unknown: Vec<String> = (0..20_000).map(|number| format!("\"{}{number}\":1", "k".repeat(60))).collect();
    let body = format!("{{\"metadata\":{{\"name\":\"a\"}},{}}}", unknown.join(","));
    let warned = rim.http2(&format!("POST {MAPS}\n\n{body}")).await;
    assert_eq!(warned.code, 201);
    assert!(warned.header("warning").starts_with("299 - \"unknown field"), "{}", warned.header("warning"));
}

#[tokio::test]
async fn metrics_are_in_the_format_that_was_asked_for() {
    let rim = rim::start().await;
    rim.send("GET /version").await;
    let plain = rim.send("GET /metrics").await;
    let text = String::from_utf8(plain.body.to_vec()).unwrap();
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE apiserver_request_total counter\n") && !text.contains("# EOF"), "{text}");
    assert!(text.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n"), "{text}");
    let open = rim.send("GET /metrics\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with(b"# EOF\n"));
}

#[tokio::test]
async fn a_token_is_reviewed_for_the_audiences_that_are_asked_about() {
    let rim = rim::start().await;
    rim.send("POST /api/v1/namespaces/default/serviceaccounts\n\n{\"metadata\":{\"name\":\"robot\"}}").await;
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["vault"]}});
    let made = rim.send(&format!("POST /api/v1/namespaces/default/serviceaccounts/robot/token\n\n{request}")).await;
    let token = made.json()["status"]["token"].clone();
    let review = async |audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences}});
        rim.send(&format!("POST /apis/authentication.k8s.io/v1/tokenreviews\n\n{review}")).await.json()["status"]
            .clone()
    };
    let known = review(json!(["elsewhere", "vault"])).await;
    assert_eq!((&known["authenticated"], &known["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:robot");
    for audiences in [json!(["elsewhere"]), json!([])] {
        let unknown = review(audiences).await;
        assert!(unknown["authenticated"] != json!(true) && unknown["error"].is_string(), "{unknown}");
    }
}
