//! The rows of the kinds that make pods, and of what limits them.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{
    NONE, born, cell, cell_or, condition, containers, leaving, name, number, plain, selector, since, truth,
};
use super::{AGE, Column, NAME, human};
use crate::kinds::field::{dig, items, lookup, text};

const CONTAINERS: Column = Column::wide("Containers", "string");
const IMAGES: Column = Column::wide("Images", "string");
const SELECTOR: Column = Column::wide("Selector", "string");

pub(super) const REPLICAS: &[Column] = &[
    NAME,
    Column::new("Desired", "integer"),
    Column::new("Current", "integer"),
    Column::new("Ready", "integer"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn replicas(set: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(set),
        number(set, &["spec", "replicas"]).into(),
        number(set, &["status", "replicas"]).into(),
        number(set, &["status", "readyReplicas"]).into(),
        born(set, now),
    ];
    with_template(&mut cells, set);
    cells
}

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::new("Ready", "string"),
    Column::new("Up-to-date", "integer"),
    Column::new("Available", "integer"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(deployment),
        ready(deployment),
        number(deployment, &["status", "updatedReplicas"]).into(),
        number(deployment, &["status", "availableReplicas"]).into(),
        born(deployment, now),
    ];
    with_template(&mut cells, deployment);
    cells
}

pub(super) const STATEFUL: &[Column] = &[NAME, Column::new("Ready", "string"), AGE, CONTAINERS, IMAGES];

pub(super) fn stateful(set: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![name(set), ready(set), born(set, now)];
    cells.extend(containers(dig(set, &["spec", "template", "spec"])));
    cells
}

pub(super) const DAEMON: &[Column] = &[
    NAME,
    Column::new("Desired", "integer"),
    Column::new("Current", "integer"),
    Column::new("Ready", "integer"),
    Column::new("Up-to-date", "integer"),
    Column::new("Available", "integer"),
    Column::new("Node Selector", "string"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn daemon(set: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![name(set)];
    for field in
        ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
    {
        cells.push(number(set, &["status", field]).into());
    }
    cells.push(selector(dig(set, &["spec", "template", "spec", "nodeSelector"])));
    cells.push(born(set, now));
    with_template(&mut cells, set);
    cells
}

pub(super) const JOB: &[Column] = &[
    NAME,
    Column::new("Status", "string"),
    Column::new("Completions", "string"),
    Column::new("Duration", "string"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let status = ["Complete", "Failed"].into_iter().find(|kind| condition(job, kind));
    let later = || ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|kind| condition(job, kind));
    let status = status.or_else(|| leaving(job).then_some("Terminating")).or_else(later).unwrap_or("Running");
    let done = number(job, &["status", "succeeded"]);
    let completions = match dig(job, &["spec", "completions"]).as_i64() {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(job, &["spec", "parallelism"]) {
            parallel @ 2.. => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    };
    let time = |field: &str| text(job, &["status", field]).parse::<Timestamp>().ok();
    let duration = time("startTime")
        .map_or_else(String::new, |start| human(time("completionTime").unwrap_or(now).duration_since(start).as_secs()));
    let mut cells = vec![name(job), status.into(), completions.into(), duration.into(), born(job, now)];
    with_template(&mut cells, job);
    cells
}

pub(super) const CRON: &[Column] = &[
    NAME,
    Column::new("Schedule", "string"),
    Column::new("Timezone", "string"),
    Column::new("Suspend", "boolean"),
    Column::new("Active", "integer"),
    Column::new("Last Schedule", "string"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn cron(cron: &Value, now: Timestamp) -> Vec<Value> {
    let last = match text(cron, &["status", "lastScheduleTime"]) {
        "" => NONE.into(),
        _ => since(cron, &["status", "lastScheduleTime"], now),
    };
    let jobs = dig(cron, &["spec", "jobTemplate", "spec"]);
    let mut cells = vec![
        name(cron),
        cell(cron, &["spec", "schedule"]),
        cell_or(cron, &["spec", "timeZone"], NONE),
        truth(dig(cron, &["spec", "suspend"]), super::text::UNSET),
        items(cron, &["status", "active"]).count().into(),
        last,
        born(cron, now),
    ];
    cells.extend(containers(dig(jobs, &["template", "spec"])));
    cells.push(selector(lookup(jobs, "selector")));
    cells
}

pub(super) const TEMPLATE: &[Column] =
    &[NAME, Column::new("Containers", "string"), Column::new("Images", "string"), Column::new("Pod Labels", "string")];

pub(super) fn template(template: &Value, _: Timestamp) -> Vec<Value> {
    let mut cells = vec![name(template)];
    cells.extend(containers(dig(template, &["template", "spec"])));
    cells.push(selector(dig(template, &["template", "metadata", "labels"])));
    cells
}

pub(super) const REVISION: &[Column] =
    &[NAME, Column::new("Controller", "string"), Column::new("Revision", "integer"), AGE];

pub(super) fn revision(revision: &Value, now: Timestamp) -> Vec<Value> {
    let owners = items(revision, &["metadata", "ownerReferences"]);
    let controller = owners.into_iter().find(|owner| lookup(owner, "controller").as_bool() == Some(true));
    let controller = controller.map_or_else(
        || NONE.to_owned(),
        |owner| {
            let kind = text(owner, &["kind"]).to_lowercase();
            match text(owner, &["apiVersion"]).split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", text(owner, &["name"])),
                None => format!("{kind}/{}", text(owner, &["name"])),
            }
        },
    );
    vec![name(revision), controller.into(), number(revision, &["revision"]).into(), born(revision, now)]
}

pub(super) const BUDGET: &[Column] = &[
    NAME,
    Column::new("Min Available", "string"),
    Column::new("Max Unavailable", "string"),
    Column::new("Allowed Disruptions", "integer"),
    AGE,
];

pub(super) fn budget(budget: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(budget),
        plain(dig(budget, &["spec", "minAvailable"]), "N/A"),
        plain(dig(budget, &["spec", "maxUnavailable"]), "N/A"),
        number(budget, &["status", "disruptionsAllowed"]).into(),
        born(budget, now),
    ]
}

pub(super) const AUTOSCALER: &[Column] = &[
    NAME,
    Column::new("Reference", "string"),
    Column::new("Targets", "string"),
    Column::new("MinPods", "string"),
    Column::new("MaxPods", "integer"),
    Column::new("Replicas", "integer"),
    AGE,
];

pub(super) fn autoscaler(scaler: &Value, now: Timestamp) -> Vec<Value> {
    let target = dig(scaler, &["spec", "scaleTargetRef"]);
    vec![
        name(scaler),
        format!("{}/{}", text(target, &["kind"]), text(target, &["name"])).into(),
        targets(scaler),
        plain(dig(scaler, &["spec", "minReplicas"]), super::text::UNSET),
        number(scaler, &["spec", "maxReplicas"]).into(),
        number(scaler, &["status", "currentReplicas"]).into(),
        born(scaler, now),
    ]
}

/// What the autoscaler measures and what it aims at, the first two of them.
fn targets(scaler: &Value) -> Value {
    let percent = |value: &Value| value.as_i64().map_or_else(|| super::text::UNKNOWN.to_owned(), |n| format!("{n}%"));
    let aim = dig(scaler, &["spec", "targetCPUUtilizationPercentage"]);
    if !aim.is_null() {
        let now = dig(scaler, &["status", "currentCPUUtilizationPercentage"]);
        return format!("cpu: {}/{}", percent(now), percent(aim)).into();
    }
    let mut all: Vec<String> = Vec::new();
    for (at, metric) in items(scaler, &["spec", "metrics"]).enumerate() {
        let (source, word) = match text(metric, &["type"]) {
            "Resource" => ("resource", text(metric, &["resource", "name"])),
            "ContainerResource" => ("containerResource", text(metric, &["containerResource", "name"])),
            "Pods" => ("pods", ""),
            "Object" => ("object", ""),
            _ => ("external", ""),
        };
        let now =
            dig(scaler, &["status", "currentMetrics"]).get(at).map_or(&Value::Null, |m| dig(m, &[source, "current"]));
        let aim = dig(metric, &[source, "target"]);
        let shown = match text(aim, &["type"]) {
            "Utilization" => {
                format!("{}/{}", percent(lookup(now, "averageUtilization")), percent(lookup(aim, "averageUtilization")))
            }
            "AverageValue" => amounts(now, aim, "averageValue"),
            _ => amounts(now, aim, "value"),
        };
        all.push(if word.is_empty() { shown } else { format!("{word}: {shown}") });
    }
    if all.is_empty() {
        return NONE.into();
    }
    let more = all.len().saturating_sub(2);
    let shown = all[..all.len().min(2)].join(", ");
    if more > 0 { format!("{shown} + {more} more...").into() } else { shown.into() }
}

fn amounts(now: &Value, aim: &Value, field: &str) -> String {
    let of = |value: &Value| match text(value, &[field]) {
        "" => super::text::UNKNOWN.to_owned(),
        found => found.to_owned(),
    };
    format!("{}/{}", of(now), of(aim))
}

pub(super) const SCALE: &[Column] =
    &[NAME, Column::new("Desired", "integer"), Column::new("Available", "integer"), AGE];

pub(super) fn scale(scale: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(scale),
        number(scale, &["spec", "replicas"]).into(),
        number(scale, &["status", "replicas"]).into(),
        born(scale, now),
    ]
}

fn ready(object: &Value) -> Value {
    format!("{}/{}", number(object, &["status", "readyReplicas"]), number(object, &["spec", "replicas"])).into()
}

fn with_template(cells: &mut Vec<Value>, object: &Value) {
    cells.extend(containers(dig(object, &["spec", "template", "spec"])));
    cells.push(selector(dig(object, &["spec", "selector"])));
}
