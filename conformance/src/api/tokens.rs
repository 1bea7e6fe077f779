//! Service accounts: what every namespace has, tokens and what they are bound to, and what pods are given.

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Check,
    answer::says,
    objects::map,
    world::{MERGE, World},
};

const AREA: &str = "tokens";
const ACCOUNTS: &str = "https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/";
const REVIEWED: &str = "Conformance: ServiceAccount, create and review token";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "every_namespace_has_an_account_and_the_authority", "Conformance: RootCA ConfigMap test", |w| {
        furniture(w).boxed()
    }),
    Check::new(AREA, "a_token_is_made_and_reviewed", REVIEWED, |w| reviewed(w).boxed()),
    Check::new(AREA, "a_token_is_its_accounts", ACCOUNTS, |w| used(w).boxed()),
    Check::new(
        AREA,
        "a_token_ends_with_what_it_is_bound_to",
        "KEP-1205; https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens",
        |w| bound(w).boxed(),
    ),
    Check::new(
        AREA,
        "requests_for_tokens_are_validated",
        "https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/",
        |w| validated(w).boxed(),
    ),
    Check::new(AREA, "a_pod_is_given_its_accounts_token", "Conformance: Service Account Tokens Must AutoMount", |w| {
        mounted(w).boxed()
    }),
    Check::new(
        AREA,
        "a_pod_or_its_account_may_do_without",
        "Conformance: Service account tokens auto mount optionally",
        |w| without(w).boxed(),
    ),
    Check::new(
        AREA,
        "the_issuer_publishes_its_keys",
        "Conformance: OIDC Discovery (ServiceAccountIssuerDiscovery); RFC 7517: JSON Web Key",
        |w| issuer(w).boxed(),
    ),
];

async fn furniture(w: World) {
    w.account().await;
    let target = w.at("configmaps", "kube-root-ca.crt");
    let there = w.until("the authority is in the namespace", &target, |answer| answer.code == 200).await.ok();
    let authority = there["data"]["ca.crt"].clone();
    assert!(authority.as_str().is_some_and(|text| text.contains("BEGIN CERTIFICATE")), "{there}");
    w.delete(&target).await.coded(200);
    w.until("it is back", &target, |answer| answer.code == 200).await;
    w.patch(&target, MERGE, &json!({"data": {"ca.crt": "spoilt"}})).await.ok();
    w.until("it is mended", &target, |answer| answer.code == 200 && answer.json()["data"]["ca.crt"] == authority).await;
    w.delete(&w.at("serviceaccounts", "default")).await.coded(200);
    w.account().await;
}

async fn account(w: &World, name: &str) -> Value {
    w.create(&w.path("serviceaccounts"), &json!({"metadata": {"name": name}})).await.with(201)
}

async fn token(w: &World, name: &str, spec: &Value) -> Value {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    w.create(&(w.at("serviceaccounts", name) + "/token"), &request).await.with(201)
}

async fn review(w: &World, token: &Value, audiences: &Value) -> Value {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences}});
    w.create("/apis/authentication.k8s.io/v1/tokenreviews", &review).await.with(201)["status"].clone()
}

async fn reviewed(w: World) {
    let made = account(&w, "robot").await;
    let request = token(&w, "robot", &json!({"audiences": ["vault"], "expirationSeconds": 3600})).await;
    assert_eq!(request["kind"], "TokenRequest");
    assert!(request["status"]["expirationTimestamp"].is_string(), "{request}");
    let token = &request["status"]["token"];
    let status = review(&w, token, &json!(["vault"])).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["audiences"], json!(["vault"]));
    let user = &status["user"];
    assert_eq!(user["username"], format!("system:serviceaccount:{}:robot", w.namespace));
    assert_eq!(user["uid"], made["metadata"]["uid"]);
    for group in [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{}", w.namespace),
        "system:authenticated".to_owned(),
    ] {
        assert!(user["groups"].as_array().is_some_and(|groups| groups.contains(&json!(group))), "{user} lacks {group}");
    }
    let other = review(&w, token, &json!(["elsewhere"])).await;
    assert!(other["authenticated"] != json!(true) && other["error"].is_string(), "{other}");
    let nonsense = review(&w, &json!("nonsense"), &json!([])).await;
    assert!(nonsense["authenticated"] != json!(true), "{nonsense}");
}

async fn asks(w: &World, token: &Value, target: &str) -> u16 {
    let credential = format!("Bearer {}", token.as_str().unwrap_or_default());
    w.anonymously("GET", target, &[("authorization", &credential)], Bytes::new()).await.code
}

async fn used(w: World) {
    account(&w, "robot").await;
    let request = token(&w, "robot", &json!({})).await;
    let token = &request["status"]["token"];
    assert_eq!(asks(&w, token, &w.path("configmaps")).await, 403, "an account may nothing by itself");
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": w.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    w.create(&w.path("rbac.authorization.k8s.io/v1/rolebindings"), &binding).await.with(201);
    for turn in 0.. {
        if asks(&w, token, &w.path("configmaps")).await == 200 {
            break;
        }
        assert!(turn < 200, "a role does not reach an account, after five seconds");
        w.pause(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(asks(&w, token, &w.path("secrets")).await, 403, "to view is not to see secrets");
    w.delete(&w.at("serviceaccounts", "robot")).await.coded(200);
    for turn in 0.. {
        if asks(&w, token, &w.path("configmaps")).await == 401 {
            break;
        }
        assert!(turn < 400, "a token is still good after its account is gone");
        w.pause(std::time::Duration::from_millis(25)).await;
    }
}

async fn bound(w: World) {
    account(&w, "robot").await;
    let secret = w.create(&w.path("secrets"), &json!({"metadata": {"name": "s"}})).await.with(201);
    let reference = json!({"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": secret["metadata"]["uid"]});
    let request = token(&w, "robot", &json!({"boundObjectRef": reference})).await;
    let token = &request["status"]["token"];
    assert_eq!(review(&w, token, &json!([])).await["authenticated"], true);
    w.delete(&w.at("secrets", "s")).await.coded(200);
    for turn in 0.. {
        if review(&w, token, &json!([])).await["authenticated"] != json!(true) {
            break;
        }
        assert!(turn < 400, "a token is still good after what it is bound to is gone");
        w.pause(std::time::Duration::from_millis(25)).await;
    }
}

async fn validated(w: World) {
    account(&w, "robot").await;
    let target = w.at("serviceaccounts", "robot") + "/token";
    let request = |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let status =
        w.create(&target, &request(json!({"expirationSeconds": 599}))).await.invalid(&["spec.expirationSeconds"]);
    says(&status, &["may not specify a duration less than 10 minutes"]);
    let absent = json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "absent"}});
    w.create(&target, &request(absent)).await.refused(404, "NotFound");
    let odd = json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "a"}});
    let answer = w.create(&target, &request(odd)).await;
    assert!(matches!(answer.code, 400 | 422), "{} {}", answer.code, answer.text());
    w.create(&(w.at("serviceaccounts", "absent") + "/token"), &request(json!({}))).await.refused(404, "NotFound");
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
}

fn pod(name: &str, change: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"schedulerName": "nobody",
        "initContainers": [{"name": "i", "image": "i"}], "containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in change.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

/// Where each container of a pod has its account's token.
fn mounts(pod: &Value) -> Vec<String> {
    let containers =
        ["initContainers", "containers"].iter().flat_map(|field| pod["spec"][field].as_array().into_iter().flatten());
    let paths = containers.flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    paths
        .filter_map(|mount| mount["mountPath"].as_str())
        .filter(|path| path.starts_with("/var/run/secrets/kubernetes.io"))
        .map(Into::into)
        .collect()
}

async fn mounted(w: World) {
    w.account().await;
    let made = w.create(&w.path("pods"), &pod("a", &json!({}))).await.with(201);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(mounts(&made), [path, path], "{}", made["spec"]);
    let volume = &made["spec"]["volumes"][0];
    assert!(volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-")), "{volume}");
    let sources = volume["projected"]["sources"].as_array().cloned().unwrap_or_default();
    assert!(sources.iter().any(|source| source["serviceAccountToken"]["path"] == "token"), "{volume}");
    assert!(sources.iter().any(|source| source["configMap"]["name"] == "kube-root-ca.crt"), "{volume}");
    assert!(sources.iter().any(|source| source["downwardAPI"]["items"][0]["path"] == "namespace"), "{volume}");
    let absent =
        w.create(&w.path("pods"), &pod("b", &json!({"serviceAccountName": "absent"}))).await.refused(403, "Forbidden");
    says(&absent, &["serviceaccount \"absent\" not found"]);
}

async fn without(w: World) {
    w.account().await;
    w.create(
        &w.path("serviceaccounts"),
        &json!({"metadata": {"name": "never"}, "automountServiceAccountToken": false}),
    )
    .await
    .with(201);
    w.create(
        &w.path("serviceaccounts"),
        &json!({"metadata": {"name": "always"}, "automountServiceAccountToken": true}),
    )
    .await
    .with(201);
    for (number, (account, own, is_mounted)) in [
        ("never", None, false),
        ("never", Some(true), true),
        ("always", None, true),
        ("always", Some(false), false),
        ("default", Some(false), false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut change = json!({"serviceAccountName": account});
        if let Some(own) = own {
            change["automountServiceAccountToken"] = own.into();
        }
        let made = w.create(&w.path("pods"), &pod(&format!("p{number}"), &change)).await.with(201);
        assert_eq!(!mounts(&made).is_empty(), is_mounted, "account {account}, pod {own:?}");
    }
}

async fn issuer(w: World) {
    let document = w.get("/.well-known/openid-configuration").await.ok();
    for field in [
        "issuer",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ] {
        assert!(!document[field].is_null(), "{field} is not in {document}");
    }
    let keys = w.get("/openid/v1/jwks").await.ok();
    let key = &keys["keys"][0];
    assert!(key["kid"].is_string() && key["kty"].is_string() && key["use"] == "sig", "{keys}");
    account(&w, "robot").await;
    let request = token(&w, "robot", &json!({})).await;
    let token = request["status"]["token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(token.split('.').count(), 3, "a token is a JSON Web Token");
}
