//! Schedulers on real threads: what virtual time cannot show is a plugin that never returns.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use windlass_api::core::v1::{Container, Pod, PodSpec};
use windlass_client::Select;
use windlass_kernel::scheduler::{Cycle, Filter, Fit, NodeView, PodView};
use windlass_scheduler::{Config, Framework, Profile};
use windlass_testkit::FakeNode;

use super::*;

/// Does not return before it is let go.
#[derive(Clone, Debug, Default)]
struct Sleepy(Arc<(Mutex<bool>, Condvar)>);

impl Sleepy {
    fn let_go(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

/// A test that fails must not wait for it for ever.
struct LetGo(Sleepy);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Filter for Sleepy {
    fn name(&self) -> &'static str {
        "Sleepy"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        let held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(held, |free| !*free));
        Fit::Yes
    }
}

fn pod(name: &str, scheduler: &str) -> Pod {
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name) = (Some("default".into()), Some(name.into()));
    let container = Container { name: "c".into(), image: Some("i".into()), ..Container::default() };
    pod.spec = PodSpec { containers: vec![container], scheduler_name: Some(scheduler.into()), ..PodSpec::default() };
    pod
}

#[test]
fn a_plugin_that_never_returns_is_named_and_stops_its_own_profile_only() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sleepy = Sleepy::default();
    let _let_go = LetGo(sleepy.clone());
    runtime.block_on(async {
        let profiles = vec![Profile::default(), Profile::new("slow", Framework::default().filter(sleepy.clone()))];
        let scheduling = Config { profiles, limit: Duration::from_millis(50), ..Config::default() };
        let cluster = Cluster::builder().scheduling(scheduling).node(FakeNode::new("n1", 0)).start().await.unwrap();
        cluster.ready().await.unwrap();
        let client = cluster.client();
        let pods = cluster.informers(client.clone()).typed::<Pod>(Select::namespace("default"));
        let find = |pod: &str, so: fn(&Pod) -> bool| {
            let (pods, pod) = (pods.clone(), pod.to_owned());
            async move {
                pods.wait_until(|all| {
                    all.values().iter().any(|own| own.metadata.name.as_ref() == Some(&pod) && so(own))
                })
                .await;
            }
        };
        client.create(&pod("stuck", "slow")).await.unwrap();
        find("stuck", |pod| {
            let said = pod.status.conditions.iter().filter_map(|condition| condition.message.as_deref());
            said.into_iter()
                .any(|said| said.starts_with("plugin Sleepy did not return within 50ms: profile \"slow\" is stopped"))
        })
        .await;
        client.create(&pod("other", "default-scheduler")).await.unwrap();
        find("other", |pod| pod.spec.node_name.is_some()).await;
        sleepy.let_go();
        find("stuck", |pod| pod.spec.node_name.is_some()).await;
        cluster.shut_down().await;
    });
}
