//! What nodes with real containers are told of pods that the API does not describe, and of where images come from.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use clap::Args as Arguments;
use windlass::{
    kernel::{Error, ErrorKind, Result},
    node::statics::Url,
    real::{ContainerNode, Mirror},
    rim::{SystemDial, trusted_certificates},
};

use super::Runtime;

#[derive(Debug, Default, Arguments)]
pub(crate) struct OfNode {
    /// A folder whose files describe static pods, one each in YAML or JSON, which the node runs and the API only shows.
    #[arg(long, value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
    /// An address, http://… or https://…, that answers with static pods, too: one, or a list.
    #[arg(long, value_name = "URL")]
    manifest_url: Option<String>,
    /// Headers to send to --manifest-url; may be given several times.
    #[arg(long, value_name = "NAME:VALUE,…", requires = "manifest_url")]
    manifest_url_header: Vec<String>,
    /// Ask this mirror for a registry's images, such as docker.io=https://mirror.example.com, before the registry itself; several in
    /// their order. A runtime at a CRI socket has mirrors of its own.
    #[arg(long, value_name = "REGISTRY=URL")]
    registry_mirror: Vec<RegistryMirror>,
}

impl OfNode {
    /// Refuses what the runtime has no use for.
    pub(crate) fn check(&self, runtime: &Runtime) -> Result<()> {
        let refuse = |message: &str| Err(Error::new(ErrorKind::Invalid, message));
        if *runtime == Runtime::Fake && (self.pod_manifest_path.is_some() || self.manifest_url.is_some()) {
            return refuse(
                "--pod-manifest-path and --manifest-url need real containers: fake nodes run what the API says",
            );
        }
        if let Some(url) = &self.manifest_url {
            // What is wrong with it is told before anything starts.
            Url::new(url, &trusted_certificates(), Arc::new(SystemDial))?.with_headers(self.headers()?)?;
        }
        if !self.registry_mirror.is_empty() && matches!(runtime, Runtime::Fake | Runtime::Cri(_)) {
            return refuse(
                "--registry-mirror needs --runtime auto or containerd: others have mirrors of their own, or no images",
            );
        }
        Ok(())
    }

    /// The headers of the address, as kubelet reads them.
    fn headers(&self) -> Result<Vec<(String, String)>> {
        let words = self.manifest_url_header.iter().flat_map(|flag| flag.split(',')).filter(|word| !word.is_empty());
        let header = |word: &str| {
            let (name, value) = word.split_once(':').ok_or_else(|| {
                // What it is may be a secret.
                Error::new(
                    ErrorKind::Invalid,
                    "--manifest-url-header: expected NAME:VALUE,NAME:VALUE, such as a:hello,b:again",
                )
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        words.map(header).collect()
    }

    /// Tells a node.
    pub(crate) fn tell(&self, node: &mut ContainerNode) -> Result<()> {
        let mut mirrors = BTreeMap::<String, Vec<Mirror>>::new();
        for RegistryMirror { registry, mirror } in self.registry_mirror.iter().cloned() {
            mirrors.entry(registry).or_default().push(mirror);
        }
        node.mirrors = mirrors;
        node.static_pods = self.pod_manifest_path.clone();
        node.static_pods_url = self.manifest_url.clone();
        node.static_pods_headers = self.headers()?;
        Ok(())
    }
}

/// A registry and who is asked before it.
#[derive(Clone, Debug)]
struct RegistryMirror {
    registry: String,
    mirror: Mirror,
}

impl std::str::FromStr for RegistryMirror {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (registry, url) = text.split_once('=').ok_or("expected REGISTRY=URL")?;
        let mirror = Mirror::at(url).map_err(|error| error.to_string())?;
        Ok(Self { registry: registry.to_owned(), mirror })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pairs_between_commas() {
        let read = |flags: &[&str]| {
            let manifest_url_header = flags.iter().map(|&flag| flag.into()).collect();
            OfNode { manifest_url_header, ..OfNode::default() }.headers()
        };
        let pairs = read(&["a:hello,b:again, c : wo:rld", "b:beautiful"]).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "hello"), ("b", "again"), ("c", "wo:rld"), ("b", "beautiful")]);
        let error = read(&["token"]).unwrap_err();
        assert!(error.is(ErrorKind::Invalid) && !error.message().contains("token"), "{error}");
    }

    #[test]
    fn a_mirror_is_a_registry_and_a_url() {
        for (text, expect) in [
            ("docker.io=https://mirror.local", Some("docker.io https://mirror.local")),
            ("a:5000=http://127.0.0.1:5001/", Some("a:5000 http://127.0.0.1:5001")),
            ("https://mirror.local", None),
            ("docker.io=mirror.local", None),
        ] {
            let read = text.parse::<RegistryMirror>().ok();
            let read = read.map(|read| format!("{} {}", read.registry, read.mirror.url()));
            assert_eq!(read.as_deref(), expect, "{text}");
        }
    }
}
