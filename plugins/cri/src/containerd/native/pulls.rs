//! Pulls: from a registry into containerd's content store, then unpacked and named. Half a pull leaves nothing that lasts.

mod challenge;

use std::{fs, path::Path};

use containerd_client::{services::v1 as api, types::Descriptor};
use futures::{SinkExt, StreamExt, TryStreamExt, channel::mpsc, future::join, stream::BoxStream};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciDescriptor,
    secrets::RegistryAuth as Secret,
};
use oci_spec::image::{ImageIndex, ImageManifest};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{ImageRef, Pull, RegistryAuth},
};

use super::{
    super::mirrors::Mirror,
    Containerd, LEASE,
    calls::{Calls, answered, unless_gone},
    images::{descriptor, full_name, of_this_machine},
    unpack::sha256,
};
use crate::wire::error_from_wire;

/// What a registry may answer with.
const ACCEPTED: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How long what an abandoned pull left is kept at the most, in seconds: longer than any pull goes on, since a lease cannot be renewed.
/// Usually it goes sooner, when the runtime is started anew.
const KEPT: i64 = 7 * 24 * 3600;

/// A pull that goes on.
struct Pulling<'a> {
    runtime: &'a Containerd,
    calls: Calls,
    registry: Registry,
    secret: Secret,
    reference: Reference,
}

/// A registry, by the client that pulls and the one that answers its questions.
struct Registry {
    client: Client,
    http: reqwest::Client,
    plain: bool,
}

/// Holds what was fetched and unpacked until an image does.
pub(super) struct Lease {
    runtime: Containerd,
    id: String,
}

impl Lease {
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (runtime, id) = (self.runtime.clone(), std::mem::take(&mut self.id));
        self.runtime.detach_work("cri.lease", async move {
            // One that stays ends by itself.
            let _ = runtime.0.calls.leases().delete(api::DeleteRequest { id, sync: false }).await;
        });
    }
}

impl Containerd {
    pub(super) async fn pull_image(&self, pull: &Pull) -> Result<ImageRef> {
        if !matches!(pull.handler.as_str(), "" | "runc") {
            let message = format!("there is no runtime handler {:?}: this runtime has runc only", pull.handler);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let reference = full_name(pull.image.as_str())?;
        let own = secret(pull.auth.as_ref(), reference.resolve_registry())?;
        let lease = self.lease().await?;
        let calls = self.0.calls.leased(&lease.id)?;
        let name = reference.whole();
        let target = match self.fetch_from_mirrors(&reference, pull.auth.as_ref(), &calls).await {
            Some(target) => target,
            None => {
                let registry = self.registry(reference.resolve_registry(), None).await?;
                Pulling { runtime: self, calls: calls.clone(), registry, secret: own, reference }.fetch_all().await?
            }
        };
        // The image has to be whole before anybody finds it.
        let facts = self
            .facts_at(&target)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{name} has nothing for machines of this kind")))?;
        self.unpack_in(&calls, &facts).await?;
        self.name_image(&name, target).await?;
        drop(lease);
        Ok(facts.id.as_str().into())
    }

    pub(super) async fn lease(&self) -> Result<Lease> {
        let id = format!("windlass-pull-{}", self.fresh_id());
        let end = self.0.setup.clock.now().as_second() + KEPT;
        let end = jiff::Timestamp::from_second(end).unwrap_or(jiff::Timestamp::MAX);
        let labels = [(LEASE.to_owned(), "pull".to_owned()), ("containerd.io/gc.expire".to_owned(), end.to_string())];
        let request = api::CreateRequest { id: id.clone(), labels: labels.into() };
        answered("make a lease", self.0.calls.leases().create(request).await)?;
        Ok(Lease { runtime: self.unwatched(), id })
    }

    /// Fetches from the first mirror that has an image. Where none has, the registry's own answer is the one that counts.
    async fn fetch_from_mirrors(
        &self,
        reference: &Reference,
        auth: Option<&RegistryAuth>,
        calls: &Calls,
    ) -> Option<Descriptor> {
        for mirror in self.0.mirrors.get(reference.registry()).into_iter().flatten() {
            // A secret that does not say where it belongs is the registry's.
            let auth = auth.filter(|auth| !auth.server.is_empty());
            let fetched = async {
                let secret = secret(auth, mirror.host())?;
                let registry = self.registry(mirror.host(), Some(mirror)).await?;
                let mut reference = reference.clone();
                // The mirror is told whose image is meant.
                reference.set_mirror_registry(mirror.host().to_owned());
                Pulling { runtime: self, calls: calls.clone(), registry, secret, reference }.fetch_all().await
            };
            match fetched.await {
                Ok(target) => return Some(target),
                Err(error) if error.is(ErrorKind::NotFound) => {
                    tracing::debug!(image = %reference, mirror = mirror.url(), "a mirror does not have an image");
                }
                Err(error) => {
                    tracing::warn!(image = %reference, mirror = mirror.url(), %error, "a mirror does not give an image");
                }
            }
        }
        None
    }

    async fn registry(&self, registry: &str, mirror: Option<&Mirror>) -> Result<Registry> {
        // Whoever embeds this may have chosen another one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut plain = self.0.plain_registries.clone();
        match mirror {
            Some(mirror) if !mirror.is_plain() => plain.retain(|plain| plain != registry),
            Some(_) => plain.push(registry.to_owned()),
            None if is_loopback(registry) => plain.push(registry.to_owned()),
            None => {}
        }
        let trusted = match mirror.and_then(Mirror::ca).map(Path::to_owned) {
            Some(ca) => self.blocking(move || certificates(&ca)).await?,
            None => Vec::new(),
        };
        let failed = || Error::new(ErrorKind::Unavailable, "cannot make a client for registries");
        let unverified = mirror.is_some_and(|mirror| !mirror.is_verified());
        let user_agent = concat!("windlass/", env!("CARGO_PKG_VERSION"));
        let roots = trusted.iter().map(|one| reqwest::Certificate::from_der(&one.data));
        let roots = roots.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| failed().with_source(error))?;
        let http = reqwest::Client::builder()
            .danger_accept_invalid_certs(unverified)
            .tls_certs_merge(roots)
            .user_agent(user_agent)
            .build()
            .map_err(|error| failed().with_source(error))?;
        let is_plain = plain.iter().any(|plain| plain == registry);
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            accept_invalid_certificates: unverified,
            extra_root_certificates: trusted,
            user_agent,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| failed().with_source(error))?;
        Ok(Registry { client, http, plain: is_plain })
    }
}

/// The certificates of a file.
fn certificates(ca: &Path) -> Result<Vec<Certificate>> {
    let failed = |error: String| Error::new(ErrorKind::Invalid, format!("cannot read {}: {error}", ca.display()));
    let text = fs::read(ca).map_err(|error| failed(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&text).map(|one| {
        let data = one.map_err(|error| failed(error.to_string()))?.to_vec();
        Ok(Certificate { encoding: CertificateEncoding::Der, data })
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    if found.is_empty() { Err(failed("no certificates are in it".into())) } else { Ok(found) }
}

/// A registry on this machine is spoken to without TLS, as Docker and containerd do.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The secret for a registry; one for another registry is kept from it.
fn secret(auth: Option<&RegistryAuth>, registry: &str) -> Result<Secret> {
    let Some(auth) = auth else { return Ok(Secret::Anonymous) };
    let server = auth.server.split_once("://").map_or(auth.server.as_str(), |(_, rest)| rest);
    let server = server.split('/').next().unwrap_or_default();
    // The first registry has two names.
    let docker = |name: &str| matches!(name, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    if !server.is_empty() && server != registry && !(docker(server) && docker(registry)) {
        return Ok(Secret::Anonymous);
    }
    if !auth.registry_token.is_empty() {
        return Ok(Secret::Bearer(auth.registry_token.clone()));
    }
    if !auth.username.is_empty() {
        return Ok(Secret::Basic(auth.username.clone(), auth.password.clone()));
    }
    if !auth.basic.is_empty() {
        let wrong = || Error::new(ErrorKind::Invalid, "the secret of the registry is no user with a password");
        let text = decoded(&auth.basic).ok_or_else(wrong)?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        return Ok(Secret::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()));
    }
    if !auth.identity_token.is_empty() {
        let message =
            "the native containerd runtime takes no identity tokens: give a user with a password, or a registry token";
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    Ok(Secret::Anonymous)
}

fn decoded(basic: &str) -> Option<String> {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(basic).ok()?).ok()
}

impl Pulling<'_> {
    /// Fetches everything, the manifest last; answers what the name is to lead to.
    async fn fetch_all(&self) -> Result<Descriptor> {
        let (document, target) = match self.manifest(&self.reference).await {
            // What is asked for at a repository alone is not known before.
            Err(error) if error.is(ErrorKind::Unauthorized) && self.says_who_asks().await? => {
                self.manifest(&self.reference).await?
            }
            answer => answer?,
        };
        let Ok(index) = serde_json::from_slice::<ImageIndex>(&document) else {
            self.fetch_image(&document, &target).await?;
            return Ok(target);
        };
        let other =
            || Error::new(ErrorKind::NotFound, format!("{} has nothing for machines of this kind", self.reference));
        let chosen = of_this_machine(&index).ok_or_else(other)?;
        let (manifest, of_manifest) = self.manifest(&self.reference.clone_with_digest(chosen.clone())).await?;
        self.fetch_image(&manifest, &of_manifest).await?;
        let at = index.manifests().iter().position(|entry| entry.digest().to_string() == chosen).unwrap_or_default();
        let label = (format!("containerd.io/gc.ref.content.m.{at}"), chosen);
        self.keep(&target, [label].into(), document).await?;
        Ok(target)
    }

    /// Whether the registry asks at the repository who is there, and can be told.
    async fn says_who_asks(&self) -> Result<bool> {
        let (reference, registry) = (&self.reference, &self.registry);
        let scheme = if registry.plain { "http" } else { "https" };
        let manifest = reference.digest().or(reference.tag()).unwrap_or("latest");
        let namespace = reference.namespace().map(|namespace| format!("?ns={namespace}")).unwrap_or_default();
        let (host, repository) = (reference.resolve_registry(), reference.repository());
        let url = format!("{scheme}://{host}/v2/{repository}/manifests/{manifest}{namespace}");
        let Some(token) = challenge::answer(&registry.http, &url, repository, &self.secret).await? else {
            return Ok(false);
        };
        registry.client.tokens.insert(reference, RegistryOperation::Pull, token).await;
        Ok(true)
    }

    /// A manifest or an index, which is what its digest says.
    async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Descriptor)> {
        let answer = self.registry.client.pull_manifest_raw(reference, &self.secret, ACCEPTED).await;
        let (document, _) = answer.map_err(|error| self.failed(error))?;
        let digest = sha256(&document);
        if reference.digest().is_some_and(|wanted| wanted != digest) {
            return Err(Error::new(ErrorKind::Invalid, format!("the registry answered {digest} for {reference}")));
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            #[serde(default)]
            media_type: String,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let wrong =
            |error| Error::new(ErrorKind::Invalid, format!("the manifest of {reference} is none")).with_source(error);
        let kind: Kind = serde_json::from_slice(&document).map_err(wrong)?;
        let media_type = match (kind.media_type.as_str(), kind.manifests) {
            ("", Some(_)) => ACCEPTED[0].to_owned(),
            ("", None) => ACCEPTED[1].to_owned(),
            _ => kind.media_type,
        };
        let size = i64::try_from(document.len()).unwrap_or(i64::MAX);
        Ok((document.to_vec(), Descriptor { media_type, digest, size, ..Descriptor::default() }))
    }

    /// Fetches a configuration, layers, and then keeps the manifest.
    async fn fetch_image(&self, document: &[u8], target: &Descriptor) -> Result<()> {
        let wrong = |error| {
            Error::new(ErrorKind::Invalid, format!("the manifest of {} is none", self.reference)).with_source(error)
        };
        let manifest: ImageManifest = serde_json::from_slice(document).map_err(wrong)?;
        let config = descriptor(manifest.config());
        let mut labels = vec![("containerd.io/gc.ref.content.config".to_owned(), config.digest.clone())];
        self.fetch(&config).await?;
        for (at, layer) in manifest.layers().iter().map(descriptor).enumerate() {
            self.fetch(&layer).await?;
            labels.push((format!("containerd.io/gc.ref.content.l.{at}"), layer.digest));
        }
        self.keep(target, labels, document.to_vec()).await
    }

    /// Fetches a blob, unless it is there.
    async fn fetch(&self, blob: &Descriptor) -> Result<()> {
        let _blob = self.runtime.0.locks.lock(&format!("content {}", blob.digest)).await;
        if self.take_up(blob).await? {
            return Ok(());
        }
        let wanted = OciDescriptor { digest: blob.digest.clone(), size: blob.size, ..OciDescriptor::default() };
        let pull = async || {
            let answer = self.registry.client.pull_blob_stream(&self.reference, &wanted).await;
            answer.map_err(|error| self.failed(error))
        };
        let stream = match pull().await {
            // A token that was given at the repository has run out.
            Err(error) if error.is(ErrorKind::Unauthorized) && self.says_who_asks().await? => pull().await?,
            answer => answer?,
        }
        .stream;
        self.write(blob, Vec::new(), stream.map_ok(|bytes| bytes.to_vec()).boxed()).await
    }

    /// Keeps a document with what it refers to.
    async fn keep(&self, document: &Descriptor, labels: Vec<(String, String)>, bytes: Vec<u8>) -> Result<()> {
        let _blob = self.runtime.0.locks.lock(&format!("content {}", document.digest)).await;
        if self.take_up(document).await? {
            let paths = labels.iter().map(|(name, _)| format!("labels.{name}")).collect();
            let info = api::Info {
                digest: document.digest.clone(),
                labels: labels.into_iter().collect(),
                ..api::Info::default()
            };
            let mask = prost_types::FieldMask { paths };
            let request = api::UpdateRequest { info: Some(info), update_mask: Some(mask) };
            return answered("keep a manifest", self.calls.content().update(request).await).map(drop);
        }
        self.write(document, labels, futures::stream::iter([Ok(bytes)]).boxed()).await
    }

    /// Whether content is there. If it is, the lease holds it too.
    async fn take_up(&self, content: &Descriptor) -> Result<bool> {
        let request = api::InfoRequest { digest: content.digest.clone() };
        if unless_gone("look for content", self.calls.content().info(request).await)?.is_none() {
            return Ok(false);
        }
        let Some(lease) = self.calls.lease() else { return Ok(true) };
        let resource = api::Resource { id: content.digest.clone(), r#type: "content".into() };
        let request = api::AddResourceRequest { id: lease, resource: Some(resource) };
        answered("hold content", self.calls.leases().add_resource(request).await)?;
        let request = api::InfoRequest { digest: content.digest.clone() };
        // It may have gone before it was held.
        Ok(unless_gone("look for content", self.calls.content().info(request).await)?.is_some())
    }

    /// Writes content, which has to be what its digest says.
    async fn write(
        &self,
        content: &Descriptor,
        labels: Vec<(String, String)>,
        mut bytes: BoxStream<'_, std::io::Result<Vec<u8>>>,
    ) -> Result<()> {
        let part = |action: api::WriteAction| api::WriteContentRequest {
            action: action.into(),
            r#ref: format!("windlass-{}", content.digest),
            total: content.size,
            expected: content.digest.clone(),
            ..api::WriteContentRequest::default()
        };
        let abort = api::AbortRequest { r#ref: part(api::WriteAction::Stat).r#ref };
        // What an interrupted pull left is begun anew. Nothing there is fine.
        let _ = self.calls.content().abort(abort.clone()).await;
        let (mut give, take) = mpsc::channel(2);
        let mut client = self.calls.content();
        let feeding = async {
            let mut offset = 0;
            while let Some(next) = bytes.next().await {
                let data = next?;
                let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
                let request = api::WriteContentRequest { offset, data, ..part(api::WriteAction::Write) };
                offset += length;
                if give.send(request).await.is_err() {
                    break;
                }
            }
            let labels = labels.into_iter().collect();
            let commit = api::WriteContentRequest { offset, labels, ..part(api::WriteAction::Commit) };
            // Who takes no more says why.
            let _ = give.send(commit).await;
            drop(give);
            Ok::<_, std::io::Error>(())
        };
        let writing = async {
            let mut answers = client.write(take).await?.into_inner();
            while answers.try_next().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        };
        let (fed, written) = join(feeding, writing).await;
        let done = match (fed, written) {
            (Err(error), _) => {
                let message = format!("cannot pull {}: {} was interrupted", self.reference, content.digest);
                Err(Error::new(ErrorKind::Unavailable, message).with_source(error))
            }
            (Ok(()), Err(status)) if status.code() == tonic::Code::AlreadyExists => return Ok(()),
            (Ok(()), Err(status)) => Err(error_from_wire("write content", status)),
            (Ok(()), Ok(())) => return Ok(()),
        };
        let _ = self.calls.content().abort(abort).await;
        done
    }

    /// What a registry's answer says.
    fn failed(&self, error: OciDistributionError) -> Error {
        let absent = |code: &OciErrorCode| {
            matches!(
                code,
                OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown
            )
        };
        let kind = match &error {
            OciDistributionError::ImageManifestNotFoundError(_) => ErrorKind::NotFound,
            OciDistributionError::ServerError { code: 404, .. } => ErrorKind::NotFound,
            OciDistributionError::RegistryError { envelope, .. } if envelope.errors.iter().any(|e| absent(&e.code)) => {
                ErrorKind::NotFound
            }
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                ErrorKind::Unauthorized
            }
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("cannot pull {}: {error}", self.reference)).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_to_its_registry_only() {
        let auth = |server: &str| RegistryAuth {
            username: "user".into(),
            password: "hidden".into(),
            server: server.into(),
            ..RegistryAuth::default()
        };
        let given = |auth: &RegistryAuth| !matches!(secret(Some(auth), "registry.local").unwrap(), Secret::Anonymous);
        assert!(given(&auth("")) && given(&auth("registry.local")) && given(&auth("https://registry.local/v1/")));
        assert!(!given(&auth("other.local")));
    }

    #[test]
    fn a_loopback_needs_no_tls() {
        for (registry, expect) in
            [("127.0.0.1:5000", true), ("localhost", true), ("[::1]:5000", true), ("registry.local:5000", false)]
        {
            assert_eq!(is_loopback(registry), expect, "{registry}");
        }
    }
}
