//! Objects as aligned columns, the way that `kubectl get` shows them. Pure.

use jiff::Timestamp;
use serde_json::Value;
use windlass::apiserver::table::{cells, columns};

use super::resources::shown;
use windlass::api::resources::ResourceInfo;

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
pub(super) fn table(info: &ResourceInfo, objects: &[Value], style: Style, now: Timestamp) -> String {
    let defined = columns(info.group, info.kind);
    let wanted: Vec<usize> = (0..defined.len()).filter(|at| style.wide || defined[*at].priority == 0).collect();
    let mut rows = Vec::with_capacity(objects.len() + 1);
    let mut head: Vec<String> = wanted.iter().map(|at| defined[*at].name.to_uppercase()).collect();
    if style.namespaces {
        head.insert(0, "NAMESPACE".into());
    }
    rows.push(head);
    for object in objects {
        let all = cells(info.group, info.kind, object, now);
        let mut row: Vec<String> = wanted.iter().map(|at| all.get(*at).map_or_else(String::new, text)).collect();
        if style.kinds
            && let Some(name) = row.first_mut()
        {
            *name = format!("{}/{name}", shown(info));
        }
        if style.namespaces {
            row.insert(0, object["metadata"]["namespace"].as_str().unwrap_or_default().into());
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
        let info = find("", "v1", "configmaps").unwrap();
        assert_eq!(table(info, &[object], style, "2026-01-01T01:00:00Z".parse().unwrap()), expect);
    }

    #[test]
    fn columns_are_aligned() {
        check(Style::default(), "NAME   DATA   AGE\na      1      3m\n");
        let all = Style { namespaces: true, kinds: true, ..Style::default() };
        check(all, "NAMESPACE   NAME          DATA   AGE\nn           configmap/a   1      3m\n");
    }
}
