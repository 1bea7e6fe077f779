//! Query parameters as typed options. Pure.

use std::time::Duration;

use windlass_kernel::{
    Result,
    api::{FieldValidation, Options, Propagation, VersionMatch},
    error::{Error, ErrorKind},
};

use crate::errors;

/// Reads a query as options of a kind, such as `ListOptions`.
pub(super) fn parse(query: &str, kind: &str) -> Result<Options> {
    let mut options = Options::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        take(&mut options, kind, &key, &value)?;
    }
    Ok(options)
}

fn take(options: &mut Options, kind: &str, key: &str, value: &str) -> Result<()> {
    match key {
        "labelSelector" => options.label_selector = value.into(),
        "fieldSelector" => options.field_selector = value.into(),
        "resourceVersion" => options.resource_version = value.into(),
        "resourceVersionMatch" => options.version_match = version_match(kind, value)?,
        "limit" => options.limit = number(key, value)?.unwrap_or(0).try_into().unwrap_or(0),
        "continue" => options.continue_token = value.into(),
        "timeoutSeconds" => {
            let seconds = number(key, value)?.and_then(|seconds| u64::try_from(seconds).ok());
            options.timeout = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        }
        "allowWatchBookmarks" => options.bookmarks = truth(value),
        "sendInitialEvents" => options.send_initial_events = Some(truth(value)),
        "dryRun" => options.dry_run = dry_run(kind, value)? || options.dry_run,
        "fieldManager" => options.field_manager = value.into(),
        "fieldValidation" => options.field_validation = field_validation(kind, value)?,
        "force" => options.force = truth(value),
        "gracePeriodSeconds" => options.grace_period = number(key, value)?,
        "propagationPolicy" => options.propagation = propagation(kind, value)?,
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

fn version_match(kind: &str, value: &str) -> Result<Option<VersionMatch>> {
    match value {
        "" => Ok(None),
        "Exact" => Ok(Some(VersionMatch::Exact)),
        "NotOlderThan" => Ok(Some(VersionMatch::NotOlderThan)),
        _ => Err(unsupported_value(kind, "resourceVersionMatch", value, &["Exact", "NotOlderThan", ""])),
    }
}

fn dry_run(kind: &str, value: &str) -> Result<bool> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        _ => Err(unsupported_value(kind, "dryRun", value, &["All"])),
    }
}

fn field_validation(kind: &str, value: &str) -> Result<FieldValidation> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        _ => Err(unsupported_value(kind, "fieldValidation", value, &["Ignore", "Strict", "Warn"])),
    }
}

fn propagation(kind: &str, value: &str) -> Result<Option<Propagation>> {
    match value {
        "" => Ok(None),
        "Orphan" => Ok(Some(Propagation::Orphan)),
        "Background" => Ok(Some(Propagation::Background)),
        "Foreground" => Ok(Some(Propagation::Foreground)),
        _ => Err(unsupported_value(kind, "propagationPolicy", value, &["Foreground", "Background", "Orphan", "nil"])),
    }
}

fn unsupported_value(kind: &str, field: &str, value: &str, known: &[&str]) -> Error {
    errors::invalid("meta.k8s.io", kind, "", vec![errors::unsupported(field, value, known)])
}

fn orphan(options: &mut Options, orphan: bool) {
    options.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expect: impl FnOnce(Options) -> bool) {
        assert!(expect(parse(query, "ListOptions").unwrap()), "{query}");
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
        assert!(parse("limit=x", "ListOptions").unwrap_err().is(ErrorKind::BadRequest));
        let unknown = parse("dryRun=x", "CreateOptions").unwrap_err();
        let text =
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"x\": supported values: \"All\"";
        assert_eq!((unknown.kind(), unknown.message()), (ErrorKind::Invalid, text));
    }
}
