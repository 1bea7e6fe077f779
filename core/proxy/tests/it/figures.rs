//! What the rules of many services cost. Told, not judged: `cargo xtask bench` reads what is printed.

use std::{net::IpAddr, time::Duration};

use futures::executor::block_on;
use nix::sys::resource::{UsageWho, getrusage};
use windlass_kernel::{
    Clock, ServiceRules,
    rules::{RulesChange, ServicePort},
};
use windlass_machine::SystemClock;

use super::{net::Lab, rules, service};

/// So many services are there already in the second measuring.
const MANY: u16 = 5_000;
const FEW: u16 = 50;
const CHANGES: u16 = 20;

pub(super) fn told(lab: &Lab) {
    let few = change_among(lab, FEW);
    let many = change_among(lab, MANY);
    println!(
        "rules: {MANY} from scratch {:?}, {:?} of CPU; one changed {:?} of CPU among {FEW}, {:?} among {MANY}",
        many.whole, many.whole_cpu, few.change_cpu, many.change_cpu
    );
}

struct Costs {
    whole: Duration,
    whole_cpu: Duration,
    /// Of one change, the mean of several.
    change_cpu: Duration,
}

fn change_among(lab: &Lab, services: u16) -> Costs {
    let (rules, clock) = (rules(lab), SystemClock::new());
    let wanted: Vec<_> = (0..services).map(|at| port(at, 0)).collect();
    let (started, before) = (clock.uptime(), used());
    block_on(rules.replace(wanted)).unwrap();
    let (whole, whole_cpu) = (clock.uptime() - started, used() - before);
    let before = used();
    for at in 0..CHANGES {
        let change = RulesChange { put: vec![port(at % services, at + 1)], gone: vec![] };
        block_on(rules.change(change)).unwrap();
    }
    let change_cpu = (used() - before) / u32::from(CHANGES);
    block_on(rules.clear()).unwrap();
    Costs { whole, whole_cpu, change_cpu }
}

/// A service with an address of its own and two endpoints, others in each `turn`.
fn port(at: u16, turn: u16) -> ServicePort {
    let [high, low] = at.to_be_bytes();
    let endpoint = |last: u16| (IpAddr::from([10, 88, (turn % 200) as u8, last as u8]), true);
    let mut port = service(&format!("service-{at}"), &[endpoint(2 * (at % 100) + 1), endpoint(2 * (at % 100) + 2)]);
    (port.cluster_ips, port.node_port) = (vec![[10, 97, high, low].into()], None);
    port
}

/// The CPU that this process and its ended children have used.
fn used() -> Duration {
    let of = |who| {
        let usage = getrusage(who).unwrap();
        [usage.user_time(), usage.system_time()].map(|time| {
            Duration::from_secs(time.tv_sec().try_into().unwrap())
                + Duration::from_micros(time.tv_usec().try_into().unwrap())
        })
    };
    [of(UsageWho::RUSAGE_SELF), of(UsageWho::RUSAGE_CHILDREN)].into_iter().flatten().sum()
}
