//! Who asks, and whether they may, as an API server says it: what servers beside it decide access by, as upstream's kubelets and
//! aggregated servers do (delegated authentication and authorization).

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_kernel::{
    Authenticator, Authorizer, Clock, Error, ErrorKind, Identity, Result,
    access::{Attributes, Credentials, Decision},
    api::{GroupVersionResource, Verb},
};

use crate::Client;

/// So long it is remembered whose a token is, or that it is nobody's.
const TOKEN: Duration = Duration::from_secs(2 * 60);
/// So long it is remembered that somebody may do something.
const ALLOWED: Duration = Duration::from_secs(5 * 60);
/// So long it is remembered that somebody may not.
const REFUSED: Duration = Duration::from_secs(30);
/// Longer tokens are not remembered: strangers may send any.
const LONGEST: usize = 8 << 10;
/// So many answers are remembered.
const MOST: usize = 4096;

/// Asks an API server whose a bearer token is (`TokenReview`).
///
/// Answers are remembered for two minutes, as upstream's kubelets do: a token that was revoked is good for so long still. Other
/// credentials are of another's kind.
pub struct TokenReviews {
    client: Client,
    known: Remembered<Option<Identity>>,
}

impl Debug for TokenReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviews").field("client", &self.client).finish_non_exhaustive()
    }
}

impl TokenReviews {
    /// Asks by `client`, which must be allowed to create `tokenreviews` (`system:auth-delegator`; nodes are).
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, known: Remembered::new(clock) }
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Option<Identity>> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": token, "audiences": audiences},
        });
        let status = create(&self.client, ("authentication.k8s.io", "tokenreviews"), review).await?;
        if status["authenticated"] != true {
            return Ok(None);
        }
        let met = status["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // A server that knows nothing of audiences names none.
        if !audiences.is_empty() && !met.into_iter().any(|met| audiences.iter().any(|wanted| wanted == met)) {
            return Ok(None);
        }
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect()
        };
        let user = &status["user"];
        let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
        let extra = user["extra"].as_object().into_iter().flatten();
        Ok(Some(Identity {
            name: text("username"),
            uid: text("uid"),
            groups: texts(&user["groups"]),
            extra: extra.map(|(name, values)| (name.clone(), texts(values))).collect(),
        }))
    }
}

#[async_trait]
impl Authenticator for TokenReviews {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        let key = format!("{:?} {token}", credentials.audiences);
        let found = match self.known.get(&key) {
            Some(found) => found,
            None => {
                let found = self.ask(token, &credentials.audiences).await?;
                if token.len() <= LONGEST {
                    self.known.put(key, found.clone(), TOKEN);
                }
                found
            }
        };
        found.map(Some).ok_or_else(|| Error::new(ErrorKind::Unauthorized, "Unauthorized"))
    }
}

/// Asks an API server whether somebody may do something (`SubjectAccessReview`).
///
/// As upstream's kubelets do, it remembers for five minutes what was allowed and for thirty seconds what was not; unlike what
/// [`Authorizer`] promises, a change of the rules holds after that.
pub struct AccessReviews {
    client: Client,
    known: Remembered<Decision>,
}

impl Debug for AccessReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessReviews").field("client", &self.client).finish_non_exhaustive()
    }
}

impl AccessReviews {
    /// Asks by `client`, which must be allowed to create `subjectaccessreviews` (`system:auth-delegator`; nodes are).
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, known: Remembered::new(clock) }
    }

    async fn ask(&self, identity: &Identity, wanted: &Attributes) -> Result<Decision> {
        let mut spec = json!({
            "user": identity.name, "uid": identity.uid, "groups": identity.groups, "extra": identity.extra,
        });
        if wanted.resource.is_empty() {
            spec["nonResourceAttributes"] = json!({"path": wanted.path, "verb": wanted.verb});
        } else {
            spec["resourceAttributes"] = json!({
                "group": wanted.group, "version": wanted.version, "resource": wanted.resource,
                "subresource": wanted.subresource, "namespace": wanted.namespace, "name": wanted.name,
                "verb": wanted.verb,
            });
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec,
        });
        let status = create(&self.client, ("authorization.k8s.io", "subjectaccessreviews"), review).await?;
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        Ok(match (&status["allowed"], &status["denied"]) {
            (Value::Bool(true), _) => Decision::Allow(reason),
            (_, Value::Bool(true)) => Decision::Deny(reason),
            _ => Decision::NoOpinion(reason),
        })
    }
}

#[async_trait]
impl Authorizer for AccessReviews {
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        let key = format!("{identity:?} {attributes:?}");
        if let Some(known) = self.known.get(&key) {
            return Ok(known);
        }
        let decision = self.ask(identity, attributes).await?;
        let lives = if matches!(decision, Decision::Allow(_)) { ALLOWED } else { REFUSED };
        self.known.put(key, decision.clone(), lives);
        Ok(decision)
    }
}

/// Has a review made, and answers with its status.
async fn create(client: &Client, (group, resource): (&'static str, &'static str), review: Value) -> Result<Value> {
    let request = client.request(Verb::Create, GroupVersionResource::of(group, "v1", resource));
    let mut answer = client.value(request.body(review)).await?;
    Ok(answer["status"].take())
}

/// Answers that hold for a while.
struct Remembered<T> {
    clock: Arc<dyn Clock>,
    /// Each with the uptime that it holds until.
    answers: Mutex<BTreeMap<String, (Duration, T)>>,
}

impl<T: Clone> Remembered<T> {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, answers: Mutex::default() }
    }

    fn get(&self, key: &str) -> Option<T> {
        let now = self.clock.uptime();
        self.answers.lock().get(key).filter(|(until, _)| *until > now).map(|(_, answer)| answer.clone())
    }

    fn put(&self, key: String, answer: T, lives: Duration) {
        let now = self.clock.uptime();
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.retain(|_, (until, _)| *until > now);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(key, (now + lives, answer));
    }
}
