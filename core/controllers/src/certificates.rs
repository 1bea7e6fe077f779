//! The certificate controller: approves nodes' requests for client certificates, signs what is approved, and removes
//! requests that nobody needs any more. How a request is read and signed is the [`Signer`]'s business.

mod plan;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use windlass_api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::CertificateSigningRequest,
    types::ByteString,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, ErrorKind, Result,
    api::{Options, Preconditions, Verb},
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{Leave, Step};
use crate::{claim, registry::Tools};

/// Reads and signs certificate requests (PKCS#10, as PEM).
pub trait Signer: Debug + Send + Sync + 'static {
    /// Who a request is for.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is no request, or its signature is not its key's.
    fn read(&self, request: &str) -> Result<Subject>;

    /// The certificate (PEM) for a request, on these terms.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Signer::read); [`NotSupported`](ErrorKind::NotSupported) for what cannot be signed.
    fn sign(&self, request: &str, terms: &Terms) -> Result<String>;
}

/// Who a certificate request is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub organizations: Vec<String>,
    /// How many other names it asks for: of hosts, then addresses.
    pub hosts: usize,
    /// How many other names of other kinds it asks for.
    pub others: usize,
}

/// What a certificate is signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The usages, as in `spec.usages`.
    pub usages: Vec<String>,
    /// From when on it is valid.
    pub from: Timestamp,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// Approves, signs and removes certificate requests.
#[derive(Debug)]
pub struct Certificates {
    client: Client,
    clock: Arc<dyn Clock>,
    requests: Cache<Arc<CertificateSigningRequest>>,
    signer: Option<Arc<dyn Signer>>,
}

impl Certificates {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            requests: tools.informers.typed(Select::all()),
            signer: tools.config.signer.clone(),
        }
    }

    /// Whether who asked may have such a certificate.
    async fn may(&self, request: &CertificateSigningRequest, kind: &str) -> Result<bool> {
        let spec = &request.spec;
        let attributes = ResourceAttributes {
            verb: Some("create".into()),
            group: Some("certificates.k8s.io".into()),
            version: Some("*".into()),
            resource: Some("certificatesigningrequests".into()),
            subresource: Some(kind.into()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        Ok(self.client.create(&review).await?.status.allowed)
    }

    async fn approve(&self, request: &CertificateSigningRequest, kinds: &[&str]) -> Result<()> {
        for kind in kinds {
            if !self.may(request, kind).await? {
                continue;
            }
            let mut approved = request.clone();
            let message = "Auto approving kubelet client certificate after SubjectAccessReview.";
            approved.status.conditions.push(plan::condition("Approved", "AutoApproved", message, self.clock.now()));
            let body = serde_json::to_value(&approved).unwrap_or_else(|_| json!({}));
            let name = request.metadata.name.as_deref().unwrap_or_default();
            let update = self.client.request(Verb::Update, gvr::<CertificateSigningRequest>()).named(name);
            return self.client.call(update.subresource("approval").body(body)).await.map(drop);
        }
        Ok(())
    }

    async fn sign(&self, signer: &dyn Signer, request: &CertificateSigningRequest, text: &str) -> Result<()> {
        let now = self.clock.now();
        let mut signed = request.clone();
        match plan::terms(&request.spec, now).and_then(|terms| signer.sign(text, &terms)) {
            Ok(certificate) => signed.status.certificate = Some(ByteString(certificate.into_bytes())),
            Err(error) => {
                let condition = plan::condition("Failed", "SignerValidationFailure", &error.to_string(), now);
                signed.status.conditions.push(condition);
            }
        }
        self.client.update_status(&signed).await.map(drop)
    }

    async fn remove(&self, request: &CertificateSigningRequest) -> Result<()> {
        let preconditions = Preconditions { uid: request.metadata.uid.clone(), resource_version: None };
        let options = Options { preconditions, ..Options::default() };
        let name = request.metadata.name.as_deref().unwrap_or_default();
        self.client.delete_with::<CertificateSigningRequest>("", name, options).await
    }
}

#[async_trait]
impl Controller for Certificates {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<CertificateSigningRequest>(), keys: claim::own_key }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(request) = self.requests.get(key) else { return Ok(Requeue::OnChange) };
        let now = self.clock.now();
        let leave = plan::leave(&request, now);
        let text = String::from_utf8_lossy(&request.spec.request.0).into_owned();
        let done = match (leave, &self.signer) {
            (Leave::Now, _) => self.remove(&request).await,
            (Leave::In(_), None) => Ok(()),
            (Leave::In(_), Some(signer)) => match plan::step(&request, signer.read(&text)) {
                Step::Rest => Ok(()),
                Step::Approve(kinds) => self.approve(&request, kinds).await,
                Step::Sign => self.sign(&**signer, &request, &text).await,
                Step::Fail(why) => {
                    let mut failed = (*request).clone();
                    failed.status.conditions.push(plan::condition("Failed", "SignerValidationFailure", &why, now));
                    self.client.update_status(&failed).await.map(drop)
                }
            },
        };
        match done {
            // Whoever wrote in between wakes this controller again.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(Requeue::OnChange),
            Err(error) => Err(error),
            Ok(()) => Ok(match leave {
                Leave::In(left) => Requeue::After(left),
                Leave::Now => Requeue::OnChange,
            }),
        }
    }
}
