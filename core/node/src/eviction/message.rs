//! What people are told of a pod that had to make room. Pure.

use std::fmt::Write as _;

use windlass_api::quantity::{Amount, Format};

use super::{limits::Threshold, rank::Measured};
use crate::gauge::Level;

/// Why a pod ends at a threshold, with the containers that used more than they asked for.
pub(super) fn message(threshold: &Threshold, level: Option<Level>, victim: &Measured) -> String {
    let resource = threshold.signal.resource();
    let mut text = format!("The node was low on resource: {resource}. ");
    if let Some(level) = level {
        let available = amount(level.available, threshold.signal.format());
        let wanted = threshold.value.of(level.capacity);
        let _ = write!(text, "Threshold quantity: {wanted}, available: {available}. ");
    }
    let spec = &victim.pod.spec;
    if let Some(request) = spec.resources.as_ref().and_then(|own| own.requests.get(resource))
        && resource == "memory"
    {
        let (name, used) = (victim.pod.metadata.name.as_deref().unwrap_or_default(), victim.usage.memory());
        let _ = write!(text, "Pod {name} was using {}", above(used, amount_of(&request.0), resource));
    }
    for container in spec.containers.iter().chain(&spec.init_containers) {
        let Some(own) = victim.usage.containers.get(&container.name) else { continue };
        let used = match resource {
            "memory" => own.memory,
            "ephemeral-storage" => Some(own.layer.bytes + own.logs.bytes),
            _ => None,
        };
        let request = container.resources.requests.get(resource).map_or(Amount::ZERO, |text| amount_of(&text.0));
        if let Some(used) = used.filter(|used| amount(*used, Format::Binary) > request) {
            let _ = write!(text, "Container {} was using {}", container.name, above(used, request, resource));
        }
    }
    text
}

fn above(used: u64, request: Amount, resource: &str) -> String {
    format!("{}, request is {request}, has larger consumption of {resource}. ", amount(used, Format::Binary))
}

fn amount(units: u64, format: Format) -> Amount {
    Amount::units(i64::try_from(units).unwrap_or(i64::MAX), format)
}

fn amount_of(text: &str) -> Amount {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{limits::EvictionLimits, rank::tests::measured},
        *,
    };

    fn check(hard: &str, level: Level, victim: &Measured, expect: &str) {
        let hard = EvictionLimits::statements(hard, '<').unwrap();
        let none = Default::default();
        let limits = EvictionLimits::read(&hard, &none, &none, &none).unwrap();
        assert_eq!(message(&limits.thresholds[0], Some(level), victim), expect);
    }

    #[test]
    fn the_words_are_upstreams() {
        let level = Level { available: 51_200 << 10, capacity: 1000 << 20 };
        let victim = measured("p 0 10Mi 20971520", "memory");
        check(
            "memory.available<100Mi",
            level,
            &victim,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 20Mi, \
             request is 10Mi, has larger consumption of memory. ",
        );
        let frugal = measured("p 0 10Mi 1024", "memory");
        check(
            "memory.available<10%",
            level,
            &frugal,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ",
        );
        let victim = measured("p 0 0 2048", "ephemeral-storage");
        check(
            "nodefs.available<1Gi",
            level,
            &victim,
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 50Mi. Container c was \
             using 2Ki, request is 0, has larger consumption of ephemeral-storage. ",
        );
        check(
            "pid.available<5k",
            Level { available: 4000, capacity: 9000 },
            &victim,
            "The node was low on resource: pids. Threshold quantity: 5k, available: 4k. ",
        );
    }
}
