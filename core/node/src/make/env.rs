//! A container's environment, from literals, fields, and objects that were read before. Pure.

use std::collections::BTreeMap;

use windlass_api::{
    core::v1::{Container, EnvVar, EnvVarSource, Pod},
    types::ByteString,
};

use super::{
    expand::expand,
    fields::{Place, field, resource},
};

/// Which objects an environment refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }

    fn small(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    fn big(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Objects that were read: their data, or `None` where there is no such object.
pub(crate) type Read = BTreeMap<(Kind, String), Option<BTreeMap<String, Vec<u8>>>>;

/// The objects that a container's environment needs.
pub(crate) fn needs(container: &Container) -> Vec<(Kind, String)> {
    let mut needs = vec![];
    for from in &container.env_from {
        needs.extend(from.config_map_ref.as_ref().map(|source| (Kind::ConfigMap, source.name.clone())));
        needs.extend(from.secret_ref.as_ref().map(|source| (Kind::Secret, source.name.clone())));
    }
    for from in container.env.iter().filter_map(|var| var.value_from.as_ref()) {
        needs.extend(from.config_map_key_ref.as_ref().map(|source| (Kind::ConfigMap, source.name.clone())));
        needs.extend(from.secret_key_ref.as_ref().map(|source| (Kind::Secret, source.name.clone())));
    }
    needs.sort();
    needs.dedup();
    needs
}

/// An object that a pod cannot do without is missing.
pub(crate) fn missing(kind: Kind, name: &str) -> String {
    format!("{} \"{name}\" not found", kind.small())
}

/// What a container's environment is made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) place: &'a Place,
    pub(crate) read: &'a Read,
    /// What tells of the services, weaker than anything that the container says itself.
    pub(crate) services: &'a BTreeMap<String, String>,
}

/// The environment, or why it cannot be made.
pub(crate) fn env(container: &Container, sources: &Sources<'_>) -> Result<Vec<(String, String)>, String> {
    let mut env: Vec<(String, String)> = vec![];
    let set = |env: &mut Vec<(String, String)>, name: String, value: String| match env
        .iter_mut()
        .find(|(known, _)| *known == name)
    {
        Some((_, known)) => *known = value,
        None => env.push((name, value)),
    };
    for from in &container.env_from {
        let one = from.config_map_ref.as_ref().map(|source| (Kind::ConfigMap, &source.name, source.optional));
        let other = from.secret_ref.as_ref().map(|source| (Kind::Secret, &source.name, source.optional));
        for (kind, name, optional) in one.into_iter().chain(other) {
            let Some(data) = sources.read.get(&(kind, name.clone())).and_then(Option::as_ref) else {
                if optional == Some(true) {
                    continue;
                }
                return Err(missing(kind, name));
            };
            for (key, value) in data {
                let prefix = from.prefix.as_deref().unwrap_or_default();
                set(&mut env, format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    for var in &container.env {
        if let Some(value) = value(container, var, &env, sources)? {
            set(&mut env, var.name.clone(), value);
        }
    }
    for (name, value) in sources.services {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    Ok(env)
}

fn value(
    container: &Container,
    var: &EnvVar,
    env: &[(String, String)],
    sources: &Sources<'_>,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else {
        let known = |name: &str| {
            let own = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            own.or_else(|| sources.services.get(name).cloned())
        };
        return Ok(Some(expand(var.value.as_deref().unwrap_or_default(), known)));
    };
    if let Some(selector) = &from.field_ref {
        return field(sources.pod, selector, sources.place).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return resource(sources.pod, selector, &container.name, sources.place).map(Some);
    }
    if from.file_key_ref.is_some() {
        return Err(format!("environment variable {}: fileKeyRef is not supported", var.name));
    }
    from_key(from, sources)
}

fn from_key(from: &EnvVarSource, sources: &Sources<'_>) -> Result<Option<String>, String> {
    let one =
        from.config_map_key_ref.as_ref().map(|source| (Kind::ConfigMap, &source.name, &source.key, source.optional));
    let other = from.secret_key_ref.as_ref().map(|source| (Kind::Secret, &source.name, &source.key, source.optional));
    let Some((kind, name, key, optional)) = one.or(other) else { return Ok(None) };
    let optional = optional == Some(true);
    let Some(data) = sources.read.get(&(kind, name.clone())).and_then(Option::as_ref) else {
        return if optional { Ok(None) } else { Err(missing(kind, name)) };
    };
    match data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => {
            let namespace = sources.pod.metadata.namespace.as_deref().unwrap_or_default();
            Err(format!("couldn't find key {key} in {} {namespace}/{name}", kind.big()))
        }
    }
}

/// The data of a ConfigMap or Secret as bytes.
pub(crate) fn data(text: BTreeMap<String, String>, bytes: BTreeMap<String, ByteString>) -> BTreeMap<String, Vec<u8>> {
    let text = text.into_iter().map(|(key, value)| (key, value.into_bytes()));
    text.chain(bytes.into_iter().map(|(key, value)| (key, value.0.to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(container: Value, expect: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]},
        }))
        .unwrap();
        let data = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
        };
        let read: Read = [
            ((Kind::ConfigMap, "cm".to_owned()), data(&[("a", "1"), ("b", "2")])),
            ((Kind::Secret, "sec".to_owned()), data(&[("pw", "x")])),
            ((Kind::ConfigMap, "none".to_owned()), None),
        ]
        .into();
        let services = [("KUBERNETES_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())].into();
        let sources = Sources { pod: &pod, place: &Place::default(), read: &read, services: &services };
        let text = match env(&pod.spec.containers[0], &sources) {
            Ok(env) => env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
            Err(why) => why,
        };
        assert_eq!(text, expect);
    }

    #[test]
    fn everything_that_kubernetes_allows_becomes_a_variable() {
        check(
            json!({"name": "c", "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "P_"}], "env": [
                {"name": "A", "value": "$(P_a)-$(KUBERNETES_SERVICE_HOST)-$(NO)"},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
                {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            "P_a=1 P_b=2 A=1-10.96.0.1-$(NO) PW=x ME=p KUBERNETES_SERVICE_HOST=10.96.0.1",
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        check(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "none"}}]}), "configmap \"none\" not found");
        check(
            json!({"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "z"}}}]}),
            "couldn't find key z in ConfigMap n/cm",
        );
        check(
            json!({"name": "c", "env": [{"name": "A", "valueFrom":
                {"secretKeyRef": {"name": "gone", "key": "z", "optional": true}}}]}),
            "KUBERNETES_SERVICE_HOST=10.96.0.1",
        );
    }
}
