//! Asks over and over as a probe says. Whom to ask, and what follows from the answers, is the caller's business.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use windlass_api::core::v1::Probe;
use windlass_kernel::{Clock, ClockExt};

use super::{Kind, Tally, verdict::Verdict};
use crate::pod::seconds;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What was wrong with it.
    pub(crate) wrong: Option<String>,
    /// What the answers so far mean; `None` leaves things as they were.
    pub(crate) verdict: Verdict,
}

/// How long one answer is waited for.
pub(crate) fn patience(probe: &Probe) -> Duration {
    span(probe.timeout_seconds, 1)
}

/// The answers of something that is so old already, until one is final: whether it has started, or that it is not alive.
pub(crate) fn answers(
    clock: Arc<dyn Clock>,
    kind: Kind,
    probe: &Probe,
    age: Duration,
    ask: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + 'static,
) -> BoxStream<'static, Answer> {
    let period = match probe.period_seconds {
        None | Some(0) => Duration::from_secs(10),
        Some(seconds) => span(Some(seconds), 1),
    };
    let delay = span(probe.initial_delay_seconds, 0).saturating_sub(age);
    stream::unfold((Some(delay), Tally::of(probe), ask), move |(pause, mut tally, ask)| {
        let clock = Arc::clone(&clock);
        async move {
            clock.sleep(pause?).await;
            let wrong = ask().await.err();
            let verdict = tally.count(wrong.is_none());
            let over = match kind {
                Kind::Startup => verdict.is_some(),
                Kind::Liveness => verdict == Some(false),
                Kind::Readiness => false,
            };
            Some((Answer { wrong, verdict }, ((!over).then_some(period), tally, ask)))
        }
    })
    .boxed()
}

fn span(stated: Option<i32>, least: i64) -> Duration {
    seconds(stated.map_or(0, i64::from).max(least))
}
