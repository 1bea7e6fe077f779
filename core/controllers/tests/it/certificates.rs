//! Certificate requests of nodes are approved and signed, others wait for somebody, and all go some time after.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windlass_api::certificates::v1::CertificateSigningRequest;
use windlass_client::{Cache, Select, gvr, run_controllers};
use windlass_controllers::{
    Config,
    certificates::{Signer, Subject, Terms},
};
use windlass_kernel::{Result, SpawnExt, Stop, api::Verb, controller::ObjectKey};

use crate::cluster::Cluster;

/// Takes the text of a request for the name of a node.
#[derive(Debug)]
struct Scribe;

/// What stands between the marks of a request.
fn said(request: &str) -> &str {
    request.lines().nth(1).unwrap_or_default()
}

impl Signer for Scribe {
    fn read(&self, request: &str) -> Result<Subject> {
        Ok(Subject { name: said(request).into(), organizations: vec!["system:nodes".into()], ..Subject::default() })
    }

    fn sign(&self, request: &str, terms: &Terms) -> Result<String> {
        Ok(format!("{} may {}", said(request), terms.usages.join(" and ")))
    }
}

/// What the signer of these tests reads: a request with "system:node:a" in it, and nothing else.
const NAME: &str = concat!(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0Kc3lzdGVtOm5vZGU6YQotLS0tLUVORCBD",
    "RVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K",
);

/// A request for "somebody" as admission reads it, made by `openssl req -new -subj /CN=somebody`.
const REQUEST: &str = concat!(
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlITk1IVUNBUUF3RXpFUk1BOEdBMVVFQXd3SWMyOXRaV0p2Wkhr",
    "d1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqTwpQUU1CQndOQ0FBUmJUN3RJamNLUmN0UHltVmFLWFhrRXZUUzAxY2ZSdU1RTGpDQzJu",
    "RE5FKzFBY0VkSXZLeHdxCk9LOEtHU0c2N2VDb3ppNUJHbVhQNEtQODhYM3lqSmdub0FBd0NnWUlLb1pJemowRUF3SURTQUF3UlFJ",
    "aEFJN0IKUVRtMWQ0Z2pzYUthcVd6MlZFKzJ0dXQva0tqcWMzd09aZXA4TTVRQ0FpQWF2dUhiaWpYS1hkbndFVjhKSmJBbgpPMU9z",
    "R083VTMrNThucTF4Um9PRVNRPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==",
);

fn request(name: &str, signer: &str) -> Value {
    let request = if signer == "kubernetes.io/kube-apiserver-client" { REQUEST } else { NAME };
    let spec = json!({"signerName": signer, "request": request, "usages": ["client auth"]});
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec})
}

fn start(cluster: &Cluster) -> Cache<Arc<CertificateSigningRequest>> {
    let config = Config { signer: Some(Arc::new(Scribe)), ..Config::default() };
    let informers = cluster.informers.clone();
    let run = async move {
        let all = windlass_controllers::all(&informers, &config).into_iter();
        let own = all.filter(|controller| controller.name() == "certificate-controller").collect();
        run_controllers(own, &informers, Stop::new()).await;
    };
    cluster.executor.spawn().spawn("certificates", run).detach();
    cluster.informers.typed(Select::all())
}

fn certificate(requests: &Cache<Arc<CertificateSigningRequest>>, name: &str) -> Option<String> {
    let request = requests.get(&ObjectKey::new("", name))?;
    request.status.certificate.as_ref().map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
}

#[test]
fn a_node_gets_its_certificate_and_the_request_goes() {
    let cluster = Cluster::idle(1);
    let requests = start(&cluster);
    cluster.create("certificatesigningrequests", request("a", "kubernetes.io/kube-apiserver-client-kubelet"));
    let served = |requests: &Cache<_>| certificate(requests, "a").as_deref() == Some("system:node:a may client auth");
    cluster.until(&requests, served);
    let approved = requests.values()[0].status.conditions[0].clone();
    assert_eq!((approved.type_.as_str(), approved.reason.as_deref()), ("Approved", Some("AutoApproved")));
    cluster.executor.run_for(Duration::from_secs(3000));
    assert_eq!(requests.len(), 1);
    cluster.executor.run_for(Duration::from_secs(700));
    assert!(requests.is_empty());
}

#[test]
fn what_is_not_a_nodes_waits_to_be_approved() {
    let cluster = Cluster::idle(2);
    let requests = start(&cluster);
    let made = cluster.create("certificatesigningrequests", request("a", "kubernetes.io/kube-apiserver-client"));
    cluster.settle();
    assert_eq!(certificate(&requests, "a"), None);
    let mut approved = made;
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "ByMe"}]});
    let update = cluster.admin.request(Verb::Update, gvr::<CertificateSigningRequest>()).named("a");
    cluster.executor.run_until(cluster.admin.call(update.subresource("approval").body(approved))).unwrap();
    cluster.until(&requests, |requests| certificate(requests, "a").is_some());
}
