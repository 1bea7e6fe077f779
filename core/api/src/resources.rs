//! The resources that Kubernetes serves: names, scope, verbs, kinds and sub-resources.
//!
//! Facts only: which of them a server really serves is its own decision.

use crate::r#gen::schema::resources::RESOURCES;
use crate::schema::Message;
use std::cmp::Reverse;

/// A kind with its group and version; the core group is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// The group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// A group and version; the core group is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersion {
    /// The group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
}

impl GroupVersion {
    /// Whether upstream serves it unless told otherwise: stable versions only.
    #[must_use]
    pub fn served_by_default(self) -> bool {
        maturity(self.version).0 == Maturity::Stable
    }

    /// The group and version as objects carry them: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resources of the group and version, sorted by plural.
    pub fn resources(self) -> impl Iterator<Item = &'static ResourceInfo> {
        RESOURCES.iter().filter(move |r| (r.group, r.version) == (self.group, self.version))
    }
}

/// A resource of one group and version.
#[derive(Debug)]
pub struct ResourceInfo {
    /// The group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name of one object, in lower case.
    pub singular: &'static str,
    /// The kind of its objects.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs that are served, sorted.
    pub verbs: &'static [&'static str],
    /// What kubectl accepts instead of the plural.
    pub short_names: &'static [&'static str],
    /// The groups of resources that kubectl knows it by, such as `all`.
    pub categories: &'static [&'static str],
    /// The patch content types, without `application/`.
    pub patches: &'static [&'static str],
    /// The type of its objects.
    pub message: &'static Message,
    /// The type of its lists, where it can be listed.
    pub list: Option<&'static Message>,
    /// The sub-resources, sorted by name.
    pub subresources: &'static [Subresource],
}

/// A sub-resource, such as `status` or `exec`.
#[derive(Debug)]
pub struct Subresource {
    /// The last segment of its path.
    pub name: &'static str,
    /// The kind that is sent to it.
    pub kind: GroupVersionKind,
    /// The verbs that are served, sorted.
    pub verbs: &'static [&'static str],
    /// The patch content types, without `application/`.
    pub patches: &'static [&'static str],
    /// The type that is sent to it.
    pub message: &'static Message,
}

impl ResourceInfo {
    /// The group and version.
    #[must_use]
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group, version: self.version }
    }

    /// The kind with its group and version.
    #[must_use]
    pub fn group_version_kind(&self) -> GroupVersionKind {
        GroupVersionKind { group: self.group, version: self.version, kind: self.kind }
    }

    /// The kind of lists: `PodList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Whether a verb is served.
    #[must_use]
    pub fn serves(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// Finds a sub-resource by its name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// All built-in resources, sorted by group, version and plural.
#[must_use]
pub fn all() -> &'static [ResourceInfo] {
    RESOURCES
}

/// Finds a resource by its name in paths.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static ResourceInfo> {
    let at = RESOURCES.binary_search_by(|r| (r.group, r.version, r.plural).cmp(&(group, version, plural))).ok()?;
    Some(&RESOURCES[at])
}

/// Finds a resource by the kind of its objects.
#[must_use]
pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static ResourceInfo> {
    RESOURCES.iter().find(|r| (r.group, r.version, r.kind) == (group, version, kind))
}

/// Finds a resource by any of the names that people use, in any case: plural, singular, kind or short name.
///
/// The group may follow, or the version and the group: `deploy`, `deployments.apps`, `deployments.v1.apps`. Only
/// versions that are served by default are looked through, preferred ones first.
#[must_use]
pub fn called(name: &str) -> Option<&'static ResourceInfo> {
    let name = name.trim_end_matches('.').to_lowercase();
    let (plain, place) = name.split_once('.').unwrap_or((&name, ""));
    let known = |info: &&ResourceInfo| {
        let called = info.plural == plain
            || info.singular == plain
            || info.kind.eq_ignore_ascii_case(plain)
            || info.short_names.contains(&plain);
        let there = place.is_empty() || info.group == place || format!("{}.{}", info.version, info.group) == place;
        called && there && info.serves("get")
    };
    let versions = group_versions().into_iter().filter(|gv| gv.served_by_default());
    versions.flat_map(GroupVersion::resources).find(known)
}

/// The groups in the order in which upstream lists them, which is the order clients prefer them in.
const GROUPS: [&str; 24] = [
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "resource.k8s.io",
    "storagemigration.k8s.io",
    "metrics.k8s.io",
];

/// All groups and versions: groups in upstream's order, the preferred version of each first.
#[must_use]
pub fn group_versions() -> Vec<GroupVersion> {
    let mut out: Vec<GroupVersion> = RESOURCES.iter().map(ResourceInfo::group_version).collect();
    out.dedup();
    out.sort_by_key(|gv| (GROUPS.iter().position(|g| *g == gv.group), Reverse(maturity(gv.version))));
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maturity {
    Other,
    Alpha,
    Beta,
    Stable,
}

/// How a version ranks: stable before beta before alpha, then by its numbers.
fn maturity(version: &str) -> (Maturity, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (Maturity::Other, 0, 0) };
    let parts = |word: &str| {
        let (major, minor) = rest.split_once(word)?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    if let Ok(major) = rest.parse() {
        (Maturity::Stable, major, 0)
    } else if let Some((major, minor)) = parts("beta") {
        (Maturity::Beta, major, minor)
    } else if let Some((major, minor)) = parts("alpha") {
        (Maturity::Alpha, major, minor)
    } else {
        (Maturity::Other, 0, 0)
    }
}

/// Orders versions as clients prefer them: the preferred one first (`v2 v1 v1beta1 v1alpha1`).
#[must_use]
pub fn prefer(a: &str, b: &str) -> std::cmp::Ordering {
    maturity(b).cmp(&maturity(a)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_name_and_by_kind() {
        assert!(RESOURCES.is_sorted_by_key(|r| (r.group, r.version, r.plural)));
        let pods = find("", "v1", "pods").unwrap();
        assert_eq!((pods.kind, pods.singular, pods.namespaced), ("Pod", "pod", true));
        assert_eq!(pods.subresource("eviction").unwrap().kind.group, "policy");
        assert_eq!(pods.list.unwrap().short_name(), "PodList");
        assert!(std::ptr::eq(of_kind("", "v1", "Pod").unwrap(), pods));
        assert!(find("", "v1", "Pods").is_none());
    }

    #[test]
    fn people_call_resources_by_many_names() {
        let plural = |name: &str| called(name).map(|info| (info.group, info.plural));
        for name in ["deploy", "Deployment", "deployments.apps", "deployments.v1.apps", "deployment."] {
            assert_eq!(plural(name), Some(("apps", "deployments")), "{name}");
        }
        assert_eq!(plural("ev"), Some(("", "events")));
        assert_eq!(plural("events.events.k8s.io"), Some(("events.k8s.io", "events")));
        assert_eq!(called("hpa").map(|info| info.version), Some("v2"));
        assert_eq!(plural("widgets"), None);
    }

    #[test]
    fn every_listable_resource_has_a_list_type() {
        assert!(RESOURCES.iter().all(|r| r.serves("list") == r.list.is_some()));
    }

    #[test]
    fn groups_come_in_upstreams_order_with_their_preferred_version_first() {
        let all = group_versions();
        assert!(all.iter().all(|gv| GROUPS.contains(&gv.group)));
        assert_eq!(all[0].api_version(), "v1");
        let versions = |group: &str| all.iter().filter(|gv| gv.group == group).map(|gv| gv.version).collect::<Vec<_>>();
        assert_eq!(versions("autoscaling"), ["v2", "v1"]);
        assert_eq!(versions("resource.k8s.io"), ["v1", "v1beta2", "v1beta1", "v1alpha3"]);
        assert_eq!(all.iter().filter(|gv| gv.group == "networking.k8s.io" && gv.served_by_default()).count(), 1);
    }
}
