//! The Lease by which clients see which API servers there are (KEP-1965, `APIServerIdentity`), kept in `kube-system`.
//!
//! Leases of servers that are gone are removed by whoever is left.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_kernel::{
    Api, ClockExt, EntropyExt,
    api::{Answer, Body, GroupVersionResource, Request, Verb},
    error::{ErrorKind, Result},
};

use crate::{custom, object, server::ApiServer};

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const COMPONENT: &str = "kube-apiserver";
/// How long a server is believed to be there, in seconds.
const BELIEVED: i64 = 3600;
const RENEWED: Duration = Duration::from_secs(10);
const SWEPT: Duration = Duration::from_secs(3600);

/// The name of the lease of a server on this machine.
pub(crate) fn name(hostname: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = ring::digest::digest(&ring::digest::SHA256, hostname.as_bytes());
    let (mut name, mut bits, mut held) = (String::from("apiserver-"), 0_u32, 0_usize);
    let mut push = |bits: u32| name.push(char::from(ALPHABET[(bits & 31) as usize]));
    for byte in &digest.as_ref()[..16] {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            push(bits >> held);
        }
    }
    push(bits << (5 - held));
    name
}

/// Keeps the lease, and removes those that have ended.
pub(crate) async fn keep(server: &ApiServer, hostname: &str) {
    let name = name(hostname);
    let holder = format!("{name}_{}", server.parts.entropy.uuid());
    let clock = &server.parts.clock;
    let mut sweep = clock.uptime();
    loop {
        if let Err(error) = renew(server, &name, &holder, hostname).await {
            tracing::warn!(%error, lease = name, "cannot renew the lease of this server");
        }
        if clock.uptime() >= sweep {
            match remove_ended(server, &name).await {
                Ok(()) => sweep = clock.uptime().saturating_add(SWEPT),
                Err(error) => tracing::warn!(%error, "cannot remove the leases of servers that are gone"),
            }
        }
        clock.sleep(RENEWED).await;
    }
}

fn request(verb: Verb) -> Request {
    let leases =
        GroupVersionResource { group: "coordination.k8s.io".into(), version: "v1".into(), resource: "leases".into() };
    custom::own_request(verb, leases).in_namespace(NAMESPACE)
}

/// Calls as the server itself; the object of the answer, where there is one.
async fn ask(server: &ApiServer, request: Request) -> Result<Option<Value>> {
    match server.call(request).await?.answer {
        Answer::Object(document) => document.value().map(Some),
        _ => Ok(None),
    }
}

async fn renew(server: &ApiServer, name: &str, holder: &str, hostname: &str) -> Result<()> {
    let now = object::micro_time(server.parts.clock.now());
    let found = match ask(server, request(Verb::Get).named(name)).await {
        Ok(found) => found,
        Err(error) if error.is(ErrorKind::NotFound) => None,
        Err(error) => return Err(error),
    };
    let verb = if found.is_some() { Verb::Update } else { Verb::Create };
    let mut lease = found.unwrap_or_else(|| json!({"metadata": {"name": name, "namespace": NAMESPACE}}));
    let labels = object::labels_mut(&mut lease);
    labels.insert(LABEL.into(), COMPONENT.into());
    labels.insert("kubernetes.io/hostname".into(), hostname.into());
    let spec = object::child_mut(&mut lease, "spec");
    spec.insert("holderIdentity".into(), holder.into());
    spec.insert("leaseDurationSeconds".into(), BELIEVED.into());
    spec.insert("renewTime".into(), now.into());
    let mut request = request(verb).named(name);
    request.body = Body::Value(lease);
    match ask(server, request).await {
        // Somebody else wrote in between; the next time comes soon.
        Err(error) if !error.is(ErrorKind::Conflict) => Err(error),
        _ => Ok(()),
    }
}

/// Removes the leases of servers that have not been heard of for as long as they asked to be believed.
async fn remove_ended(server: &ApiServer, own: &str) -> Result<()> {
    let mut list = request(Verb::List);
    list.options.label_selector = format!("{LABEL}={COMPONENT}");
    let Answer::List(found) = server.call(list).await?.answer else { return Ok(()) };
    for document in found.items {
        let lease = document.value()?;
        if object::name(&lease) == own || !has_ended(&lease, server.parts.clock.now()) {
            continue;
        }
        let mut delete = request(Verb::Delete).named(object::name(&lease));
        delete.options.preconditions.uid = Some(object::meta_text(&lease, "uid").into());
        match ask(server, delete).await {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a lease says nothing of itself, or its time is over.
fn has_ended(lease: &Value, now: Timestamp) -> bool {
    let renewed = lease["spec"]["renewTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = lease["spec"]["leaseDurationSeconds"].as_i64();
    let end =
        renewed.zip(seconds).and_then(|(at, seconds)| at.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
    end.is_none_or(|end| end < now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_after_its_machine() {
        // SHA-256 of "test" begins with 9f86d081884c7d65.
        assert_eq!(name("test"), "apiserver-t6dnbamijr6wlgrp5kqmkwwqcu");
        assert_eq!(name("").len(), "apiserver-".len() + 26);
    }

    #[test]
    fn a_lease_ends_when_nobody_renews_it() {
        let now: Timestamp = "2030-01-01T01:00:01Z".parse().unwrap();
        let lease = |at: &str| json!({"spec": {"renewTime": at, "leaseDurationSeconds": 3600}});
        assert!(has_ended(&lease("2030-01-01T00:00:00.000000Z"), now));
        assert!(!has_ended(&lease("2030-01-01T00:00:01.000000Z"), now));
        assert!(has_ended(&json!({"spec": {}}), now));
    }
}
