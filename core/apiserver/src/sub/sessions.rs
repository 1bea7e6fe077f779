//! Sessions into a pod: exec, attach and port-forward. Framing them for a connection is the servers' business.

use serde_json::{Value, json};
use windlass_kernel::{
    api::{Answer, Options, Request, Response},
    error::Result,
    node::{SessionRequest, Streams},
};

use super::pod::Reached;
use crate::{
    errors,
    registry::Served,
    server::ApiServer,
    write::{self, Gate, Whom},
};

/// Opens the session that the request asks for. A dry run only says whether it may be opened.
pub(super) async fn open(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let reached = Reached::read(server, served, request).await?;
    let mut warnings = Vec::new();
    // Whoever may not is told so before anything that is wrong with the pod.
    write::posted(server, served, request, &mut wanted(request), &mut warnings).await?;
    Gate::open(server, served, request, Whom::Plugins).await?.judge(Some(&reached.pod), None, &mut warnings).await?;
    if request.options.dry_run {
        return Ok(Response { code: 200, warnings, answer: Answer::Value(json!({})) });
    }
    let phase = reached.pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
    let node = reached.node().to_owned();
    let options = &request.options;
    let (pod, uid) = (reached.key.clone(), reached.uid.clone());
    let session = match request.subresource.as_str() {
        "portforward" => SessionRequest::PortForward { pod, uid },
        kind => {
            let streams = streams(options);
            if !(streams.stdin || streams.stdout || streams.stderr) {
                return Err(errors::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
            }
            if matches!(phase.as_str(), "Succeeded" | "Failed") && kind == "exec" {
                let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
                return Err(errors::bad_request(why));
            }
            let container = reached.container(options.parameter("container"))?;
            if kind == "attach" {
                SessionRequest::Attach { pod, uid, container, streams }
            } else {
                let command = options.query.iter().filter(|(key, _)| key == "command");
                let command: Vec<String> = command.map(|(_, value)| value.clone()).collect();
                if command.is_empty() {
                    return Err(errors::bad_request("you must specify at least one command for the container"));
                }
                SessionRequest::Exec { pod, uid, container, command, streams }
            }
        }
    };
    if node.is_empty() {
        return Err(errors::bad_request(format!("pod {} does not have a host assigned", request.name)));
    }
    let session = reached.agent(server)?.open(session).await?;
    Ok(Response { code: 200, warnings, answer: Answer::Session(session) })
}

/// What the query asks for, as an object (`PodExecOptions` and its like).
fn wanted(request: &Request) -> Value {
    let options = &request.options;
    let kind = match request.subresource.as_str() {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut out = json!({"kind": kind, "apiVersion": "v1"});
    let of = |name: &str| -> Vec<&str> {
        options.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    if kind == "PodPortForwardOptions" {
        let ports = of("ports").into_iter().flat_map(|list| list.split(','));
        let ports: Vec<i64> = ports.filter_map(|port| port.parse().ok()).collect();
        if !ports.is_empty() {
            out["ports"] = json!(ports);
        }
        return out;
    }
    let streams = streams(options);
    for (name, flag) in
        [("stdin", streams.stdin), ("stdout", streams.stdout), ("stderr", streams.stderr), ("tty", streams.tty)]
    {
        if flag {
            out[name] = true.into();
        }
    }
    if let Some(container) = options.parameter("container") {
        out["container"] = container.into();
    }
    if kind == "PodExecOptions" {
        out["command"] = json!(of("command"));
    }
    out
}

/// Which streams the query asks for.
pub(crate) fn streams(options: &Options) -> Streams {
    let flag = |name: &str| options.parameter(name).is_some_and(|text| matches!(text, "true" | "1"));
    let tty = flag("tty");
    // A terminal has one output.
    Streams { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty }
}
