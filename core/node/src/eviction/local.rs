//! Pods that have more on disk than they may: volumes of type `emptyDir` with a size, and limits of `ephemeral-storage`. Pure.

use windlass_api::{
    core::v1::{Container, Pod},
    quantity::{Amount, Format},
};

use super::rank::PodUse;
use crate::make::resources::most;

const STORAGE: &str = "ephemeral-storage";

/// Whether a pod says how much it may have on disk, so that somebody has to look.
pub(super) fn limited(pod: &Pod) -> bool {
    let sized = |volume: &windlass_api::core::v1::Volume| {
        volume.empty_dir.as_ref().is_some_and(|empty| empty.size_limit.is_some())
    };
    pod.spec.volumes.iter().any(sized) || total(pod).is_some()
}

/// What a pod exceeds, if it does. `apart` says that images, and what containers write beside volumes, have a disk of their
/// own, which is not counted for a container then.
pub(super) fn exceeded(pod: &Pod, usage: &PodUse, apart: bool) -> Option<String> {
    empty_dir(pod, usage).or_else(|| whole(pod, usage)).or_else(|| container(pod, usage, apart))
}

fn empty_dir(pod: &Pod, usage: &PodUse) -> Option<String> {
    pod.spec.volumes.iter().find_map(|volume| {
        let text = &volume.empty_dir.as_ref()?.size_limit.as_ref()?.0;
        let limit = text.parse::<Amount>().ok().filter(|limit| *limit > Amount::ZERO)?;
        let used = usage.volumes.get(&volume.name).or_else(|| usage.in_memory.get(&volume.name))?;
        let name = &volume.name;
        (bytes(used.bytes) > limit)
            .then(|| format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "))
    })
}

fn whole(pod: &Pod, usage: &PodUse) -> Option<String> {
    let limit = total(pod)?;
    (bytes(usage.local().bytes) > limit)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
}

fn container(pod: &Pod, usage: &PodUse, apart: bool) -> Option<String> {
    pod.spec.containers.iter().find_map(|container| {
        let limit = limit(container).filter(|limit| !limit.is_zero())?;
        let own = usage.containers.get(&container.name)?;
        let used = if apart { own.logs.bytes } else { own.logs.bytes + own.layer.bytes };
        let name = &container.name;
        (bytes(used) > limit)
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
    })
}

fn limit(container: &Container) -> Option<Amount> {
    container.resources.limits.get(STORAGE)?.0.parse().ok()
}

/// What all containers that have a limit may have together; `None` where none has one.
fn total(pod: &Pod) -> Option<Amount> {
    pod.spec.init_containers.iter().chain(&pod.spec.containers).find_map(limit)?;
    most(pod, |container| Some(limit(container).unwrap_or_default()))
}

fn bytes(count: u64) -> Amount {
    Amount::units(i64::try_from(count).unwrap_or(i64::MAX), Format::Binary)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_kernel::node::Space;

    use super::{super::rank::ContainerUse, *};

    /// `volumes` and `limits` as `name=amount`, what is used as `name=bytes`: of volumes, layers and logs.
    fn check(volumes: &str, limits: &str, used: [&str; 3], apart: bool, expect: &str) {
        let pairs = |text: &str| -> Vec<(String, String)> {
            let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            text.split_whitespace().map(|word| pair(word).unwrap()).collect()
        };
        let spec = |(name, amount): (String, String)| json!({"name": name, "emptyDir": {"sizeLimit": amount}});
        let volumes: Vec<Value> = pairs(volumes).into_iter().map(spec).collect();
        let spec = |(name, amount): (String, String)| {
            let limits = if amount == "-" { json!({}) } else { json!({STORAGE: amount}) };
            json!({"name": name, "resources": {"limits": limits}})
        };
        let containers: Vec<Value> = pairs(limits).into_iter().map(spec).collect();
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": containers, "volumes": volumes}})).unwrap();
        let space = |text: &str| Space { bytes: text.parse().unwrap(), inodes: 1 };
        let mut usage = PodUse::default();
        let [volumes, layers, logs] = used.map(pairs);
        usage.volumes.extend(volumes.iter().map(|(name, used)| (name.clone(), space(used))));
        for (name, used) in &layers {
            usage.containers.entry(name.clone()).or_insert_with(ContainerUse::default).layer = space(used);
        }
        for (name, used) in &logs {
            usage.containers.entry(name.clone()).or_insert_with(ContainerUse::default).logs = space(used);
        }
        assert!(limited(&pod) || expect.is_empty());
        assert_eq!(exceeded(&pod, &usage, apart).unwrap_or_default(), expect);
    }

    #[test]
    fn a_volume_may_have_its_size_and_no_more() {
        check("v=1Ki", "", ["v=1024", "", ""], false, "");
        check("v=1Ki", "", ["v=1025", "", ""], false, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ");
        check("v=0", "", ["v=1025", "", ""], false, "");
    }

    #[test]
    fn a_container_may_have_its_limit_in_its_layer_and_logs() {
        let said = "Container a exceeded its local ephemeral storage limit \"100\". ";
        check("", "a=100 b=500", ["", "a=60", "a=41"], false, said);
        check("", "a=100 b=500", ["", "a=60", "a=40"], false, "");
        check("", "a=100 b=500", ["", "a=200", "a=40"], true, "");
    }

    #[test]
    fn init_containers_count_with_the_sidecars_that_were_started_before() {
        let one = |name: &str, restarts: bool, amount: &str| {
            let limits = if amount == "-" { json!({}) } else { json!({STORAGE: amount}) };
            json!({"name": name, "restartPolicy": restarts.then_some("Always"), "resources": {"limits": limits}})
        };
        let check = |inits: Vec<Value>, main: &str, expect: Option<i64>| {
            let spec = json!({"initContainers": inits, "containers": [one("main", false, main)]});
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(total(&pod).map(Amount::as_i64), expect, "{pod:#?}");
        };
        check(vec![one("s", true, "100"), one("i", false, "70")], "50", Some(170));
        check(vec![one("i", false, "70"), one("s", true, "100")], "50", Some(150));
        check(vec![one("s", true, "100"), one("i", false, "-")], "-", Some(100));
        check(vec![one("i", false, "-")], "-", None);
    }

    #[test]
    fn a_pod_may_have_what_its_containers_may() {
        let said = "Pod ephemeral local storage usage exceeds the total limit of containers 150. ";
        check("v=1Mi", "a=100 b=50", ["v=100", "a=40", "b=11"], false, said);
        check("v=1Mi", "a=100 b=50", ["v=100", "a=40", "b=10"], false, "");
        check("v=1Mi", "a=- b=-", ["v=100", "a=4000", "b=10"], false, "");
    }
}
