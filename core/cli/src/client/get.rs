//! `windlass get`: objects as tables, YAML, JSON or names.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use windlass::{
    api::{manifests::to_yaml, resources::ResourceInfo},
    kernel::{
        Document, Error, ErrorKind,
        api::{Answer, Verb},
    },
};

use super::{
    columns::{Style, table},
    connect::{Connected, within},
    print,
    resources::{Target, gvr, shown, targets},
};
use crate::args::{Get, Output};

pub(crate) fn run(get: &Get) -> Result<ExitCode> {
    let targets = targets(&get.what)?;
    within(&get.scope, async |connected| {
        let mut found = Vec::new();
        for target in &targets {
            found.push((target, fetch(&connected, get, target).await?));
        }
        show(&connected, get, &found)
    })
}

/// The objects of a target, each with its kind.
async fn fetch(connected: &Connected, get: &Get, target: &Target) -> Result<Vec<Value>> {
    let info = target.info();
    let namespace = if info.namespaced && !get.all_namespaces { connected.namespace.as_str() } else { "" };
    let mut objects = Vec::new();
    if target.names.is_empty() {
        objects = list(connected, info, namespace, [&get.selector, &get.field_selector]).await?;
    } else if get.all_namespaces && info.namespaced {
        return Err(Error::new(ErrorKind::Invalid, "an object has a name in one namespace: leave -A out").into());
    }
    for name in &target.names {
        objects.push(connected.client.dynamic(gvr(info)).get(namespace, name).await?);
    }
    for object in &mut objects {
        object["apiVersion"] = info.group_version().api_version().into();
        object["kind"] = info.kind.into();
    }
    Ok(objects)
}

/// Part of a collection.
pub(super) async fn list(
    connected: &Connected,
    info: &ResourceInfo,
    namespace: &str,
    [labels, fields]: [&str; 2],
) -> Result<Vec<Value>> {
    let mut request = connected.client.request(Verb::List, gvr(info)).in_namespace(namespace);
    request.options.label_selector = labels.into();
    request.options.field_selector = fields.into();
    match connected.client.call(request).await?.answer {
        Answer::List(list) => Ok(list.items.iter().map(Document::value).collect::<Result<_, _>>()?),
        other => Err(Error::new(ErrorKind::Internal, format!("expected a list, got {other:?}")).into()),
    }
}

fn show(connected: &Connected, get: &Get, found: &[(&Target, Vec<Value>)]) -> Result<ExitCode> {
    match get.output {
        None | Some(Output::Wide) => tables(connected, get, found)?,
        Some(Output::Name) => {
            let line = |info, object: &Value| format!("{}/{}\n", shown(info), text(object, "name"));
            let all = found.iter().flat_map(|(target, objects)| objects.iter().map(|o| line(target.info(), o)));
            print(all.collect::<String>())?;
        }
        Some(Output::Json) => print(format!("{:#}\n", whole(found)))?,
        Some(Output::Yaml) => print(to_yaml(&whole(found)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(connected: &Connected, get: &Get, found: &[(&Target, Vec<Value>)]) -> Result<()> {
    let mut drawn = Vec::new();
    for (target, objects) in found.iter().filter(|(_, objects)| !objects.is_empty()) {
        let info = target.info();
        let (wide, kinds) = (get.output == Some(Output::Wide), found.len() > 1);
        let style = Style { wide, kinds, namespaces: get.all_namespaces && info.namespaced };
        drawn.push(table(info, objects, style, connected.clock.now()));
    }
    if drawn.is_empty() {
        let everywhere = get.all_namespaces || found.iter().all(|(target, _)| !target.info().namespaced);
        let place = if everywhere { String::new() } else { format!(" in {} namespace", connected.namespace) };
        eprintln!("No resources found{place}.");
    }
    print(drawn.join("\n"))
}

/// One named object as it is, everything else as a list. Who owns which field is left out, as it is seldom asked.
fn whole(found: &[(&Target, Vec<Value>)]) -> Value {
    let mut objects: Vec<Value> = found.iter().flat_map(|(_, objects)| objects.iter().cloned()).collect();
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
