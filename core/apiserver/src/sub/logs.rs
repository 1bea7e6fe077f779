//! Logs of a container, from the agent of the pod's node.

use futures::{StreamExt, stream};
use windlass_kernel::{
    api::{Answer, Chunks, Request, Response},
    error::Result,
    node::LogRequest,
};

use super::pod::Reached;
use crate::{errors, registry::Served, server::ApiServer};

/// Reads the log that the request asks for.
pub(super) async fn logs(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let now = server.parts.clock.now();
    let asked = LogRequest::from_query(|name| request.options.parameter(name), now)
        .map_err(|causes| errors::invalid("", "PodLogOptions", &request.name, causes))?;
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
