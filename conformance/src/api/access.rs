//! Who may do what: reviews, roles, impersonation, escalation.

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Answer, Check,
    answer::says,
    objects::map,
    world::{JSON, World, body},
};

const AREA: &str = "access";
const RBAC: &str = "https://kubernetes.io/docs/reference/access-authn-authz/rbac/";
const ESCALATION: &str =
    "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "a_role_gives_what_its_rules_say", RBAC, |w| roles(w).boxed()),
    Check::new(AREA, "a_refusal_says_who_cannot_do_what_and_where", RBAC, |w| refusal(w).boxed()),
    Check::new(AREA, "access_is_reviewed_for_others", "Conformance: SubjectReview, API Operations", |w| {
        reviews(w).boxed()
    }),
    Check::new(
        AREA,
        "one_learns_who_one_is_and_what_one_may",
        "https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access; KEP-3325",
        |w| own(w).boxed(),
    ),
    Check::new(AREA, "nobody_gives_what_they_do_not_have", ESCALATION, |w| escalation(w).boxed()),
    Check::new(
        AREA,
        "a_bindings_role_is_fixed",
        "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#clusterrolebinding-example",
        |w| fixed(w).boxed(),
    ),
    Check::new(
        AREA,
        "roles_of_others_are_aggregated_by_label",
        "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles",
        |w| aggregated(w).boxed(),
    ),
    Check::new(
        AREA,
        "every_cluster_has_roles_for_users",
        "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles",
        |w| defaults(w).boxed(),
    ),
    Check::new(
        AREA,
        "only_who_may_acts_as_others",
        "https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation",
        |w| impersonation(w).boxed(),
    ),
    Check::new(AREA, "a_wrong_credential_is_unauthorized", "RFC 9110, 15.5.2: 401 Unauthorized", |w| {
        unauthorized(w).boxed()
    }),
];

/// Asks as somebody else.
async fn acting(w: &World, user: &str, method: &str, target: &str, object: Option<&Value>) -> Answer {
    let headers = [("impersonate-user", user), ("content-type", JSON)];
    w.send(method, target, &headers, object.map(body).unwrap_or_default()).await
}

/// Gives a user a role of the namespace with these rules.
async fn grant(w: &World, user: &str, name: &str, rules: Value) {
    w.create(&w.path("rbac.authorization.k8s.io/v1/roles"), &json!({"metadata": {"name": name}, "rules": rules}))
        .await
        .with(201);
    let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}});
    w.create(&w.path("rbac.authorization.k8s.io/v1/rolebindings"), &binding).await.with(201);
    // Authorizers may learn of it a moment later.
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user,
        "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": w.namespace}}});
    for _ in 0..200 {
        if w.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await.with(201)["status"]["allowed"]
            == true
        {
            return;
        }
        w.pause(std::time::Duration::from_millis(25)).await;
    }
    panic!("a role does not give what its rules say, after five seconds");
}

async fn roles(w: World) {
    let user = w.name("user");
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    w.create(&w.path("configmaps"), &map("b")).await.with(201);
    acting(&w, &user, "GET", &w.path("configmaps"), None).await.refused(403, "Forbidden");
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "update"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["*"]},
    ]);
    grant(&w, &user, "reader", rules).await;
    acting(&w, &user, "GET", &w.path("configmaps"), None).await.coded(200);
    acting(&w, &user, "GET", &w.at("configmaps", "a"), None).await.coded(200);
    acting(&w, &user, "GET", &w.at("configmaps", "b"), None).await.refused(403, "Forbidden");
    acting(&w, &user, "PUT", &w.at("configmaps", "a"), Some(&map("a"))).await.coded(200);
    acting(&w, &user, "DELETE", &w.at("configmaps", "a"), None).await.refused(403, "Forbidden");
    acting(&w, &user, "POST", &w.path("configmaps"), Some(&map("c"))).await.refused(403, "Forbidden");
    acting(&w, &user, "GET", "/api/v1/configmaps", None).await.refused(403, "Forbidden");
    acting(&w, &user, "GET", &(w.at("apps/v1/deployments", "none") + "/scale"), None).await.refused(404, "NotFound");
    acting(&w, &user, "GET", &w.at("apps/v1/deployments", "none"), None).await.refused(403, "Forbidden");
}

async fn refusal(w: World) {
    let user = w.name("user");
    for (method, target, message) in [
        (
            "GET",
            w.path("pods"),
            format!(
                "pods is forbidden: User \"{user}\" cannot list resource \"pods\" in API group \"\" in the namespace \"{}\"",
                w.namespace
            ),
        ),
        (
            "GET",
            w.at("apps/v1/deployments", "d"),
            format!(
                "deployments.apps \"d\" is forbidden: User \"{user}\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"{}\"",
                w.namespace
            ),
        ),
        (
            "DELETE",
            "/api/v1/nodes/n".into(),
            format!(
                "nodes \"n\" is forbidden: User \"{user}\" cannot delete resource \"nodes\" in API group \"\" at the cluster scope"
            ),
        ),
        (
            "GET",
            w.at("pods", "p") + "/log",
            format!(
                "pods \"p\" is forbidden: User \"{user}\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"{}\"",
                w.namespace
            ),
        ),
        ("GET", "/metrics".into(), format!("forbidden: User \"{user}\" cannot get path \"/metrics\"")),
    ] {
        let status = acting(&w, &user, method, &target, None).await.refused(403, "Forbidden");
        assert_eq!(status["message"], message.as_str(), "{method} {target}");
    }
}

async fn reviews(w: World) {
    let user = w.name("user");
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    grant(&w, &user, "reader", rules).await;
    let group = "/apis/authorization.k8s.io/v1";
    let review = |kind: &str, verb: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {"namespace": if kind.starts_with("Local") { w.namespace.as_str() } else { "" }},
            "spec": {"user": user, "groups": ["g"], "resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": w.namespace}}})
    };
    for (verb, allowed) in [("list", true), ("delete", false)] {
        let made =
            w.create(&format!("{group}/subjectaccessreviews"), &review("SubjectAccessReview", verb)).await.with(201);
        assert_eq!(made["status"]["allowed"], allowed, "{verb}: {made}");
        assert_eq!(made["spec"]["user"], user.as_str());
        let target = format!("{group}/namespaces/{}/localsubjectaccessreviews", w.namespace);
        let made = w.create(&target, &review("LocalSubjectAccessReview", verb)).await.with(201);
        assert_eq!(made["status"]["allowed"], allowed, "{verb}: {made}");
    }
    let path = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "nonResourceAttributes": {"path": "/version", "verb": "get"}}});
    assert_eq!(w.create(&format!("{group}/subjectaccessreviews"), &path).await.with(201)["status"]["allowed"], true);
    let nobody = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}});
    w.create(&format!("{group}/subjectaccessreviews"), &nobody).await.refused(422, "Invalid");
    let mut elsewhere = review("LocalSubjectAccessReview", "list");
    elsewhere["spec"]["resourceAttributes"]["namespace"] = "default".into();
    let target = format!("{group}/namespaces/{}/localsubjectaccessreviews", w.namespace);
    w.create(&target, &elsewhere).await.refused(400, "BadRequest");
}

async fn own(w: World) {
    let user = w.name("user");
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    grant(&w, &user, "reader", rules).await;
    let group = "/apis/authorization.k8s.io/v1";
    for (verb, allowed) in [("list", true), ("delete", false)] {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": w.namespace}}});
        let headers = [
            ("impersonate-user", user.as_str()),
            ("impersonate-group", "system:authenticated"),
            ("content-type", JSON),
        ];
        let made =
            w.send("POST", &format!("{group}/selfsubjectaccessreviews"), &headers, body(&review)).await.with(201);
        assert_eq!(made["status"]["allowed"], allowed, "{verb}");
    }
    let headers =
        [("impersonate-user", user.as_str()), ("impersonate-group", "system:authenticated"), ("content-type", JSON)];
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": w.namespace}});
    let made = w.send("POST", &format!("{group}/selfsubjectrulesreviews"), &headers, body(&review)).await.with(201);
    let rules = made["status"]["resourceRules"].as_array().cloned().unwrap_or_default();
    assert!(
        rules.iter().any(|rule| rule["resources"] == json!(["configmaps"]) && rule["verbs"] == json!(["list"])),
        "{made}"
    );
    assert_eq!(made["status"]["incomplete"], false);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let made =
        w.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &headers, body(&review)).await.with(201);
    assert_eq!(made["status"]["userInfo"]["username"], user.as_str());
    assert!(
        made["status"]["userInfo"]["groups"]
            .as_array()
            .is_some_and(|groups| groups.contains(&json!("system:authenticated")))
    );
}

async fn escalation(w: World) {
    let user = w.name("user");
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "get"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update", "get"]},
    ]);
    grant(&w, &user, "giver", rules).await;
    let role = |name: &str, verbs: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]})
    };
    let roles = w.path("rbac.authorization.k8s.io/v1/roles");
    acting(&w, &user, "POST", &roles, Some(&role("fine", json!(["list"])))).await.coded(201);
    let refused = acting(&w, &user, "POST", &roles, Some(&role("more", json!(["list", "delete"])))).await;
    let status = refused.refused(403, "Forbidden");
    says(&status, &["is attempting to grant RBAC permissions not currently held", "Verbs:[\"delete\"]"]);
    let target = w.at("rbac.authorization.k8s.io/v1/roles", "fine");
    acting(&w, &user, "PUT", &target, Some(&role("fine", json!(["delete"])))).await.refused(403, "Forbidden");
    let binding = |name: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let bindings = w.path("rbac.authorization.k8s.io/v1/rolebindings");
    acting(&w, &user, "POST", &bindings, Some(&binding("much", "admin"))).await.refused(403, "Forbidden");
    // Who may bind a role by its name needs not have what is in it.
    let may_bind = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["view"]}]);
    grant(&w, &user, "binder", may_bind).await;
    let end = 200;
    for turn in 0..end {
        let answer = acting(&w, &user, "POST", &bindings, Some(&binding("some", "view"))).await;
        if answer.code == 201 {
            return;
        }
        assert!(turn + 1 < end, "who may bind a role cannot: {}", answer.text());
        w.pause(std::time::Duration::from_millis(25)).await;
    }
}

async fn fixed(w: World) {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": w.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    let mut made = w.create(&w.path("rbac.authorization.k8s.io/v1/rolebindings"), &binding).await.with(201);
    made["roleRef"]["name"] = "edit".into();
    let target = w.at("rbac.authorization.k8s.io/v1/rolebindings", "b");
    let status = w.replace(&target, &made).await.invalid(&["roleRef"]);
    says(&status, &["cannot change roleRef"]);
    let mut odd = binding.clone();
    odd["metadata"]["name"] = "odd".into();
    odd["subjects"][0]["kind"] = "Robot".into();
    w.create(&w.path("rbac.authorization.k8s.io/v1/rolebindings"), &odd).await.invalid(&["subjects[0].kind"]);
    let role = json!({"metadata": {"name": "odd"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]});
    w.create(&w.path("rbac.authorization.k8s.io/v1/roles"), &role).await.invalid(&["rules[0].verbs"]);
}

async fn aggregated(w: World) {
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let (whole, part) = (w.name("whole"), w.name("part"));
    let label = format!("example.com/{}", w.prefix());
    for name in [&whole, &part] {
        w.later(format!("{roles}/{name}"));
    }
    let role = json!({"metadata": {"name": whole}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label.clone(): "true"}}]}, "rules": []});
    w.create(roles, &role).await.with(201);
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}]);
    w.create(roles, &json!({"metadata": {"name": part, "labels": {label: "true"}}, "rules": rules})).await.with(201);
    w.until("the rules are aggregated", &format!("{roles}/{whole}"), |answer| answer.json()["rules"] == rules).await;
}

async fn defaults(w: World) {
    for name in [
        "cluster-admin",
        "admin",
        "edit",
        "view",
        "system:discovery",
        "system:public-info-viewer",
        "system:basic-user",
        "system:node",
    ] {
        let role = w.get(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")).await.ok();
        assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults", "{name}");
    }
    let binding = w.get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin").await.ok();
    assert_eq!(binding["subjects"][0]["name"], "system:masters");
}

async fn impersonation(w: World) {
    let user = w.name("user");
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let target = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [
        ("impersonate-user", user.as_str()),
        ("impersonate-group", "one"),
        ("impersonate-group", "system:masters"),
        ("impersonate-extra-scopes", "a"),
        ("impersonate-extra-example.com%2fscope", "b"),
        ("impersonate-uid", "u-1"),
        ("content-type", JSON),
    ];
    let me = w.send("POST", target, &headers, body(&review)).await.with(201)["status"]["userInfo"].clone();
    assert_eq!((&me["username"], &me["uid"]), (&json!(user), &json!("u-1")));
    let groups = me["groups"].as_array().cloned().unwrap_or_default();
    assert!(groups.contains(&json!("one")) && groups.contains(&json!("system:masters")), "{me}");
    assert_eq!((&me["extra"]["scopes"], &me["extra"]["example.com/scope"]), (&json!(["a"]), &json!(["b"])));
    let account = format!("system:serviceaccount:{}:robot", w.namespace);
    let headers = [("impersonate-user", account.as_str()), ("content-type", JSON)];
    let robot = w.send("POST", target, &headers, body(&review)).await;
    let groups = robot.with(201)["status"]["userInfo"]["groups"].clone();
    for group in ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", w.namespace)] {
        assert!(groups.as_array().is_some_and(|groups| groups.contains(&json!(group))), "{groups} lack {group}");
    }
    // Groups without a user are nobody; nobody may act as others.
    let headers = [("impersonate-group", "one"), ("content-type", JSON)];
    let alone = w.send("POST", target, &headers, body(&review)).await;
    assert!(alone.code >= 400, "groups alone were impersonated: {}", alone.text());
    let headers = [("impersonate-user", user.as_str())];
    let answer = w.anonymously("GET", "/version", &headers, Bytes::new()).await;
    assert!(matches!(answer.code, 401 | 403), "anybody acts as others: {}", answer.code);
}

async fn unauthorized(w: World) {
    for credential in ["Bearer nonsense", "Bearer a.b.c", "Basic bm86Ym9keQ=="] {
        let answer = w.anonymously("GET", "/api/v1/namespaces", &[("authorization", credential)], Bytes::new()).await;
        // A server that knows no passwords takes a request with one as anybody's.
        if credential.starts_with("Basic") {
            assert!(matches!(answer.code, 401 | 403), "{credential}: {}", answer.code);
        } else {
            assert_eq!(answer.refused(401, "Unauthorized")["message"], "Unauthorized", "{credential}");
        }
    }
}
