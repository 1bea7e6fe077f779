//! From the number of replicas that metrics ask for to the one that is set: no faster than rules allow, and no sooner
//! (autoscaling/v2, `spec.behavior`).

use jiff::{SignedDuration, Timestamp};
use windlass_api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// So long a lower recommendation waits where nothing else is said.
const CALM_DOWN: i32 = 300;
/// Without a behaviour a target is at most doubled at once, or grown to this many.
const LEAST_GROWTH: i32 = 4;

const IN_RANGE: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const FAST_UP: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const CALM_DOWNWARD: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const CALM_UPWARD: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

/// What was recommended and done lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    recommended: Vec<(Timestamp, i32)>,
    added: Vec<(Timestamp, i32)>,
    removed: Vec<(Timestamp, i32)>,
}

/// What becomes of a recommendation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) replicas: i32,
    /// Reason and message of `AbleToScale`.
    pub(super) able: (&'static str, &'static str),
    /// Reason and message of `ScalingLimited`, and whether it is.
    pub(super) limited: (bool, &'static str, &'static str),
}

/// The replicas that there are, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) current: i32,
    pub(super) least: i32,
    pub(super) most: i32,
}

impl History {
    /// Begins with the present size, so that a controller that starts anew does not shrink a target at once.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
    }

    /// Settles a recommendation and remembers it.
    pub(super) fn settle(
        &mut self,
        wanted: i32,
        bounds: Bounds,
        behaviour: Option<&HorizontalPodAutoscalerBehavior>,
        now: Timestamp,
    ) -> Settled {
        let rules = behaviour.map(Rules::of);
        let (calm, able) = self.calm(wanted, bounds.current, rules.as_ref(), now);
        let (replicas, why) = match &rules {
            Some(rules) => self.within_rules(calm, bounds, rules, now),
            None => within_default(calm, bounds),
        };
        Settled { replicas, able, limited: (replicas != calm, why.0, why.1) }
    }

    /// Remembers that a target was scaled.
    pub(super) fn scaled(
        &mut self,
        from: i32,
        to: i32,
        behaviour: Option<&HorizontalPodAutoscalerBehavior>,
        now: Timestamp,
    ) {
        let Some(behaviour) = behaviour else { return };
        let longest = |rules: Option<&HPAScalingRules>| {
            let policies = rules.into_iter().flat_map(|rules| &rules.policies);
            policies.map(|policy| policy.period_seconds).max().unwrap_or(0)
        };
        let (events, change, span) = if to > from {
            (&mut self.added, to - from, longest(behaviour.scale_up.as_ref()))
        } else {
            (&mut self.removed, from - to, longest(behaviour.scale_down.as_ref()))
        };
        events.retain(|(at, _)| is_since(*at, span, now));
        events.push((now, change));
    }

    /// The recommendation that holds for a while: the present one, or a recent one that is closer to the present size.
    fn calm(
        &mut self,
        wanted: i32,
        current: i32,
        rules: Option<&Rules<'_>>,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        let (up, down) = rules.map_or((0, CALM_DOWN), |rules| (rules.calm_up, rules.calm_down));
        let since =
            |span: i32| self.recommended.iter().filter(move |(at, _)| is_since(*at, span, now)).map(|(_, own)| *own);
        let lowest = since(up).fold(wanted, i32::min);
        let highest = since(down).fold(wanted, i32::max);
        let calm = if rules.is_some() { current.max(lowest).min(highest) } else { highest };
        let longest = up.max(down);
        self.recommended.retain(|(at, _)| is_since(*at, longest, now));
        self.recommended.push((now, wanted));
        let why = match () {
            () if calm == wanted => READY,
            () if rules.is_some() && wanted >= current => CALM_UPWARD,
            () => CALM_DOWNWARD,
        };
        (calm, why)
    }

    fn within_rules(
        &self,
        wanted: i32,
        bounds: Bounds,
        rules: &Rules<'_>,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        let Bounds { current, least, most } = bounds;
        if wanted > current {
            let limit = self.limit(current, rules.up, Way::Up, now).max(current);
            let (limit, why) = if most > limit { (limit, FAST_UP) } else { (most, TOO_MANY) };
            return if wanted > limit { (limit, why) } else { (wanted, IN_RANGE) };
        }
        if wanted < current {
            let limit = self.limit(current, rules.down, Way::Down, now).min(current);
            let (limit, why) = if least < limit { (limit, FAST_DOWN) } else { (least, TOO_FEW) };
            return if wanted < limit { (limit, why) } else { (wanted, IN_RANGE) };
        }
        (wanted, IN_RANGE)
    }

    /// How far a target may be scaled now, one way.
    fn limit(&self, current: i32, rules: Option<&HPAScalingRules>, way: Way, now: Timestamp) -> i32 {
        let Some(rules) = rules else { return current };
        if rules.select_policy.as_deref() == Some("Disabled") {
            return current;
        }
        let limits = rules.policies.iter().map(|policy| {
            let sum = |events: &[(Timestamp, i32)]| -> i32 {
                events
                    .iter()
                    .filter(|(at, _)| is_since(*at, policy.period_seconds, now))
                    .map(|(_, change)| change)
                    .sum()
            };
            let start = f64::from(current - sum(&self.added) + sum(&self.removed));
            let change = f64::from(policy.value);
            let change = if policy.type_ == "Percent" { start * change / 100.0 } else { change };
            match way {
                Way::Up => whole((start + change).ceil()),
                Way::Down => whole((start - change).trunc()),
            }
        });
        let gentle = rules.select_policy.as_deref() == Some("Min");
        let chosen = if gentle == (way == Way::Up) { limits.min() } else { limits.max() };
        chosen.unwrap_or(current)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// The rules of a behaviour, which the API server fills in.
#[derive(Debug)]
struct Rules<'a> {
    up: Option<&'a HPAScalingRules>,
    down: Option<&'a HPAScalingRules>,
    calm_up: i32,
    calm_down: i32,
}

impl<'a> Rules<'a> {
    fn of(behaviour: &'a HorizontalPodAutoscalerBehavior) -> Self {
        let (up, down) = (behaviour.scale_up.as_ref(), behaviour.scale_down.as_ref());
        let calm = |rules: Option<&HPAScalingRules>| rules.and_then(|rules| rules.stabilization_window_seconds);
        Self { up, down, calm_up: calm(up).unwrap_or(0), calm_down: calm(down).unwrap_or(CALM_DOWN) }
    }
}

/// The limits of a target without a behaviour.
fn within_default(wanted: i32, Bounds { current, least, most }: Bounds) -> (i32, (&'static str, &'static str)) {
    let limit = current.saturating_mul(2).max(LEAST_GROWTH);
    let (limit, why) = if most > limit { (limit, FAST_UP) } else { (most, TOO_MANY) };
    match wanted {
        wanted if wanted < least => (least, TOO_FEW),
        wanted if wanted > limit => (limit, why),
        wanted => (wanted, IN_RANGE),
    }
}

/// Whether a time lies within a span of seconds that ends now.
fn is_since(at: Timestamp, seconds: i32, now: Timestamp) -> bool {
    now.duration_since(at) < SignedDuration::from_secs(seconds.into())
}

/// A count of replicas from a number that was computed.
#[allow(clippy::cast_possible_truncation, reason = "clamped to the range before")]
pub(super) fn whole(number: f64) -> i32 {
    number.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Recommends one size after the other, and scales to what comes of it.
    #[track_caller]
    fn check(behaviour: &Value, begin: i32, wanted: &[(i64, i32)], expect: &[(i32, &str)]) {
        let behaviour: Option<HorizontalPodAutoscalerBehavior> = serde_json::from_value(behaviour.clone()).unwrap();
        let (mut history, mut current) = (History::default(), begin);
        history.begin(current, at(0));
        let mut seen = Vec::new();
        for (second, wanted) in wanted {
            let bounds = Bounds { current, least: 1, most: 100 };
            let settled = history.settle(*wanted, bounds, behaviour.as_ref(), at(*second));
            let why = if settled.limited.0 { settled.limited.1 } else { settled.able.0 };
            history.scaled(current, settled.replicas, behaviour.as_ref(), at(*second));
            current = settled.replicas;
            seen.push((current, why));
        }
        assert_eq!(seen, expect);
    }

    fn rules(calm: i32, select: &str, policies: &[(&str, i32, i32)]) -> Value {
        let policies: Vec<_> = policies
            .iter()
            .map(|(kind, value, period)| json!({"type": kind, "value": value, "periodSeconds": period}))
            .collect();
        json!({"stabilizationWindowSeconds": calm, "selectPolicy": select, "policies": policies})
    }

    #[test]
    fn without_a_behaviour_a_target_is_doubled_at_most_and_shrinks_after_five_minutes() {
        let steps = [(15, 50), (30, 50), (45, 3), (329, 3), (330, 3), (345, 3)];
        check(
            &Value::Null,
            3,
            &steps,
            &[
                (6, "ScaleUpLimit"),
                (12, "ScaleUpLimit"),
                (24, "ScaleUpLimit"),
                (48, "ScaleUpLimit"),
                (3, "ReadyForNewScale"),
                (3, "ReadyForNewScale"),
            ],
        );
        check(&Value::Null, 1, &[(15, 9), (400, 0)], &[(4, "ScaleUpLimit"), (1, "TooFewReplicas")]);
        check(&Value::Null, 60, &[(15, 200)], &[(100, "TooManyReplicas")]);
        check(
            &Value::Null,
            5,
            &[(15, 2), (290, 2), (301, 2)],
            &[(5, "ScaleDownStabilized"), (5, "ScaleDownStabilized"), (2, "ReadyForNewScale")],
        );
    }

    #[test]
    fn policies_bound_how_much_changes_in_a_period() {
        let up = rules(0, "Max", &[("Pods", 4, 60), ("Percent", 100, 60)]);
        let down = rules(0, "Max", &[("Percent", 50, 60)]);
        let both = json!({"scaleUp": up, "scaleDown": down});
        check(
            &both,
            2,
            &[(15, 50), (30, 50), (80, 50), (95, 10), (110, 10), (160, 10)],
            &[
                (6, "ScaleUpLimit"),
                (6, "ScaleUpLimit"),
                (12, "ScaleUpLimit"),
                (10, "ReadyForNewScale"),
                (10, "ReadyForNewScale"),
                (10, "ReadyForNewScale"),
            ],
        );
        let gentle = rules(0, "Min", &[("Pods", 4, 60), ("Percent", 100, 60)]);
        check(&json!({"scaleUp": gentle}), 2, &[(15, 50)], &[(4, "ScaleUpLimit")]);
        let slow = rules(0, "Min", &[("Pods", 4, 60), ("Percent", 10, 60)]);
        check(&json!({"scaleDown": slow}), 20, &[(15, 1)], &[(18, "ScaleDownLimit")]);
        let swift = rules(0, "Max", &[("Pods", 4, 60), ("Percent", 10, 60)]);
        check(
            &json!({"scaleDown": swift}),
            20,
            &[(15, 1), (30, 1), (75, 1)],
            &[(16, "ScaleDownLimit"), (16, "ScaleDownLimit"), (12, "ScaleDownLimit")],
        );
        let never = rules(0, "Disabled", &[("Pods", 4, 60)]);
        check(&json!({"scaleDown": never}), 20, &[(15, 1)], &[(20, "ScaleDownLimit")]);
    }

    #[test]
    fn a_window_holds_back_both_ways() {
        let open = |calm| rules(calm, "Max", &[("Pods", 1000, 15)]);
        let both = json!({"scaleUp": open(60), "scaleDown": open(120)});
        check(
            &both,
            5,
            &[(15, 9), (59, 9), (61, 9)],
            &[(5, "ScaleUpStabilized"), (5, "ScaleUpStabilized"), (9, "ReadyForNewScale")],
        );
        check(
            &both,
            5,
            &[(15, 2), (119, 2), (121, 2)],
            &[(5, "ScaleDownStabilized"), (5, "ScaleDownStabilized"), (2, "ReadyForNewScale")],
        );
    }
}
