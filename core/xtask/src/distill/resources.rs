//! The resources and sub-resources that Kubernetes serves.

use crate::tables::{self, Resource};
use std::path::Path;

/// Reads `api-resources.tsv`.
pub(crate) fn distill(path: &Path) -> anyhow::Result<Vec<Resource>> {
    Ok(tables::read(path, 11)?.iter().map(|row| resource(row)).collect())
}

fn resource(row: &[String]) -> Resource {
    let group = row[0].trim_matches(['(', ')']);
    let group = if group == "core" { "" } else { group };
    // The kind is followed by its group and version where they are not the resource's own.
    let (kind, foreign) = row[5].split_once(" (").unwrap_or((&row[5], ""));
    let (kind_group, kind_version) = match foreign.trim_end_matches(')').split_once('/') {
        Some(other) => other,
        None => (group, row[1].as_str()),
    };
    let list = |cell: &str, by: char| -> Vec<String> {
        cell.split(by).filter(|w| !w.is_empty()).map(|w| w.trim_matches(['(', ')']).to_owned()).collect()
    };
    let patches = list(&row[9], ' ').into_iter().filter(|p| p != "apply-patch+cbor" && p != "*/*").collect();
    Resource {
        group: group.to_owned(),
        version: row[1].clone(),
        plural: row[2].clone(),
        subresource: row[3].clone(),
        namespaced: row[4] == "true",
        kind: kind.to_owned(),
        kind_group: kind_group.to_owned(),
        kind_version: kind_version.to_owned(),
        verbs: list(&row[6], ','),
        short_names: list(&row[7], ','),
        categories: list(&row[8], ','),
        patches,
    }
}
