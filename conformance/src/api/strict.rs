//! Unknown and duplicate fields, by what a request asks for.

use futures::FutureExt;
use serde_json::json;

use super::{
    Check,
    answer::says,
    world::{APPLY, JSON, MERGE, PATCH, STRATEGIC, World, YAML},
};

const AREA: &str = "validation";
const PAGE: &str = "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation";
const TYPED: &str = "Conformance: Server side field validation, typed object";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "strict_refuses_unknown_and_duplicate_fields_by_name", TYPED, |w| strict(w).boxed()),
    Check::new(AREA, "warn_takes_them_and_says_so", PAGE, |w| warn(w).boxed()),
    Check::new(AREA, "ignore_takes_them_in_silence", PAGE, |w| ignore(w).boxed()),
    Check::new(AREA, "every_type_of_patch_is_validated_strictly", PAGE, |w| patches(w).boxed()),
    Check::new(
        AREA,
        "unknown_metadata_is_told_too",
        "Conformance: Server side field validation, typed unknown metadata",
        |w| metadata(w).boxed(),
    ),
    Check::new(AREA, "there_are_three_levels", PAGE, |w| levels(w).boxed()),
    Check::new(
        AREA,
        "values_of_the_wrong_type_are_a_bad_request",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation",
        |w| types(w).boxed(),
    ),
];

/// A Deployment with two unknown fields, one of them twice, and a duplicate known one.
fn odd(name: &str) -> String {
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "{name}"}}, "spec": {{
            "unknown1": 1, "unknownDupe": 2, "unknownDupe": 3, "paused": true, "paused": true, "replicas": 0,
            "selector": {{"matchLabels": {{"a": "b"}}}}, "template": {{"metadata": {{"labels": {{"a": "b"}}}}, "spec": {{
                "containers": [{{"name": "c", "image": "i", "imagePullPolicy": "Always", "imagePullPolicy": "Never", "unknownNested": 1}}]
            }}}}
        }}}}"#
    )
}

const FOUND: [&str; 5] = [
    "unknown field \"spec.template.spec.containers[0].unknownNested\"",
    "unknown field \"spec.unknown1\"",
    "unknown field \"spec.unknownDupe\"",
    "duplicate field \"spec.paused\"",
    "duplicate field \"spec.template.spec.containers[0].imagePullPolicy\"",
];

async fn strict(w: World) {
    let target = format!("{}?fieldValidation=Strict", w.path("apps/v1/deployments"));
    let status = w.send("POST", &target, &[("content-type", JSON)], odd("a").into()).await.refused(400, "BadRequest");
    says(&status, &["strict decoding error: "]);
    says(&status, &FOUND);
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\nunknown: 1\ndata:\n  k: v\n";
    let target = format!("{}?fieldValidation=Strict", w.path("configmaps"));
    let status = w.send("POST", &target, &[("content-type", YAML)], yaml.into()).await.refused(400, "BadRequest");
    says(&status, &["strict decoding error: ", "unknown field \"unknown\""]);
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n  k: w\n";
    let status = w.send("POST", &target, &[("content-type", YAML)], twice.into()).await.refused(400, "BadRequest");
    // A parser of YAML names the line, one of a tree the path.
    says(&status, &["k\""]);
    let fine = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let made = w.create(&target, &fine).await.with(201);
    let mut update = made.clone();
    update["more"] = "x".into();
    let at = format!("{}?fieldValidation=Strict", w.at("configmaps", "a"));
    says(&w.replace(&at, &update).await.refused(400, "BadRequest"), &["strict decoding error: unknown field \"more\""]);
}

async fn warn(w: World) {
    for query in ["", "?fieldValidation=Warn"] {
        let name = format!("a{}", query.len());
        let target = format!("{}{query}", w.path("apps/v1/deployments"));
        let answer = w.send("POST", &target, &[("content-type", JSON)], odd(&name).into()).await;
        let made = answer.with(201);
        assert!(made["spec"].get("unknown1").is_none(), "an unknown field was stored: {made}");
        let container = &made["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Never", "the last of several counts");
        let warnings = answer.warnings();
        for found in FOUND {
            let wanted = format!("299 - \"{}\"", found.replace('"', "\\\""));
            assert!(warnings.contains(&wanted.as_str()), "no warning {wanted} among {warnings:?}");
        }
    }
}

async fn ignore(w: World) {
    let target = format!("{}?fieldValidation=Ignore", w.path("apps/v1/deployments"));
    let answer = w.send("POST", &target, &[("content-type", JSON)], odd("a").into()).await;
    answer.with(201);
    let about_fields: Vec<_> = answer.warnings().into_iter().filter(|warning| warning.contains("field")).collect();
    assert!(about_fields.is_empty(), "{about_fields:?}");
}

async fn patches(w: World) {
    let fine = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    w.create(&w.path("configmaps"), &fine).await.with(201);
    let at = |level: &str| format!("{}?fieldManager=me&fieldValidation={level}", w.at("configmaps", "a"));
    let merge = json!({"more": "x"});
    let json = json!([{"op": "add", "path": "/more", "value": "x"}]);
    for (how, patch) in [(MERGE, &merge), (STRATEGIC, &merge), (PATCH, &json)] {
        let status = w.patch(&at("Strict"), how, patch).await;
        assert!(matches!(status.code, 400 | 422), "{how}: {} {}", status.code, status.text());
        says(&status.json(), &["unknown field \"more\""]);
        let warned = w.patch(&at("Warn"), how, patch).await;
        assert!(warned.ok().get("more").is_none());
        assert!(
            warned.warnings().iter().any(|warning| warning.contains("unknown field \\\"more\\\"")),
            "{how}: {:?}",
            warned.warnings()
        );
        let ignored = w.patch(&at("Ignore"), how, patch).await;
        assert!(ignored.ok().get("more").is_none() && ignored.warnings().is_empty());
    }
    let twice = "{\"data\": {\"k\": \"1\"}, \"data\": {\"k\": \"2\"}}";
    let status = w.send("PATCH", &at("Strict"), &[("content-type", MERGE)], twice.into()).await;
    assert!(matches!(status.code, 400 | 422), "{} {}", status.code, status.text());
    says(&status.json(), &["duplicate field \"data\""]);
    let applied = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  z: \"1\"\n  z: \"2\"\n";
    let status =
        w.send("PATCH", &at("Strict"), &[("content-type", APPLY)], applied.into()).await.refused(400, "BadRequest");
    says(&status, &["z\""]);
}

async fn metadata(w: World) {
    let target = |level: &str| format!("{}?fieldValidation={level}", w.path("configmaps"));
    let object = json!({"metadata": {"name": "a", "unknownMeta": 1}, "data": {}});
    let status = w.create(&target("Strict"), &object).await.refused(400, "BadRequest");
    says(&status, &["unknown field \"metadata.unknownMeta\""]);
    let warned = w.create(&target("Warn"), &object).await;
    warned.with(201);
    assert!(
        warned.warnings().iter().any(|warning| warning.contains("metadata.unknownMeta")),
        "{:?}",
        warned.warnings()
    );
}

async fn levels(w: World) {
    let object = json!({"metadata": {"name": "a"}});
    let status =
        w.create(&format!("{}?fieldValidation=Loudly", w.path("configmaps")), &object).await.refused(422, "Invalid");
    says(&status, &["fieldValidation: Unsupported value: \"Loudly\""]);
    for level in ["Ignore", "Strict", "Warn"] {
        says(&status, &[level]);
    }
}

async fn types(w: World) {
    for object in [
        json!({"metadata": {"name": "a"}, "data": 5}),
        json!({"metadata": {"name": "a"}, "data": {"k": 5}}),
        json!({"metadata": {"name": 5}}),
        json!({"metadata": {"name": "a", "labels": ["x"]}}),
        json!({"metadata": {"name": "a"}, "binaryData": {"k": "not base64!"}}),
        json!([]),
        json!("text"),
    ] {
        let status = w.create(&w.path("configmaps"), &object).await.refused(400, "BadRequest");
        assert!(!status["message"].as_str().unwrap_or_default().is_empty());
    }
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i",
        "resources": {"limits": {"cpu": "much"}}}]}});
    says(
        &w.create(&w.path("pods"), &pod).await.refused(400, "BadRequest"),
        &["quantities must match the regular expression"],
    );
    let event =
        json!({"metadata": {"name": "a"}, "involvedObject": {"namespace": w.namespace}, "firstTimestamp": "yesterday"});
    w.create(&w.path("events"), &event).await.refused(400, "BadRequest");
}
