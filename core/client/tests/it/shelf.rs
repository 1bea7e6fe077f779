//! A shelf of objects with a history: as much of an API server as these tests need. It checks, defaults and admits
//! nothing, which is why it is private to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use event_listener::Event;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_client::{Client, informer::Parts};
use windlass_kernel::{
    Api, Clock, ClockExt, Document, EntropyExt, Error, ErrorKind, Identity, Result, Revision,
    api::{Answer, Body, Events, List, PatchType, Request, Response, Verb, WatchEvent},
};
use windlass_testkit::{
    EventLog,
    sim::{Executor, Handle},
};

type Place = (String, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Place, Value>,
    history: Vec<(u64, Place, Option<Value>, Option<Value>)>,
    revision: u64,
    compacted: u64,
    cuts: u64,
    offline: BTreeSet<String>,
    old_fashioned: bool,
    watches: usize,
}

#[derive(Clone)]
pub(crate) struct Shelf {
    state: Arc<Mutex<State>>,
    event: Arc<Event>,
    sim: Arc<Handle>,
    pub(crate) log: EventLog,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf")
    }
}

impl Shelf {
    pub(crate) fn new(executor: &Executor) -> Self {
        let (state, event) = (Arc::default(), Arc::default());
        Self { state, event, sim: executor.handle(), log: EventLog::new() }
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(Arc::new(self.clone()), Arc::new(Identity::new(name, &[]))).with_user_agent(name)
    }

    pub(crate) fn parts(&self, name: &str) -> Parts {
        Parts { client: self.client(name), spawn: self.sim.clone(), clock: self.sim.clone(), entropy: self.sim.clone() }
    }

    /// Forgets the history and ends all watches.
    pub(crate) fn compact(&self) {
        let mut state = self.state.lock();
        state.compacted = state.revision;
        state.history.clear();
        drop(state);
        self.cut();
    }

    /// Ends all watches.
    pub(crate) fn cut(&self) {
        self.state.lock().cuts += 1;
        self.event.notify(usize::MAX);
    }

    /// Answers nothing to that identity any more, or again.
    pub(crate) fn offline(&self, name: &str, offline: bool) {
        let mut state = self.state.lock();
        if offline {
            state.offline.insert(name.into());
        } else {
            state.offline.remove(name);
        }
        drop(state);
        self.cut();
    }

    /// Knows nothing of watches that begin with the present objects.
    pub(crate) fn old_fashioned(&self) {
        self.state.lock().old_fashioned = true;
    }

    /// How many watches were begun.
    pub(crate) fn watches(&self) -> usize {
        self.state.lock().watches
    }

    fn check_online(&self, request: &Request) -> Result<()> {
        let offline = self.state.lock().offline.contains(&request.identity.name);
        if offline { Err(Error::new(ErrorKind::Unavailable, "the line is down")) } else { Ok(()) }
    }

    fn write(&self, place: Place, after: Option<Value>) -> Document {
        let mut state = self.state.lock();
        state.revision += 1;
        let revision = state.revision;
        let before = state.objects.remove(&place);
        let mut shown = after.clone().or_else(|| before.clone()).unwrap();
        shown["metadata"]["resourceVersion"] = revision.to_string().into();
        let after = after.map(|_| shown.clone());
        if let Some(after) = &after {
            state.objects.insert(place.clone(), after.clone());
        }
        state.history.push((revision, place, before, after));
        drop(state);
        self.event.notify(usize::MAX);
        Document::foreign(&shown).unwrap()
    }

    fn act(&self, request: &Request) -> Result<Answer> {
        let place = place(request);
        let current = self.state.lock().objects.get(&place).cloned();
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no {place:?}"));
        let Body::Value(mut body) = request.body.clone() else {
            return match request.verb {
                Verb::Get => Ok(Answer::Object(Document::foreign(&current.ok_or_else(missing)?)?)),
                Verb::Delete => {
                    current.ok_or_else(missing)?;
                    Ok(Answer::Object(self.write(place, None)))
                }
                Verb::List => Ok(Answer::List(self.list(request))),
                verb => panic!("the shelf has no {verb:?}"),
            };
        };
        match request.verb {
            Verb::Create if current.is_some() => Err(Error::new(ErrorKind::AlreadyExists, "it exists")),
            Verb::Create => Ok(Answer::Object(self.write(place, Some(body)))),
            Verb::Update => {
                let current = current.ok_or_else(missing)?;
                let (wanted, is) = (&body["metadata"]["resourceVersion"], &current["metadata"]["resourceVersion"]);
                if wanted.is_string() && wanted != is {
                    return Err(Error::new(ErrorKind::Conflict, "it changed"));
                }
                body["metadata"]["resourceVersion"].take();
                Ok(Answer::Object(self.write(place, Some(body))))
            }
            Verb::Patch(PatchType::Merge) => {
                let mut merged = current.ok_or_else(missing)?;
                for (field, value) in body.as_object().unwrap() {
                    merged[field] = value.clone();
                }
                Ok(Answer::Object(self.write(place, Some(merged))))
            }
            verb => panic!("the shelf has no {verb:?} with a body"),
        }
    }

    fn list(&self, request: &Request) -> List {
        let state = self.state.lock();
        let items = state.objects.iter().filter(|(place, object)| matches(request, place, object));
        let from = request.options.continue_token.parse().unwrap_or(0);
        let mut items: Vec<_> = items.skip(from).map(|(_, object)| Document::foreign(object).unwrap()).collect();
        let limit = usize::try_from(request.options.limit).unwrap();
        let more = limit > 0 && items.len() > limit;
        if more {
            items.truncate(limit);
        }
        List {
            api_version: "v1".into(),
            kind: "List".into(),
            revision: Revision(state.revision),
            continue_token: if more { (from + limit).to_string() } else { String::new() },
            remaining: None,
            items,
        }
    }

    async fn delay(&self) {
        self.sim.sleep(Duration::from_millis(self.sim.below(5))).await;
    }
}

fn place(request: &Request) -> Place {
    let name = match &request.body {
        Body::Value(body) if request.name.is_empty() => body["metadata"]["name"].as_str().unwrap_or_default().into(),
        _ => request.name.clone(),
    };
    (request.resource.resource.to_string(), request.namespace.clone(), name)
}

fn matches(request: &Request, place: &Place, object: &Value) -> bool {
    let label = request.options.label_selector.split_once('=');
    place.0 == request.resource.resource
        && (request.namespace.is_empty() || place.1 == request.namespace)
        && label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == value)
}

#[async_trait]
impl Api for Shelf {
    async fn call(&self, request: Request) -> Result<Response> {
        self.delay().await;
        self.check_online(&request)?;
        let line =
            format!("{} {:?} {:?} at {:?}", request.identity.name, request.verb, place(&request), self.sim.uptime());
        let answer = self.act(&request);
        self.log.append(format!("{line}: {}", answer.as_ref().map_or_else(ToString::to_string, |_| "done".into())));
        self.delay().await;
        Ok(Response { code: 200, warnings: Vec::new(), answer: answer? })
    }

    async fn watch(&self, request: Request) -> Result<Events> {
        self.delay().await;
        self.check_online(&request)?;
        let mut state = self.state.lock();
        state.watches += 1;
        let initial = request.options.send_initial_events == Some(true);
        if initial && state.old_fashioned {
            return Err(Error::new(ErrorKind::Invalid, "sendInitialEvents is forbidden"));
        }
        let (cuts, now) = (state.cuts, state.revision);
        drop(state);
        let mut at = now;
        let mut first = Vec::new();
        if initial {
            let present = self.list(&request).items;
            first.extend(present.into_iter().map(WatchEvent::Added));
            first.push(WatchEvent::Bookmark { revision: Revision(now), initial_events_end: true });
        } else {
            at = request.options.resource_version.parse().unwrap();
            if at < self.state.lock().compacted {
                return Err(Error::new(ErrorKind::Compacted, "too old"));
            }
        }
        let follow = stream::unfold((self.clone(), request, at), move |(shelf, request, at)| async move {
            loop {
                let listener = shelf.event.listen();
                {
                    let state = shelf.state.lock();
                    if state.cuts != cuts {
                        return None;
                    }
                    if let Some((revision, place, before, after)) = state.history.iter().find(|entry| entry.0 > at) {
                        let event = event(&request, place, before.as_ref(), after.as_ref(), *revision);
                        let revision = *revision;
                        drop(state);
                        return Some((event, (shelf, request, revision)));
                    }
                }
                listener.await;
            }
        });
        let events = stream::iter(first).chain(follow.filter_map(|event| async { event }));
        Ok(events.map(Ok).boxed())
    }
}

fn event(
    request: &Request,
    place: &Place,
    before: Option<&Value>,
    after: Option<&Value>,
    revision: u64,
) -> Option<WatchEvent> {
    let [was, is] = [before, after].map(|object| object.is_some_and(|object| matches(request, place, object)));
    let document = |object: &Value| Document::foreign(object).unwrap();
    match (was, is) {
        (false, false) => None,
        (false, true) => Some(WatchEvent::Added(document(after.unwrap()))),
        (true, true) => Some(WatchEvent::Modified(document(after.unwrap()))),
        (true, false) => {
            let mut gone = before.unwrap().clone();
            gone["metadata"]["resourceVersion"] = revision.to_string().into();
            Some(WatchEvent::Deleted(document(&gone)))
        }
    }
}

/// A config map as text: `name`, or `name app=label`.
pub(crate) fn config_map(text: &str) -> windlass_api::core::v1::ConfigMap {
    let (name, label) = text.split_once(' ').unwrap_or((text, ""));
    let mut object = json!({"metadata": {"namespace": "default", "name": name}});
    if let Some((key, value)) = label.split_once('=') {
        object["metadata"]["labels"][key] = value.into();
    }
    serde_json::from_value(object).unwrap()
}
