//! One call that has not been made yet: waited for by a thread, or started for an event loop.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};
use windlass::kernel::{ClockExt, Result, SpawnExt, Task};

use crate::{
    engine::Engine,
    guest,
    raise::{closed, raise},
    reply::Reply,
};

/// A call that is made when it is waited for. It can be waited for once.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Op {
    engine: Arc<Engine>,
    work: Mutex<Option<BoxFuture<'static, Result<Reply>>>>,
    task: Mutex<Option<Task>>,
}

impl Op {
    pub(crate) fn new(engine: &Arc<Engine>, work: impl Future<Output = Result<Reply>> + Send + 'static) -> Self {
        Self { engine: Arc::clone(engine), work: Mutex::new(Some(Box::pin(work))), task: Mutex::default() }
    }

    pub(crate) fn take(&self) -> PyResult<BoxFuture<'static, Result<Reply>>> {
        let work = self.work.lock().take();
        work.ok_or_else(|| PyRuntimeError::new_err("a call is waited for once"))
    }
}

#[pymethods]
impl Op {
    /// Makes the call and waits for its answer.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut work = match guest::ask(py, &self.engine, self.take()?) {
            Ok(answer) => return answer,
            Err(work) => work,
        };
        self.engine.wait(py, &mut work)?.map_err(|error| raise(py, &error))?.into_python(py, &self.engine)
    }

    /// Makes the call on a thread of the engine, which then calls `done(answer, error)`.
    fn start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<()> {
        self.engine.check(py)?;
        let (work, engine) = (self.take()?, Arc::clone(&self.engine));
        let task = self.engine.spawn().spawn("python.call", async move {
            let outcome = engine.stopping().race(work).await;
            // Where the interpreter is ending nobody waits any more.
            let _ = Python::try_attach(|py| {
                let outcome = match outcome {
                    Some(answer) => answer.map_err(|error| raise(py, &error)),
                    None => Err(closed(py)),
                };
                let told = match outcome.and_then(|reply| reply.into_python(py, &engine)) {
                    Ok(answer) => done.call1(py, (answer, py.None())),
                    Err(error) => done.call1(py, (py.None(), error.into_value(py))),
                };
                if let Err(error) = told {
                    error.write_unraisable(py, Some(done.bind(py)));
                }
            });
            engine.call_ended();
        });
        *self.task.lock() = Some(task);
        Ok(())
    }

    /// Whether a call that was started goes on only while somebody waits: in virtual time.
    fn rests(&self) -> bool {
        self.engine.is_virtual()
    }

    /// Runs the cluster until any call ends that was started on it.
    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        let mut work = self.engine.until_a_call_ends();
        self.engine.wait(py, &mut work)
    }

    /// Gives up a call that was started.
    fn cancel(&self) {
        drop(self.task.lock().take());
    }

    /// The same call, given up after so many seconds with `TimedOutError`.
    fn within(&self, seconds: f64) -> PyResult<Self> {
        let work = self.take()?;
        let (clock, span) = (Arc::clone(self.engine.clock()), crate::options::seconds(seconds)?);
        Ok(Self::new(&self.engine, async move { clock.timeout(span, work).await? }))
    }
}

/// All of the calls, at most so many at a time: a list of answers and errors in their order.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "arguments of Python's are extracted into values")]
pub(crate) fn gather(ops: Vec<Py<Op>>, at_once: usize) -> PyResult<Op> {
    let Some(first) = ops.first() else { return Err(PyValueError::new_err("there are no calls to gather")) };
    let engine = Arc::clone(&first.get().engine);
    let works = ops.iter().map(|op| op.get().take()).collect::<PyResult<Vec<_>>>()?;
    let spawn = Arc::clone(engine.spawn());
    Ok(Op::new(&engine, async move { Ok(Reply::Many(together(works, &spawn, at_once).await)) }))
}

/// Runs the works in as many tasks as may run at once.
async fn together(
    works: Vec<BoxFuture<'static, Result<Reply>>>,
    spawn: &Arc<dyn windlass::kernel::Spawn>,
    at_once: usize,
) -> Vec<Result<Reply>> {
    let count = works.len();
    if count == 1 {
        // Nothing runs beside it: a task of its own would only cost a change of threads.
        return futures::future::join_all(works).await;
    }
    let queue = Arc::new(Mutex::new(works.into_iter().enumerate()));
    let done = Arc::new(Mutex::new(Vec::from_iter(std::iter::repeat_with(|| None).take(count))));
    let tasks: Vec<_> = (0..at_once.min(count))
        .map(|_| {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            spawn.spawn("python.gather", async move {
                loop {
                    let Some((at, work)) = queue.lock().next() else { return };
                    let answer = work.await;
                    done.lock()[at] = Some(answer);
                }
            })
        })
        .collect();
    for task in &tasks {
        task.ended().await;
    }
    let mut done = done.lock();
    done.drain(..).map(|answer| answer.unwrap_or_else(|| Err(crate::raise::lost()))).collect()
}
