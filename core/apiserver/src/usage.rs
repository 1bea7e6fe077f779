//! `metrics.k8s.io`: what nodes and pods use, read from the agents of the nodes when somebody asks. Nothing is stored.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};
use windlass_kernel::{
    Document,
    api::{Answer, List, Options, Request, Response, Verb},
    error::Result,
    node::{Amounts, Measured, PodUsage, Usage},
};

use crate::{errors, index, object, registry::Served, select::Selection, server::ApiServer, verbs};

/// The group that is answered here.
pub(crate) const GROUP: &str = "metrics.k8s.io";

/// Answers what the request's objects use.
pub(crate) async fn read(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let answer = match request.verb {
        Verb::Get => Answer::Object(one(server, served, request).await?),
        _ => Answer::List(all(server, served, request).await?),
    };
    Ok(Response { code: 200, warnings: Vec::new(), answer })
}

/// The resource of the objects whose use is told: nodes or pods.
fn measured<'s>(server: &'s ApiServer, served: &Served) -> Result<&'s Served> {
    server.parts.registry.known("", "v1", &served.info.plural).map(|served| &**served)
}

async fn one(server: &ApiServer, served: &Served, request: &Request) -> Result<Document> {
    let of = measured(server, served)?;
    let missing = || errors::not_found(&served.info, &request.name);
    let found = server.read(&of.key(&request.namespace, &request.name)).await?.ok_or_else(missing)?;
    let told = tell(server, served, vec![found]).await?;
    told.into_iter().next().ok_or_else(missing)
}

async fn all(server: &ApiServer, served: &Served, request: &Request) -> Result<List> {
    let of = measured(server, served)?;
    let selection = Selection::parse(of, &request.options)?;
    let Options { label_selector, field_selector, .. } = request.options.clone();
    let options = Options { label_selector, field_selector, ..Options::default() };
    let page = verbs::list_page(server, of, &request.namespace, &selection, &options).await?;
    Ok(List {
        api_version: served.api_version(),
        kind: served.info.list_kind.to_string(),
        revision: page.revision,
        continue_token: String::new(),
        remaining: None,
        items: tell(server, served, page.items).await?,
    })
}

/// What the objects use; those that are not measured are left out, as upstream's server does.
async fn tell(server: &ApiServer, served: &Served, objects: Vec<Document>) -> Result<Vec<Document>> {
    let pods = &*served.info.plural == "pods";
    let mut by_node: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in objects {
        let object = document.value()?;
        let node = if pods { object["spec"]["nodeName"].as_str().unwrap_or_default() } else { object::name(&object) };
        if !node.is_empty() {
            by_node.entry(node.to_owned()).or_default().push(object);
        }
    }
    let asked = by_node.keys().map(|node| ask(server, node));
    let answers = join_all(asked).await;
    let mut told = Vec::new();
    for (objects, usage) in by_node.values().zip(answers) {
        let Some(usage) = usage else { continue };
        let of_pod: BTreeMap<&str, &PodUsage> = usage.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
        for object in objects {
            let of_pod = || of_pod.get(object::meta_text(object, "uid")).map(|own| pod(own));
            let figures = if pods { of_pod() } else { usage.node.map(node) };
            told.extend(figures.map(|figures| shown(served, object, figures)));
        }
    }
    told.sort_by_key(key);
    told.into_iter().map(|object| index::unwritten(served, object)).collect()
}

fn key(object: &Value) -> (String, String) {
    (object::meta_text(object, "namespace").to_owned(), object::name(object).to_owned())
}

/// What a node's agent says; nothing where it is away or does not measure.
async fn ask(server: &ApiServer, node: &str) -> Option<Usage> {
    let agent = server.parts.agents.as_ref()?.agent(node).ok()?;
    match agent.metering()?.usage().await {
        Ok(usage) => Some(usage),
        Err(error) => {
            tracing::debug!(node, %error, "a node cannot say what it uses");
            None
        }
    }
}

/// The fields of an object that say what it uses.
type Figures = Vec<(&'static str, Value)>;

fn node(used: Measured<Amounts>) -> Figures {
    vec![("timestamp", object::time(used.at).into()), ("window", window(&used)), ("usage", amounts(used.amounts))]
}

fn pod(used: &PodUsage) -> Figures {
    let Measured { at, amounts: each, .. } = &used.containers;
    let containers = each.iter().map(|(name, used)| json!({"name": name, "usage": amounts(*used)}));
    vec![
        ("timestamp", object::time(*at).into()),
        ("window", window(&used.containers)),
        ("containers", containers.collect()),
    ]
}

fn window<T>(used: &Measured<T>) -> Value {
    let millis = used.window.as_millis();
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.')).into()
}

/// Amounts in the units that upstream's server writes.
fn amounts(used: Amounts) -> Value {
    let cpu = if used.nanocores == 0 { "0".to_owned() } else { format!("{}n", used.nanocores) };
    json!({"cpu": cpu, "memory": format!("{}Ki", used.memory / 1024)})
}

fn shown(served: &Served, of: &Value, figures: Figures) -> Value {
    let mut meta = json!({"name": object::name(of)});
    for field in ["namespace", "labels"] {
        if !object::is_empty(object::meta(of, field)) {
            meta[field] = object::meta(of, field).clone();
        }
    }
    let mut object = json!({"apiVersion": served.api_version(), "kind": served.info.kind, "metadata": meta});
    object::as_map(&mut object).extend(figures.into_iter().map(|(name, value)| (name.to_owned(), value)));
    // The object is as old as its figures.
    let time = object["timestamp"].clone();
    object::set_meta(&mut object, "creationTimestamp", Some(time));
    object
}
