//! What becomes of a certificate request: approved, signed, failed, or removed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_api::{
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec},
    types::Time,
};
use windlass_kernel::{Error, ErrorKind, Result};

use super::{Subject, Terms};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// How long a request stays that was decided, and one that was not (as upstream's cleaner).
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Clocks may be behind by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// When a request is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Now,
    In(Duration),
}

/// What is done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    /// It is approved where who asked may create one of these sub-resources.
    Approve(&'static [&'static str]),
    Sign,
    Fail(String),
}

fn condition_of<'c>(
    request: &'c CertificateSigningRequest,
    type_: &str,
) -> Option<&'c CertificateSigningRequestCondition> {
    request.status.conditions.iter().find(|own| own.type_ == type_)
}

pub(super) fn condition(
    type_: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// When a request goes: an hour after it was denied, failed or served, a day after it was made.
pub(super) fn leave(request: &CertificateSigningRequest, now: Timestamp) -> Leave {
    let since = |own: &CertificateSigningRequestCondition| own.last_update_time.map(|time| time.0);
    let decided = ["Denied", "Failed"].iter().find_map(|type_| condition_of(request, type_));
    let served = condition_of(request, "Approved").filter(|_| request.status.certificate.is_some());
    let made = request.metadata.creation_timestamp.map_or(now, |time| time.0);
    let end = match decided.or(served).and_then(since) {
        Some(time) => time.checked_add(DECIDED),
        None => made.checked_add(PENDING),
    };
    let left = end.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default()).unwrap_or_default();
    if left.is_zero() { Leave::Now } else { Leave::In(left) }
}

/// What is done about a request that stays; `subject` is what could be read of it.
pub(super) fn step(request: &CertificateSigningRequest, subject: Result<Subject>) -> Step {
    let (spec, signer) = (&request.spec, request.spec.signer_name.as_str());
    let done = request.status.certificate.is_some()
        || ["Denied", "Failed"].iter().any(|type_| condition_of(request, type_).is_some());
    if done || ![CLIENT, NODE_CLIENT, NODE_SERVING, LEGACY].contains(&signer) {
        return Step::Rest;
    }
    if condition_of(request, "Approved").is_none() {
        let node = subject.as_ref().is_ok_and(|subject| signer == NODE_CLIENT && is_node_client(spec, subject).is_ok());
        let own = node && subject.is_ok_and(|subject| spec.username.as_deref() == Some(&*subject.name));
        return match (node, own) {
            (true, true) => Step::Approve(&["selfnodeclient", "nodeclient"]),
            (true, false) => Step::Approve(&["nodeclient"]),
            _ => Step::Rest,
        };
    }
    let checked = match subject {
        Err(error) => Err(format!("unable to parse csr: {error}")),
        Ok(subject) => match signer {
            CLIENT => is_client(spec).map_err(Into::into),
            NODE_CLIENT => is_node_client(spec, &subject).map_err(Into::into),
            NODE_SERVING => is_node_serving(spec, &subject).map_err(Into::into),
            _ => Ok(()),
        },
    };
    checked.map_or_else(Step::Fail, |()| Step::Sign)
}

fn usages(spec: &CertificateSigningRequestSpec, wanted: &str) -> Result<(), &'static str> {
    let known = |usage: &String| usage == wanted || matches!(usage.as_str(), "digital signature" | "key encipherment");
    let has = |usage: &str| spec.usages.iter().any(|own| own == usage);
    if has(wanted) && spec.usages.iter().all(known) {
        Ok(())
    } else {
        Err("usages did not match what the signer allows")
    }
}

fn is_client(spec: &CertificateSigningRequestSpec) -> Result<(), &'static str> {
    usages(spec, "client auth")
}

fn is_node(subject: &Subject) -> Result<(), &'static str> {
    if subject.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes");
    }
    if !subject.name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:");
    }
    Ok(())
}

fn is_node_client(spec: &CertificateSigningRequestSpec, subject: &Subject) -> Result<(), &'static str> {
    is_node(subject)?;
    if subject.hosts + subject.others > 0 {
        return Err("subjectAltNames are not allowed");
    }
    usages(spec, "client auth")
}

fn is_node_serving(spec: &CertificateSigningRequestSpec, subject: &Subject) -> Result<(), &'static str> {
    is_node(subject)?;
    if subject.hosts == 0 {
        return Err("DNS or IP subjectAltName is required");
    }
    if subject.others > 0 {
        return Err("email and URI subjectAltNames are not allowed");
    }
    usages(spec, "server auth")
}

/// On which terms a request is signed: for a year, or as long as it asks for where that is shorter.
pub(super) fn terms(spec: &CertificateSigningRequestSpec, now: Timestamp) -> Result<Terms> {
    let asked = spec.expiration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
    let lifetime = asked.map_or(LIFETIME, |asked| asked.min(LIFETIME));
    let end = |error| Error::new(ErrorKind::Invalid, "cannot reckon the end of a certificate").with_source(error);
    let from = now.checked_sub(SKEW).map_err(end)?;
    Ok(Terms { usages: spec.usages.clone(), from, until: now.checked_add(lifetime).map_err(end)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000_000;

    /// Reads a request such as `kubelet client for=system:node:a by=system:node:a approved=10`, decided so long ago.
    fn request(text: &str) -> (CertificateSigningRequest, Subject) {
        let mut request = CertificateSigningRequest::default();
        let mut subject = Subject { organizations: vec!["system:nodes".into()], ..Subject::default() };
        let ago = |text: &str| Timestamp::from_second(NOW - text.parse::<i64>().unwrap()).unwrap();
        request.metadata.creation_timestamp = Some(Time(ago("100")));
        for word in text.split(' ') {
            match word.split_once('=').unwrap_or((word, "")) {
                ("kubelet", _) => request.spec.signer_name = NODE_CLIENT.into(),
                ("serving", _) => request.spec.signer_name = NODE_SERVING.into(),
                ("other", _) => request.spec.signer_name = "example.com/mine".into(),
                ("client", _) => request.spec.usages = vec!["client auth".into(), "digital signature".into()],
                ("server", _) => request.spec.usages = vec!["server auth".into()],
                ("for", name) => subject.name = name.into(),
                ("by", name) => request.spec.username = Some(name.into()),
                ("hosts", count) => subject.hosts = count.parse().unwrap(),
                ("made", time) => request.metadata.creation_timestamp = Some(Time(ago(time))),
                ("approved", time) => request.status.conditions.push(condition("Approved", "", "", ago(time))),
                ("denied", time) => request.status.conditions.push(condition("Denied", "", "", ago(time))),
                ("served", _) => request.status.certificate = serde_json::from_value(json!("YQ==")).unwrap(),
                (other, _) => panic!("{other}"),
            }
        }
        (request, subject)
    }

    #[track_caller]
    fn check(text: &str, expect: Step) {
        let (request, subject) = request(text);
        assert_eq!(step(&request, Ok(subject)), expect, "{text}");
    }

    #[test]
    fn nodes_get_client_certificates_that_they_may_have() {
        check("kubelet client for=system:node:a by=token", Step::Approve(&["nodeclient"]));
        check("kubelet client for=system:node:a by=system:node:a", Step::Approve(&["selfnodeclient", "nodeclient"]));
        check("kubelet client for=admin by=token", Step::Rest);
        check("kubelet client for=system:node:a hosts=1", Step::Rest);
        check("kubelet server for=system:node:a", Step::Rest);
        check("serving server for=system:node:a hosts=1", Step::Rest);
    }

    #[test]
    fn what_is_approved_is_signed_or_fails() {
        check("kubelet client for=system:node:a approved=1", Step::Sign);
        check("serving server for=system:node:a hosts=2 approved=1", Step::Sign);
        check("serving server for=system:node:a approved=1", Step::Fail("DNS or IP subjectAltName is required".into()));
        check(
            "kubelet client for=admin approved=1",
            Step::Fail("subject common name does not begin with system:node:".into()),
        );
        check("kubelet client for=system:node:a approved=1 served", Step::Rest);
        check("other client for=me approved=1", Step::Rest);
    }

    #[track_caller]
    fn check_leave(text: &str, expect: Leave) {
        assert_eq!(leave(&request(text).0, Timestamp::from_second(NOW).unwrap()), expect, "{text}");
    }

    #[test]
    fn requests_go_some_time_after_they_were_decided() {
        check_leave("made=86300", Leave::In(Duration::from_secs(100)));
        check_leave("made=86400", Leave::Now);
        check_leave("denied=3500", Leave::In(Duration::from_secs(100)));
        check_leave("denied=3600", Leave::Now);
        check_leave("approved=3600 served", Leave::Now);
        check_leave("approved=3600", Leave::In(Duration::from_secs(86_300)));
    }

    #[test]
    fn a_certificate_lives_as_long_as_it_was_asked_for_or_a_year() {
        let lives = |seconds: Option<i32>| {
            let spec = CertificateSigningRequestSpec {
                expiration_seconds: seconds,
                ..CertificateSigningRequestSpec::default()
            };
            terms(&spec, Timestamp::UNIX_EPOCH).unwrap().until.as_second()
        };
        assert_eq!((lives(None), lives(Some(600)), lives(Some(i32::MAX))), (31_536_000, 600, 31_536_000));
    }
}
