//! Plugins that fail: they are named, and pods of other profiles do not notice.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::json;
use windlass_kernel::{
    ClockExt, Result,
    scheduler::{Change, Cycle, Extender, Filter, Fit, NodeView, Nodes, PodView, Reserve, Score, ScorePlugin},
};
use windlass_scheduler::{Config, Framework, Profile};

use crate::rig::run;

fn beside(profile: Profile) -> Config {
    Config { profiles: vec![Profile::default(), profile], ..Config::default() }
}

/// Fails in one way or another.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Filters,
    Scores,
    HelpedBy,
    Reserves,
}

impl Filter for Bad {
    fn name(&self) -> &'static str {
        "Bad"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        match self {
            Self::Filters => panic!("no filter"),
            _ => Fit::or_no(false, "not yet"),
        }
    }

    fn helped_by(&self, _: &PodView, _: &Change<'_>) -> bool {
        panic!("no help")
    }
}

impl ScorePlugin for Bad {
    fn name(&self) -> &'static str {
        "Bad"
    }

    fn score(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Score {
        Score::exact(-1)
    }
}

impl Reserve for Bad {
    fn name(&self) -> &'static str {
        "Bad"
    }

    fn reserve(&self, _: &mut Cycle, _: &PodView, _: &str) -> Fit {
        panic!("no reserve")
    }

    fn unreserve(&self, _: &Cycle, _: &PodView, _: &str) {
        panic!("no unreserve")
    }
}

/// What the pod of a profile is told, while a pod of the default profile is placed.
#[track_caller]
fn check(profile: Profile, expect: &str) {
    run(30, |mut rig| async move {
        let _scheduler = rig.scheduler(beside(profile));
        rig.node("a", "8", &[]).await;
        rig.pod("bad", "1", json!({"schedulerName": "bad"})).await;
        rig.complains("bad", expect).await;
        for name in ["p", "q"] {
            rig.pod(name, "1", json!({})).await;
            rig.placed(name).await;
        }
    });
}

#[test]
fn a_plugin_that_panics_is_named_and_other_profiles_go_on() {
    let with = |bad: Bad| Profile::new("bad", Framework::default().filter(bad));
    check(with(Bad::Filters), "SchedulerError: plugin Bad panicked: no filter");
    check(with(Bad::HelpedBy), "Unschedulable: 0/1 nodes are available: 1 not yet.");
    let reserving = Profile::new("bad", Framework::default()).reserve(Bad::Reserves);
    check(reserving.clone(), "plugin Bad panicked: no reserve");
    check(reserving.trusted(), "plugin Bad panicked: no reserve");
}

#[test]
fn a_score_out_of_range_is_named_and_left_out() {
    run(31, |mut rig| async move {
        let profile = Profile::new("bad", Framework::default().score(1, Bad::Scores));
        let _scheduler = rig.scheduler(beside(profile));
        rig.node("a", "8", &[]).await;
        rig.node("b", "8", &[]).await;
        rig.pod("bad", "1", json!({"schedulerName": "bad"})).await;
        rig.placed("bad").await;
        let said = rig.event("bad", "PluginFailed").await;
        let expect = "plugin Bad scored -1, which is not from 0 to 100; the node was chosen without it";
        assert_eq!(said.message.as_deref(), Some(expect));
        assert_eq!(said.type_.as_deref(), Some("Warning"));
    });
}

/// Does not answer before it may.
#[derive(Clone, Debug)]
struct Silent(Arc<event_listener::Event>);

#[async_trait]
impl Extender for Silent {
    fn name(&self) -> &'static str {
        "Silent"
    }

    fn interested(&self, _: &PodView) -> bool {
        true
    }

    async fn filter(&self, _: &PodView, nodes: &Nodes<'_>) -> Result<Vec<Fit>> {
        self.0.listen().await;
        Ok(vec![Fit::Yes; nodes.len()])
    }

    async fn score(&self, _: &PodView, nodes: &Nodes<'_>) -> Result<Vec<Score>> {
        Ok(vec![Score::MIN; nodes.len()])
    }
}

#[test]
fn an_extender_that_never_answers_stops_its_profile_and_no_other() {
    run(32, |mut rig| async move {
        let silent = Silent(Arc::default());
        let profile = Profile::new("bad", Framework::default().extender(1, silent));
        let _scheduler = rig.scheduler(beside(profile));
        rig.node("a", "8", &[]).await;
        rig.pod("bad", "1", json!({"schedulerName": "bad"})).await;
        let expect = "SchedulerError: plugin Silent did not return within 10s: profile \"bad\" is stopped until it has, \
                      and rests";
        rig.complains("bad", expect).await;
        rig.pod("p", "1", json!({})).await;
        rig.placed("p").await;
        rig.handle.sleep(Duration::from_secs(60)).await;
        rig.pod("q", "1", json!({})).await;
        rig.placed("q").await;
        assert_eq!(rig.node_of("bad").await, None);
    });
}

#[test]
fn alike_pods_of_a_watched_profile_share_what_was_found_out() {
    run(34, |mut rig| async move {
        let framework = Framework::default();
        let profiles = vec![Profile::new("watched", framework.clone())];
        for name in ["a", "b", "c"] {
            rig.node(name, "8", &[]).await;
        }
        let _scheduler = rig.scheduler(Config { profiles, ..Config::default() });
        for at in 0..12 {
            rig.pod(&format!("p{at}"), "1", json!({"schedulerName": "watched"})).await;
        }
        for at in 0..12 {
            rig.placed(&format!("p{at}")).await;
        }
        let savings = framework.savings();
        assert!(savings.shared >= 10 && savings.built == 1, "{savings:?}");
    });
}
