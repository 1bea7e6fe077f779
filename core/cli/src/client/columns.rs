//! Objects as aligned columns, the way that `kubectl get` shows them. Pure.

use jiff::Timestamp;
use serde_json::Value;
use windlass::apiserver::table::{cells, columns};

use super::resources::Resource;

/// How a table is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// With the columns of lower priority.
    pub(super) wide: bool,
    /// With a column for the namespace.
    pub(super) namespaces: bool,
    /// With names such as `pod/a`.
    pub(super) kinds: bool,
}

/// A table of the objects of a resource.
pub(super) fn table(resource: &Resource, objects: &[Value], style: Style, now: Timestamp) -> String {
    let (group, kind) = (resource.group.as_str(), resource.kind.as_str());
    let defined = columns(group, kind);
    let head: Vec<(&str, bool)> = defined.iter().map(|own| (own.name, own.priority == 0)).collect();
    let rows = objects.iter().map(|object| {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        (namespace, cells(group, kind, object, now))
    });
    draw(resource, &head, rows, style)
}

/// Tables of a custom resource that the server made, as one.
pub(super) fn made(resource: &Resource, tables: &[Value], style: Style) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let defined = tables.iter().map(|table| list(&table["columnDefinitions"])).find(|own| !own.is_empty());
    let defined = defined.unwrap_or_default();
    let head: Vec<(&str, bool)> = defined
        .iter()
        .map(|own| (own["name"].as_str().unwrap_or_default(), own["priority"].as_i64() == Some(0)))
        .collect();
    let rows = tables.iter().flat_map(|table| list(&table["rows"])).map(|row| {
        let namespace = row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        (namespace, list(&row["cells"]))
    });
    draw(resource, &head, rows, style)
}

/// Draws rows under the names of their columns; those that are not always shown only where that is asked for.
fn draw(
    resource: &Resource,
    columns: &[(&str, bool)],
    objects: impl Iterator<Item = (String, Vec<Value>)>,
    style: Style,
) -> String {
    let wanted: Vec<usize> = (0..columns.len()).filter(|at| style.wide || columns[*at].1).collect();
    let mut head: Vec<String> = wanted.iter().map(|at| columns[*at].0.to_uppercase()).collect();
    if style.namespaces {
        head.insert(0, "NAMESPACE".into());
    }
    let mut rows = vec![head];
    for (namespace, all) in objects {
        let mut row: Vec<String> = wanted.iter().map(|at| all.get(*at).map_or_else(String::new, text)).collect();
        if style.kinds
            && let Some(name) = row.first_mut()
        {
            *name = format!("{}/{name}", resource.shown());
        }
        if style.namespaces {
            row.insert(0, namespace);
        }
        rows.push(row);
    }
    aligned(&rows)
}

fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    }
}

/// Columns as wide as their widest cell, three blanks apart; the last is as long as it is.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0) + 3).collect();
    let mut out = String::new();
    for row in rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line: String = padded.collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass::api::resources::find;

    use super::*;

    fn check(style: Style, expect: &str) {
        let object = json!({"metadata": {"name": "a", "namespace": "n", "creationTimestamp": "2026-01-01T00:57:00Z"},
            "data": {"k": "v"}});
        let maps = Resource::from(find("", "v1", "configmaps").unwrap());
        assert_eq!(table(&maps, &[object], style, "2026-01-01T01:00:00Z".parse().unwrap()), expect);
    }

    #[test]
    fn columns_are_aligned() {
        check(Style::default(), "NAME   DATA   AGE\na      1      3m\n");
        let all = Style { namespaces: true, kinds: true, ..Style::default() };
        check(all, "NAMESPACE   NAME          DATA   AGE\nn           configmap/a   1      3m\n");
    }

    #[test]
    fn tables_of_the_server_are_joined() {
        let row =
            |name: &str, size: i64| json!({"cells": [name, size, "x"], "object": {"metadata": {"namespace": "n"}}});
        let columns = json!([{"name": "Name", "priority": 0}, {"name": "Size", "priority": 0},
            {"name": "More", "priority": 1}]);
        let tables = [
            json!({"columnDefinitions": columns, "rows": [row("a", 1)]}),
            json!({"columnDefinitions": columns, "rows": [row("b", 22)]}),
        ];
        let maps = Resource::from(find("", "v1", "configmaps").unwrap());
        assert_eq!(made(&maps, &tables, Style::default()), "NAME   SIZE\na      1\nb      22\n");
        let all = Style { namespaces: true, wide: true, ..Style::default() };
        let expect = "NAMESPACE   NAME   SIZE   MORE\nn           a      1      x\nn           b      22     x\n";
        assert_eq!(made(&maps, &tables, all), expect);
    }
}
