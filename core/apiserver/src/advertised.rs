//! Where the service `kubernetes` leads: the servers over this state, as Endpoints and as an EndpointSlice.
//!
//! Each server says in the store that it is there, under a lease that it renews; whoever stops is taken out of the
//! endpoints by the others.

use std::{net::IpAddr, pin::pin, time::Duration};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use windlass_kernel::{
    ClockExt, Document,
    error::{Error, ErrorKind, Result},
    store::{Condition, Key, KeyRange, LeaseId, ListSpec, Op, ReadAt, Txn},
};

use crate::{
    bootstrap::{add, served, service},
    index, object,
    server::ApiServer,
};

/// How long is waited after a failure. Upstream looks this often.
const PAUSE: Duration = Duration::from_secs(10);
/// Where servers say that they are there, a key for each address. These are no objects of the API.
const SERVERS: &str = "/masterleases/";
/// How long a server is believed, and how often it says it again (upstream's lease endpoint reconciler).
const BELIEVED: Duration = Duration::from_secs(15);
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// Refuses an address that endpoints may not have, since nobody else could reach the server there.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) with the reason.
pub fn advertisable(address: IpAddr) -> Result<()> {
    let why = match address {
        _ if address.is_unspecified() => "may not be unspecified",
        _ if address.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        _ if address.is_multicast() => "may not be in the multicast range",
        IpAddr::V4(four) if four.is_link_local() => "may not be in the link-local range",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Invalid, format!("the API server cannot be advertised at {address}: {why}")))
}

/// What a server has said of itself.
#[derive(Debug, Default)]
struct Presence {
    lease: Option<LeaseId>,
    /// When it has to be said again, as [`uptime`](windlass_kernel::Clock::uptime).
    due: Duration,
}

impl Presence {
    /// Says that the server is there, unless that was said a moment ago and still stands.
    async fn say(&mut self, server: &ApiServer, address: IpAddr) -> Result<()> {
        let (store, now) = (&server.parts.store, server.parts.clock.uptime());
        if let Some(lease) = self.lease.filter(|_| now >= self.due) {
            match store.renew(lease).await {
                Ok(()) => self.due = now.saturating_add(SAID_AGAIN),
                Err(error) if error.is(ErrorKind::NotFound) => self.lease = None,
                Err(error) => return Err(error),
            }
        }
        let key = Key::from(format!("{SERVERS}{address}"));
        let stands = self.lease.is_some() && store.get(&key, ReadAt::Latest).await?.is_some();
        if stands {
            return Ok(());
        }
        let lease = store.grant(BELIEVED).await?;
        let put = Op::Put { key, value: address.to_string().into(), lease: Some(lease) };
        store.txn(Txn { ops: vec![put], ..Txn::default() }).await?;
        (self.lease, self.due) = (Some(lease), now.saturating_add(SAID_AGAIN));
        Ok(())
    }
}

/// The addresses of all servers that are there.
async fn present(server: &ApiServer) -> Result<Vec<String>> {
    let spec = ListSpec { range: KeyRange::prefix(SERVERS), at: ReadAt::Latest, limit: None };
    let listing = server.parts.store.list(&spec).await?;
    Ok(listing.entries.iter().filter_map(|entry| entry.key.as_str().strip_prefix(SERVERS)).map(str::to_owned).collect())
}

/// Writes the address down, in place of those of servers that are gone.
pub(crate) async fn begin(server: &ApiServer, address: IpAddr) -> Result<()> {
    Presence::default().say(server, address).await?;
    let all = present(server).await?;
    for object in objects(server, &all, address.is_ipv4()) {
        let found = server.read(&key(server, &object)?).await?;
        write(server, object, found).await?;
    }
    Ok(())
}

/// Keeps the service and its endpoints, for this server and the others over the same state.
pub(crate) async fn keep(server: &ApiServer, address: IpAddr) {
    let mut presence = Presence::default();
    loop {
        match kept(server, address, &mut presence).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot keep the endpoints of the service kubernetes");
                server.parts.clock.sleep(PAUSE).await;
            }
        }
    }
}

/// Mends what there is to mend, and waits for the next change or until the server has to speak again.
async fn kept(server: &ApiServer, address: IpAddr, presence: &mut Presence) -> Result<()> {
    let (store, clock) = (&server.parts.store, &server.parts.clock);
    presence.say(server, address).await?;
    let before = store.latest().await?;
    let service = service(server);
    let known = objects(server, &[], address.is_ipv4());
    let mut changes = vec![store.watch(KeyRange::prefix(SERVERS), before).await?];
    for object in known.iter().chain([&service]) {
        changes.push(store.watch(KeyRange::prefix(key(server, object)?.as_str()), before).await?);
    }
    if store.get(&key(server, &service)?, ReadAt::Latest).await?.is_none() {
        write(server, service, None).await?;
    }
    let mut found = Vec::new();
    for object in &known {
        found.push(server.read(&key(server, object)?).await?);
    }
    let all = present(server).await?;
    // What is written rests on what was read here: where that changed meanwhile, it is looked at again.
    for (object, found) in objects(server, &all, address.is_ipv4()).into_iter().zip(found) {
        write(server, object, found).await?;
    }
    let mut changes = pin!(stream::select_all(changes));
    match clock.timeout(presence.due.saturating_sub(clock.uptime()), changes.next()).await {
        Ok(Some(Err(error))) if !matches!(error.kind(), ErrorKind::Compacted) => Err(error),
        Ok(None) => Err(Error::new(ErrorKind::Unavailable, "the store's watches ended")),
        // Something changed, or it is time to speak again.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

fn key(server: &ApiServer, object: &Value) -> Result<Key> {
    Ok(served(server, object)?.key("default", "kubernetes"))
}

/// The two objects with these addresses. Those of the other family have no place in the slice.
fn objects(server: &ApiServer, all: &[String], is_v4: bool) -> [Value; 2] {
    let port = json!([{"name": "https", "port": server.parts.port, "protocol": "TCP"}]);
    let own = all.iter().filter(|text| text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4() == is_v4));
    let own: Vec<&String> = own.collect();
    let old: Vec<Value> = own.iter().map(|address| json!({"ip": address})).collect();
    let new: Vec<Value> =
        own.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": true}})).collect();
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": old, "ports": port}]});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if is_v4 { "IPv4" } else { "IPv6" }, "ports": port, "endpoints": new});
    [endpoints, slice]
}

/// Writes an object where what was found is missing or says something else, and is still so.
async fn write(server: &ApiServer, object: Value, found: Option<Document>) -> Result<()> {
    let served = served(server, &object)?;
    let key = key(server, &object)?;
    let mut txn = Txn::default();
    let Some(found) = found else {
        add(server, served, key, object, &mut txn).await?;
        server.parts.store.txn(txn).await?;
        return Ok(());
    };
    let mut new = found.value()?;
    object::set_meta(&mut new, "resourceVersion", None);
    let given = object.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata");
    object::as_map(&mut new).extend(given.map(|(field, value)| (field.clone(), value.clone())));
    let labels = object::meta(&object, "labels").clone();
    object::set_meta(&mut new, "labels", Some(labels));
    let value = index::encode(served, &new)?;
    if value != found.entry().value {
        txn.conditions.push(Condition::Unchanged(key.clone(), found.entry().modified));
        txn.ops.push(Op::Put { key, value, lease: None });
        // Where the condition does not hold somebody else wrote, and what is kept is looked at again.
        server.parts.store.txn(txn).await?;
    }
    Ok(())
}
