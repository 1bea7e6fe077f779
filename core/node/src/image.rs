//! Images: which one a container runs, whether it has to be pulled, with which secret, and when it goes again. Pure, but for
//! the task that removes images.

mod collect;
mod records;

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;
use windlass_api::core::v1::Container;
use windlass_kernel::runtime::RegistryAuth;

pub use self::records::ImageLimits;
pub(crate) use self::{collect::collect, records::Records};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// The policy of a container: its own, or by the image's tag.
pub(crate) fn policy(container: &Container) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("IfNotPresent") => Policy::IfNotPresent,
        Some("Never") => Policy::Never,
        _ if latest(container.image.as_deref().unwrap_or_default()) => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

fn latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// The registry that an image is pulled from.
pub(crate) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Looks for the secret of an image's registry in the data of a pull secret.
pub(crate) fn auth(image: &str, data: &BTreeMap<String, Vec<u8>>) -> Option<RegistryAuth> {
    let parse = |key: &str| data.get(key).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let auths = match (parse(".dockerconfigjson"), parse(".dockercfg")) {
        (Some(config), _) => config["auths"].clone(),
        (None, Some(config)) => config,
        (None, None) => return None,
    };
    let wanted = registry(image);
    let host = |server: &str| {
        let plain = server.trim_start_matches("https://").trim_start_matches("http://");
        let host = plain.split('/').next().unwrap_or_default().to_owned();
        if host == "index.docker.io" { "docker.io".to_owned() } else { host }
    };
    let (_, entry) = auths.as_object()?.iter().find(|(server, _)| host(server) == wanted)?;
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    // Whose secret it is was looked at here. Runtimes take a server for a URL, which those of secrets need not be.
    let mut auth = RegistryAuth {
        username: text("username"),
        password: text("password"),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..RegistryAuth::default()
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")).ok();
    if let Some((user, password)) =
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).as_deref().and_then(|text| text.split_once(':'))
        && auth.username.is_empty()
    {
        auth.username = user.to_owned();
        auth.password = password.to_owned();
    }
    Some(auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_follows_the_tag() {
        let check = |image: &str, expect: Policy| {
            let container = Container { image: Some(image.into()), ..Container::default() };
            assert_eq!(policy(&container), expect, "{image}");
        };
        check("nginx", Policy::Always);
        check("nginx:latest", Policy::Always);
        check("localhost:5000/nginx", Policy::Always);
        check("nginx:1.2", Policy::IfNotPresent);
        check("nginx@sha256:00", Policy::IfNotPresent);
    }

    #[test]
    fn a_pull_secret_is_found_by_its_registry() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"r.example:5000":{"username":"a","password":"b"}}}"#;
        let data = [(".dockerconfigjson".to_owned(), config.as_bytes().to_vec())].into();
        let check = |image: &str, expect: Option<(&str, &str)>| {
            let found = auth(image, &data);
            let found = found.as_ref().map(|auth| (auth.username.as_str(), auth.password.as_str()));
            assert_eq!(found, expect, "{image}");
        };
        check("nginx", Some(("u", "p")));
        check("r.example:5000/x:1", Some(("a", "b")));
        check("other.example/x:1", None);
    }
}
