//! Secrets that classes name for drivers: which ones they are, and what is in them.
//!
//! A class names them in parameters of the orchestrator, `csi.storage.k8s.io/…-secret-name` and `…-secret-namespace`, as
//! templates.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::{
    core::v1::{Secret, SecretReference},
    names,
    types::ByteString,
};
use windlass_client::Client;
use windlass_kernel::{Error, ErrorKind, Result, volume::Secrets};

use crate::registry::Tools;

/// What parameters that are the orchestrator's and not the driver's begin with.
pub(crate) const OWN: &str = "csi.storage.k8s.io/";

/// The words that may stand in templates, each as `${word}`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// Those of namespaces and names.
    pub(crate) both: BTreeMap<String, String>,
    /// Those of names alone.
    pub(crate) name: BTreeMap<String, String>,
}

/// The secret that a class names for a purpose, such as `provisioner`; `None` where it names none.
///
/// # Errors
///
/// Why the class cannot mean a secret: one of the two parameters is missing, a word is not known, or what comes of them is
/// no name.
pub(crate) fn named(
    parameters: &BTreeMap<String, String>,
    purpose: &str,
    words: &Words,
) -> Result<Option<SecretReference>, String> {
    let at = |part: &str| parameters.get(&format!("{OWN}{purpose}-secret-{part}"));
    let (name, namespace) = match (at("name"), at("namespace")) {
        (None, None) => return Ok(None),
        (Some(name), Some(namespace)) => (name, namespace),
        (Some(_), None) | (None, Some(_)) => {
            return Err(format!(
                "both {OWN}{purpose}-secret-name and {OWN}{purpose}-secret-namespace must be set, or none"
            ));
        }
    };
    let namespace = filled(namespace, &[&words.both]).map_err(|why| format!("{purpose}-secret-namespace: {why}"))?;
    let name = filled(name, &[&words.both, &words.name]).map_err(|why| format!("{purpose}-secret-name: {why}"))?;
    for (part, word, wrong) in [
        ("namespace", &namespace, names::dns_1123_label(&namespace)),
        ("name", &name, names::dns_1123_subdomain(&name)),
    ] {
        if !wrong.is_empty() {
            return Err(format!("{purpose}-secret-{part}: {word:?} is not a name: {}", wrong.join("; ")));
        }
    }
    Ok(Some(SecretReference { name: Some(name), namespace: Some(namespace) }))
}

/// A template with its words put in.
fn filled(template: &str, words: &[&BTreeMap<String, String>]) -> Result<String, String> {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("${") {
        let (word, after) = after.split_once('}').ok_or_else(|| format!("{template:?} has a word without an end"))?;
        let value = words.iter().find_map(|words| words.get(word));
        text += before;
        text += value.ok_or_else(|| format!("${{{word}}} is not known here"))?;
        rest = after;
    }
    Ok(text + rest)
}

/// Reads secrets for drivers, as who may do only that.
#[derive(Clone, Debug)]
pub(crate) struct SecretReader(Client);

impl SecretReader {
    /// One that reads as the controller itself.
    pub(crate) fn new(tools: &Tools) -> Self {
        Self(tools.client.clone())
    }

    /// What is in a secret; nothing where none is named.
    ///
    /// # Errors
    ///
    /// Those of the API, and [`Invalid`](ErrorKind::Invalid) for a secret that holds no text.
    pub(crate) async fn read(&self, reference: Option<&SecretReference>) -> Result<Secrets> {
        let Some(SecretReference { name, namespace }) = reference else { return Ok(Secrets::default()) };
        let (name, namespace) = (name.as_deref().unwrap_or_default(), namespace.as_deref().unwrap_or_default());
        let secret: Arc<Secret> = self.0.get(namespace, name).await?;
        let text = |(key, value): (&String, &ByteString)| {
            let text = String::from_utf8(value.0.clone());
            let refused = |error| {
                Error::new(ErrorKind::Invalid, format!("{key} of secret {namespace}/{name} is not text"))
                    .with_source(error)
            };
            text.map(|text| (key.clone(), text)).map_err(refused)
        };
        secret.data.iter().map(text).collect::<Result<_>>().map(Secrets)
    }

    /// As [`read`](Self::read), where what is gone is to be done without: what was made with a secret must be deletable
    /// without it.
    ///
    /// # Errors
    ///
    /// Those of the API, but for a missing secret.
    pub(crate) async fn read_if_there(&self, reference: Option<&SecretReference>) -> Result<Secrets> {
        match self.read(reference).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(Secrets::default()),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, namespace: &str, expect: Result<&str, &str>) {
        let words = |words: &[(&str, &str)]| words.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let own = Words {
            both: words(&[("pv.name", "pvc-1"), ("pvc.namespace", "team")]),
            name: words(&[("pvc.name", "data"), ("pvc.annotations['example.com/key']", "mine")]),
        };
        let set = |part: &str, value: &str| (format!("{OWN}provisioner-secret-{part}"), value.to_owned());
        let all = [set("name", name), set("namespace", namespace)];
        let parameters = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let found = named(&parameters, "provisioner", &own).map(|found| {
            found.map(|own| format!("{}/{}", own.namespace.unwrap(), own.name.unwrap())).unwrap_or_default()
        });
        match (found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found:?} does not say {expect:?}"),
            (found, expect) => panic!("{found:?} is not {expect:?}"),
        }
    }

    #[test]
    fn templates_name_secrets() {
        check("", "", Ok(""));
        check("fixed", "keys", Ok("keys/fixed"));
        check("${pvc.name}-${pv.name}", "${pvc.namespace}", Ok("team/data-pvc-1"));
        check("${pvc.annotations['example.com/key']}", "keys", Ok("keys/mine"));
    }

    #[test]
    fn what_names_no_secret_is_refused() {
        check("fixed", "", Err("must be set"));
        check("", "keys", Err("must be set"));
        check("fixed", "${pvc.name}", Err("${pvc.name} is not known"));
        check("${pod.name}", "keys", Err("${pod.name} is not known"));
        check("${pvc.name", "keys", Err("without an end"));
        check("Fixed", "keys", Err("is not a name"));
        check("a..b", "keys", Err("is not a name"));
    }
}
