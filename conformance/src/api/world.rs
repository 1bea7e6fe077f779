//! What a check has at hand: requests, a namespace of its own, waiting, and the removal of what it made.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_kernel::{ClockExt, dial::ByteStream};

use super::{Answer, Call, Fixture, Opened, Wire, follow::Following, hooks::Hook};

/// So long an answer may take, and so long something is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something that cannot be watched is looked at.
const PAUSE: Duration = Duration::from_millis(25);

pub(super) const JSON: &str = "application/json";
pub(super) const YAML: &str = "application/yaml";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const PATCH: &str = "application/json-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// A check's surroundings. Clones share them.
#[derive(Clone)]
pub(super) struct World {
    fixture: Arc<Fixture>,
    made: Arc<Mutex<Vec<String>>>,
    /// The check's own namespace.
    pub(super) namespace: String,
}

impl World {
    pub(super) async fn begin(fixture: Fixture) -> Self {
        let namespace = fixture.prefix.clone();
        let world = Self { fixture: Arc::new(fixture), made: Arc::default(), namespace };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}});
        world.create("/api/v1/namespaces", &namespace).await.with(201);
        world
    }

    /// Deletes what was made, without waiting until it is gone.
    pub(super) async fn end(&self) {
        let made = std::mem::take(&mut *self.made.lock());
        for target in made.iter().rev().chain([&format!("/api/v1/namespaces/{}", self.namespace)]) {
            let background = json!({"propagationPolicy": "Background"});
            // What is left behind where a server does not answer is not this check's verdict.
            let _ = self.try_send(&*self.fixture.wire, "DELETE", target, &[], body(&background)).await;
        }
        if let Some(hooks) = &self.fixture.hooks {
            hooks.forget(&self.fixture.prefix);
        }
    }

    /// Has an object outside of the namespace be deleted in the end.
    pub(super) fn later(&self, target: impl Into<String>) {
        self.made.lock().push(target.into());
    }

    /// A name that nobody else has.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.fixture.prefix)
    }

    /// A part of names that nobody else has.
    pub(super) fn prefix(&self) -> &str {
        &self.fixture.prefix
    }

    /// The collection of a resource in the check's namespace: `configmaps`, or `apps/v1/deployments`.
    pub(super) fn path(&self, resource: &str) -> String {
        match resource.rsplit_once('/') {
            Some((group, plural)) => format!("/apis/{group}/namespaces/{}/{plural}", self.namespace),
            None => format!("/api/v1/namespaces/{}/{resource}", self.namespace),
        }
    }

    /// An object in that collection.
    pub(super) fn at(&self, resource: &str, name: &str) -> String {
        format!("{}/{name}", self.path(resource))
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], Bytes::new()).await
    }

    pub(super) async fn get_as(&self, target: &str, accept: &str) -> Answer {
        self.send("GET", target, &[("accept", accept)], Bytes::new()).await
    }

    pub(super) async fn create(&self, target: &str, object: &Value) -> Answer {
        self.send("POST", target, &[("content-type", JSON)], body(object)).await
    }

    pub(super) async fn replace(&self, target: &str, object: &Value) -> Answer {
        self.send("PUT", target, &[("content-type", JSON)], body(object)).await
    }

    pub(super) async fn patch(&self, target: &str, how: &str, patch: &Value) -> Answer {
        self.send("PATCH", target, &[("content-type", how)], body(patch)).await
    }

    pub(super) async fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], Bytes::new()).await
    }

    pub(super) async fn delete_with(&self, target: &str, options: &Value) -> Answer {
        self.send("DELETE", target, &[("content-type", JSON)], body(options)).await
    }

    pub(super) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.sent_by(&*self.fixture.wire, method, target, headers, body).await
    }

    /// As nobody in particular, or as whoever the headers say.
    pub(super) async fn anonymously(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        self.sent_by(&*self.fixture.anonymous, method, target, headers, body).await
    }

    async fn sent_by(
        &self,
        wire: &dyn Wire,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        match self.try_send(wire, method, target, headers, body).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {target} was not answered: {error}"),
        }
    }

    /// An answer, or why there is none.
    pub(super) async fn tried(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> windlass_kernel::Result<Answer> {
        self.try_send(&*self.fixture.wire, method, target, headers, body).await
    }

    async fn try_send(
        &self,
        wire: &dyn Wire,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> windlass_kernel::Result<Answer> {
        let asked = format!("{method} {target}");
        self.note_call(&asked, headers, &body);
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(own).collect();
        let call = Call { method: method.into(), target: target.into(), headers, body };
        let work = async {
            let mut reply = wire.send(call).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = reply.body.next().await {
                body.extend_from_slice(&chunk?);
            }
            Ok(Answer { asked: asked.clone(), code: reply.code, headers: reply.headers, body: body.freeze() })
        };
        let answer = self.fixture.clock.timeout(PATIENCE, work).await.and_then(|answer| answer);
        self.fixture.trace.note(match &answer {
            Ok(answer) => format!("< {} {}", answer.code, short(&answer.body)),
            Err(error) => format!("< no answer: {error}"),
        });
        answer
    }

    /// Follows a collection; `target` has the query but for `watch`.
    pub(super) async fn watch(&self, target: &str) -> Following {
        self.watch_as(target, JSON).await
    }

    pub(super) async fn watch_as(&self, target: &str, accept: &str) -> Following {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}watch=true");
        let asked = format!("GET {target}");
        self.note_call(&asked, &[], &Bytes::new());
        let headers = vec![("accept".to_owned(), accept.to_owned())];
        let call = Call { method: "GET".into(), target, headers, body: Bytes::new() };
        let reply = match self.fixture.clock.timeout(PATIENCE, self.fixture.wire.send(call)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) | Err(error) => panic!("{asked} was not answered: {error}"),
        };
        self.fixture.trace.note(format!("< {} (a watch)", reply.code));
        assert_eq!(reply.code, 200, "{asked} was not answered by a watch");
        let (clock, trace) = (Arc::clone(&self.fixture.clock), self.fixture.trace.clone());
        Following { asked, body: reply.body, buffer: BytesMut::new(), clock, trace }
    }

    /// A connection of one's own.
    pub(super) async fn open(&self, how: Opened) -> windlass_kernel::Result<ByteStream> {
        self.fixture.trace.note(format!("> a connection: {how:?}"));
        self.fixture.clock.timeout(PATIENCE, self.fixture.wire.open(how)).await.and_then(|opened| opened)
    }

    /// Waits for work on such a connection, but not for ever.
    pub(super) async fn within<T: Send>(&self, what: &str, work: impl Future<Output = T> + Send) -> T {
        match self.fixture.clock.within(PATIENCE, work).await {
            Some(done) => done,
            None => panic!("not within {PATIENCE:?}: {what}"),
        }
    }

    /// Looks at something until it is so, and returns it. For what controllers do: nothing else is waited for.
    pub(super) async fn until(&self, what: &str, target: &str, so: impl Fn(&Answer) -> bool) -> Answer {
        let end = self.fixture.clock.uptime() + PATIENCE;
        loop {
            let answer = self.get(target).await;
            if so(&answer) {
                return answer;
            }
            let late = self.fixture.clock.uptime() >= end;
            assert!(
                !late,
                "still not after {PATIENCE:?}: {what}; {} was answered {} {}",
                answer.asked,
                answer.code,
                answer.text()
            );
            self.fixture.clock.sleep(PAUSE).await;
        }
    }

    /// Does something until it comes out so. For what servers learn of a moment later: nothing else is waited for.
    pub(super) async fn eventually<F: Future<Output = bool> + Send>(&self, what: &str, mut so: impl FnMut() -> F) {
        let end = self.fixture.clock.uptime() + PATIENCE;
        while !so().await {
            assert!(self.fixture.clock.uptime() < end, "still not after {PATIENCE:?}: {what}");
            self.fixture.clock.sleep(PAUSE).await;
        }
    }

    /// A webhook that says this of what it is asked; where that is nothing, it never answers.
    pub(super) fn hook(&self, name: &str, says: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static) -> Hook {
        let Some(hooks) = &self.fixture.hooks else { panic!("{}", super::hooks::MISSING) };
        hooks.add(&self.fixture.prefix, name, self.fixture.trace.clone(), says)
    }

    /// Waits until pods can be made: they need the namespace's service account.
    pub(super) async fn account(&self) {
        let target = self.at("serviceaccounts", "default");
        self.until("the namespace has its service account", &target, |answer| answer.code == 200).await;
    }

    /// Waits: only for what is promised to happen after a time.
    pub(super) async fn pause(&self, span: Duration) {
        self.fixture.clock.sleep(span).await;
    }

    fn note_call(&self, asked: &str, headers: &[(&str, &str)], body: &Bytes) {
        let headers: String = headers.iter().map(|(name, value)| format!(" {name}: {value};")).collect();
        self.fixture.trace.note(format!("> {asked}{headers} {}", short(body)));
    }
}

/// A pod template: an object on which nobody acts.
pub(super) fn template(name: &str) -> Value {
    json!({"metadata": {"name": name}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}})
}

/// The same with a label.
pub(super) fn labelled(name: &str, label: &str, value: &str) -> Value {
    let mut template = template(name);
    template["metadata"]["labels"] = json!({label: value});
    template
}

pub(super) fn body(object: &Value) -> Bytes {
    object.to_string().into()
}

fn short(body: &Bytes) -> String {
    const MOST: usize = 2000;
    let text = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
    if body.len() > MOST { format!("{text}… ({} bytes)", body.len()) } else { text.into_owned() }
}
