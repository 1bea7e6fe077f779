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

#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for Certificates {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, request: &Request) -> bool {
        request.resource.resource == "certificatesigningrequests"
            && request.resource.group == GROUP
            && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let identity = Arc::clone(&admitting.request.identity);
        if let (None, Some(new)) = (admitting.old, admitting.new.as_deref_mut()) {
            sign_in(new, &identity);
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        #[cfg(feature = "http")]
        if let (None, Some(new)) = (admitting.old, admitting.new.as_deref()) {
            return subject(new).map_err(|why| errors::forbidden(&request.resource, object::name(new), &why));
        }
        let (Some(old), Some(new)) = (admitting.old, admitting.new.as_deref()) else { return Ok(()) };
        let verb = match request.subresource.as_str() {
            "approval" => "approve",
            "status" if old["status"]["certificate"] != new["status"]["certificate"] => "sign",
            _ => return Ok(()),
        };
        let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
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
            if let Decision::Allow(_) = self.authorizer.authorize(&request.identity, &attributes).await? {
                return Ok(());
            }
        }
        let Some(info) = resources::find(GROUP, "v1", "certificatesigningrequests") else { return Ok(()) };
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(errors::forbidden(info, &request.name, &why))
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
