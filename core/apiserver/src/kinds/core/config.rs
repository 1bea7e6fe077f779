//! ConfigMaps, Secrets and ServiceAccounts.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use windlass_api::names;

use crate::kinds::edit::{default_to, remove, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup, same, text};
use crate::kinds::{BASE, Kind, meta};

const MAX_BYTES: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

pub(in crate::kinds) static CONFIG_MAP: Kind = Kind { validate: config_map, ..BASE };

pub(in crate::kinds) static SECRET: Kind = Kind {
    default: secret_default,
    validate: secret,
    fields: |secret| vec![("type", text(secret, &["type"]).to_owned())],
    field_names: &["type"],
    ..BASE
};

pub(in crate::kinds) static SERVICE_ACCOUNT: Kind = BASE;

fn config_map(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if let Some(old) = old {
        frozen(new, old, &["data", "binaryData"], errors);
    }
    let (data, binary) = (Field::top(new, "data"), Field::top(new, "binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        self::key(&data.key(key), key, errors);
        if binary.key(key).present() {
            errors.invalid_text(&data.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in binary.entries() {
        self::key(&binary.key(key), key, errors);
        size += decoded(value).map_or(0, |bytes| bytes.len());
    }
    if size > MAX_BYTES {
        errors.too_long(&Field::top(new, ""), MAX_BYTES);
    }
}

/// Folds the texts of `stringData` into `data`, over what is there.
fn secret_default(secret: &mut Value) {
    default_to(secret, "type", "Opaque");
    if let Some(Value::Object(texts)) = remove(secret, "stringData") {
        within(secret, "data", |data| {
            for (key, value) in texts {
                set(data, &key, BASE64.encode(value.as_str().unwrap_or_default()));
            }
        });
    }
}

fn secret(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if let Some(old) = old {
        let kind = Field::top(new, "type");
        errors.immutable(&kind, lookup(old, "type"));
        frozen(new, old, &["data"], errors);
    }
    let data = Field::top(new, "data");
    let mut size = 0;
    for (key, value) in data.entries() {
        self::key(&data.key(key), key, errors);
        size += decoded(value).map_or(0, |bytes| bytes.len());
    }
    if size > MAX_BYTES {
        errors.too_long(&data, MAX_BYTES);
    }
    let mut need = |key: &str| {
        if !data.key(key).present() {
            errors.required(&data.key(key), "");
        }
    };
    match text(new, &["type"]) {
        "kubernetes.io/service-account-token" => {
            let (meta, name) = (meta::of(new), "kubernetes.io/service-account.name");
            errors.require(&meta.get("annotations").key(name), "");
        }
        "kubernetes.io/dockercfg" => docker(&data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker(&data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !data.key("username").present() && !data.key("password").present() => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" => {
            errors.require(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => {}
    }
}

fn docker(data: &Field<'_, '_>, key: &str, errors: &mut Errors) {
    let file = data.key(key);
    if !file.present() {
        errors.required(&file, "");
        return;
    }
    let bytes = decoded(file.value()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Map<String, Value>>(&bytes) {
        let error: &dyn Display = if bytes.is_empty() { &"unexpected end of JSON input" } else { &error };
        errors.invalid_text(&file, "<secret contents redacted>", error.to_string());
    }
}

fn frozen(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if lookup(old, "immutable").as_bool() != Some(true) {
        return;
    }
    if lookup(new, "immutable") != &json!(true) {
        errors.forbidden(&Field::top(new, "immutable"), FROZEN);
    }
    for field in fields {
        if !same(lookup(new, field), lookup(old, field)) {
            errors.forbidden(&Field::top(new, field), FROZEN);
        }
    }
}

fn key(field: &Field<'_, '_>, key: &str, errors: &mut Errors) {
    for complaint in names::config_key(key) {
        errors.invalid_text(field, key, complaint);
    }
}

/// The bytes of a value in `data`.
pub(in crate::kinds) fn decoded(value: &Value) -> Option<Vec<u8>> {
    BASE64.decode(value.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_secret_become_data() {
        let mut secret = json!({"data": {"a": "QQ=="}, "stringData": {"a": "B", "c": "D"}});
        secret_default(&mut secret);
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "Qg==", "c": "RA=="}}));
    }

    #[test]
    fn a_frozen_config_map_keeps_its_data() {
        let old = json!({"metadata": {"name": "c"}, "immutable": true, "data": {"a": "b"}});
        let mut errors = Errors::new();
        config_map(&json!({"data": {"a": "c"}}), Some(&old), &mut errors);
        assert_eq!(
            errors.sentence(),
            "[immutable: Forbidden: field is immutable when `immutable` is set, data: Forbidden: field is immutable when `immutable` is set]"
        );
    }
}
