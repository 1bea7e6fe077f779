//! What an autoscaler says of itself.

use jiff::Timestamp;
use windlass_api::{autoscaling::v2::HorizontalPodAutoscalerCondition, types::Time};

/// Whether the target can be scaled at all.
pub(super) const ABLE: &str = "AbleToScale";
/// Whether metrics tell how it is to be scaled.
pub(super) const ACTIVE: &str = "ScalingActive";
/// Whether limits keep it from what metrics tell.
pub(super) const LIMITED: &str = "ScalingLimited";

/// The conditions of a status while they are decided.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) all: Vec<HorizontalPodAutoscalerCondition>,
    pub(super) now: Timestamp,
}

impl Conditions {
    /// Says something; the time stays where only the words change.
    pub(super) fn say(&mut self, type_: &str, status: bool, reason: &str, message: impl Into<String>) {
        let status = if status { "True" } else { "False" };
        let at = self.all.iter().position(|own| own.type_ == type_).unwrap_or_else(|| {
            self.all.push(HorizontalPodAutoscalerCondition { type_: type_.into(), ..Default::default() });
            self.all.len() - 1
        });
        let own = &mut self.all[at];
        if own.status != status {
            own.last_transition_time = Some(Time(self.now));
        }
        own.status = status.into();
        own.reason = Some(reason.into());
        own.message = Some(message.into());
    }
}
