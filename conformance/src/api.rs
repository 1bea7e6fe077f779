//! What every Kubernetes API server must answer, asked over HTTP by an administrator.
//!
//! Unlike the other suites this one is not about a trait: it sees status codes, headers and bytes, so that any server can be
//! asked. Each check works in a namespace of its own and names what it makes outside of it by its own prefix; both are
//! deleted when it ends. What an expectation rests on is the check's clause: a conformance test of Kubernetes by its name, a
//! page of its documentation, a KEP, or an RFC.

mod answer;
mod follow;
mod hooks;
mod world;

mod access;
mod apply;
mod custom;
mod discovery;
mod input;
mod kinds;
mod objects;
mod patches;
mod policies;
mod quota;
mod reads;
mod strict;
mod tokens;
mod watches;
mod webhooks;

use std::{
    fmt::{self, Debug},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use windlass_kernel::{Clock, Result, dial::ByteStream};

use self::world::World;
pub use self::{
    answer::Answer,
    hooks::{Called, Hooks},
};
use crate::report::{Case, Trace};

/// A request, word by word.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The method, in capitals.
    pub method: String,
    /// The path and query, percent-encoded.
    pub target: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// An answer, word by word.
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it comes.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("code", &self.code).finish_non_exhaustive()
    }
}

/// A connection on which the check speaks for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing was said on it.
    Bare,
    /// TLS was agreed on, and HTTP/1.1 after it.
    One,
    /// TLS was agreed on, and HTTP/2 after it.
    Two,
}

/// How a server is reached, as somebody.
#[async_trait]
pub trait Wire: Debug + Send + Sync + 'static {
    /// Sends a request, adds the credential unless the request has one, and waits for the head of the answer.
    async fn send(&self, call: Call) -> Result<Reply>;

    /// Opens a connection of its own.
    async fn open(&self, how: Opened) -> Result<ByteStream>;
}

/// A server, and what a check has to know beside it.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The server, asked by somebody who may do everything.
    pub wire: Arc<dyn Wire>,
    /// The same server, asked by nobody in particular.
    pub anonymous: Arc<dyn Wire>,
    /// Where the server reaches webhooks of the checks, if it does.
    pub hooks: Option<Arc<Hooks>>,
    /// The time that the check waits by.
    pub clock: Arc<dyn Clock>,
    /// What is asked and answered.
    pub trace: Trace,
    /// What this check's names begin with: no other check and no other run has it. A DNS label.
    pub prefix: String,
    /// Whether checks that wait for minutes are wanted.
    pub patient: bool,
}

/// One check of the suite.
#[derive(Clone, Copy)]
pub struct Check {
    /// What it is about: reports group by it.
    pub area: &'static str,
    /// Its name, a sentence in snake case.
    pub name: &'static str,
    /// The document that settles what is expected.
    pub clause: &'static str,
    needs: fn(&Fixture) -> Option<&'static str>,
    run: Run,
}

/// What a check does.
#[derive(Clone, Copy)]
enum Run {
    /// Its own work.
    Own(fn(World) -> BoxFuture<'static, ()>),
    /// What clients do to any kind.
    Kind(&'static kinds::Kind),
}

impl Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("area", &self.area).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Check {
    /// A check that every server can be asked.
    const fn new(
        area: &'static str,
        name: &'static str,
        clause: &'static str,
        run: fn(World) -> BoxFuture<'static, ()>,
    ) -> Self {
        Self { area, name, clause, needs: |_| None, run: Run::Own(run) }
    }

    /// The same, for those who have minutes.
    const fn slow(mut self) -> Self {
        self.needs = |fixture| (!fixture.patient).then_some("it waits for minutes; --patient runs it");
        self
    }

    /// The same, where the server has to call this program.
    const fn called(mut self) -> Self {
        self.needs = |fixture| fixture.hooks.is_none().then_some(hooks::MISSING);
        self
    }

    /// Why the fixture cannot be checked for this, if it cannot.
    #[must_use]
    pub fn lacks(&self, fixture: &Fixture) -> Option<&'static str> {
        (self.needs)(fixture)
    }

    /// Runs the check, and removes what it made.
    ///
    /// # Panics
    ///
    /// Where the server answers otherwise than it must.
    pub async fn run(&self, fixture: Fixture) {
        let world = World::begin(fixture).await;
        let work = match self.run {
            Run::Own(run) => run(world.clone()),
            Run::Kind(kind) => kinds::operations(world.clone(), kind).boxed(),
        };
        let done = AssertUnwindSafe(work).catch_unwind().await;
        world.end().await;
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    let areas: [&[Check]; 14] = [
        objects::CHECKS,
        reads::CHECKS,
        watches::CHECKS,
        patches::CHECKS,
        apply::CHECKS,
        strict::CHECKS,
        discovery::CHECKS,
        access::CHECKS,
        tokens::CHECKS,
        quota::CHECKS,
        custom::CHECKS,
        webhooks::CHECKS,
        policies::CHECKS,
        input::CHECKS,
    ];
    let mut checks = areas.concat();
    checks.extend(kinds::checks());
    checks
}

/// Every check as a case for [`report::run`](crate::report::run). `fresh` is given a part of names that differs for each.
pub fn cases(fresh: impl Fn(String) -> Fixture) -> Vec<Case> {
    let case = |(number, check): (usize, Check)| {
        let fixture = fresh(format!("c{number}"));
        let skip = check.lacks(&fixture).map(Into::into);
        let Check { area, name, clause, .. } = check;
        Case { suite: area, name, clause, skip, work: Box::pin(async move { check.run(fixture).await }) }
    };
    checks().into_iter().enumerate().map(case).collect()
}
