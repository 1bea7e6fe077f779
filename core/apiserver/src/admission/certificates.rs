//! Certificate requests say who made them, and are approved and signed only by those who may do so for their signer.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_api::resources;
use windlass_kernel::{
    Admission, Authorizer, Identity,
    access::{Admitting, Attributes, Decision},
    api::{Request, Verb},
    error::Result,
};

use crate::{errors, object};

const GROUP: &str = "certificates.k8s.io";
#[cfg(feature = "http")]
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

/// Whether a request writes certificate requests, or their sub-resource of this name.
fn writes(request: &Request, subresource: &str) -> bool {
    request.resource.resource == "certificatesigningrequests"
        && request.resource.group == GROUP
        && request.subresource == subresource
        && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
}

/// Whether somebody may do something for a signer, or for all of its domain.
async fn may(authorizer: &dyn Authorizer, identity: &Identity, verb: &str, signer: &str) -> Result<bool> {
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    for name in [Some(signer.to_owned()), domain].into_iter().flatten() {
        let attributes = Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name,
            ..Attributes::default()
        };
        if let Decision::Allow(_) = authorizer.authorize(identity, &attributes).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses whoever may not do something for the signer of a certificate request.
async fn judge(authorizer: &dyn Authorizer, request: &Request, old: &Value, verb: &str) -> Result<()> {
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    if may(authorizer, &request.identity, verb, signer).await? {
        return Ok(());
    }
    let Some(info) = resources::find(GROUP, "v1", "certificatesigningrequests") else { return Ok(()) };
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(errors::forbidden(info, &request.name, &why))
}

#[derive(Debug)]
pub(super) struct CertificateApproval {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "approval")
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(old) = admitting.old else { return Ok(()) };
        judge(&*self.authorizer, admitting.request, old, "approve").await
    }
}

#[derive(Debug)]
pub(super) struct CertificateSigning {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "status")
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let (Some(old), Some(new)) = (admitting.old, admitting.new.as_deref()) else { return Ok(()) };
        if old["status"]["certificate"] == new["status"]["certificate"] {
            return Ok(());
        }
        judge(&*self.authorizer, admitting.request, old, "sign").await
    }
}

/// Bundles of a signer's certificates are written only by who may attest for it.
#[derive(Debug)]
pub(super) struct ClusterTrustBundleAttest {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self, request: &Request) -> bool {
        request.resource.resource == "clustertrustbundles"
            && request.resource.group == GROUP
            && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        let signer = new["spec"]["signerName"].as_str().unwrap_or_default();
        if signer.is_empty() || admitting.old.is_some_and(|old| old["spec"] == new["spec"]) {
            return Ok(());
        }
        if may(&*self.authorizer, &request.identity, "attest", signer).await? {
            return Ok(());
        }
        let why = format!("user not permitted to attest for signerName {signer:?}");
        Err(errors::forbidden(&request.resource, object::name(new), &why))
    }
}

/// Certificate requests for clients may not ask to be an administrator.
#[derive(Debug)]
pub(super) struct CertificateSubjectRestriction;

#[async_trait]
impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "") && request.verb == Verb::Create
    }

    #[cfg(feature = "http")]
    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        subject(new).map_err(|why| errors::forbidden(&admitting.request.resource, object::name(new), &why))
    }
}

/// Refuses requests for certificates of clients that would be administrators whatever the rules say
/// (`CertificateSubjectRestriction`).
#[cfg(feature = "http")]
fn subject(new: &Value) -> Result<(), String> {
    use crate::http::tls::Requested;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    if new["spec"]["signerName"] != CLIENTS {
        return Ok(());
    }
    let packed = new["spec"]["request"].as_str().unwrap_or_default();
    let text = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let asked = Requested::read(&text).map_err(|error| format!("unable to parse csr: {}", error.message()))?;
    if asked.organizations.iter().any(|group| group == "system:masters") {
        return Err(format!("use of {CLIENTS} signer with system:masters group is not allowed"));
    }
    Ok(())
}

/// Every request says who made it. This is no plugin that could be turned off.
#[derive(Debug)]
pub(super) struct SignIn;

#[async_trait]
impl Admission for SignIn {
    fn name(&self) -> &'static str {
        "CertificateRequests"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "") && request.verb == Verb::Create
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let identity = Arc::clone(&admitting.request.identity);
        if let (None, Some(new)) = (admitting.old, admitting.new.as_deref_mut()) {
            sign_in(new, &identity);
        }
        Ok(())
    }
}

/// Writes who asks into the request, whatever it said.
fn sign_in(new: &mut Value, identity: &Identity) {
    let spec = object::child_mut(new, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".into(), identity.name.as_str().into());
    spec.insert("groups".into(), json!(identity.groups));
    if !identity.uid.is_empty() {
        spec.insert("uid".into(), identity.uid.as_str().into());
    }
    if !identity.extra.is_empty() {
        spec.insert("extra".into(), json!(identity.extra));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_cannot_speak_for_somebody_else() {
        let mut request = json!({"spec": {"username": "admin", "uid": "1", "signerName": "a/b"}});
        sign_in(&mut request, &Identity::new("me", &["g"]));
        assert_eq!(request["spec"], json!({"username": "me", "groups": ["g"], "signerName": "a/b"}));
    }
}
