//! Logs of a container, from the agent of the pod's node.

use futures::{StreamExt, stream};
use jiff::{Span, Timestamp};
use windlass_kernel::{
    api::{Answer, Chunks, Options, Request, Response},
    error::{Cause, Result},
    node::LogRequest,
};

use super::pod::Reached;
use crate::{errors, registry::Served, server::ApiServer};

/// Reads the log that the request asks for.
pub(super) async fn logs(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let now = server.parts.clock.now();
    let asked =
        parse(&request.options, now).map_err(|causes| errors::invalid("", "PodLogOptions", &request.name, causes))?;
    let reached = Reached::read(server, served, request).await?;
    let container = reached.container(request.options.parameter("container"))?;
    let chunks = if reached.node().is_empty() {
        // A pod without a node has written nothing yet.
        Chunks(stream::empty().boxed())
    } else {
        let agent = reached.agent(server)?;
        agent.logs(LogRequest { pod: reached.key, uid: reached.uid, container, ..asked }).await?
    };
    Ok(Response { code: 200, warnings: Vec::new(), answer: Answer::Stream(chunks) })
}

fn parse(options: &Options, now: Timestamp) -> Result<LogRequest, Vec<Cause>> {
    let mut causes = Vec::new();
    let flag = |name: &str| options.parameter(name).is_some_and(|text| matches!(text, "true" | "1" | ""));
    let mut number = |name: &str, least: i64, why: &str| -> Option<i64> {
        let text = options.parameter(name).filter(|text| !text.is_empty())?;
        match text.parse::<i64>() {
            Ok(number) if number >= least => return Some(number),
            Ok(number) => causes.push(errors::bad_value(name, number, why)),
            Err(_) => causes.push(errors::bad_value(name, format!("{text:?}"), "must be a number")),
        }
        None
    };
    let tail = number("tailLines", 0, "must be greater than or equal to 0");
    let limit = number("limitBytes", 1, "must be greater than 0");
    let seconds = number("sinceSeconds", 1, "must be greater than 0");
    let mut since = seconds.and_then(|seconds| now.checked_sub(Span::new().try_seconds(seconds).ok()?).ok());
    if let Some(text) = options.parameter("sinceTime").filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(_) if seconds.is_some() => {
                let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
                causes.push(errors::not_allowed("", why));
            }
            Ok(time) => since = Some(time),
            Err(_) => causes.push(errors::bad_value("sinceTime", format!("{text:?}"), "must be a time (RFC 3339)")),
        }
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    Ok(LogRequest {
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        since,
        tail_lines: tail.and_then(|lines| lines.try_into().ok()),
        limit_bytes: limit.and_then(|bytes| bytes.try_into().ok()),
        ..LogRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &[(&str, &str)], expect: &str) {
        let query = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let options = Options { query, ..Options::default() };
        let said = match parse(&options, Timestamp::from_second(100).unwrap()) {
            Ok(log) => format!("{} {:?} {:?}", log.follow, log.tail_lines, log.since.map(Timestamp::as_second)),
            Err(causes) => causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn the_query_says_how_much_of_the_log_is_wanted() {
        check(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "10")], "true Some(5) Some(90)");
        check(&[("tailLines", "-1")], "tailLines: Invalid value: -1: must be greater than or equal to 0");
    }
}
