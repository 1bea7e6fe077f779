//! Resources by the names that people use: plurals, singulars, kinds, short names and categories.

use windlass::{
    api::resources::{ResourceInfo, all, called, of_kind},
    kernel::{Error, ErrorKind, Result, api::GroupVersionResource},
};

/// A resource that a cluster serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    pub(super) short_names: Vec<String>,
    pub(super) categories: Vec<String>,
    /// Whether this program knows it without asking.
    pub(super) built_in: bool,
}

impl From<&ResourceInfo> for Resource {
    fn from(info: &ResourceInfo) -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            group: info.group.into(),
            version: info.version.into(),
            plural: info.plural.into(),
            singular: info.singular.into(),
            kind: info.kind.into(),
            namespaced: info.namespaced,
            short_names: texts(info.short_names),
            categories: texts(info.categories),
            built_in: true,
        }
    }
}

impl Resource {
    /// The name that requests carry.
    pub(super) fn gvr(&self) -> GroupVersionResource {
        let own = |text: &String| text.clone().into();
        GroupVersionResource { group: own(&self.group), version: own(&self.version), resource: own(&self.plural) }
    }

    /// The group and version as objects state them.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name that outputs carry: `deployment.apps`.
    pub(super) fn shown(&self) -> String {
        if self.group.is_empty() { self.singular.clone() } else { format!("{}.{}", self.singular, self.group) }
    }

    /// Whether people call it so, perhaps with its group, or with version and group.
    fn is_called(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let (plain, place) = name.split_once('.').unwrap_or((&name, ""));
        let own = self.plural == plain
            || self.singular == plain
            || self.kind.eq_ignore_ascii_case(plain)
            || self.short_names.iter().any(|short| short == plain);
        own && (place.is_empty() || self.group == place || format!("{}.{}", self.version, self.group) == place)
    }
}

/// Objects that were asked for: all of a resource, where no name is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: Resource,
    pub(super) names: Vec<String>,
}

/// Whether what is asked for can be told only by asking the cluster: custom resources, and categories that they join.
pub(super) fn needs_asking(words: &[String]) -> bool {
    let Some(first) = words.first() else { return false };
    let mut names: Vec<&str> = first.split(',').collect();
    if first.contains('/') {
        names = words.iter().filter_map(|word| word.split('/').next()).collect();
    }
    names.into_iter().any(|name| called(name).is_none())
}

/// Reads `pods`, `po,svc`, `all`, `pod NAME…` or `pod/NAME…`; `defined` are the custom resources.
pub(super) fn targets(words: &[String], defined: &[Resource]) -> Result<Vec<Target>> {
    let [first, names @ ..] = words else { return Err(wrong("name a resource")) };
    if !first.contains('/') {
        let found = first.split(',').map(|name| several(name, defined)).collect::<Result<Vec<_>>>()?.concat();
        return Ok(found.into_iter().map(|resource| Target { resource, names: names.to_vec() }).collect());
    }
    let pair = |word: &String| match word.split_once('/') {
        Some((resource, name)) if !name.is_empty() => {
            Ok(Target { resource: one(resource, defined)?, names: vec![name.into()] })
        }
        _ => Err(wrong(format!("expected RESOURCE/NAME instead of {word:?}"))),
    };
    words.iter().map(pair).collect()
}

fn several(name: &str, defined: &[Resource]) -> Result<Vec<Resource>> {
    let served = all().iter().filter(|info| info.group_version().served_by_default());
    // The same objects under an older version would only be shown twice.
    let preferred = |info: &&ResourceInfo| {
        called(&format!("{}.{}", info.plural, info.group)).is_some_and(|first| std::ptr::eq(first, *info))
    };
    let own = served.filter(|info| info.categories.contains(&name)).filter(preferred).map(Resource::from);
    let custom = defined.iter().filter(|own| own.categories.iter().any(|category| category == name)).cloned();
    let category: Vec<Resource> = own.chain(custom).collect();
    if category.is_empty() { Ok(vec![one(name, defined)?]) } else { Ok(category) }
}

/// Finds a resource by any of its names, optionally with its group or with version and group.
fn one(name: &str, defined: &[Resource]) -> Result<Resource> {
    let known = called(name).map(Resource::from);
    let found = known.or_else(|| defined.iter().find(|own| own.is_called(name)).cloned());
    found.ok_or_else(|| {
        wrong(format!("no resource is called {name:?}: it is neither built in nor defined in the cluster"))
    })
}

/// The built-in resource of a manifest's objects.
pub(super) fn of_object(api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    of_kind(group, version, kind).map(Resource::from)
}

/// The custom resource of a manifest's objects.
pub(super) fn of_defined(api_version: &str, kind: &str, defined: &[Resource]) -> Result<Resource> {
    let found = defined.iter().find(|own| own.api_version() == api_version && own.kind == kind).cloned();
    found.ok_or_else(|| {
        wrong(format!("no kind is {kind:?} of {api_version:?}: it is neither built in nor defined in the cluster"))
    })
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widgets() -> Resource {
        Resource {
            group: "example.com".into(),
            version: "v1".into(),
            plural: "widgets".into(),
            singular: "widget".into(),
            kind: "Widget".into(),
            namespaced: true,
            short_names: vec!["wd".into()],
            categories: vec!["all".into()],
            built_in: false,
        }
    }

    fn check(words: &str, expect: &str) {
        let words: Vec<String> = words.split(' ').map(Into::into).collect();
        let shown = match targets(&words, &[widgets()]) {
            Ok(targets) => targets
                .iter()
                .map(|target| format!("{}={}", target.resource.shown(), target.names.join("+")))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expect, "{words:?}");
    }

    #[test]
    fn resources_have_many_names() {
        check("pods", "pod=");
        check("po,svc a", "pod=a service=a");
        check("deploy a b", "deployment.apps=a+b");
        check("Deployment.apps/a pod/b", "deployment.apps=a pod=b");
        check("deployments.v1.apps a", "deployment.apps=a");
        check("ev", "event=");
        check("events.events.k8s.io", "event.events.k8s.io=");
        check("hpa", "horizontalpodautoscaler.autoscaling=");
        check("wd", "widget.example.com=");
        check("Widget/a widgets.example.com/b", "widget.example.com=a widget.example.com=b");
        check("widgets.v1.example.com,pods", "widget.example.com= pod=");
    }

    #[test]
    fn what_is_not_known_is_named() {
        check("gadgets", "no resource is called \"gadgets\": it is neither built in nor defined in the cluster");
        check("pod/", "expected RESOURCE/NAME instead of \"pod/\"");
    }

    #[test]
    fn the_cluster_is_asked_about_what_is_not_built_in() {
        let asks = |words: &str| needs_asking(&words.split(' ').map(Into::into).collect::<Vec<_>>());
        assert!(!asks("pods,deploy a") && !asks("pod/a svc/b"));
        assert!(asks("widgets") && asks("pod/a wd/b") && asks("all") && asks("pods,wd"));
    }

    #[test]
    fn a_category_is_each_of_its_resources_once() {
        let all = targets(&["all".into()], &[widgets()]).unwrap();
        let names: Vec<_> = all.iter().map(|target| target.resource.plural.as_str()).collect();
        assert!(names.contains(&"pods") && names.contains(&"deployments") && names.contains(&"widgets"), "{names:?}");
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
    }
}
