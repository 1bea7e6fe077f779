//! Time as an input. Nothing but implementations of [`Clock`] reads a clock or sleeps.

use std::{fmt::Debug, future::Future, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};

/// The time, and waiting for it.
///
/// # Contract
///
/// 1. **Monotonic.** [`uptime`](Clock::uptime) never goes back and does not jump with the wall clock.
/// 2. **Never early.** A sleep ends when `uptime` has reached its end, not before.
/// 3. **Cancel-safe.** Dropping a sleep forgets it.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall-clock time.
    fn now(&self) -> Timestamp;

    /// The time since some fixed moment in the past.
    fn uptime(&self) -> Duration;

    /// Ends when [`uptime`](Clock::uptime) has reached `end`.
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()>;
}

/// What users of a [`Clock`] enjoy.
pub trait ClockExt: Clock {
    /// Ends after `span`.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.uptime().saturating_add(span))
    }

    /// Runs `work`, but no longer than `span`: then it is dropped and the answer is [`ErrorKind::Timeout`].
    ///
    /// Whether dropped work took effect is up to the work, so the error says [`Unknown`](crate::Certainty::Unknown).
    fn timeout<F: Future + Send>(&self, span: Duration, work: F) -> impl Future<Output = Result<F::Output>> + Send
    where
        F::Output: Send,
    {
        let sleep = self.sleep(span);
        async move {
            match select(Box::pin(work), sleep).await {
                Either::Left((done, _)) => Ok(done),
                Either::Right(_) => {
                    Err(Error::new(ErrorKind::Timeout, format!("no answer within {span:?}")).maybe_applied())
                }
            }
        }
    }

    /// Waits for `work` or for `span`, whichever ends first; `None` after `span`.
    fn within<F: Future + Send>(&self, span: Duration, work: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F::Output: Send,
    {
        self.timeout(span, work).map(Result::ok)
    }
}

impl<C: Clock + ?Sized> ClockExt for C {}
