//! Distributes endpoints over slices. Pure.
//!
//! Endpoints stay in the slice that they are in; new ones fill slices with room, then new slices.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use windlass_api::{
    discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_kernel::controller::ObjectKey;

use crate::claim;

/// How many endpoints a slice may have (upstream's `--max-endpoints-per-slice`).
const MOST: usize = 100;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<EndpointSlice>),
    Update(Box<EndpointSlice>),
    Delete(ObjectKey),
}

/// Slices of one kind can hold each other's endpoints: same address family, same ports.
pub(super) type Kind = (&'static str, Vec<(String, i32, String)>);

/// The endpoints of each kind of slice, each under what identifies it.
pub(super) type Wanted = BTreeMap<Kind, BTreeMap<String, Endpoint>>;

/// Whom slices are for.
#[derive(Debug)]
pub(super) struct Owner<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) reference: OwnerReference,
    /// The labels of its slices.
    pub(super) labels: BTreeMap<String, String>,
    /// Their annotations, where those are its own.
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// What makes the existing slices hold what is wanted. `identity` is what an endpoint that is in a slice is known by.
pub(super) fn distribute(
    owner: &Owner<'_>,
    wanted: Wanted,
    existing: &[Arc<EndpointSlice>],
    identity: fn(&Endpoint) -> &str,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut by_kind: BTreeMap<Kind, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        let kind = kind_of(slice);
        if wanted.contains_key(&kind) {
            by_kind.entry(kind).or_default().push(slice);
        } else {
            steps.push(Step::Delete(claim::key(&slice.metadata)));
        }
    }
    for (kind, mut endpoints) in wanted {
        let slices = by_kind.remove(&kind).unwrap_or_default();
        let mut stay = |slice: &EndpointSlice| {
            slice.endpoints.iter().filter_map(|old| endpoints.remove(identity(old))).collect::<Vec<_>>()
        };
        let kept = slices.iter().map(|slice| (*slice, stay(slice))).collect();
        steps.extend(fill(owner, &kind, kept, endpoints));
    }
    steps
}

/// Adds endpoints to the slices of one kind, each with those that stay in it.
fn fill(
    owner: &Owner<'_>,
    kind: &Kind,
    mut slices: Vec<(&EndpointSlice, Vec<Endpoint>)>,
    endpoints: BTreeMap<String, Endpoint>,
) -> Vec<Step> {
    let mut fresh = endpoints.into_values();
    for (_, stay) in &mut slices {
        let room = MOST.saturating_sub(stay.len());
        stay.extend(fresh.by_ref().take(room));
    }
    let mut steps = Vec::new();
    let filled = slices.iter().filter(|(_, endpoints)| !endpoints.is_empty()).count();
    let (mut kept, mut at) = (0, slices.len());
    for (slice, endpoints) in slices {
        // Empty slices go, but for one where nothing is left.
        if endpoints.is_empty() && (filled > 0 || kept > 0) {
            steps.push(Step::Delete(claim::key(&slice.metadata)));
            continue;
        }
        kept += 1;
        let mut wanted = slice.clone();
        wanted.endpoints = endpoints;
        wanted.metadata.labels.extend(owner.labels.clone());
        if let Some(annotations) = &owner.annotations {
            wanted.metadata.annotations.clone_from(annotations);
        }
        if wanted != *slice {
            steps.push(Step::Update(Box::new(wanted)));
        }
    }
    let mut rest: Vec<Endpoint> = fresh.collect();
    while !rest.is_empty() || kept == 0 {
        let chunk = rest.drain(..rest.len().min(MOST)).collect();
        steps.push(Step::Create(Box::new(slice(owner, kind, at, chunk))));
        kept += 1;
        at += 1;
    }
    steps
}

fn slice(owner: &Owner<'_>, kind: &Kind, at: usize, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = owner.meta.name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        namespace: owner.meta.namespace.clone(),
        // The same slice has the same name whoever makes it: two that race make one.
        name: Some(format!("{name}-{}", suffix(owner.meta.uid.as_deref().unwrap_or_default(), kind, at))),
        labels: owner.labels.clone(),
        annotations: owner.annotations.clone().unwrap_or_default(),
        owner_references: vec![owner.reference.clone()],
        ..ObjectMeta::default()
    };
    let ports = kind.1.iter().map(|(name, port, protocol)| EndpointPort {
        name: Some(name.clone()),
        port: Some(*port),
        protocol: Some(protocol.clone()),
        app_protocol: None,
    });
    EndpointSlice { metadata, address_type: kind.0.into(), endpoints, ports: ports.collect() }
}

/// Five letters and digits of a hash (FNV-1a), in the alphabet of generated names.
fn suffix(uid: &str, kind: &Kind, at: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = format!("{uid}/{kind:?}/{at}");
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let letters = (0..5).map(|_| {
        let letter = ALPHABET[usize::try_from(hash % 27).unwrap_or(0)];
        hash /= 27;
        char::from(letter)
    });
    letters.collect()
}

fn kind_of(slice: &EndpointSlice) -> Kind {
    let family = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
    let ports = slice.ports.iter().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        (port.name.clone().unwrap_or_default(), port.port.unwrap_or_default(), protocol)
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    (family, ports)
}

pub(super) fn family_of(ip: &IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}
