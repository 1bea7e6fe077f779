//! Sessions into a pod: exec, attach and port-forward. Framing them for a connection is the servers' business.

use windlass_kernel::{
    api::{Answer, Options, Request, Response},
    error::Result,
    node::{SessionRequest, Streams},
};

use super::pod::Reached;
use crate::{errors, registry::Served, server::ApiServer, write};

/// Opens the session that the request asks for.
pub(super) async fn open(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let reached = Reached::read(server, served, request).await?;
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
    let mut warnings = Vec::new();
    write::judge(server, request, Some(&reached.pod), None, &mut warnings).await?;
    let session = reached.agent(server)?.open(session).await?;
    Ok(Response { code: 200, warnings, answer: Answer::Session(session) })
}

/// Which streams the query asks for.
pub(crate) fn streams(options: &Options) -> Streams {
    let flag = |name: &str| options.parameter(name).is_some_and(|text| matches!(text, "true" | "1"));
    let tty = flag("tty");
    // A terminal has one output.
    Streams { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty }
}
