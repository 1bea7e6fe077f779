//! Access that a real API server decides for a server beside it, in virtual time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use windlass_apiserver::{Builder, access::StaticTokens};
use windlass_client::{
    Client,
    delegated::{AccessReviews, TokenReviews},
};
use windlass_kernel::{
    Authenticator, Authorizer, ClockExt, ErrorKind, Identity, Result,
    access::{Attributes, Credentials, Decision},
};
use windlass_store::MemoryStore;
use windlass_testkit::sim::Executor;

/// Allows nodes everything, and alice what is open; counts how often somebody asked about alice.
#[derive(Debug, Default)]
struct Door {
    open: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Authorizer for Door {
    async fn authorize(&self, identity: &Identity, wanted: &Attributes) -> Result<Decision> {
        if identity.belongs_to("system:nodes") {
            return Ok(Decision::Allow(String::new()));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let right = identity.name == "alice"
            && identity.belongs_to("devs")
            && (&*wanted.resource, &*wanted.subresource, &*wanted.verb, &*wanted.name)
                == ("nodes", "proxy", "get", "n1");
        Ok(match right && self.open.load(Ordering::Relaxed) {
            true => Decision::Allow("the door is open".into()),
            false => Decision::NoOpinion("the door is shut".into()),
        })
    }
}

/// A server whose door is the given one, and a node's client of it.
fn client(executor: &Executor, door: &Arc<Door>) -> Client {
    let (clock, spawn) = (executor.clock(), executor.spawn());
    let store = Arc::new(MemoryStore::new(clock.clone(), spawn.clone()));
    let alice = Identity::new("alice", &["devs"]);
    let builder = Builder::default().store(store).clock(clock).entropy(executor.entropy()).spawn(spawn);
    let builder = builder.authenticator(Arc::new(StaticTokens::default().with("hers", alice)));
    let server = executor.run_until(builder.authorizer(Arc::clone(door) as _).start()).unwrap();
    Client::new(server, Arc::new(Identity::new("system:node:n1", &["system:nodes"])))
}

#[test]
fn a_token_is_whose_the_server_says() {
    let executor = Executor::new(1);
    let client = client(&executor, &Arc::default());
    let reviews = TokenReviews::new(client, executor.clock());
    executor.run_until(async {
        let ask = async |bearer: Option<&str>| {
            let credentials = Credentials { bearer: bearer.map(Into::into), ..Credentials::default() };
            reviews.authenticate(&credentials).await.map_err(|error| error.kind())
        };
        let alice = ask(Some("hers")).await.unwrap().expect("somebody");
        assert_eq!((alice.name.as_str(), alice.belongs_to("devs")), ("alice", true));
        assert_eq!(ask(Some("nobody's")).await, Err(ErrorKind::Unauthorized));
        assert_eq!(ask(None).await, Ok(None));
    });
}

#[test]
fn what_was_decided_holds_for_a_while() {
    let (executor, door) = (Executor::new(1), Arc::<Door>::default());
    let client = client(&executor, &door);
    let (clock, reviews) = (executor.clock(), AccessReviews::new(client, executor.clock()));
    let wanted = Attributes {
        verb: "get".into(),
        version: "v1".into(),
        resource: "nodes".into(),
        subresource: "proxy".into(),
        name: "n1".into(),
        ..Attributes::default()
    };
    executor.run_until(async {
        let may = async || {
            let alice = Identity::new("alice", &["devs"]);
            matches!(reviews.authorize(&alice, &wanted).await.unwrap(), Decision::Allow(_))
        };
        let asked = || door.asked.load(Ordering::Relaxed);
        assert!(!may().await);
        door.open.store(true, Ordering::Relaxed);
        assert!(!may().await);
        assert_eq!(asked(), 1);
        clock.sleep(Duration::from_secs(30)).await;
        assert!(may().await);
        door.open.store(false, Ordering::Relaxed);
        clock.sleep(Duration::from_secs(299)).await;
        assert!(may().await);
        assert_eq!(asked(), 2);
        clock.sleep(Duration::from_secs(1)).await;
        assert!(!may().await);
        let other = Attributes { subresource: "stats".into(), ..wanted.clone() };
        let alice = Identity::new("alice", &["devs"]);
        assert!(matches!(reviews.authorize(&alice, &other).await.unwrap(), Decision::NoOpinion(_)));
        assert_eq!(asked(), 4);
    });
}
