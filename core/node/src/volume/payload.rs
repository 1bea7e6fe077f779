//! Which files a volume made of objects holds. Pure: what has to be read or minted is handed in.

use std::collections::BTreeMap;

use windlass_api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use crate::make::{
    env::{Kind, Read, missing},
    fields::{Place, field, resource},
};

/// A file of a volume: relative path, mode and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

/// A token that a volume needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenRequest {
    pub(crate) audience: String,
    pub(crate) seconds: u64,
}

/// One part of a volume.
#[derive(Clone, Debug)]
pub(crate) enum Source<'a> {
    Object { kind: Kind, name: String, items: &'a [KeyToPath], optional: bool },
    Downward(&'a [DownwardAPIVolumeFile]),
    Token { request: TokenRequest, path: String },
    Unsupported(&'static str),
}

/// Whether a volume is made of objects.
pub(crate) fn is_ours(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The parts of a volume made of objects, and the mode of its files.
pub(crate) fn sources(volume: &Volume) -> (Vec<Source<'_>>, u32) {
    let object = |kind, name: &str, items, optional: Option<bool>| Source::Object {
        kind,
        name: name.to_owned(),
        items,
        optional: optional == Some(true),
    };
    let mode = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    if let Some(map) = &volume.config_map {
        return (vec![object(Kind::ConfigMap, &map.name, &map.items, map.optional)], mode(map.default_mode));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        return (vec![object(Kind::Secret, name, &secret.items, secret.optional)], mode(secret.default_mode));
    }
    if let Some(downward) = &volume.downward_api {
        return (vec![Source::Downward(&downward.items)], mode(downward.default_mode));
    }
    let Some(projected) = &volume.projected else { return (vec![], 0o644) };
    let mut parts = vec![];
    for source in &projected.sources {
        if let Some(map) = &source.config_map {
            parts.push(object(Kind::ConfigMap, &map.name, &map.items, map.optional));
        }
        if let Some(secret) = &source.secret {
            parts.push(object(Kind::Secret, &secret.name, &secret.items, secret.optional));
        }
        if let Some(downward) = &source.downward_api {
            parts.push(Source::Downward(&downward.items));
        }
        if let Some(token) = &source.service_account_token {
            let seconds = token.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3600);
            let request = TokenRequest { audience: token.audience.clone().unwrap_or_default(), seconds };
            parts.push(Source::Token { request, path: token.path.clone() });
        }
        if source.cluster_trust_bundle.is_some() {
            parts.push(Source::Unsupported("clusterTrustBundle"));
        }
        if source.pod_certificate.is_some() {
            parts.push(Source::Unsupported("podCertificate"));
        }
    }
    (parts, mode(projected.default_mode))
}

/// The files of a volume, or why they cannot be made. Of two files of one path, the later part's wins.
pub(crate) fn files(
    pod: &Pod,
    volume: &Volume,
    read: &Read,
    tokens: &BTreeMap<TokenRequest, String>,
    place: &Place,
) -> Result<Vec<File>, String> {
    let (parts, mode) = sources(volume);
    let own = |own: Option<i32>| own.and_then(|own| u32::try_from(own).ok()).unwrap_or(mode);
    let mut files: BTreeMap<String, File> = BTreeMap::new();
    let mut add = |path: &str, mode: u32, content: Vec<u8>| -> Result<(), String> {
        let path = plain(path)?;
        files.insert(path.clone(), File { path, mode, content });
        Ok(())
    };
    for part in parts {
        match part {
            Source::Object { kind, name, items, optional } => {
                let data = match read.get(&(kind, name.clone())).and_then(Option::as_ref) {
                    Some(data) => data,
                    None if optional => continue,
                    None => return Err(missing(kind, &name)),
                };
                if items.is_empty() {
                    for (key, value) in data {
                        add(key, mode, value.clone())?;
                    }
                }
                for item in items {
                    match data.get(&item.key) {
                        Some(value) => add(&item.path, own(item.mode), value.clone())?,
                        None if optional => {}
                        None => return Err(format!("references non-existent {} key: {}", kind_word(kind), item.key)),
                    }
                }
            }
            Source::Downward(items) => {
                for item in items {
                    let value = match (&item.field_ref, &item.resource_field_ref) {
                        (Some(selector), _) => field(pod, selector, place)?,
                        (None, Some(selector)) => resource(pod, selector, "", place)?,
                        (None, None) => continue,
                    };
                    add(&item.path, own(item.mode), value.into_bytes())?;
                }
            }
            Source::Token { request, path } => match tokens.get(&request) {
                Some(token) => add(&path, mode, token.clone().into_bytes())?,
                None => return Err("failed to fetch token".into()),
            },
            Source::Unsupported(what) => return Err(format!("a projected {what} is not supported")),
        }
    }
    Ok(files.into_values().collect())
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "config",
        Kind::Secret => "secret",
    }
}

/// A path that stays below its volume and leaves the agent's own names alone.
fn plain(path: &str) -> Result<String, String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let bad = path.starts_with('/') || parts.is_empty() || parts.contains(&"..") || parts[0].starts_with("..");
    if bad { Err(format!("invalid path: {path:?}")) } else { Ok(parts.join("/")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(volume: Value, expect: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "1"}}})).unwrap();
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let data = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
        };
        let read: Read = [
            ((Kind::ConfigMap, "cm".to_owned()), data(&[("a", "1"), ("b", "2")])),
            ((Kind::Secret, "sec".to_owned()), data(&[("pw", "x")])),
        ]
        .into();
        let tokens = [(TokenRequest { audience: String::new(), seconds: 600 }, "tok".to_owned())].into();
        let words = match files(&pod, &volume, &read, &tokens, &Place::default()) {
            Ok(files) => files
                .iter()
                .map(|file| format!("{}:{:o}={}", file.path, file.mode, String::from_utf8_lossy(&file.content)))
                .collect::<Vec<_>>()
                .join(" "),
            Err(why) => why,
        };
        assert_eq!(words, expect);
    }

    #[test]
    fn keys_become_files_with_their_modes() {
        check(json!({"name": "v", "configMap": {"name": "cm"}}), "a:644=1 b:644=2");
        check(
            json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 256,
                "items": [{"key": "a", "path": "x/y"}, {"key": "b", "path": "z", "mode": 511}]}}),
            "x/y:400=1 z:777=2",
        );
        check(json!({"name": "v", "configMap": {"name": "no"}}), "configmap \"no\" not found");
        check(json!({"name": "v", "secret": {"secretName": "no", "optional": true}}), "");
        check(
            json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "q", "path": "q"}]}}),
            "references non-existent config key: q",
        );
    }

    #[test]
    fn a_projected_volume_joins_its_parts() {
        check(
            json!({"name": "v", "projected": {"sources": [
                {"configMap": {"name": "cm"}}, {"secret": {"name": "sec"}},
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}),
            "a:644=1 b:644=2 name:644=p pw:644=x token:644=tok",
        );
    }

    #[test]
    fn a_path_cannot_leave_its_volume() {
        check(
            json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "a", "path": "../x"}]}}),
            "invalid path: \"../x\"",
        );
    }
}
