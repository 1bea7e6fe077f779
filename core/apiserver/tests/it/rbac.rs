//! Rules from roles and bindings in a store: what is written is in force for the next request.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_apiserver::{
    StoreLookup,
    access::{self, Binding, ServiceAccountTokens, TokenClaims},
};
use windlass_kernel::{
    Api, Authenticator, Authorizer, Identity,
    access::{Attributes, Credentials, Decision},
    api::{GroupVersionResource, Request, Verb},
    error::ErrorKind,
};

use crate::rim::{self, ISSUER, Rim};

async fn create(
    rim: &Rim,
    who: &Identity,
    resource: GroupVersionResource,
    object: Value,
) -> windlass_kernel::Result<()> {
    let namespaced = matches!(&*resource.resource, "roles" | "rolebindings" | "serviceaccounts");
    let mut request = Request::new(Arc::new(who.clone()), Verb::Create, resource).body(object);
    if namespaced {
        request.namespace = "default".into();
    }
    rim.server.call(request).await.map(drop)
}

fn rbac(resource: &'static str) -> GroupVersionResource {
    GroupVersionResource::of("rbac.authorization.k8s.io", "v1", resource)
}

fn role(kind: &str, name: &str, rules: &Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: [&str; 2], subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role[0], "name": role[1]}, "subjects": [subject],
    })
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

async fn allowed(rim: &Rim, who: &Identity, text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
    let attributes = Attributes {
        verb: words[0].into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: words.get(2).unwrap_or(&"").to_string(),
        ..Attributes::default()
    };
    matches!(rim.rbac.authorize(who, &attributes).await.unwrap(), Decision::Allow(_))
}

#[tokio::test]
async fn a_binding_is_in_force_as_soon_as_it_is_written() {
    let rim = rim::start().await;
    let root = Identity::new("root", &["system:masters"]);
    let alice = Identity::new("alice", &["devs"]);
    assert!(allowed(&rim, &root, "delete nodes").await);
    assert!(!allowed(&rim, &alice, "get pods default").await);

    let bound = binding("RoleBinding", "view", ["ClusterRole", "view"], &user("alice"));
    create(&rim, &root, rbac("rolebindings"), bound).await.unwrap();
    assert!(allowed(&rim, &alice, "get pods default").await);
    assert!(allowed(&rim, &alice, "get pods/log default").await);
    assert!(!allowed(&rim, &alice, "get pods kube-system").await);
    assert!(!allowed(&rim, &alice, "get pods").await);
    assert!(!allowed(&rim, &alice, "delete pods default").await);
    assert!(!allowed(&rim, &alice, "get secrets default").await);

    // The aggregated role gains what a newly labelled role allows.
    let mut more = role("ClusterRole", "more", &json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]));
    more["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    create(&rim, &root, rbac("clusterroles"), more).await.unwrap();
    assert!(allowed(&rim, &alice, "get nodes default").await);

    let mut delete = Request::new(Arc::new(root), Verb::Delete, rbac("rolebindings")).in_namespace("default");
    delete.name = "view".into();
    rim.server.call(delete).await.unwrap();
    assert!(!allowed(&rim, &alice, "get pods default").await);
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let rim = rim::start().await;
    let root = Identity::new("root", &["system:masters"]);
    let alice = Identity::new("alice", &[]);
    let bound = binding("ClusterRoleBinding", "alice", ["ClusterRole", "admin"], &user("alice"));
    create(&rim, &root, rbac("clusterrolebindings"), bound).await.unwrap();

    let modest = role("Role", "modest", &json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]));
    create(&rim, &alice, rbac("roles"), modest).await.unwrap();
    let greedy =
        role("Role", "greedy", &json!([{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get"]}]));
    let refused = create(&rim, &alice, rbac("roles"), greedy).await.unwrap_err();
    assert!(refused.is(ErrorKind::Forbidden));
    assert!(refused.message().contains("attempting to grant RBAC permissions not currently held:\n"), "{refused}");
    assert!(refused.message().contains(r#"{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}"#), "{refused}");

    let everything = binding("RoleBinding", "all", ["ClusterRole", "cluster-admin"], &user("alice"));
    assert!(create(&rim, &alice, rbac("rolebindings"), everything).await.unwrap_err().is(ErrorKind::Forbidden));
    let own = binding("RoleBinding", "own", ["Role", "modest"], &user("bob"));
    create(&rim, &alice, rbac("rolebindings"), own).await.unwrap();
}

#[tokio::test]
async fn a_token_speaks_for_its_account_until_that_is_gone() {
    let rim = rim::start().await;
    let root = Identity::new("root", &["system:masters"]);
    let accounts = GroupVersionResource::of("", "v1", "serviceaccounts");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    create(&rim, &root, accounts.clone(), account).await.unwrap();
    let objects = Arc::new(StoreLookup::new(Arc::clone(rim.server.store())));
    let uid = access::Lookup::metadata(&*objects, &accounts, "default", "robot").await.unwrap().unwrap()["uid"].clone();

    let issue = async |uid: &str, seconds: i64, audience: &str| {
        let claims = TokenClaims {
            issuer: ISSUER.into(),
            audiences: vec![audience.into()],
            namespace: "default".into(),
            account: Binding { name: "robot".into(), uid: uid.into() },
            seconds,
            ..TokenClaims::default()
        };
        access::issue(claims, &*rim.keys, &*rim.clock, &windlass_machine::SystemEntropy).await.unwrap().0
    };
    let uid = uid.as_str().unwrap();
    let tokens = ServiceAccountTokens::new(rim.keys.clone(), rim.clock.clone(), objects, ISSUER, vec!["api".into()]);
    let check = async |token: String| {
        let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
        tokens.authenticate(&credentials).await.map_err(|error| error.kind())
    };
    let good = issue(uid, 600, "api").await;
    let identity = check(good.clone()).await.unwrap().unwrap();
    assert_eq!(identity.name, "system:serviceaccount:default:robot");
    assert!(identity.belongs_to("system:serviceaccounts:default"));
    assert_eq!(check(issue(uid, -1, "api").await).await, Err(ErrorKind::Unauthorized));
    assert_eq!(check(issue(uid, 600, "other").await).await, Err(ErrorKind::Unauthorized));
    assert_eq!(check(issue("another", 600, "api").await).await, Err(ErrorKind::Unauthorized));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", issue(uid, 601, "api").await.rsplit_once('.').unwrap().1);
    assert_eq!(check(forged).await, Err(ErrorKind::Unauthorized));
    assert_eq!(check("opaque".into()).await, Ok(None));

    let delete = Request::new(Arc::new(root), Verb::Delete, accounts).in_namespace("default").named("robot");
    rim.server.call(delete).await.unwrap();
    assert_eq!(check(good).await, Err(ErrorKind::Unauthorized));
}

#[tokio::test]
async fn a_token_is_reviewed_for_those_it_is_meant_for() {
    let rim = rim::start().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(rim.send(&format!("POST {accounts}\n\n{account}")).await.code, 201);
    let wanted =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["vault"]}});
    let token = rim.send(&format!("POST {accounts}/robot/token\n\n{wanted}")).await.json()["status"]["token"].clone();
    let review = async |audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        rim.send(&format!("POST {path}\n\n{review}")).await.json()["status"].clone()
    };
    let known = review(json!(["bank", "vault", ISSUER])).await;
    assert_eq!((&known["authenticated"], &known["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:robot");
    let unknown = review(json!([])).await;
    assert_eq!(unknown, json!({"user": {}, "error": "token audiences do not match"}));
}

#[tokio::test]
async fn a_machine_joins_with_a_bootstrap_token() {
    let rim = rim::start().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token", "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:workers"}});
    assert_eq!(rim.send(&format!("POST /api/v1/namespaces/kube-system/secrets\n\n{secret}")).await.code, 201);
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let ask = async |token: &str| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        rim.send_anonymous(&format!("POST {path}\nAuthorization: Bearer {token}\n\n{who}")).await
    };
    let known = ask("abcdef.0123456789abcdef").await;
    assert_eq!(
        known.json()["status"]["userInfo"],
        json!({"username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"]})
    );
    assert_eq!(ask("abcdef.0123456789abcdee").await.code, 401);
    assert_eq!(rim.send("DELETE /api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef").await.code, 200);
    assert_eq!(ask("abcdef.0123456789abcdef").await.code, 401);
}

#[tokio::test]
async fn bundles_of_a_signer_are_written_by_who_may_attest_for_it() {
    let rim = rim::start().await;
    let root = Identity::new("root", &["system:masters"]);
    let alice = Identity::new("alice", &[]);
    let bundles = GroupVersionResource::of("certificates.k8s.io", "v1beta1", "clustertrustbundles");
    let bundle = |name: &str, signer: &str| {
        json!({"metadata": {"name": name},
            "spec": {"signerName": signer, "trustBundle": rim.authority.pem().certificate.clone()}})
    };
    let may = json!([
        {"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["create", "update"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["a.b/c", "d.e/*"], "verbs": ["attest"]}]);
    create(&rim, &root, rbac("clusterroles"), role("ClusterRole", "attest", &may)).await.unwrap();
    let bound = binding("ClusterRoleBinding", "attest", ["ClusterRole", "attest"], &user("alice"));
    create(&rim, &root, rbac("clusterrolebindings"), bound).await.unwrap();

    create(&rim, &alice, bundles.clone(), bundle("a.b:c:one", "a.b/c")).await.unwrap();
    create(&rim, &alice, bundles.clone(), bundle("d.e:f:one", "d.e/f")).await.unwrap();
    let refused = create(&rim, &alice, bundles.clone(), bundle("g.h:i:one", "g.h/i")).await.unwrap_err();
    assert!(refused.is(ErrorKind::Forbidden), "{refused}");
    assert!(refused.message().ends_with("user not permitted to attest for signerName \"g.h/i\""), "{refused}");
    create(&rim, &root, bundles, bundle("g.h:i:one", "g.h/i")).await.unwrap();
}
