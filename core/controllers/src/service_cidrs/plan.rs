//! Whether a range of service addresses can be used, and whether it may go.

use std::net::IpAddr;

use ipnet::IpNet;
use windlass_api::networking::v1::ServiceCIDR;

pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
pub(super) const READY: &str = "Ready";
pub(super) const IN_USE: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
/// Selects the addresses that the API server gave.
pub(super) const OURS: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";

/// What a range needs next. Each step wakes the controller again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    /// It must not go without being asked.
    Protect,
    /// It can be used.
    Ready,
    /// It is to go, and its addresses are in use.
    Blocked,
    /// It may go.
    Release,
}

/// `others` and `addresses` matter only where the range is being deleted.
pub(super) fn plan(range: &ServiceCIDR, others: &[&ServiceCIDR], addresses: &[IpAddr]) -> Step {
    let held = range.metadata.finalizers.iter().any(|own| own == FINALIZER);
    let ready = range.status.conditions.iter().find(|own| own.type_ == READY);
    let is = |status: &str| ready.is_some_and(|own| own.status == status);
    if range.metadata.deletion_timestamp.is_none() {
        return match (held, is("True")) {
            (false, _) => Step::Protect,
            (true, false) => Step::Ready,
            (true, true) => Step::Rest,
        };
    }
    let own = nets(range);
    let remaining: Vec<IpNet> = others.iter().flat_map(|other| nets(other)).collect();
    let covered = own.iter().all(|net| remaining.iter().any(|other| other.contains(net)));
    let orphan =
        |ip: &&IpAddr| own.iter().any(|net| net.contains(*ip)) && !remaining.iter().any(|other| other.contains(*ip));
    match (held, !covered && addresses.iter().any(|ip| orphan(&ip))) {
        (false, _) => Step::Rest,
        (true, false) => Step::Release,
        (true, true) if is("False") => Step::Rest,
        (true, true) => Step::Blocked,
    }
}

fn nets(range: &ServiceCIDR) -> Vec<IpNet> {
    range.spec.cidrs.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(cidr: &str) -> ServiceCIDR {
        serde_json::from_value(json!({"spec": {"cidrs": [cidr]}})).unwrap()
    }

    /// A range as words: `held`, `going`, and the status of its condition.
    #[track_caller]
    fn check(words: &str, others: &[&str], addresses: &[&str], expect: Step) {
        let mut own = range("10.0.1.0/24");
        let has = |word: &str| words.split(' ').any(|own| own == word);
        own.metadata.finalizers.extend(has("held").then(|| FINALIZER.to_owned()));
        own.metadata.deletion_timestamp =
            has("going").then(|| serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        for status in ["True", "False"].into_iter().filter(|status| has(status)) {
            let condition = json!({"type": READY, "status": status});
            own.status.conditions.push(serde_json::from_value(condition).unwrap());
        }
        let others: Vec<ServiceCIDR> = others.iter().map(|cidr| range(cidr)).collect();
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(plan(&own, &others.iter().collect::<Vec<_>>(), &addresses), expect);
    }

    #[test]
    fn a_range_is_protected_and_then_ready() {
        check("", &[], &[], Step::Protect);
        check("held", &[], &[], Step::Ready);
        check("held False", &[], &[], Step::Ready);
        check("held True", &[], &["10.0.1.5"], Step::Rest);
    }

    #[test]
    fn a_range_goes_once_nothing_is_left_without_a_range() {
        check("held True going", &[], &[], Step::Release);
        check("held True going", &[], &["10.0.2.5"], Step::Release);
        check("held True going", &[], &["10.0.1.5"], Step::Blocked);
        check("held False going", &[], &["10.0.1.5"], Step::Rest);
        check("held False going", &["10.0.0.0/16"], &["10.0.1.5"], Step::Release);
        check("held False going", &["10.0.1.0/25"], &["10.0.1.5"], Step::Release);
        check("held False going", &["10.0.1.0/25"], &["10.0.1.200"], Step::Rest);
        check("True going", &[], &["10.0.1.5"], Step::Rest);
    }
}
