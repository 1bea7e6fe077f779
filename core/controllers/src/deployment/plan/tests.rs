use super::*;
use windlass_api::types::IntOrString;

const NOW: i64 = 1000;

/// Reads `replicas=3 surge=1 unavailable=0 recreate paused history=1`.
fn deployment(text: &str) -> Deployment {
    let mut deployment = Deployment::default();
    deployment.metadata.name = Some("web".into());
    deployment.metadata.generation = Some(1);
    deployment.metadata.annotations.insert("note".into(), "x".into());
    let spec = &mut deployment.spec;
    spec.template.spec.node_name = Some("new".into());
    spec.progress_deadline_seconds = Some(600);
    let rolling = spec.strategy.rolling_update.get_or_insert_default();
    (rolling.max_surge, rolling.max_unavailable) = (Some(IntOrString::Int(1)), Some(IntOrString::Int(0)));
    for word in text.split_whitespace() {
        let (what, value) = word.split_once('=').unwrap_or((word, ""));
        let number = value.parse().unwrap_or(0);
        let rolling = spec.strategy.rolling_update.get_or_insert_default();
        match what {
            "replicas" => spec.replicas = Some(number),
            "surge" => rolling.max_surge = Some(number.into()),
            "unavailable" => rolling.max_unavailable = Some(number.into()),
            "recreate" => spec.strategy.type_ = Some("Recreate".into()),
            "paused" => spec.paused = Some(true),
            "history" => spec.revision_history_limit = Some(number),
            "generation" => deployment.metadata.generation = Some(number.into()),
            other => panic!("{other}"),
        }
    }
    deployment
}

/// Reads `old size=3 available=3 desired=3 revision=1`, separated by commas; `new` has the Deployment's template.
/// What is not said follows from the size.
fn sets(text: &str, deployment: &Deployment) -> Vec<Arc<ReplicaSet>> {
    let set = |(at, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let mut given: std::collections::BTreeMap<&str, i32> = words
            .map(|word| word.split_once('=').unwrap())
            .map(|(what, value)| (what, value.parse().unwrap()))
            .collect();
        let size = given.remove("size").unwrap_or(0);
        let mut set = ReplicaSet::default();
        set.metadata.name = Some(name.into());
        set.metadata.creation_timestamp = Timestamp::from_second(at.try_into().unwrap()).ok().map(Into::into);
        set.spec.replicas = Some(size);
        set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
        set.spec.template.spec.node_name = Some(name.into());
        let available = given.remove("available").unwrap_or(size);
        set.status.available_replicas = Some(available);
        set.status.ready_replicas = Some(available);
        set.status.replicas = given.remove("pods").unwrap_or(size);
        set.status.terminating_replicas = Some(given.remove("ending").unwrap_or(0));
        let desired = given.remove("desired").unwrap_or(deployment.spec.replicas.unwrap());
        let mut working = Working::of(&Arc::new(set));
        let surge = given.remove("surge").unwrap_or(Limits::of(deployment).surge);
        working.scale(size, desired, surge);
        let revision = given.remove("revision").unwrap_or(at.try_into().unwrap()).to_string();
        working.set.metadata.annotations.insert(REVISION.into(), revision);
        if name == "new" {
            working.set.metadata.annotations.insert("note".into(), "x".into());
        }
        assert!(given.is_empty(), "{given:?}");
        Arc::new(working.set)
    };
    text.split(", ").filter(|line| !line.is_empty()).enumerate().map(set).collect()
}

fn planned(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Plan {
    plan(deployment, sets, Timestamp::from_second(NOW).unwrap())
}

fn said(plan: &Plan) -> String {
    let said = |write: &Write| match write {
        Write::Create(set) => format!("create {}", set.spec.replicas.unwrap()),
        Write::Update { set, scaled: Some((from, to)), .. } => {
            format!("{} {from}>{to}", set.metadata.name.as_deref().unwrap())
        }
        Write::Update { set, scaled: None, .. } => format!("{} noted", set.metadata.name.as_deref().unwrap()),
        Write::Delete(set) => format!("delete {}", set.metadata.name.as_deref().unwrap()),
    };
    plan.writes.iter().map(said).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(spec: &str, have: &str, expect: &str) {
    let deployment = deployment(spec);
    assert_eq!(said(&planned(&deployment, &sets(have, &deployment))), expect, "{spec}: {have}");
}

#[test]
fn a_first_set_is_created_whole() {
    check("replicas=3", "", "create 3");
    check("replicas=0", "", "create 0");
    check("replicas=3 paused", "", "");
    check("replicas=3 recreate", "", "create 3");
}

#[test]
fn a_rollout_grows_the_new_set_then_shrinks_the_old() {
    check("replicas=3", "old size=3 revision=1", "create 1");
    check("replicas=3", "old size=3, new size=1 available=0", "");
    check("replicas=3", "old size=3, new size=1", "old 3>2");
    check("replicas=3", "old size=2, new size=1", "new 1>2");
    check("replicas=3", "old size=1, new size=3 available=2", "");
    check("replicas=3", "old size=1, new size=3", "old 1>0");
    check("replicas=3", "old, new size=3", "");
}

#[test]
fn a_lack_that_is_allowed_is_used() {
    check("replicas=4 surge=0 unavailable=2", "old size=4", "old 4>2, create 0");
    check("replicas=4 surge=0 unavailable=2", "old size=2, new", "new 0>2");
    check("replicas=10 surge=3 unavailable=2", "old size=10", "old 10>8, create 3");
    check("replicas=10 surge=3 unavailable=2", "old size=8, new size=3 available=0", "new 3>5");
}

#[test]
fn ill_old_pods_go_first() {
    check("replicas=3", "old size=3 available=0, new size=1 available=0", "");
    check("replicas=3", "old size=3 available=0, new size=1", "old 3>2");
    check("replicas=3", "a size=2 available=1, b size=1, new size=1", "a 2>1");
    check("replicas=10 surge=3 unavailable=2", "old size=8 available=0, new size=5 available=0", "");
}

#[test]
fn a_rollback_reuses_the_old_set_under_a_new_revision() {
    let deployment = deployment("replicas=3");
    let plan = planned(&deployment, &sets("new size=0 revision=1, bad size=3 revision=2", &deployment));
    assert_eq!(said(&plan), "new 0>1");
    assert_eq!(plan.revision.as_deref(), Some("3"));
    let Write::Update { set, .. } = &plan.writes[0] else { panic!() };
    assert_eq!(set.metadata.annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn recreate_waits_until_the_old_pods_have_ended() {
    check("replicas=3 recreate", "old size=3", "old 3>0");
    check("replicas=3 recreate", "old size=0 pods=2", "");
    check("replicas=3 recreate", "old size=0 ending=1", "");
    check("replicas=3 recreate", "old size=0", "create 3");
    check("replicas=3 recreate", "old size=0, new size=3 available=0", "");
}

#[test]
fn a_change_of_size_is_shared_in_proportion() {
    check("replicas=5", "new size=3 desired=3", "new 3>5");
    check(
        "replicas=15 surge=5 unavailable=0",
        "old size=10 desired=10 surge=5, new size=5 desired=10 surge=5",
        "old 10>13, new 5>7",
    );
    check(
        "replicas=5 surge=0 unavailable=1",
        "old size=8 desired=10 surge=0, new size=2 desired=10 surge=0",
        "old 8>4, new 2>1",
    );
    check("replicas=0", "old size=2 desired=3, new size=2 desired=3", "old 2>0, new 2>0");
    check("replicas=5 paused", "new size=3 desired=3", "new 3>5");
}

#[test]
fn a_paused_deployment_keeps_its_sets() {
    check("replicas=3 paused", "old size=3", "");
    check("replicas=3 paused", "old size=2, new size=1", "old 2>3");
}

#[test]
fn history_beyond_the_limit_is_forgotten_when_the_rollout_is_complete() {
    let mut deployment = deployment("replicas=1 history=1");
    let have = sets("a revision=1, b revision=3, c revision=2, new size=1 revision=4", &deployment);
    assert_eq!(said(&planned(&deployment, &have)), "");
    deployment.status = planned(&deployment, &have).status;
    assert_eq!(said(&planned(&deployment, &have)), "delete a, delete c");
}

/// The conditions as `Type=Status/Reason`.
fn conditions(status: &DeploymentStatus) -> String {
    let one = |own: &windlass_api::apps::v1::DeploymentCondition| {
        format!("{}={}/{}", own.type_, own.status, own.reason.as_deref().unwrap())
    };
    let mut all: Vec<_> = status.conditions.iter().map(one).collect();
    all.sort();
    all.join(" ")
}

#[test]
fn the_conditions_tell_the_story_of_a_rollout() {
    let mut deployment = deployment("replicas=2");
    let mut story = |have: &str, seconds: i64| {
        let have = sets(have, &deployment);
        let plan = plan(&deployment, &have, Timestamp::from_second(NOW + seconds).unwrap());
        deployment.status = plan.status;
        (conditions(&deployment.status), plan.next.map(|next| next.as_secs()))
    };
    let unavailable = "Available=False/MinimumReplicasUnavailable Progressing=";
    let available = "Available=True/MinimumReplicasAvailable Progressing=";
    assert_eq!(story("", 0), (format!("{unavailable}True/NewReplicaSetCreated"), Some(601)));
    assert_eq!(story("new size=2 available=0", 5), (format!("{unavailable}True/ReplicaSetUpdated"), Some(601)));
    assert_eq!(story("new size=2 available=0", 9), (format!("{unavailable}True/ReplicaSetUpdated"), Some(597)));
    assert_eq!(story("new size=2 available=0", 700), (format!("{unavailable}False/ProgressDeadlineExceeded"), None));
    assert_eq!(story("new size=2 available=2", 701), (format!("{available}True/NewReplicaSetAvailable"), None));
    assert_eq!(story("new size=2 available=1", 702), (format!("{unavailable}True/NewReplicaSetAvailable"), None));
}

#[test]
fn a_plan_that_is_carried_out_asks_for_nothing_more() {
    let mut deployment = deployment("replicas=2");
    let have = sets("new size=2 revision=1", &deployment);
    let first = planned(&deployment, &have);
    assert_eq!(first.revision.as_deref(), Some("1"));
    deployment.metadata.annotations.insert(REVISION.into(), "1".into());
    deployment.status = first.status;
    let second = planned(&deployment, &have);
    assert!(second.writes.is_empty() && second.revision.is_none() && second.status == deployment.status);
}

#[test]
fn a_deployment_that_goes_writes_only_its_status() {
    let mut deployment = deployment("replicas=2");
    deployment.metadata.deletion_timestamp = Timestamp::from_second(NOW).ok().map(Into::into);
    let plan = planned(&deployment, &[]);
    assert!(plan.writes.is_empty() && plan.revision.is_none());
}
