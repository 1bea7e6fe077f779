//! kubectl as it is installed, against fake nodes.

pub(crate) mod reach;
pub(crate) mod tools;

use std::process::Command;

use crate::{
    Test,
    cluster::{Cluster, manifests, until_so},
};

pub(crate) const TESTS: &[Test] = &[
    ("kubectl_creates_shows_and_deletes", creates_shows_and_deletes),
    ("kubectl_applies_and_sees_differences", applies_and_sees_differences),
    ("kubectl_changes_objects_in_every_way", changes_objects_in_every_way),
    ("kubectl_learns_what_there_is", learns_what_there_is),
    ("kubectl_tells_what_the_scheduler_did", tells_what_the_scheduler_did),
    ("kubectl_rolls_out_and_back", rolls_out_and_back),
    ("kubectl_empties_a_node", empties_a_node),
    ("kubectl_runs_jobs_within_their_quota", runs_jobs_within_their_quota),
    ("kubectl_reaches_into_pods", reaches_into_pods),
    ("kubectl_is_told_who_it_may_be", is_told_who_it_may_be),
    ("kubectl_uses_what_it_defined", uses_what_it_defined),
    ("kubectl_is_held_to_policies_and_levels", is_held_to_policies_and_levels),
];

/// Why kubectl cannot be used, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let version = Command::new("kubectl").args(["version", "--client"]).output();
    (!version.is_ok_and(|output| output.status.success())).then(|| "no kubectl on this machine".into())
}

fn deployment(cluster: &Cluster, name: &str, replicas: &str) {
    cluster.kubectl(&["create", "deployment", name, "--image=i:1", "--replicas", replicas]).ok();
    let at = format!("deployment/{name}");
    cluster.kubectl(&["rollout", "status", &at, "--timeout=60s"]).ok();
}

fn creates_shows_and_deletes() {
    let cluster = Cluster::fake(&[]);
    // kubectl sends these as protobuf.
    cluster.kubectl(&["create", "namespace", "n"]).ok();
    cluster.kubectl(&["create", "-n", "n", "configmap", "c", "--from-literal=k=v"]).ok();
    cluster.kubectl(&["create", "-n", "n", "secret", "generic", "s", "--from-literal=k=v"]).ok();
    assert_eq!(cluster.kubectl(&["get", "-n", "n", "cm", "c", "-o", "jsonpath={.data.k}"]).ok(), "v");
    assert!(cluster.kubectl(&["get", "-A", "cm"]).ok().contains("kube-root-ca.crt"));
    cluster.kubectl(&["run", "p", "--image=i", "-n", "n"]).ok();
    cluster.kubectl(&["wait", "-n", "n", "--for=condition=Ready", "pod/p", "--timeout=60s"]).ok();
    let wide = cluster.kubectl(&["get", "pod", "-n", "n", "-o", "wide"]).ok();
    assert!(wide.contains("Running") && wide.contains("node-1"), "{wide}");
    assert!(cluster.kubectl(&["describe", "pod", "p", "-n", "n"]).ok().contains("Scheduled"));
    let already = cluster.kubectl(&["create", "namespace", "n"]).failed(1);
    assert_eq!(already, "Error from server (AlreadyExists): namespaces \"n\" already exists\n");
    cluster.kubectl(&["delete", "namespace", "n", "--timeout=60s"]).ok();
    let absent = cluster.kubectl(&["get", "namespace", "n"]).failed(1);
    assert_eq!(absent, "Error from server (NotFound): namespaces \"n\" not found\n");
}

fn applies_and_sees_differences() {
    let cluster = Cluster::fake(&[]);
    let folder = manifests();
    let folder = folder.to_str().expect("a path");
    // A namespace that does not exist yet cannot be looked into.
    cluster.kubectl(&["apply", "-f", &format!("{folder}/00-namespace.yaml")]).ok();
    assert!(cluster.kubectl(&["diff", "-f", folder]).code == Some(1));
    cluster.kubectl(&["apply", "-f", folder]).ok();
    let again = cluster.kubectl(&["apply", "-f", folder]).ok();
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    assert_eq!(cluster.kubectl(&["diff", "-f", folder]).ok(), "");
    cluster.kubectl(&["wait", "-n", "guestbook", "--for=condition=Available", "deploy", "--all", "--timeout=60s"]).ok();
    // What client-side apply owns is taken over by name.
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", folder]).ok();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: redis, namespace: guestbook}\nspec:\n  \
                   selector: {app: other}\n  ports: [{name: redis, port: 6379}]\n";
    let conflict = cluster.kubectl_with(&["apply", "--server-side", "--field-manager=me", "-f", "-"], service);
    assert!(conflict.failed(1).contains("conflict"), "another manager owns the selector");
}

fn changes_objects_in_every_way() {
    let cluster = Cluster::fake(&[]);
    deployment(&cluster, "d", "1");
    for (how, patch) in [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"i","env":[{"name":"A","value":"1"}]}]}}}}"#,
        ),
        ("merge", r#"{"metadata":{"annotations":{"b":"2"}}}"#),
        ("json", r#"[{"op":"add","path":"/metadata/labels/c","value":"3"}]"#),
    ] {
        cluster.kubectl(&["patch", "deployment", "d", "--type", how, "-p", patch]).ok();
    }
    let path = "jsonpath={.spec.template.spec.containers[0].env[0].value}{.spec.template.spec.containers[0].image}\
                {.metadata.annotations.b}{.metadata.labels.c}";
    assert_eq!(cluster.kubectl(&["get", "deployment", "d", "-o", path]).ok(), "1i:123");
    cluster.kubectl(&["label", "deployment", "d", "c-", "team=x"]).ok();
    cluster.kubectl(&["annotate", "deployment", "d", "note=y"]).ok();
    assert_eq!(cluster.kubectl(&["get", "deploy", "-l", "team=x,!c", "-o", "name"]).ok(), "deployment.apps/d\n");
    cluster.kubectl(&["scale", "deployment", "d", "--replicas=4"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    cluster.kubectl(&["wait", "--for=jsonpath={.status.readyReplicas}=4", "deployment/d", "--timeout=60s"]).ok();
    cluster.kubectl(&["expose", "deployment", "d", "--port=80"]).ok();
    assert_eq!(cluster.kubectl(&["get", "svc", "d", "-o", "jsonpath={.spec.selector.app}"]).ok(), "d");
    let bad = cluster.kubectl(&["patch", "deployment", "d", "--type=merge", "-p", r#"{"spec":{"replicas":-1}}"#]);
    assert!(bad.failed(1).contains("spec.replicas"));
    cluster.kubectl(&["delete", "deployment", "d", "--cascade=orphan"]).ok();
    assert!(cluster.kubectl(&["get", "rs", "-o", "name"]).ok().starts_with("replicaset.apps/d-"));
    cluster.kubectl(&["delete", "rs", "--all", "--cascade=foreground", "--timeout=60s"]).ok();
    until_so("the pods are gone", || cluster.kubectl(&["get", "pods", "-o", "name"]).ok().is_empty());
}

fn learns_what_there_is() {
    let cluster = Cluster::fake(&[]);
    let resources = cluster.kubectl(&["api-resources"]).ok();
    for name in ["pods", "deployments", "leases", "endpointslices", "customresourcedefinitions"] {
        assert!(resources.lines().any(|line| line.starts_with(name)), "{name} in {resources}");
    }
    assert!(cluster.kubectl(&["api-versions"]).ok().contains("apps/v1\n"));
    assert!(cluster.kubectl(&["version"]).ok().contains("Server Version: v1.36"));
    let explained = cluster.kubectl(&["explain", "deployment.spec.strategy"]).ok();
    assert!(explained.contains("rollingUpdate"), "{explained}");
    assert_eq!(cluster.kubectl(&["get", "--raw", "/readyz"]).ok(), "ok");
}

fn tells_what_the_scheduler_did() {
    let cluster = Cluster::fake(&[]);
    deployment(&cluster, "d", "2");
    let placed = "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 2\n";
    until_so("two pods are counted", || cluster.kubectl(&["get", "--raw", "/metrics"]).ok().contains(placed));
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    assert!(metrics.contains("# TYPE scheduler_schedule_attempts_total counter\n"), "{metrics}");
    assert!(metrics.contains("scheduler_pending_pods{queue=\"active\"} 0\n"), "{metrics}");
}

fn rolls_out_and_back() {
    let cluster = Cluster::fake(&[]);
    deployment(&cluster, "d", "3");
    cluster.kubectl(&["set", "image", "deployment/d", "i=i:2"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    let images = ["get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}"];
    until_so("only new pods are left", || cluster.kubectl(&images).ok() == "i:2 i:2 i:2");
    let history = cluster.kubectl(&["rollout", "history", "deployment/d"]).ok();
    assert!(history.lines().any(|line| line.starts_with("2 ")), "{history}");
    cluster.kubectl(&["rollout", "undo", "deployment/d"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    until_so("only old pods are left", || cluster.kubectl(&images).ok() == "i:1 i:1 i:1");
    cluster.kubectl(&["rollout", "pause", "deployment/d"]).ok();
    cluster.kubectl(&["set", "image", "deployment/d", "i=i:3"]).ok();
    cluster.kubectl(&["rollout", "resume", "deployment/d"]).ok();
    cluster.kubectl(&["rollout", "restart", "deployment/d"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    until_so("only the newest are left", || cluster.kubectl(&images).ok() == "i:3 i:3 i:3");
}

fn empties_a_node() {
    let cluster = Cluster::fake(&["--nodes", "2"]);
    until_so("two nodes are ready", || cluster.windlass(&["status", "--line"]).ok().contains("2 of 2 ready"));
    deployment(&cluster, "d", "4");
    cluster.kubectl(&["drain", "node-1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    let nodes = ["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"];
    until_so("all run on the other node", || cluster.kubectl(&nodes).ok() == "node-2 node-2 node-2 node-2");
    assert!(cluster.kubectl(&["get", "node", "node-1"]).ok().contains("SchedulingDisabled"));
    cluster.kubectl(&["uncordon", "node-1"]).ok();
    cluster.kubectl(&["taint", "node", "node-2", "k=v:NoSchedule"]).ok();
    cluster.kubectl(&["scale", "deployment", "d", "--replicas=5"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    assert!(cluster.kubectl(&nodes).ok().contains("node-1"));
}

fn runs_jobs_within_their_quota() {
    let cluster = Cluster::fake(&[]);
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec:\n  schedule: '@yearly'\n  jobTemplate:\n    \
                spec:\n      template:\n        metadata: {annotations: {fake.windlass.dev/lifetime: 100ms}}\n        spec:\n          \
                restartPolicy: Never\n          containers: [{name: c, image: 'i:1'}]\n";
    cluster.kubectl_with(&["apply", "-f", "-"], cron).ok();
    cluster.kubectl(&["create", "quota", "q", "--hard=count/jobs.batch=1"]).ok();
    let used = "jsonpath={.status.used.count/jobs\\.batch}";
    until_so("the quota is counted", || cluster.kubectl(&["get", "quota", "q", "-o", used]).ok() == "0");
    cluster.kubectl(&["create", "job", "now", "--from=cronjob/tick"]).ok();
    cluster.kubectl(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]).ok();
    let shown = cluster.kubectl(&["get", "jobs"]).ok();
    assert!(shown.contains("Complete") && shown.contains("1/1"), "{shown}");
    assert!(cluster.kubectl(&["get", "cronjobs"]).ok().contains("@yearly"));
    until_so("its end is told", || cluster.kubectl(&["describe", "job", "now"]).ok().contains("Job completed"));
    let more = cluster.kubectl(&["create", "job", "more", "--from=cronjob/tick"]).failed(1);
    assert!(more.contains("exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1"), "{more}");
    cluster.kubectl(&["delete", "job", "now", "--timeout=60s"]).ok();
    until_so("the pod is gone", || cluster.kubectl(&["get", "pods", "-o", "name"]).ok().is_empty());
    until_so("the quota is given back", || cluster.kubectl(&["get", "quota", "q", "-o", used]).ok() == "0");
}

fn reaches_into_pods() {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl(&["run", "p", "--image=i:1"]).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]).ok();
    assert_eq!(cluster.kubectl(&["logs", "p"]).ok(), "p runs i:1\n");
    assert_eq!(cluster.kubectl(&["exec", "p", "--", "echo", "hello"]).ok(), "hello\n");
    assert_eq!(cluster.kubectl_with(&["exec", "-i", "p", "--", "cat"], "there and back").ok(), "there and back");
    cluster.kubectl(&["exec", "p", "--", "exit", "3"]).failed(3);
}

fn is_told_who_it_may_be() {
    let cluster = Cluster::fake(&[]);
    assert_eq!(cluster.kubectl(&["auth", "can-i", "delete", "nodes"]).ok(), "yes\n");
    let nobody = cluster.kubectl(&["auth", "can-i", "list", "pods", "--as=nobody"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(1), "no\n"));
    assert!(cluster.kubectl(&["get", "pods", "--as=nobody"]).failed(1).contains("Forbidden"));
    assert!(cluster.kubectl(&["auth", "whoami"]).ok().contains("kubernetes-admin"));
}

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What a widget is to be.
            required: [replicas]
            properties:
              replicas: {type: integer, minimum: 0, description: How many there are.}
              color: {type: string, enum: [red, blue], default: red}
            x-kubernetes-validations:
            - {rule: "self.replicas < 100", message: too many}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;

fn uses_what_it_defined() {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl_with(&["apply", "-f", "-"], WIDGETS).ok();
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=60s"]).ok();
    let widget = |name: &str, spec: &str| {
        format!("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    cluster.kubectl_with(&["apply", "-f", "-"], &widget("a", "{replicas: 2}")).ok();
    let shown = cluster.kubectl(&["get", "wd"]).ok();
    assert!(shown.starts_with("NAME   REPLICAS\na      2"), "{shown}");
    assert!(cluster.kubectl(&["get", "widgets", "-o", "wide"]).ok().contains("red"));
    assert!(cluster.kubectl(&["get", "all"]).ok().contains("widget.example.com/a"));
    cluster.kubectl(&["scale", "widget/a", "--replicas=5"]).ok();
    cluster.kubectl(&["patch", "wd", "a", "--type=merge", "-p", r#"{"spec":{"color":"blue"}}"#]).ok();
    let paths = "jsonpath={.spec.replicas} {.spec.color} {.metadata.generation}";
    assert_eq!(cluster.kubectl(&["get", "wd", "a", "-o", paths]).ok(), "5 blue 3");
    cluster
        .kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &widget("a", "{replicas: 3}"))
        .ok();
    let many = cluster.kubectl_with(&["apply", "-f", "-"], &widget("b", "{replicas: 100}")).failed(1);
    assert!(many.contains("spec: Invalid value: \"object\": too many"), "{many}");
    let unknown = cluster.kubectl_with(&["apply", "-f", "-"], &widget("b", "{replicas: 1, odd: 1}")).failed(1);
    assert!(unknown.contains("unknown field \"spec.odd\""), "{unknown}");
    let explained = cluster.kubectl(&["explain", "widgets.spec"]).ok();
    assert!(explained.contains("How many there are.") && explained.contains("color"), "{explained}");
    cluster.kubectl(&["delete", "crd", "widgets.example.com", "--timeout=60s"]).ok();
    // kubectl still remembers the kind from its discovery; the server does not.
    let gone = cluster.kubectl(&["get", "widgets"]).failed(1);
    assert!(gone.contains("the server could not find the requested resource"), "{gone}");
}

const POLICY: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments, deployments/scale]}
  validations:
  - {expression: object.spec.replicas <= 2, messageExpression: \"'at most 2 and not ' + string(object.spec.replicas)\"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: everywhere}
spec: {policyName: few, validationActions: [Deny]}
";

fn is_held_to_policies_and_levels() {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl_with(&["apply", "-f", "-"], POLICY).ok();
    deployment(&cluster, "d", "2");
    let refused = cluster.kubectl(&["scale", "deployment", "d", "--replicas=3"]).failed(1);
    let why = "ValidatingAdmissionPolicy 'few' with binding 'everywhere' denied request: at most 2 and not 3";
    assert!(refused.contains(why), "{refused}");
    let refused = cluster.kubectl(&["create", "deployment", "e", "--image=i", "--replicas=5"]).failed(1);
    assert!(refused.contains("at most 2 and not 5"), "{refused}");
    let shown = cluster.kubectl(&["get", "validatingadmissionpolicy", "few", "-o", "jsonpath={.status}"]).ok();
    assert!(shown.contains("typeChecking"), "{shown}");

    let level = "pod-security.kubernetes.io/enforce=restricted";
    let warned = cluster.kubectl(&["label", "namespace", "default", level]);
    assert!(warned.err.contains("violate the new PodSecurity enforce level"), "{warned:?}");
    let refused = cluster.kubectl(&["run", "p", "--image=i"]).failed(1);
    let begins = "Error from server (Forbidden): pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": ";
    assert!(refused.starts_with(begins), "{refused}");
}
