//! The one handle through which Python reaches a cluster, in this process or elsewhere.

use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt, future};
use pyo3::{prelude::*, types::PyDict};
use windlass::{
    client::Client,
    kernel::{
        ClockExt, Error, ErrorKind, Result,
        api::{Body, GroupVersionResource, Request, Verb},
        node::{Exit, Process, Session},
    },
};

use crate::{
    engine::Engine,
    http::{self, Asks, Headers},
    op::Op,
    options::{options, seconds, verb},
    reply::{Ran, Reply},
};

/// A resource as Python names it: group, version, plural.
type Named = (String, String, String);

/// Calls on an API as one identity.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Api {
    engine: Arc<Engine>,
    client: Client,
}

impl Api {
    pub(crate) fn new(engine: &Arc<Engine>, client: Client) -> Self {
        Self { engine: Arc::clone(engine), client }
    }

    fn about(
        &self,
        verb: Verb,
        resource: Named,
        namespace: &str,
        stated: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Request> {
        let (group, version, plural) = resource;
        let resource = GroupVersionResource { group: group.into(), version: version.into(), resource: plural.into() };
        let mut request = self.client.request(verb, resource).in_namespace(namespace);
        let default = std::mem::take(&mut request.options.field_manager);
        request.options = options(stated)?;
        if request.options.field_manager.is_empty() {
            request.options.field_manager = default;
        }
        Ok(request)
    }
}

#[pymethods]
impl Api {
    /// A call that is answered with bytes of JSON, with chunks, or with nothing.
    #[pyo3(signature = (verb_name, resource, namespace="", name="", subresource="", options=None, body=None))]
    #[allow(clippy::too_many_arguments, reason = "these are the parts of a request, named where they are given")]
    fn call(
        &self,
        py: Python<'_>,
        verb_name: &str,
        resource: Named,
        namespace: &str,
        name: &str,
        subresource: &str,
        options: Option<&Bound<'_, PyDict>>,
        body: Option<&[u8]>,
    ) -> PyResult<Op> {
        self.engine.check(py)?;
        let mut request = self.about(verb(verb_name)?, resource, namespace, options)?;
        request = request.named(name).subresource(subresource);
        if let Some(body) = body {
            let media_type = match request.verb {
                Verb::Patch(how) => how.media_type(),
                _ => "application/json",
            };
            request.body = Body::Bytes { media_type: media_type.into(), bytes: body.to_vec().into() };
        }
        let client = self.client.clone();
        Ok(Op::new(&self.engine, async move { Reply::of(client.call(request).await?.answer) }))
    }

    /// A call that is answered with the events of a watch.
    #[pyo3(signature = (resource, namespace="", options=None))]
    fn watch(
        &self,
        py: Python<'_>,
        resource: Named,
        namespace: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Op> {
        self.engine.check(py)?;
        let request = self.about(Verb::Watch, resource, namespace, options)?;
        let api = Arc::clone(self.client.api());
        Ok(Op::new(&self.engine, async move { Ok(Reply::Watch(api.watch(request).await?)) }))
    }

    /// A call that runs a command in a container: what it wrote, and its exit code.
    #[pyo3(signature = (namespace, pod, query, stdin=None))]
    fn exec(
        &self,
        py: Python<'_>,
        namespace: String,
        pod: String,
        query: Vec<(String, String)>,
        stdin: Option<Vec<u8>>,
    ) -> PyResult<Op> {
        self.engine.check(py)?;
        let client = self.client.clone();
        Ok(Op::new(&self.engine, async move {
            match client.connect(&namespace, &pod, "exec", query).await? {
                Session::Process(process) => Ok(Reply::Ran(run(process, stdin).await?)),
                Session::Ports(_) => Err(Error::new(ErrorKind::Internal, "an exec was answered with ports")),
            }
        }))
    }

    /// A call that asks a port of a pod by HTTP, and is answered with status, headers and body.
    #[allow(clippy::too_many_arguments, reason = "these are the parts of a request, named where they are given")]
    fn request(
        &self,
        py: Python<'_>,
        namespace: String,
        pod: String,
        port: u16,
        method: String,
        path: String,
        headers: Headers,
        body: Vec<u8>,
    ) -> PyResult<Op> {
        self.engine.check(py)?;
        let client = self.client.clone();
        let asks = Asks { method, path, headers, body };
        Ok(Op::new(&self.engine, async move {
            let query = vec![("ports".to_owned(), port.to_string())];
            match client.connect(&namespace, &pod, "portforward", query).await? {
                Session::Ports(ports) => Ok(Reply::Answered(http::ask(ports.connect(port).await?, asks).await?)),
                Session::Process(_) => {
                    Err(Error::new(ErrorKind::Internal, "a port-forward was answered with a process"))
                }
            }
        }))
    }

    /// A call that takes so many seconds of the cluster's time.
    fn sleep(&self, py: Python<'_>, span: f64) -> PyResult<Op> {
        self.engine.check(py)?;
        let (clock, span) = (Arc::clone(self.engine.clock()), seconds(span)?);
        Ok(Op::new(&self.engine, async move {
            clock.sleep(span).await;
            Ok(Reply::Nothing)
        }))
    }

    /// The cluster's wall-clock time (RFC 3339).
    fn now(&self) -> String {
        self.engine.clock().now().to_string()
    }

    /// Seconds of the cluster's time since some moment in the past.
    fn uptime(&self) -> f64 {
        self.engine.clock().uptime().as_secs_f64()
    }
}

/// Feeds a process its input and collects what it writes until it ends.
async fn run(process: Process, input: Option<Vec<u8>>) -> Result<Ran> {
    let Process { stdin, stdout, stderr, resize: _, exit } = process;
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command may end without having read everything.
            let _ = stdin.write_all(&input).await;
            let _ = stdin.close().await;
        }
    };
    let (stdout, stderr, ()) = future::join3(collect(stdout), collect(stderr), feed).await;
    match exit.await {
        Exit::Code(code) => Ok(Ran { stdout: stdout?, stderr: stderr?, code }),
        Exit::Failed(why) => {
            Err(Error::new(ErrorKind::Unavailable, format!("the command's end is not known: {why}")).maybe_applied())
        }
    }
}

async fn collect(from: Option<Box<dyn futures::AsyncRead + Send + Unpin>>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(mut from) = from {
        let failed = |error| {
            Error::new(ErrorKind::Unavailable, "cannot read what a command writes").with_source(error).maybe_applied()
        };
        from.read_to_end(&mut out).await.map_err(failed)?;
    }
    Ok(out)
}
