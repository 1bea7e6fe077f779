//! One rule, and what it allows. Pure.

use serde::{Deserialize, Deserializer, Serialize};
use windlass_kernel::access::Attributes;

/// What a role allows (`rbac.authorization.k8s.io/v1 PolicyRule`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// The API groups; empty text is the core group.
    #[serde(deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// The paths, where the rule is not about resources.
    #[serde(rename = "nonResourceURLs", deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// The objects' names; none is all.
    #[serde(deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// The resources, with their sub-resource after a slash.
    #[serde(deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The verbs.
    #[serde(deserialize_with = "or_null")]
    pub verbs: Vec<String>,
}

fn or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|own| own == word || own == "*")
}

impl PolicyRule {
    /// What `system:masters` may do.
    pub(crate) fn everything() -> [Self; 2] {
        let star = || vec!["*".to_owned()];
        [
            Self { verbs: star(), api_groups: star(), resources: star(), ..Self::default() },
            Self { verbs: star(), non_resource_urls: star(), ..Self::default() },
        ]
    }

    /// Whether the rule allows it.
    #[must_use]
    pub fn allows(&self, wanted: &Attributes) -> bool {
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        if wanted.resource.is_empty() {
            return self.allows_path(&wanted.path);
        }
        has(&self.api_groups, &wanted.group)
            && self.allows_resource(&wanted.resource, &wanted.subresource)
            && (self.resource_names.is_empty() || self.resource_names.contains(&wanted.name))
    }

    fn allows_path(&self, path: &str) -> bool {
        self.non_resource_urls
            .iter()
            .any(|url| url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start)))
    }

    fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| match own.split_once('/') {
            None => own == "*" || (subresource.is_empty() && own == resource),
            Some(("*", sub)) => sub == subresource,
            Some((base, sub)) => !subresource.is_empty() && base == resource && sub == subresource,
        })
    }

    /// The rule as rules of one verb, one group, one resource and one name (or one path) each.
    fn atoms(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut out = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                out.push(Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let atom = || Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        out.push(atom());
                    }
                    out.extend(self.resource_names.iter().map(|name| Self { resource_names: one(name), ..atom() }));
                }
            }
        }
        out
    }

    /// Whether this rule allows all that an atom allows.
    fn covers(&self, atom: &Self) -> bool {
        let all = |own: &[String], wanted: &[String]| wanted.iter().all(|word| has(own, word));
        let resource = |wanted: &String| {
            let (_, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
            has(&self.resources, wanted) || (!sub.is_empty() && self.resources.contains(&format!("*/{sub}")))
        };
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && atom.resource_names.iter().all(|name| self.resource_names.contains(name)));
        all(&self.verbs, &atom.verbs)
            && all(&self.api_groups, &atom.api_groups)
            && atom.resources.iter().all(resource)
            && names
            && atom.non_resource_urls.iter().all(|url| self.allows_path(url))
            && self.non_resource_urls.is_empty() == atom.non_resource_urls.is_empty()
    }

    /// The rule as messages name it.
    pub(crate) fn describe(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.non_resource_urls),
            ("Verbs", &self.verbs),
        ];
        let parts = lists.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| format!("{name}:{list:?}"));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    }
}

/// What `wanted` allows and `owned` does not, in the smallest pieces.
pub(crate) fn uncovered(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let atoms = wanted.iter().flat_map(PolicyRule::atoms);
    let mut missing: Vec<PolicyRule> = atoms.filter(|atom| !owned.iter().any(|rule| rule.covers(atom))).collect();
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> PolicyRule {
        let mut parts = text.split('|').map(|part| part.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let mut next = || parts.next().unwrap_or_default();
        let (verbs, groups, resources, resource_names) = (next(), next(), next(), next());
        if groups == ["url"] {
            return PolicyRule { verbs, non_resource_urls: resources, ..PolicyRule::default() };
        }
        let api_groups = groups.into_iter().map(|group| if group == "core" { String::new() } else { group }).collect();
        PolicyRule { verbs, api_groups, resources, resource_names, ..PolicyRule::default() }
    }

    fn check(own: &str, wanted: &str, expect: bool) {
        let words: Vec<&str> = wanted.split_whitespace().collect();
        let attributes = match words[..] {
            [verb, path] => Attributes { verb: verb.into(), path: path.into(), ..Attributes::default() },
            [verb, group, resource, ref name @ ..] => {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                Attributes {
                    verb: verb.into(),
                    group: if group == "core" { String::new() } else { group.into() },
                    resource: resource.into(),
                    subresource: subresource.into(),
                    name: name.first().unwrap_or(&"").to_string(),
                    ..Attributes::default()
                }
            }
            _ => panic!("{wanted}"),
        };
        assert_eq!(rule(own).allows(&attributes), expect, "{own} / {wanted}");
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        check("get list | core | pods", "get core pods", true);
        check("get list | core | pods", "get core pods x", true);
        check("get list | core | pods", "watch core pods", false);
        check("get list | core | pods", "get apps pods", false);
        check("get | core | pods", "get core pods/log", false);
        check("get | core | pods/log", "get core pods/log", true);
        check("get | core | pods/log", "get core pods", false);
        check("* | * | */scale", "update apps deployments/scale", true);
        check("* | * | */scale", "update apps deployments", false);
        check("* | * | *", "update apps deployments/scale", true);
        check("get | core | configmaps | a b", "get core configmaps b", true);
        check("get | core | configmaps | a b", "get core configmaps c", false);
        check("get | core | configmaps | a b", "get core configmaps", false);
        check("get | url | /healthz/*", "get /healthz/ping", true);
        check("get | url | /healthz/*", "get /healthz", false);
        check("get | url | *", "get /metrics", true);
        check("get | url | *", "get core pods", false);
    }

    fn covered(owned: &[&str], wanted: &str, expect: usize) {
        let owned: Vec<PolicyRule> = owned.iter().map(|text| rule(text)).collect();
        assert_eq!(uncovered(&owned, &[rule(wanted)]).len(), expect, "{owned:?} / {wanted}");
    }

    #[test]
    fn rules_cover_each_other_piece_by_piece() {
        covered(&["get | core | pods", "list | core | pods"], "get list | core | pods", 0);
        covered(&["get | core | pods"], "get list | core | pods", 1);
        covered(&["get | core | pods"], "get | core | pods | x", 0);
        covered(&["get | core | pods | x"], "get | core | pods", 1);
        covered(&["get | core | pods | x"], "get | core | pods | x y", 1);
        covered(&["* | * | *"], "get | core | pods/exec", 0);
        covered(&["* | * | */scale"], "get | apps | deployments/scale", 0);
        covered(&["get | url | /a/*"], "get | url | /a/b", 0);
        covered(&["* | * | *"], "get | url | /a/b", 1);
    }
}
