//! Images: names that lead to manifests, what is in those, and the space that all of them take.
//!
//! A name is a record of containerd's. What has no record of its own follows from those that have: an image's id is the digest of its
//! configuration, and each of its repositories knows it by the digest of its manifest, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use containerd_client::{services::v1 as api, types::Descriptor};
use futures::TryStreamExt;
use oci_client::Reference;
use oci_spec::image::{self, Arch, ImageConfiguration, ImageIndex, ImageManifest, Os};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{FsUsage, Image, ImageRef, Pull, User},
};

use super::{
    Containerd,
    calls::{answered, unless_gone},
};
use crate::wire::error_from_wire;

/// How containerd's own CRI marks images that are never removed to make room.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");
/// The longest manifest or configuration.
const DOCUMENT: usize = 8 << 20;

/// What is in an image, for this machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The digest of its configuration.
    pub(super) id: String,
    pub(super) layers: Vec<Descriptor>,
    pub(super) configuration: ImageConfiguration,
    /// The name of the snapshot of all its layers; empty for an image without any.
    pub(super) chain: String,
    size: u64,
}

/// One name.
#[derive(Clone, Debug)]
struct Name {
    name: String,
    target: String,
    pinned: bool,
    facts: Arc<Facts>,
}

impl Facts {
    pub(super) fn config(&self) -> image::Config {
        self.configuration.config().clone().unwrap_or_default()
    }

    /// The digests of the layers as they are when unpacked.
    pub(super) fn unpacked(&self) -> &[String] {
        self.configuration.rootfs().diff_ids()
    }
}

/// A full name, such as `docker.io/library/busybox:latest` for `busybox`.
pub(super) fn full_name(name: &str) -> Result<Reference> {
    let wrong = |error| Error::new(ErrorKind::Invalid, format!("{name:?} cannot name an image")).with_source(error);
    let reference: Reference = name.parse().map_err(wrong)?;
    // With a digest the tag says nothing.
    Ok(match reference.digest() {
        Some(digest) => reference.clone_with_digest(digest.to_owned()),
        None => reference,
    })
}

/// The repository of a full name.
fn repository(name: &str) -> Option<&str> {
    let name = name.split_once('@').map_or(name, |(repository, _)| repository);
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    let repository = tag.map_or(name, |colon| &name[..colon]);
    (!repository.is_empty()).then_some(repository)
}

impl Containerd {
    /// Every name whose image is there.
    async fn names(&self) -> Result<Vec<Name>> {
        let answer = answered("list images", self.0.calls.images().list(api::ListImagesRequest::default()).await)?;
        let mut names = Vec::new();
        for image in answer.images {
            let Some(target) = image.target else { continue };
            let facts = match self.facts(&target).await {
                Err(error) if error.is(ErrorKind::Invalid) => self.listed(&image.name, Err(error)),
                facts => facts?,
            };
            // What another machine could run, or is half there, is no image of this one.
            let Some(facts) = facts else { continue };
            let pinned = image.labels.get(PINNED.0).is_some_and(|value| value == PINNED.1);
            names.push(Name { name: image.name, target: target.digest, pinned, facts });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let held: BTreeSet<_> = names.iter().map(|name| name.target.clone()).collect();
        self.0.facts.lock().retain(|target, _| held.contains(target));
        Ok(names)
    }

    /// What is in what a name leads to; `None` where it is not for this machine, or not all there.
    async fn facts(&self, target: &Descriptor) -> Result<Option<Arc<Facts>>> {
        let known = self.0.facts.lock().get(&target.digest).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let read = self.read_facts(target).await?.map(Arc::new);
        if let Some(facts) = &read {
            self.0.facts.lock().insert(target.digest.clone(), Arc::clone(facts));
        }
        Ok(read)
    }

    /// The same, for what nothing names yet.
    pub(super) async fn facts_at(&self, target: &Descriptor) -> Result<Option<Arc<Facts>>> {
        Ok(self.read_facts(target).await?.map(Arc::new))
    }

    async fn read_facts(&self, target: &Descriptor) -> Result<Option<Facts>> {
        let Some(document) = self.document(&target.digest).await? else { return Ok(None) };
        let (document, size) = match serde_json::from_slice::<ImageIndex>(&document) {
            Ok(index) => {
                let Some(manifest) = of_this_machine(&index) else { return Ok(None) };
                let Some(document) = self.document(&manifest).await? else { return Ok(None) };
                (document, target.size)
            }
            Err(_) => (document, 0),
        };
        let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&document) else { return Ok(None) };
        let id = manifest.config().digest().to_string();
        let Some(configuration) = self.document(&id).await? else { return Ok(None) };
        let Ok(configuration) = serde_json::from_slice::<ImageConfiguration>(&configuration) else { return Ok(None) };
        let layers: Vec<Descriptor> = manifest.layers().iter().map(descriptor).collect();
        let blobs = manifest.layers().iter().map(image::Descriptor::size).sum::<u64>() + manifest.config().size();
        let documents = document.len() as u64 + u64::try_from(size).unwrap_or_default();
        let chain = super::unpack::chain(configuration.rootfs().diff_ids());
        Ok(Some(Facts { id, layers, configuration, chain, size: blobs + documents }))
    }

    /// A small piece of content; `None` if it is not there.
    async fn document(&self, digest: &str) -> Result<Option<Vec<u8>>> {
        let request = api::ReadContentRequest { digest: digest.to_owned(), ..api::ReadContentRequest::default() };
        let Some(mut stream) = unless_gone("read an image", self.0.calls.content().read(request).await)? else {
            return Ok(None);
        };
        let mut document = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(part)) if document.len() + part.data.len() <= DOCUMENT => document.extend(part.data),
                Ok(Some(_)) => {
                    let message = format!("{digest} is too long for a manifest");
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                Ok(None) => return Ok(Some(document)),
                Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
                Err(status) => return Err(error_from_wire("read an image", status)),
            }
        }
    }

    pub(super) async fn list_images(&self) -> Result<Vec<Image>> {
        let mut images: BTreeMap<String, Vec<Name>> = BTreeMap::new();
        for name in self.names().await? {
            images.entry(name.facts.id.clone()).or_default().push(name);
        }
        let keep = full_name(self.0.sandbox_image.as_str()).map(|name| name.whole()).unwrap_or_default();
        Ok(images.into_values().map(|names| image_of(&names, &keep)).collect())
    }

    /// An image by any of its names, and all that its record says.
    pub(super) async fn find_image(&self, wanted: &ImageRef) -> Result<Option<Image>> {
        let full = full_name(wanted.as_str()).map(|name| name.whole()).unwrap_or_default();
        let named = |image: &Image| {
            let (id, text) = (image.id.as_str(), wanted.as_str());
            let by_id = id == text || id.strip_prefix("sha256:") == Some(text);
            by_id || image.tags.iter().chain(&image.digests).any(|name| name == text || *name == full)
        };
        Ok(self.list_images().await?.into_iter().find(named))
    }

    /// What is in an image that is there.
    pub(super) async fn facts_of(&self, wanted: &ImageRef) -> Result<Option<Arc<Facts>>> {
        let Some(image) = self.find_image(wanted).await? else { return Ok(None) };
        let known = self.0.facts.lock();
        Ok(known.values().find(|facts| facts.id == image.id.as_str()).cloned())
    }

    /// The image of sandboxes, which is pulled once if need be.
    pub(super) async fn sandbox_facts(&self) -> Result<Arc<Facts>> {
        let image = self.0.sandbox_image.clone();
        if self.find_image(&image).await?.is_none() {
            self.pull_image(&Pull { image: image.clone(), ..Pull::default() }).await?;
        }
        let absent = || Error::new(ErrorKind::NotFound, format!("there is no image {image} for sandboxes"));
        let facts = self.facts_of(&image).await?.ok_or_else(absent)?;
        self.unpack(&facts).await?;
        Ok(facts)
    }

    /// Removes an image with all of its names. Gone is success.
    pub(super) async fn forget_image(&self, wanted: &ImageRef) -> Result<()> {
        let Some(image) = self.find_image(wanted).await? else { return Ok(()) };
        for name in self.names().await? {
            if name.facts.id == image.id.as_str() {
                // Only the last one waits until its content is gone.
                let request =
                    api::DeleteImageRequest { name: name.name, sync: true, ..api::DeleteImageRequest::default() };
                unless_gone("remove an image", self.0.calls.images().delete(request).await)?;
            }
        }
        Ok(())
    }

    /// Gives an image a name. The one that had it before loses it.
    pub(super) async fn name_image(&self, name: &str, target: Descriptor) -> Result<()> {
        let image = api::Image { name: name.to_owned(), target: Some(target), ..api::Image::default() };
        let create = api::CreateImageRequest { image: Some(image.clone()), ..api::CreateImageRequest::default() };
        match self.0.calls.images().create(create).await {
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let mask = prost_types::FieldMask { paths: vec!["target".into()] };
                let update = api::UpdateImageRequest {
                    image: Some(image),
                    update_mask: Some(mask),
                    ..api::UpdateImageRequest::default()
                };
                answered("name an image", self.0.calls.images().update(update).await).map(drop)
            }
            answer => answered("name an image", answer).map(drop),
        }
    }

    /// The file system that the snapshotter's files are on, with what they take.
    pub(super) async fn space(&self) -> Result<Vec<FsUsage>> {
        let filter = format!("type==io.containerd.snapshotter.v1,id=={}", self.0.calls.snapshotter);
        let request = api::PluginsRequest { filters: vec![filter] };
        let answer = answered("ask for the snapshotter", self.0.calls.introspection().plugins(request).await)?;
        let root = answer.plugins.into_iter().find_map(|mut plugin| plugin.exports.remove("root"));
        let request = api::snapshots::ListSnapshotsRequest {
            snapshotter: self.0.calls.snapshotter.to_string(),
            ..api::snapshots::ListSnapshotsRequest::default()
        };
        let mut stream = answered("list snapshots", self.0.calls.snapshots().list(request).await)?;
        let (mut bytes, mut inodes) = (0, 0);
        while let Some(part) = stream.try_next().await.map_err(|status| error_from_wire("list snapshots", status))? {
            // What is being written is its container's.
            let whole = part.info.into_iter().filter(|info| info.kind() == api::snapshots::Kind::Committed);
            for info in whole {
                let usage = self.use_of_snapshot(&info.name).await?.unwrap_or_default();
                (bytes, inodes) = (bytes + usage.bytes, inodes + usage.inodes);
            }
        }
        let at = self.0.setup.clock.now();
        Ok(vec![FsUsage { at, mountpoint: root.unwrap_or_default(), bytes, inodes }])
    }
}

/// One image of all of its names.
fn image_of(names: &[Name], keep: &str) -> Image {
    let (mut tags, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        match name.name.contains('@') {
            true => drop(digests.insert(name.name.clone())),
            false => drop(tags.insert(name.name.clone())),
        }
        digests.extend(repository(&name.name).map(|repository| format!("{repository}@{}", name.target)));
    }
    let (facts, config) = (&names[0].facts, names[0].facts.config());
    let user = config.user().clone().unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default();
    let pinned = names.iter().any(|name| name.pinned || name.name == keep);
    Image {
        id: facts.id.as_str().into(),
        tags: tags.into_iter().collect(),
        digests: digests.into_iter().collect(),
        size: facts.size,
        user: match user.parse() {
            _ if user.is_empty() => None,
            Ok(id) => Some(User::Id(id)),
            Err(_) => Some(User::Name(user.to_owned())),
        },
        pinned,
    }
}

/// The manifest for this machine.
pub(super) fn of_this_machine(index: &ImageIndex) -> Option<String> {
    let fits = |entry: &&image::Descriptor| {
        let platform = entry.platform().as_ref();
        platform.is_none_or(|platform| *platform.os() == Os::Linux && *platform.architecture() == Arch::default())
    };
    index.manifests().iter().find(fits).map(|entry| entry.digest().to_string())
}

pub(super) fn descriptor(of: &image::Descriptor) -> Descriptor {
    Descriptor {
        media_type: of.media_type().to_string(),
        digest: of.digest().to_string(),
        size: i64::try_from(of.size()).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_full() {
        for (name, expect) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("registry.local/a", "registry.local/a:latest"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        ] {
            assert_eq!(full_name(name).unwrap().whole(), expect);
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        let expect = format!("registry.local/a@{digest}");
        assert_eq!(full_name(&format!("registry.local/a:1@{digest}")).unwrap().whole(), expect);
        full_name("not a name").unwrap_err();
    }

    #[test]
    fn a_name_has_its_repository() {
        for (name, expect) in [
            ("registry.local:5000/a/b:1", "registry.local:5000/a/b"),
            ("registry.local:5000/a/b", "registry.local:5000/a/b"),
            ("registry.local/a@sha256:0", "registry.local/a"),
        ] {
            assert_eq!(repository(name), Some(expect));
        }
    }
}
