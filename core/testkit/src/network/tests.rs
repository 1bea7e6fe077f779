//! The network suite on the fake, in virtual time.

use windlass_conformance::network::{Fixture, Hurry, Offers, Seen, Surroundings, checks};

use super::*;
use crate::sim::Executor;

impl Surroundings for FakeNetwork {
    fn pod(&self, name: &str) -> PathBuf {
        self.add_pod(name)
    }

    fn remove_pod(&self, pod: &Path) {
        Self::remove_pod(self, pod);
    }

    fn interface(&self, pod: &Path, name: &str) -> Option<Seen> {
        Self::interface(self, pod, name).map(|net| Seen { up: true, addresses: vec![net] })
    }

    fn cut(&self, pod: &Path, name: &str) {
        Self::cut(self, pod, name);
    }

    fn connects(&self, _: Option<&Path>, to: SocketAddr, server: &Path, port: u16) -> bool {
        Self::connects(self, to, server, port)
    }

    fn inventory(&self) -> BTreeSet<String> {
        Self::inventory(self)
    }
}

/// Drops calls that take longer than a span.
#[derive(Debug)]
struct Killed(FakeNetwork, Duration);

#[async_trait]
impl PodNetwork for Killed {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        self.0.clock.timeout(self.1, self.0.attach(attachment)).await?
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        self.0.detach(attachment).await
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        self.0.check(attachment).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        self.0.collect(valid).await
    }

    async fn ready(&self) -> Result<()> {
        self.0.ready().await
    }
}

fn fixture(network: &FakeNetwork, prefix: String) -> Fixture {
    let own = network.clone();
    let hurry: Hurry = Arc::new(move |span| Arc::new(Killed(own.clone(), span)));
    Fixture {
        network: Arc::new(network.clone()),
        surroundings: Arc::new(network.clone()),
        clock: Arc::clone(&network.clock),
        prefix,
        offers: Offers { ports: Some(network.node()), bandwidth: true, check: true },
        hurry: Some(hurry),
        raw: None,
    }
}

#[test]
fn the_fake_keeps_the_contract_of_networks() {
    let mut skipped = Vec::new();
    for (number, check) in checks().into_iter().enumerate() {
        let executor = Executor::new(number as u64);
        let fixture = fixture(&FakeNetwork::new(executor.clock()), format!("c{number}"));
        if check.lacks(&fixture).is_some() {
            skipped.push(check.name);
            continue;
        }
        println!("{}", check.name);
        executor.run_until(check.run(fixture));
    }
    // Only what is about bytes on a wire cannot be asked of it.
    assert_eq!(skipped.len(), 8, "{skipped:?}");
}

#[test]
fn a_fake_fails_when_it_is_told_to() {
    let executor = Executor::new(1);
    let network = FakeNetwork::new(executor.clock());
    executor.run_until(async move {
        let key = AttachmentKey::new("a", "eth0");
        let wanted = Attachment { key, namespace: Some(network.add_pod("a")), ..Attachment::default() };
        network.fail_next(ErrorKind::Unavailable);
        assert!(network.attach(&wanted).await.unwrap_err().is(ErrorKind::Unavailable));
        network.attach(&wanted).await.unwrap();
        network.set_broken(Some("no cable"));
        assert_eq!(network.ready().await.unwrap_err().message(), "no cable");
    });
}
