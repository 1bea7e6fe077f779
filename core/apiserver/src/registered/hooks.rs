//! Webhooks: who is called in what order, and what their answers do to the request.

use std::{sync::Arc, time::Duration};

use futures::future;
use serde_json::Value;
use windlass_api::patch;
use windlass_kernel::{EntropyExt, error::Result};

#[cfg(feature = "cel")]
use super::evaluation::{Conditions, Evaluation};
use super::{
    asked::Asked,
    matching::Matching,
    review::{self, Verdict, failure, internal, refusal},
    rounds::{Mutator, Rounds},
};
use crate::errors;

/// How long a webhook has that says nothing.
const TIMEOUT: u64 = 10;

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Hook {
    own: Mutator,
    name: String,
    matching: Matching,
    #[cfg(feature = "cel")]
    conditions: Conditions,
    #[cfg(not(feature = "cel"))]
    conditional: bool,
    client: Value,
    ignores_failures: bool,
    timeout: Duration,
    wants_again: bool,
    speaks_v1: bool,
    safe_when_dry: bool,
}

impl Hook {
    /// The webhooks of a configuration.
    pub(super) fn read_all(configuration: &Value) -> Arc<Vec<Self>> {
        let name = crate::object::name(configuration);
        let hooks = configuration["webhooks"].as_array().into_iter().flatten().enumerate();
        Arc::new(hooks.map(|(at, hook)| Self::read((name.to_owned(), at), hook)).collect())
    }

    fn read(own: Mutator, hook: &Value) -> Self {
        let versions = hook["admissionReviewVersions"].as_array();
        Self {
            own,
            name: hook["name"].as_str().unwrap_or_default().to_owned(),
            matching: Matching::read(hook),
            #[cfg(feature = "cel")]
            conditions: Conditions::read(&hook["matchConditions"]),
            #[cfg(not(feature = "cel"))]
            conditional: hook["matchConditions"].as_array().is_some_and(|all| !all.is_empty()),
            client: hook["clientConfig"].clone(),
            ignores_failures: hook["failurePolicy"] == "Ignore",
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT)),
            wants_again: hook["reinvocationPolicy"] == "IfNeeded",
            speaks_v1: versions.is_some_and(|all| all.iter().any(|version| version == "v1")),
            safe_when_dry: matches!(hook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")),
        }
    }

    /// The form in which the webhook wants to see the request; `None` where it does not.
    async fn wants(&self, asked: &Asked<'_>) -> Result<Option<usize>> {
        let Some(at) = self.matching.select(&asked.names(), asked.labels()) else { return Ok(None) };
        #[cfg(feature = "cel")]
        if !self.conditions.is_empty() {
            let mut evaluation = Evaluation::of_webhook(asked, at).await?;
            return match self.conditions.hold(&mut evaluation).await {
                Ok(true) => Ok(Some(at)),
                Ok(false) => Ok(None),
                Err(_) if self.ignores_failures => Ok(None),
                Err(why) => Err(asked.forbidden(&why)),
            };
        }
        #[cfg(not(feature = "cel"))]
        if self.conditional {
            return Err(errors::not_supported("matchConditions of webhooks, without expressions,"));
        }
        Ok(Some(at))
    }

    /// Asks the webhook. A failure that its policy ignores is `None`.
    async fn ask(&self, asked: &Asked<'_>, at: usize, mutates: bool) -> Result<Option<Verdict>> {
        if asked.request.options.dry_run && !self.safe_when_dry {
            let message = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(errors::bad_request(message));
        }
        let object = asked.shown(at, asked.new.as_ref()).await?;
        let old = asked.shown(at, asked.old.as_ref()).await?;
        let started = asked.server.parts.clock.uptime();
        let called = self.call(asked, at, (object, old), mutates).await;
        self.count(asked, started, mutates, &called);
        match called {
            Ok(verdict) => Ok(Some(verdict)),
            Err(why) if self.ignores_failures => {
                tracing::warn!(webhook = self.name, why, "failed calling webhook, failing open");
                Ok(None)
            }
            Err(why) => {
                tracing::warn!(webhook = self.name, why, "failed calling webhook, failing closed");
                Err(failure(&self.name, &why))
            }
        }
    }

    /// Tells the metrics what came of a call.
    #[cfg(feature = "http")]
    fn count(&self, asked: &Asked<'_>, started: Duration, mutates: bool, called: &Result<Verdict, String>) {
        use crate::webhook::{Call, Outcome};
        let parts = &asked.server.parts;
        let outcome = match called {
            Ok(Verdict { refused: None, .. }) => Outcome::Allowed,
            Ok(Verdict { refused: Some(status), .. }) => {
                Outcome::Refused(refusal(&self.name, status).to_status()["code"].as_u64().unwrap_or(400))
            }
            Err(_) if self.ignores_failures => Outcome::Ignored,
            Err(_) => Outcome::Failed,
        };
        let operation = asked.operation.as_str();
        let took = parts.clock.uptime().saturating_sub(started);
        parts.calls.count(&Call { name: &self.name, mutates, operation, took, outcome });
    }

    #[cfg(not(feature = "http"))]
    fn count(&self, _: &Asked<'_>, _: Duration, _: bool, _: &Result<Verdict, String>) {}

    async fn call(
        &self,
        asked: &Asked<'_>,
        at: usize,
        (object, old): (Value, Value),
        mutates: bool,
    ) -> Result<Verdict, String> {
        if !self.speaks_v1 {
            return Err("it knows no AdmissionReview v1, and v1beta1 is not supported".into());
        }
        let uid = asked.server.parts.entropy.uuid();
        let mut request = asked.request(at);
        let fields = crate::object::as_map(&mut request);
        fields.retain(|_, value| *value != "");
        fields.insert("uid".into(), uid.as_str().into());
        fields.insert("object".into(), object);
        fields.insert("oldObject".into(), old);
        let answer = self.post(asked, &review::review(request)).await?;
        review::verdict(answer, &uid, mutates)
    }

    #[cfg(feature = "http")]
    async fn post(&self, asked: &Asked<'_>, review: &Value) -> Result<Value, String> {
        use crate::webhook::{self, Endpoint, Limits};
        let unusable = |error: windlass_kernel::Error| format!("could not get REST client: {}", error.message());
        let endpoint = Endpoint::read(&self.client).map_err(unusable)?;
        let endpoint = endpoint.asking(&format!("timeout={}s", self.timeout.as_secs()));
        let limits = Limits { time: self.timeout, size: crate::body::LIMIT * 2 };
        let answer = webhook::post(asked.server, &endpoint, review, limits).await;
        answer.map_err(|error| format!("failed to call webhook: {}", error.message()))
    }

    #[cfg(not(feature = "http"))]
    async fn post(&self, _: &Asked<'_>, _: &Value) -> Result<Value, String> {
        let _ = (&self.client, self.timeout);
        Err("this server was built without the feature \"http\", so it calls nobody".into())
    }
}

/// Asks those that mutate, one after the other.
pub(super) async fn mutate(
    hooks: impl Iterator<Item = &Hook> + Send,
    asked: &mut Asked<'_>,
    rounds: &mut Rounds,
) -> Result<()> {
    for hook in hooks {
        let Some(at) = hook.wants(asked).await? else { continue };
        if rounds.skips(&hook.own) {
            continue;
        }
        let verdict = hook.ask(asked, at, true).await?;
        let changed = match verdict {
            Some(verdict) => obey(hook, asked, at, verdict).await?,
            None => false,
        };
        rounds.asked(hook.own.clone(), changed, hook.wants_again);
    }
    Ok(())
}

/// Does what a webhook said. Says whether that changed the object.
async fn obey(hook: &Hook, asked: &mut Asked<'_>, at: usize, verdict: Verdict) -> Result<bool> {
    asked.warnings.extend(verdict.warnings);
    if let Some(status) = verdict.refused {
        return Err(refusal(&hook.name, &status));
    }
    let Some(patch) = verdict.patch else { return Ok(false) };
    if asked.new.is_none() {
        return Err(internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    }
    let mut object = asked.shown(at, asked.new.as_ref()).await?;
    patch::json(&mut object, &patch).map_err(|error| internal(error.to_string()))?;
    asked.change(at, object).await
}

/// Asks those that validate, all at once; of several refusals the first by name is told.
pub(super) async fn validate(hooks: impl Iterator<Item = &Hook> + Send, asked: &mut Asked<'_>) -> Result<()> {
    let mut wanted = Vec::new();
    for hook in hooks {
        if let Some(at) = hook.wants(asked).await? {
            wanted.push((hook, at));
        }
    }
    let told = {
        let asked = &*asked;
        future::join_all(wanted.iter().map(|(hook, at)| hook.ask(asked, *at, false))).await
    };
    let mut refused = None;
    for ((hook, _), verdict) in wanted.iter().zip(told) {
        match verdict {
            Ok(Some(verdict)) => {
                asked.warnings.extend(verdict.warnings);
                if let Some(status) = verdict.refused {
                    refused = refused.or_else(|| Some(refusal(&hook.name, &status)));
                }
            }
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}
