//! Objects from files: YAML with several documents, JSON, lists, folders and the standard input.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use windlass::{
    api::manifests::documents,
    kernel::{Error, ErrorKind, Result},
};

use super::{
    connect::Connected,
    resources::{Resource, of_defined, of_object},
};

/// An object that a file states.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Where it was read: the file, and which document of it.
    pub(super) place: String,
    /// The built-in resource; `None` where the cluster has to say what it is.
    pub(super) built_in: Option<Resource>,
    pub(super) object: Value,
}

impl Manifest {
    pub(super) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The resource of the object. What is not built in may have been defined by the object before.
    pub(super) async fn resource(&self, connected: &Connected) -> Result<Resource> {
        if let Some(known) = &self.built_in {
            return Ok(known.clone());
        }
        let text = |field: &str| self.object[field].as_str().unwrap_or_default();
        of_defined(text("apiVersion"), text("kind"), &connected.defined().await?)
    }

    /// Gives the object a namespace where it needs one; `named` is the one on the command line.
    pub(super) fn place_in(&mut self, resource: &Resource, named: Option<&str>, usual: &str) -> Result<String> {
        if !resource.namespaced {
            return Ok(String::new());
        }
        let meta = &mut self.object["metadata"];
        let own = meta["namespace"].as_str().filter(|own| !own.is_empty()).map(ToOwned::to_owned);
        match (own, named) {
            (Some(own), Some(named)) if own != named => {
                Err(wrong(&self.place, format!("the object is in namespace {own:?}, not in {named:?}")))
            }
            (Some(own), _) => Ok(own),
            (None, named) => {
                let namespace = named.unwrap_or(usual).to_owned();
                meta["namespace"] = namespace.as_str().into();
                Ok(namespace)
            }
        }
    }
}

/// Everything that the files and folders state, in their order.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let text = io::read_to_string(io::stdin()).map_err(|error| unreadable("the standard input", error))?;
            found.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&name, error))?;
            found.extend(parse(&name, &text)?);
        }
    }
    Ok(found)
}

/// The file itself, or the manifests in a folder by name.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| unreadable(&path.display().to_string(), error);
    let entries = fs::read_dir(path).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let manifest = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(manifest).collect();
    files.sort();
    Ok(files)
}

fn parse(file: &str, text: &str) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    let place = |number: usize| format!("{file}, document {number}");
    let documents = documents(text).map_err(|error| wrong(&place(error.document), error.message))?;
    for document in documents {
        collect(&place(document.number), document.value, &mut found)?;
    }
    Ok(found)
}

/// Enters an object, or the items of a list.
fn collect(place: &str, mut object: Value, found: &mut Vec<Manifest>) -> Result<()> {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !object.is_object() || api_version.is_empty() || kind.is_empty() {
        return Err(wrong(place, "an object states its apiVersion and kind".into()));
    }
    if kind.ends_with("List") && object["items"].is_array() {
        let Value::Array(items) = object["items"].take() else { return Ok(()) };
        for (at, item) in items.into_iter().enumerate() {
            collect(&format!("{place}, item {}", at + 1), item, found)?;
        }
        return Ok(());
    }
    let manifest = Manifest { place: place.into(), built_in: of_object(&api_version, &kind), object };
    if manifest.name().is_empty() {
        return Err(wrong(place, "an object has a metadata.name".into()));
    }
    found.push(manifest);
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "the message is made for this")]
fn wrong(place: &str, message: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("{place}: {message}"))
}

fn unreadable(name: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("cannot read {name}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match parse("f.yaml", text) {
            Ok(found) => {
                let kind = |m: &Manifest| m.built_in.as_ref().map_or("?".into(), |own| own.singular.clone());
                let line = |m: &Manifest| format!("{} {} ({})", kind(m), m.name(), m.place);
                found.iter().map(line).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn a_file_holds_several_documents() {
        check(
            "---\n# nothing\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}\n",
            "pod a (f.yaml, document 2); deployment b (f.yaml, document 3)",
        );
    }

    #[test]
    fn lists_are_their_items() {
        check(
            r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]}"#,
            "pod a (f.yaml, document 1, item 1)",
        );
    }

    #[test]
    fn errors_name_the_file_and_the_document() {
        check("kind: Pod\n", "f.yaml, document 1: an object states its apiVersion and kind");
        check("apiVersion: v1\nkind: Pod\n", "f.yaml, document 1: an object has a metadata.name");
        check("apiVersion: x/v1\nkind: Y\nmetadata: {name: a}\n", "? a (f.yaml, document 1)");
        assert!(parse("f.yaml", "a: 1\na: 2\n").unwrap_err().message().starts_with("f.yaml, document 1: "));
        assert!(parse("f.yaml", "a: [\n").unwrap_err().message().starts_with("f.yaml, document 1: "));
    }

    #[test]
    fn an_object_is_in_one_namespace() {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: n}}";
        let mut manifest = parse("f", pod).unwrap().remove(0);
        let pods = manifest.built_in.clone().unwrap();
        assert_eq!(manifest.place_in(&pods, None, "default").unwrap(), "n");
        assert!(manifest.place_in(&pods, Some("other"), "default").unwrap_err().is(ErrorKind::Invalid));
    }
}
