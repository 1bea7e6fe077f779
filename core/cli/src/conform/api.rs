//! The API suite against a server somewhere, as a kubeconfig says how to reach it.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use async_trait::async_trait;
use windlass::{
    kernel::{Clock, Entropy, dial::ByteStream},
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};
use windlass_client::{
    https::{HttpsApi, Means, RawRequest},
    kubeconfig::{Access, Credential},
};
use windlass_conformance::{
    api::{Call, Fixture, Opened, Reply, Wire, cases},
    report::Trace,
};

use super::Suite;
use crate::{args::ConformApi, client::access};

pub(super) fn run(args: &ConformApi) -> Result<ExitCode> {
    let access = access(&args.reach)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let suite = suite(args, &access).await?;
        super::report(suite, &args.reports).await
    })
}

async fn suite(args: &ConformApi, access: &Access) -> Result<Suite> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let trace = Trace::default();
    let reached = |access: &Access| -> Result<Arc<Remote>> {
        let (spawn, clock) = (Arc::new(TokioSpawn::current()), Arc::clone(&clock));
        let means = Means { dial: Arc::new(SystemDial), spawn, clock };
        Ok(Arc::new(Remote(HttpsApi::new(access, means)?)))
    };
    let wire = reached(access)?;
    let anonymous = reached(&Access { credential: Credential::Anonymous, ..access.clone() })?;
    // Whoever is not there is told of once, and not by every check.
    let version = wire.0.raw(RawRequest { method: "GET".into(), target: "/version".into(), ..RawRequest::default() });
    version.await?;
    let hooks = match &args.webhook_address {
        Some(address) => {
            Some(super::webhooks::listen(address, &*clock, &(Arc::new(TokioSpawn::current()) as _)).await?)
        }
        None => None,
    };
    let run = run_name();
    let own = (Arc::clone(&clock), trace.clone());
    let patient = args.patient;
    let cases = cases(|part| Fixture {
        wire: wire.clone(),
        anonymous: anonymous.clone(),
        hooks: hooks.clone(),
        clock: Arc::clone(&own.0),
        trace: own.1.clone(),
        prefix: format!("conform-{run}-{part}"),
        patient,
    });
    Ok(Suite { subject: format!("the API server at {}", access.server), cases, trace, clock })
}

/// What tells this run from others on the same server.
fn run_name() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = [0; 5];
    SystemEntropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// A server over HTTPS.
#[derive(Debug)]
struct Remote(HttpsApi);

#[async_trait]
impl Wire for Remote {
    async fn send(&self, call: Call) -> windlass::kernel::Result<Reply> {
        let Call { method, target, headers, body } = call;
        let reply = self.0.raw(RawRequest { method, target, headers, body }).await?;
        Ok(Reply { code: reply.code, headers: reply.headers, body: reply.body.0 })
    }

    async fn open(&self, how: Opened) -> windlass::kernel::Result<ByteStream> {
        match how {
            Opened::Bare => self.0.bare_connection().await,
            Opened::One => self.0.connection(false).await,
            Opened::Two => self.0.connection(true).await,
        }
    }
}
