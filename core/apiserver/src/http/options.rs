//! Query parameters and `DeleteOptions` bodies as typed options. Pure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use windlass_api::protobuf;
use windlass_kernel::{
    Result,
    api::{FieldValidation, Options, Propagation, VersionMatch},
    error::{Error, ErrorKind},
};

/// Reads a query.
pub(super) fn parse(query: &str) -> Result<Options> {
    let mut options = Options::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        take(&mut options, &key, &value)?;
    }
    Ok(options)
}

fn take(options: &mut Options, key: &str, value: &str) -> Result<()> {
    match key {
        "labelSelector" => options.label_selector = value.into(),
        "fieldSelector" => options.field_selector = value.into(),
        "resourceVersion" => options.resource_version = value.into(),
        "resourceVersionMatch" => options.version_match = version_match(value)?,
        "limit" => options.limit = number(key, value)?.unwrap_or(0).try_into().unwrap_or(0),
        "continue" => options.continue_token = value.into(),
        "timeoutSeconds" => {
            let seconds = number(key, value)?.and_then(|seconds| u64::try_from(seconds).ok());
            options.timeout = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        }
        "allowWatchBookmarks" => options.bookmarks = truth(value),
        "sendInitialEvents" => options.send_initial_events = Some(truth(value)),
        "dryRun" => options.dry_run = dry_run(value)? || options.dry_run,
        "fieldManager" => options.field_manager = value.into(),
        "fieldValidation" => options.field_validation = field_validation(value)?,
        "force" => options.force = truth(value),
        "gracePeriodSeconds" => options.grace_period = number(key, value)?,
        "propagationPolicy" => options.propagation = propagation(value)?,
        "orphanDependents" => orphan(options, truth(value)),
        // How the answer is written is the server's business, not the request's.
        "watch" | "pretty" | "includeObject" | "timeout" => {}
        _ => options.query.push((key.into(), value.into())),
    }
    Ok(())
}

/// Whether `watch` is asked for.
pub(super) fn watches(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "watch" && truth(&value))
}

/// The first value of a parameter.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Upstream reads everything but these as true.
fn truth(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

fn number(key: &str, value: &str) -> Result<Option<i64>> {
    let parsed = if value.is_empty() { Ok(None) } else { value.parse().map(Some) };
    parsed.map_err(|_| bad(format!("invalid value {value:?} of the query parameter {key}: not a number")))
}

fn version_match(value: &str) -> Result<Option<VersionMatch>> {
    match value {
        "" => Ok(None),
        "Exact" => Ok(Some(VersionMatch::Exact)),
        "NotOlderThan" => Ok(Some(VersionMatch::NotOlderThan)),
        _ => {
            let message = format!(
                "resourceVersionMatch: Unsupported value: {value:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

fn dry_run(value: &str) -> Result<bool> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("dryRun: Unsupported value: {value:?}: supported values: \"All\""),
        )),
    }
}

fn field_validation(value: &str) -> Result<FieldValidation> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "fieldValidation: Unsupported value: {value:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ),
        )),
    }
}

fn propagation(value: &str) -> Result<Option<Propagation>> {
    match value {
        "" => Ok(None),
        "Orphan" => Ok(Some(Propagation::Orphan)),
        "Background" => Ok(Some(Propagation::Background)),
        "Foreground" => Ok(Some(Propagation::Foreground)),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "propagationPolicy: Unsupported value: {value:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
            ),
        )),
    }
}

fn orphan(options: &mut Options, orphan: bool) {
    options.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

/// Adds what a `DeleteOptions` body says. What the body says wins over the query.
pub(super) fn delete(options: &mut Options, media_type: &str, body: &Bytes) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    let value = tree(media_type, body)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(seconds) = value["gracePeriodSeconds"].as_i64() {
        options.grace_period = Some(seconds);
    }
    match (value["propagationPolicy"].as_str(), value["orphanDependents"].as_bool()) {
        (Some(_), Some(_)) => {
            let message = "orphanDependents and deletionPropagation cannot be both set";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        (Some(policy), None) => options.propagation = propagation(policy)?,
        (None, Some(both)) => orphan(options, both),
        (None, None) => {}
    }
    options.preconditions.uid = text(&value["preconditions"]["uid"]);
    options.preconditions.resource_version = text(&value["preconditions"]["resourceVersion"]);
    for word in value["dryRun"].as_array().into_iter().flatten() {
        options.dry_run |= dry_run(word.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// A small body of any media type as a tree.
fn tree(media_type: &str, body: &Bytes) -> Result<Value> {
    match media_type {
        "" | "application/json" => {
            serde_json::from_slice(body).map_err(|error| bad(format!("cannot decode the body: {error}")))
        }
        "application/yaml" => {
            yaml_serde::from_slice(body).map_err(|error| bad(format!("cannot decode the body: {error}")))
        }
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(body).map_err(|error| bad(format!("cannot decode the body: {error}")))
        }
        other => Err(unsupported(other)),
    }
}

/// The refusal of a media type.
pub(super) fn unsupported(media_type: &str) -> Error {
    let message = "the body of the request was in an unknown format - accepted media types include: \
                   application/json, application/yaml, application/vnd.kubernetes.protobuf";
    Error::new(ErrorKind::UnsupportedMediaType, message).with_source(media_type.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expect: impl FnOnce(Options) -> bool) {
        assert!(expect(parse(query).unwrap()), "{query}");
    }

    #[test]
    fn a_query_becomes_options() {
        check("limit=500&labelSelector=a%3Db", |o| o.limit == 500 && o.label_selector == "a=b");
        check("timeoutSeconds=7", |o| o.timeout == Some(Duration::from_secs(7)));
        check("allowWatchBookmarks=true&sendInitialEvents=false", |o| {
            o.bookmarks && o.send_initial_events == Some(false)
        });
        check("force=1", |o| o.force);
        check("force=false", |o| !o.force);
        check("command=a&command=b", |o| o.query.len() == 2 && o.parameter("command") == Some("a"));
        assert!(parse("limit=x").unwrap_err().is(ErrorKind::BadRequest));
        assert!(parse("dryRun=x").unwrap_err().is(ErrorKind::Invalid));
    }

    #[test]
    fn a_body_of_a_deletion_wins_over_its_query() {
        let mut options = parse("propagationPolicy=Orphan").unwrap();
        let body = br#"{"propagationPolicy":"Background","gracePeriodSeconds":0,"preconditions":{"uid":"u"}}"#;
        delete(&mut options, "", &Bytes::from_static(body)).unwrap();
        assert_eq!(options.propagation, Some(Propagation::Background));
        assert_eq!(options.grace_period, Some(0));
        assert_eq!(options.preconditions.uid.as_deref(), Some("u"));
    }
}
