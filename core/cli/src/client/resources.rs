//! Resources by the names that people use: plurals, singulars, kinds, short names and categories. Built-in ones only.

use windlass::{
    api::resources::{ResourceInfo, all, called, of_kind},
    kernel::{Error, ErrorKind, Result, api::GroupVersionResource},
};

/// Objects that were asked for: all of a resource, where no name is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: &'static str,
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) names: Vec<String>,
}

impl Target {
    fn of(info: &'static ResourceInfo, names: Vec<String>) -> Self {
        Self { resource: info.plural, group: info.group, version: info.version, names }
    }

    pub(super) fn info(&self) -> &'static ResourceInfo {
        let found = windlass::api::resources::find(self.group, self.version, self.resource);
        found.expect("a target is made from a resource")
    }
}

/// The name that requests carry.
pub(super) fn gvr(info: &ResourceInfo) -> GroupVersionResource {
    let ResourceInfo { group, version, plural, .. } = info;
    GroupVersionResource { group: (*group).into(), version: (*version).into(), resource: (*plural).into() }
}

/// The name that outputs carry: `deployment.apps`.
pub(super) fn shown(info: &ResourceInfo) -> String {
    if info.group.is_empty() { info.singular.into() } else { format!("{}.{}", info.singular, info.group) }
}

/// Reads `pods`, `po,svc`, `all`, `pod NAME…` or `pod/NAME…`.
pub(super) fn targets(words: &[String]) -> Result<Vec<Target>> {
    let [first, names @ ..] = words else { return Err(wrong("name a resource")) };
    if !first.contains('/') {
        let infos = first.split(',').map(several).collect::<Result<Vec<_>>>()?.concat();
        return Ok(infos.into_iter().map(|info| Target::of(info, names.to_vec())).collect());
    }
    let pair = |word: &String| match word.split_once('/') {
        Some((resource, name)) if !name.is_empty() => Ok(Target::of(one(resource)?, vec![name.into()])),
        _ => Err(wrong(format!("expected RESOURCE/NAME instead of {word:?}"))),
    };
    words.iter().map(pair).collect()
}

fn several(name: &str) -> Result<Vec<&'static ResourceInfo>> {
    let served = || all().iter().filter(|info| info.group_version().served_by_default());
    let category: Vec<_> = served().filter(|info| info.categories.contains(&name)).collect();
    // The same objects under an older version would only be shown twice.
    let preferred = |info: &&&'static ResourceInfo| {
        one(&format!("{}.{}", info.plural, info.group)).is_ok_and(|first| std::ptr::eq(first, **info))
    };
    if category.is_empty() { Ok(vec![one(name)?]) } else { Ok(category.iter().filter(preferred).copied().collect()) }
}

/// Finds a resource by any of its names, optionally with its group or with version and group.
fn one(name: &str) -> Result<&'static ResourceInfo> {
    called(name).ok_or_else(|| wrong(format!("no built-in resource is called {name:?}; custom ones need kubectl")))
}

/// The resource of a manifest's objects.
pub(super) fn of_object(api_version: &str, kind: &str) -> Result<&'static ResourceInfo> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let found = of_kind(group, version, kind);
    found.ok_or_else(|| wrong(format!("no built-in kind is {kind:?} of {api_version:?}; custom ones need kubectl")))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expect: &str) {
        let words: Vec<String> = words.split(' ').map(Into::into).collect();
        let shown = match targets(&words) {
            Ok(targets) => targets
                .iter()
                .map(|target| format!("{}={}", shown(target.info()), target.names.join("+")))
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
    }

    #[test]
    fn what_is_not_known_is_named() {
        check("widgets", "no built-in resource is called \"widgets\"; custom ones need kubectl");
        check("pod/", "expected RESOURCE/NAME instead of \"pod/\"");
    }

    #[test]
    fn a_category_is_each_of_its_resources_once() {
        let all = targets(&["all".into()]).unwrap();
        let names: Vec<_> = all.iter().map(|target| target.resource).collect();
        assert!(names.contains(&"pods") && names.contains(&"deployments"), "{names:?}");
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
    }
}
