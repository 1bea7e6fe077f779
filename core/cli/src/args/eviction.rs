//! What kubelet's users say about nodes that run out of something, under the same names.

use std::time::Duration;

use clap::Args as Arguments;
use windlass::{
    api::duration,
    kernel::{Error, ErrorKind, Result},
    node::{EvictionLimits, Statements},
};

#[derive(Debug, Default, Arguments)]
pub(crate) struct Eviction {
    /// Below what a node makes room and ends pods, in place of the usual thresholds: memory.available, nodefs.available,
    /// nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available; amounts or percentages. An empty one is none.
    #[arg(long, value_name = "SIGNAL<AMOUNT,…")]
    eviction_hard: Option<String>,
    /// The same, once it has been so for --eviction-soft-grace-period.
    #[arg(long, value_name = "SIGNAL<AMOUNT,…", requires = "eviction_soft_grace_period")]
    eviction_soft: Option<String>,
    /// For how long each soft threshold has to be met, such as 1m30s.
    #[arg(long, value_name = "SIGNAL=SPAN,…", requires = "eviction_soft")]
    eviction_soft_grace_period: Option<String>,
    /// How much more than its threshold a node frees once it has begun.
    #[arg(long, value_name = "SIGNAL=AMOUNT,…")]
    eviction_minimum_reclaim: Option<String>,
    /// The longest that a pod gets to end at a soft threshold, in seconds [default: as long as it asks for].
    #[arg(long, value_name = "SECONDS")]
    eviction_max_pod_grace_period: Option<u64>,
    /// For how long a node goes on saying that it was short of something [default: 5m].
    #[arg(long, value_name = "SPAN")]
    eviction_pressure_transition_period: Option<String>,
}

impl Eviction {
    /// When the node makes room.
    pub(crate) fn limits(&self) -> Result<EvictionLimits> {
        let pairs = |text: &Option<String>, between| -> Result<Statements> {
            EvictionLimits::statements(text.as_deref().unwrap_or_default(), between)
        };
        let [grace, reclaim] = [&self.eviction_soft_grace_period, &self.eviction_minimum_reclaim];
        let hard = match &self.eviction_hard {
            Some(text) => EvictionLimits::statements(text, '<')?,
            None => EvictionLimits::usual(),
        };
        let soft = pairs(&self.eviction_soft, '<')?;
        let mut limits = EvictionLimits::read(&hard, &soft, &pairs(grace, '=')?, &pairs(reclaim, '=')?)?;
        limits.max_grace = self.eviction_max_pod_grace_period.filter(|most| *most > 0).map(Duration::from_secs);
        if let Some(text) = &self.eviction_pressure_transition_period {
            limits.transition = duration::parse(text).ok_or_else(|| {
                let message = format!("--eviction-pressure-transition-period {text:?} is no span of time, such as 5m");
                Error::new(ErrorKind::Invalid, message)
            })?;
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_kubelets() {
        assert_eq!(Eviction::default().limits().unwrap(), EvictionLimits::default());
        let own = |text: &str| Some(text.to_owned());
        let none = Eviction { eviction_hard: own(""), ..Eviction::default() };
        assert_eq!(none.limits().unwrap(), EvictionLimits::none());
        let all = Eviction {
            eviction_hard: own("memory.available<1Gi"),
            eviction_soft: own("memory.available<2Gi"),
            eviction_soft_grace_period: own("memory.available=1m"),
            eviction_minimum_reclaim: own("memory.available=500Mi"),
            eviction_max_pod_grace_period: Some(30),
            eviction_pressure_transition_period: own("30s"),
        };
        let limits = all.limits().unwrap();
        assert_eq!((limits.max_grace, limits.transition), (Some(Duration::from_secs(30)), Duration::from_secs(30)));
        let check = |wrong: Eviction, part: &str| {
            let error = wrong.limits().unwrap_err();
            assert!(error.is(ErrorKind::Invalid) && error.to_string().contains(part), "{error}");
        };
        check(
            Eviction { eviction_hard: own("memory<1Gi"), ..Eviction::default() },
            "unsupported eviction signal memory",
        );
        let span = Eviction { eviction_pressure_transition_period: own("soon"), ..Eviction::default() };
        check(span, "--eviction-pressure-transition-period \"soon\" is no span of time");
    }
}
