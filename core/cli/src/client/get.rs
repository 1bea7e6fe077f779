//! `windlass get`: objects as tables, YAML, JSON or names.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use windlass::{
    api::manifests::to_yaml,
    kernel::{
        Document, Error, ErrorKind,
        api::{Answer, Verb},
    },
};

use super::{
    columns::{Style, made, table},
    connect::{Connected, within},
    print,
    resources::{Resource, Target, needs_asking, targets},
};
use crate::args::{Get, Output};

pub(crate) fn run(get: &Get) -> Result<ExitCode> {
    let asks = needs_asking(&get.what);
    // What is wrong with other words is told before anybody is asked.
    let known = if asks { None } else { Some(targets(&get.what, &[])?) };
    within(&get.scope, async |connected| {
        let targets = match known {
            Some(known) => known,
            None => targets(&get.what, &connected.defined().await?)?,
        };
        let mut found = Vec::new();
        for target in &targets {
            found.push((target, fetch(&connected, get, target).await?));
        }
        show(&connected, get, &found)
    })
}

/// What was found of a target.
enum Found {
    /// Objects, each with its kind.
    Objects(Vec<Value>),
    /// Tables that the server made of objects that only it knows the columns of.
    Tables(Vec<Value>),
}

impl Found {
    fn objects(&self) -> &[Value] {
        match self {
            Self::Objects(objects) => objects,
            Self::Tables(_) => &[],
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Objects(objects) => objects.is_empty(),
            Self::Tables(tables) => {
                tables.iter().all(|table| table["rows"].as_array().is_none_or(|rows| rows.is_empty()))
            }
        }
    }
}

async fn fetch(connected: &Connected, get: &Get, target: &Target) -> Result<Found> {
    let Target { resource, names } = target;
    if !names.is_empty() && get.all_namespaces && resource.namespaced {
        return Err(Error::new(ErrorKind::Invalid, "an object has a name in one namespace: leave -A out").into());
    }
    let namespace = if resource.namespaced && !get.all_namespaces { connected.namespace.as_str() } else { "" };
    if !resource.built_in && matches!(get.output, None | Some(Output::Wide)) {
        return Ok(Found::Tables(made_tables(connected, get, target, namespace).await?));
    }
    let mut objects = Vec::new();
    if names.is_empty() {
        objects = list(connected, resource, namespace, [&get.selector, &get.field_selector]).await?;
    }
    for name in names {
        objects.push(connected.client.dynamic(resource.gvr()).get(namespace, name).await?);
    }
    for object in &mut objects {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.as_str().into();
    }
    Ok(Found::Objects(objects))
}

async fn made_tables(connected: &Connected, get: &Get, target: &Target, namespace: &str) -> Result<Vec<Value>> {
    let Target { resource, names } = target;
    let place = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
    let path = format!("/apis/{}/{}/{place}{}", resource.group, resource.version, resource.plural);
    if names.is_empty() {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("labelSelector", &get.selector), ("fieldSelector", &get.field_selector)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        return Ok(vec![connected.table(&format!("{path}?{}", query.finish())).await?]);
    }
    let mut tables = Vec::new();
    for name in names {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        tables.push(connected.table(&format!("{path}/{name}")).await?);
    }
    Ok(tables)
}

/// Part of a collection.
pub(super) async fn list(
    connected: &Connected,
    resource: &Resource,
    namespace: &str,
    [labels, fields]: [&str; 2],
) -> Result<Vec<Value>> {
    let mut request = connected.client.request(Verb::List, resource.gvr()).in_namespace(namespace);
    request.options.label_selector = labels.into();
    request.options.field_selector = fields.into();
    match connected.client.call(request).await?.answer {
        Answer::List(list) => Ok(list.items.iter().map(Document::value).collect::<Result<_, _>>()?),
        other => Err(Error::new(ErrorKind::Internal, format!("expected a list, got {other:?}")).into()),
    }
}

fn show(connected: &Connected, get: &Get, found: &[(&Target, Found)]) -> Result<ExitCode> {
    match get.output {
        None | Some(Output::Wide) => tables(connected, get, found)?,
        Some(Output::Name) => {
            let line =
                |target: &Target, object: &Value| format!("{}/{}\n", target.resource.shown(), text(object, "name"));
            let all = found.iter().flat_map(|(target, found)| found.objects().iter().map(|one| line(target, one)));
            print(all.collect::<String>())?;
        }
        Some(Output::Json) => print(format!("{:#}\n", whole(found)))?,
        Some(Output::Yaml) => print(to_yaml(&whole(found)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(connected: &Connected, get: &Get, found: &[(&Target, Found)]) -> Result<()> {
    let mut drawn = Vec::new();
    for (target, own) in found.iter().filter(|(_, own)| !own.is_empty()) {
        let resource = &target.resource;
        let (wide, kinds) = (get.output == Some(Output::Wide), found.len() > 1);
        let style = Style { wide, kinds, namespaces: get.all_namespaces && resource.namespaced };
        drawn.push(match own {
            Found::Objects(objects) => table(resource, objects, style, connected.clock.now()),
            Found::Tables(tables) => made(resource, tables, style),
        });
    }
    if drawn.is_empty() {
        let everywhere = get.all_namespaces || found.iter().all(|(target, _)| !target.resource.namespaced);
        let place = if everywhere { String::new() } else { format!(" in {} namespace", connected.namespace) };
        eprintln!("No resources found{place}.");
    }
    print(drawn.join("\n"))
}

/// One named object as it is, everything else as a list. Who owns which field is left out, as it is seldom asked.
fn whole(found: &[(&Target, Found)]) -> Value {
    let mut objects: Vec<Value> = found.iter().flat_map(|(_, found)| found.objects().iter().cloned()).collect();
    for object in &mut objects {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
    }
    let named: usize = found.iter().map(|(target, _)| target.names.len()).sum();
    if named == 1 && objects.len() == 1 {
        return objects.remove(0);
    }
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
