//! Which part of a log is wanted, as a query says it (`PodLogOptions`): servers of logs read it, their clients write it.

use jiff::{Span, Timestamp};

use super::LogRequest;
use crate::error::Cause;

impl LogRequest {
    /// What the parameters of a query ask for. The pod and the container are named elsewhere, and are left empty.
    ///
    /// # Errors
    ///
    /// Every parameter that says nothing, under its own name.
    pub fn from_query<'q>(parameter: impl Fn(&str) -> Option<&'q str>, now: Timestamp) -> Result<Self, Vec<Cause>> {
        let mut causes = Vec::new();
        let given = |name: &str| parameter(name).filter(|text| !text.is_empty());
        let flag = |name: &str| parameter(name).is_some_and(|text| matches!(text, "true" | "1" | ""));
        let mut number = |name: &str, least: i64, why: &str| -> Option<i64> {
            let text = given(name)?;
            match text.parse::<i64>() {
                Ok(number) if number >= least => return Some(number),
                Ok(number) => causes.push(invalid(name, &number.to_string(), why)),
                Err(_) => causes.push(invalid(name, &format!("{text:?}"), "must be a number")),
            }
            None
        };
        let tail = number("tailLines", 0, "must be greater than or equal to 0");
        let limit = number("limitBytes", 1, "must be greater than 0");
        let seconds = number("sinceSeconds", 1, "must be greater than 0");
        let mut since = seconds.and_then(|seconds| now.checked_sub(Span::new().try_seconds(seconds).ok()?).ok());
        if let Some(text) = given("sinceTime") {
            match text.parse() {
                Ok(_) if seconds.is_some() => causes.push(Cause {
                    reason: "FieldValueForbidden".into(),
                    message: "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".into(),
                    field: String::new(),
                }),
                Ok(time) => since = Some(time),
                Err(_) => causes.push(invalid("sinceTime", &format!("{text:?}"), "must be a time (RFC 3339)")),
            }
        }
        if !causes.is_empty() {
            return Err(causes);
        }
        Ok(Self {
            follow: flag("follow"),
            previous: flag("previous"),
            timestamps: flag("timestamps"),
            since,
            tail_lines: tail.and_then(|lines| lines.try_into().ok()),
            limit_bytes: limit.and_then(|bytes| bytes.try_into().ok()),
            ..Self::default()
        })
    }

    /// The parameters that ask for the same: their names and values.
    #[must_use]
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let flags = [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)];
        let mut query: Vec<_> =
            flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "true".to_owned())).collect();
        query.extend(self.since.map(|since| ("sinceTime", since.to_string())));
        query.extend(self.tail_lines.map(|lines| ("tailLines", lines.to_string())));
        query.extend(self.limit_bytes.map(|bytes| ("limitBytes", bytes.to_string())));
        query
    }
}

fn invalid(field: &str, shown: &str, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {shown}: {why}"), field: field.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, String)]) -> Result<LogRequest, Vec<Cause>> {
        let parameter = |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        LogRequest::from_query(parameter, Timestamp::from_second(100).unwrap())
    }

    fn check(query: &[(&str, &str)], expect: &str) {
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let said = match read(&query) {
            Ok(log) => format!("{} {:?} {:?}", log.follow, log.tail_lines, log.since.map(Timestamp::as_second)),
            Err(causes) => causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn the_query_says_how_much_of_the_log_is_wanted() {
        check(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "10")], "true Some(5) Some(90)");
        check(&[("tailLines", "-1")], "tailLines: Invalid value: -1: must be greater than or equal to 0");
        check(
            &[("sinceSeconds", "1"), ("sinceTime", "1970-01-01T00:00:09Z")],
            ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        );
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let wanted = LogRequest {
            follow: true,
            timestamps: true,
            since: Some("2026-11-30T01:02:03.5Z".parse().unwrap()),
            tail_lines: Some(0),
            limit_bytes: Some(7),
            ..LogRequest::default()
        };
        let read = read(&wanted.to_query()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{wanted:?}"));
    }
}
