//! Certificate signing requests, bundles of trust, and requests of pods for certificates.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::copy;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, items, lookup, same, text};
use crate::kinds::{BASE, Kind, NameRule, WITH_STATUS, meta, prepare};

const SHORTEST: i64 = 600;
const BUNDLE_MAX: usize = 1024 * 1024;
const DOMAIN_MAX: usize = 253;
const UID_MAX: usize = 128;
const DAY: i64 = 24 * 60 * 60;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(in crate::kinds) static SIGNING: Kind = Kind {
    name: NameRule::PathSegment,
    prepare_create: prepare::clear_status,
    prepare_update: |new, old| {
        copy(new, old, "spec");
        copy(new, old, "status");
    },
    validate: |new, old, errors| {
        if old.is_none() {
            request(new, errors);
        }
        conditions(new, old, errors);
    },
    prepare_status: |new, old| {
        prepare::only_status(new, old);
        keep_decisions(new, old);
    },
    validate_status: |new, old, errors| {
        conditions(new, Some(old), errors);
        kept(new, old, errors);
        certificate(new, old, errors);
        decided(new, old, errors);
    },
    fields: |request| vec![("spec.signerName", text(request, &["spec", "signerName"]).to_owned())],
    field_names: &["spec.signerName"],
    has_status: true,
    ..BASE
};

/// What was decided stays as it was written down, whatever a write to `/status` says of it. Decisions that come or go are left
/// for the checks to refuse.
fn keep_decisions(new: &mut Value, old: &Value) {
    for kind in ["Approved", "Denied"] {
        let before = of_type(old, kind);
        let conditions = new["status"]["conditions"].as_array_mut().into_iter().flatten();
        let now: Vec<&mut Value> = conditions.filter(|condition| text(condition, &["type"]) == kind).collect();
        if now.len() == before.len() {
            now.into_iter().zip(before).for_each(|(now, before)| now.clone_from(before));
        }
    }
}

/// Says when conditions came to be, where their writer did not: now, or when the same was first said.
pub(crate) fn date_conditions(new: &mut Value, old: &Value, now: &str) {
    let missing = |condition: &Value, field: &str| text(condition, &[field]).is_empty();
    for condition in new["status"]["conditions"].as_array_mut().into_iter().flatten().filter(|c| c.is_object()) {
        if missing(condition, "lastUpdateTime") {
            condition["lastUpdateTime"] = now.into();
        }
        if missing(condition, "lastTransitionTime") {
            let same = of_type(old, text(condition, &["type"]))
                .into_iter()
                .find(|before| before["status"] == condition["status"] && !missing(before, "lastTransitionTime"));
            condition["lastTransitionTime"] =
                same.map_or_else(|| now.into(), |same| same["lastTransitionTime"].clone());
        }
    }
}

/// Checks a write to `/approval` (new, old).
pub(crate) fn validate_approval(new: &Value, old: &Value, errors: &mut Errors) {
    meta::updated(&meta::of(new), &meta::of(old), errors);
    conditions(new, Some(old), errors);
    kept(new, old, errors);
    let certificate = Field::top(new, "status");
    let certificate = certificate.get("certificate");
    if certificate.text() != text(old, &["status", "certificate"]) {
        errors.forbidden(&certificate, "updates may not set certificate content");
    }
}

fn request(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (request, usages, signer) = (spec.get("request"), spec.get("usages"), spec.get("signerName"));
    if let Some(trouble) = unreadable(&request) {
        errors.invalid(&request.with(&json!(request.text())), trouble);
    }
    errors.require(&usages, "");
    let mut seen = BTreeSet::new();
    for usage in usages.items() {
        errors.optional_one_of(&usage, USAGES);
    }
    for usage in usages.items().filter(|usage| !seen.insert(usage.text())) {
        errors.duplicate(&usage);
    }
    if signer.text() == "kubernetes.io/legacy-unknown" {
        errors.invalid(&signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&signer, errors);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < SHORTEST) {
        errors.invalid(&seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
}

/// Why a request cannot be signed, in upstream's words where it has any.
fn unreadable(request: &Field<'_, '_>) -> Option<&'static str> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(request.text()).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded).into_owned();
    (!text.contains("-----BEGIN CERTIFICATE REQUEST-----")).then_some("PEM block type must be CERTIFICATE REQUEST")
}

/// Checks what a signer is called.
pub(in crate::kinds) fn signer_name(signer: &Field<'_, '_>, errors: &mut Errors) {
    if !errors.require(signer, "") {
        return;
    }
    let Some((domain, path)) = signer.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(signer, detail);
        return;
    };
    if domain.len() > DOMAIN_MAX {
        errors.too_long(signer, DOMAIN_MAX);
    }
    labels(signer, domain, names::dns_1123_label, errors);
    if !domain.contains('.') {
        errors.invalid_text(signer, domain, "should be a domain with at least two segments separated by dots");
    }
    labels(signer, path, names::dns_1123_subdomain, errors);
}

/// Complains about the first label of a text that breaks a rule.
fn labels(signer: &Field<'_, '_>, whole: &str, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
    let broken = whole.split('.').map(|label| (label, rule(label))).find(|(_, complaints)| !complaints.is_empty());
    if let Some((label, complaints)) = broken {
        for complaint in complaints {
            errors.invalid_text(signer, whole, format!("validating label {label:?}: {complaint}"));
        }
    }
}

/// Checks the conditions. What was wrong with them before may stay so.
fn conditions(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let list = Field::top(new, "status");
    let list = list.get("conditions");
    let of = |object: &Value, kind: &str| items(object, &["status", "conditions"]).any(|c| text(c, &["type"]) == kind);
    let both_before = old.is_some_and(|old| of(old, "Approved") && of(old, "Denied"));
    let (mut seen, mut decided) = (BTreeSet::new(), BTreeSet::new());
    for condition in list.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        errors.require(&kind, "");
        let final_one = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        errors.one_of(&status, if final_one { &["True"] } else { &["False", "True", "Unknown"] });
        if matches!(kind.text(), "Approved" | "Denied") {
            decided.insert(kind.text());
            if decided.len() > 1 && !both_before {
                errors.invalid_text(&list, kind.text(), "Approved and Denied conditions are mutually exclusive");
            }
        }
        if !seen.insert(kind.text()) {
            errors.duplicate(&kind);
        }
    }
}

fn of_type<'v>(object: &'v Value, kind: &str) -> Vec<&'v Value> {
    items(object, &["status", "conditions"]).filter(|condition| text(condition, &["type"]) == kind).collect()
}

/// What was decided about a request is not taken back.
fn kept(new: &Value, old: &Value, errors: &mut Errors) {
    for kind in ["Approved", "Denied", "Failed"] {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            let place = Field::top(new, "status");
            errors.forbidden(&place.get("conditions"), format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

/// Decisions are made at `/approval` and nowhere else.
fn decided(new: &Value, old: &Value, errors: &mut Errors) {
    let place = Field::top(new, "status");
    let place = place.get("conditions");
    for kind in ["Approved", "Denied"] {
        let (now, before) = (of_type(new, kind), of_type(old, kind));
        if now.len() > before.len() {
            errors.forbidden(&place, format!("updates may not add a condition of type {kind:?}"));
        } else if now.len() == before.len() && now.iter().zip(&before).any(|(now, before)| !same(now, before)) {
            errors.forbidden(&place, format!("updates may not modify a condition of type {kind:?}\n"));
        }
    }
}

fn certificate(new: &Value, old: &Value, errors: &mut Errors) {
    let (place, before) = (Field::top(new, "status"), text(old, &["status", "certificate"]));
    let place = place.get("certificate");
    if !before.is_empty() && place.text() != before {
        errors.forbidden(&place, "updates may not modify existing certificate content");
    }
}

pub(in crate::kinds) static BUNDLE: Kind = Kind {
    name: NameRule::PathSegment,
    validate: bundle,
    fields: |bundle| vec![("spec.signerName", text(bundle, &["spec", "signerName"]).to_owned())],
    field_names: &["spec.signerName"],
    ..BASE
};

fn bundle(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
    let (signer, trust, name) = (spec.get("signerName"), spec.get("trustBundle"), meta.get("name"));
    bundle_name(&name, signer.text(), errors);
    if !signer.is_empty() {
        signer_name(&signer, errors);
    }
    if old.is_none_or(|old| text(old, &["spec", "trustBundle"]) != trust.text()) {
        anchors(&trust, errors);
    }
    if let Some(old) = old {
        let shown = json!(signer.text());
        errors.immutable(&signer.with(&shown), &json!(text(old, &["spec", "signerName"])));
    }
}

/// A bundle of a signer is named after it, with colons for slashes and one before a name of its own.
fn bundle_name(name: &Field<'_, '_>, signer: &str, errors: &mut Errors) {
    if signer.is_empty() {
        if name.text().contains(':') {
            let detail = "ClusterTrustBundle without signer name must not have \":\" in its name";
            errors.invalid(name, detail);
        }
        errors.invalid_each(name, names::dns_1123_subdomain(name.text()));
        return;
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    let Some(own) = name.text().strip_prefix(&prefix) else {
        let detail = format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}");
        errors.invalid(name, detail);
        return;
    };
    errors.invalid_each(name, names::dns_1123_subdomain(own));
}

/// Checks what is in a bundle: certificates of authorities, each once.
fn anchors(trust: &Field<'_, '_>, errors: &mut Errors) {
    if trust.len() > BUNDLE_MAX {
        errors.too_long(trust, BUNDLE_MAX);
        return;
    }
    let found = errors.len();
    let mut known: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
    for (at, block) in blocks(trust.text()).enumerate() {
        match block {
            Err(trouble) => errors.invalid_text(trust, "<value omitted>", format!("entry {at} {trouble}")),
            Ok(der) => match known.iter_mut().find(|(other, _)| *other == der) {
                Some((_, indices)) => indices.push(at),
                None => known.push((der, vec![at])),
            },
        }
    }
    if errors.len() > found {
        return;
    }
    if known.is_empty() {
        errors.invalid_text(trust, "<value omitted>", "at least one trust anchor must be provided");
    }
    for (_, indices) in known.iter().filter(|(_, indices)| indices.len() > 1) {
        let indices: Vec<String> = indices.iter().map(usize::to_string).collect();
        let detail = format!("duplicate trust anchor (indices [{}])", indices.join(" "));
        errors.invalid_text(trust, "<value omitted>", detail);
    }
}

/// The certificates of a text in PEM, or what is wrong with each.
fn blocks(text: &str) -> impl Iterator<Item = Result<Vec<u8>, String>> {
    text.split("-----BEGIN ").skip(1).filter_map(|block| {
        let (kind, rest) = block.split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {kind}-----"))?;
        Some(anchor(kind, body))
    })
}

fn anchor(kind: &str, body: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    if kind != "CERTIFICATE" {
        return Err(format!("has bad block type: {kind}"));
    }
    if body.contains(':') {
        return Err("has PEM block headers".into());
    }
    let digits: String = body.split_whitespace().collect();
    let unreadable = || "does not parse as X.509".to_owned();
    let der = base64::engine::general_purpose::STANDARD.decode(digits).map_err(|_| unreadable())?;
    #[cfg(feature = "http")]
    {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable())?;
        if !certificate.is_ca() {
            return Err("does not have the CA bit set".into());
        }
    }
    Ok(der)
}

pub(in crate::kinds) static POD_REQUEST: Kind = Kind {
    validate: |new, old, errors| match old {
        Some(old) => errors.immutable(&Field::top(new, "spec"), lookup(old, "spec")),
        None => pod_request(new, errors),
    },
    fields: |request| {
        vec![
            ("spec.nodeName", text(request, &["spec", "nodeName"]).to_owned()),
            ("spec.signerName", text(request, &["spec", "signerName"]).to_owned()),
        ]
    },
    field_names: &["spec.nodeName", "spec.signerName"],
    ..WITH_STATUS
};

/// Checks what a node asks for in the name of a pod; the proof that the pod has the key is the signer's to check.
fn pod_request(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let signer = spec.get("signerName");
    signer_name(&signer, errors);
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        let (name, uid) = (spec.get(name), spec.get(uid));
        let shown = json!(name.text());
        errors.invalid_each(&name.with(&shown), names::dns_1123_subdomain(name.text()));
        if uid.is_empty() {
            errors.invalid_text(&uid, "", "must not be empty");
        }
        if uid.len() > UID_MAX {
            errors.too_long(&uid, UID_MAX);
        }
    }
    let seconds = spec.get("maxExpirationSeconds");
    if !seconds.present() {
        errors.required(&seconds, "must be set");
        return;
    }
    let own = signer
        .text()
        .split_once('/')
        .is_some_and(|(domain, _)| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"));
    let (least, most) = (60 * 60, if own { DAY } else { 91 * DAY });
    if !(least..=most).contains(&seconds.number()) {
        errors.invalid(&seconds, format!("must be in the range [{least}, {most}]"));
    }
    if dig(new, &["spec", "pkixPublicKey"]).is_null() && dig(new, &["spec", "stubPKCS10Request"]).is_null() {
        let key = spec.get("pkixPublicKey");
        errors.invalid(&key, "must be a valid PKIX-serialized public key");
    }
}
