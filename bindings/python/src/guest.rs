//! Functions of Python that a cluster calls: plain ones on threads of their own, generators step by step.
//!
//! Either way they and the cluster take turns in virtual time, so that one seed stays one history: a plain function runs
//! while the cluster stands still, until it asks for something or ends.

use std::{
    cell::RefCell,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures::{future::BoxFuture, task::AtomicWaker};
use parking_lot::{Condvar, Mutex};
use pyo3::{
    exceptions::{PyRuntimeError, PyStopIteration, PyTypeError},
    prelude::*,
    types::PyTuple,
};
use windlass::kernel::Result;

use crate::{
    engine::{Engine, Within},
    op::Op,
    raise::raise,
    reply::Reply,
};

/// How long the cluster stands still before signals are looked for.
const TURN: Duration = Duration::from_millis(50);

type Work = BoxFuture<'static, Result<Reply>>;

/// What a function on a thread of its own has to say.
enum Said {
    Asked(Work, mpsc::SyncSender<Result<Reply>>),
    Ended(PyResult<Py<PyAny>>),
}

/// Between a function's thread and the cluster.
struct Mailbox {
    engine: Arc<Engine>,
    said: Mutex<Option<Said>>,
    arrived: Condvar,
    waker: AtomicWaker,
    // Whether nobody answers any more.
    gone: AtomicBool,
    // The interpreter's number of the thread, once it runs.
    thread: Mutex<Option<u64>>,
}

thread_local! {
    /// Where this thread asks, if it runs a function for a cluster.
    static OWN: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

/// Asks for work where this thread runs a function for the cluster of `engine`; gives the work back where it does not.
pub(crate) fn ask(py: Python<'_>, engine: &Arc<Engine>, work: Work) -> std::result::Result<PyResult<Py<PyAny>>, Work> {
    let own = OWN.with_borrow(|own| own.as_ref().filter(|own| Arc::ptr_eq(&own.engine, engine)).map(Arc::clone));
    let Some(mailbox) = own else { return Err(work) };
    let (sender, receiver) = mpsc::sync_channel(1);
    let answer = py.detach(move || {
        mailbox.say(Said::Asked(work, sender));
        if mailbox.gone.load(Ordering::SeqCst) {
            *mailbox.said.lock() = None;
        }
        receiver.recv()
    });
    Ok(match answer {
        Ok(answer) => answer.map_err(|error| raise(py, &error)).and_then(|reply| reply.into_python(py, engine)),
        Err(_) => Err(killed(py)),
    })
}

/// Whether this thread runs a function for the cluster of `engine`.
pub(crate) fn works_for(engine: &Engine) -> bool {
    OWN.with_borrow(|own| own.as_ref().is_some_and(|own| std::ptr::eq(Arc::as_ptr(&own.engine), engine)))
}

/// The exception that ends a function whose pod or cluster is gone.
fn killed(py: Python<'_>) -> PyErr {
    let made = py.import("windlass._functions").and_then(|module| module.getattr("Killed")?.call0());
    made.map_or_else(|error| error, PyErr::from_value)
}

impl Mailbox {
    fn say(&self, said: Said) {
        *self.said.lock() = Some(said);
        self.arrived.notify_all();
        self.waker.wake();
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Said> {
        if self.engine.is_virtual() {
            return Poll::Ready(self.stand_still());
        }
        self.waker.register(context.waker());
        self.said.lock().take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits with the whole cluster until the function says something.
    fn stand_still(&self) -> Said {
        let mut said = self.said.lock();
        loop {
            if let Some(said) = said.take() {
                return said;
            }
            if self.arrived.wait_for(&mut said, TURN).timed_out() && said.is_none() {
                drop(said);
                if self.engine.look_for_signals() {
                    return Said::Ended(Err(Python::attach(killed)));
                }
                said = self.said.lock();
            }
        }
    }
}

/// Ends the function when its call is dropped.
struct Leash {
    mailbox: Arc<Mailbox>,
    // Whether it waits for an answer, or has ended: it hears without being interrupted.
    hears: bool,
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.mailbox.gone.store(true, Ordering::SeqCst);
        let unheard = self.mailbox.said.lock().take();
        if self.hears || unheard.is_some() {
            return;
        }
        let Some(thread) = *self.mailbox.thread.lock() else { return };
        // Who asks finds nobody who answers; who computes is interrupted.
        let _ = Python::try_attach(|py| {
            let told = py.import("windlass._functions").and_then(|module| module.getattr("kill")?.call1((thread,)));
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Calls a plain function on a thread of its own. Dropping the call kills it.
pub(crate) async fn call(engine: &Arc<Engine>, function: Py<PyAny>, arguments: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    let mailbox = Arc::new(Mailbox {
        engine: Arc::clone(engine),
        said: Mutex::new(None),
        arrived: Condvar::new(),
        waker: AtomicWaker::new(),
        gone: AtomicBool::new(false),
        thread: Mutex::new(None),
    });
    let own = Arc::clone(&mailbox);
    let alive = engine.function_begins();
    let run = move || {
        OWN.set(Some(Arc::clone(&own)));
        let outcome = Python::try_attach(|py| {
            let ident = py.import("threading").and_then(|module| module.getattr("get_ident")?.call0()?.extract());
            *own.thread.lock() = ident.ok();
            let outcome = function.call1(py, arguments.clone_ref(py));
            *own.thread.lock() = None;
            drop((function, arguments));
            outcome
        });
        OWN.set(None);
        own.say(Said::Ended(outcome.unwrap_or_else(|| Err(PyRuntimeError::new_err("the interpreter is ending")))));
        drop(alive);
    };
    thread::Builder::new()
        .name("windlass-function".into())
        .spawn(run)
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start a thread for a function: {error}")))?;
    let mut leash = Leash { mailbox: Arc::clone(&mailbox), hears: false };
    loop {
        match poll_fn(|context| mailbox.poll(context)).await {
            Said::Asked(work, answer) => {
                leash.hears = true;
                // A function that was killed meanwhile needs no answer.
                let _ = answer.send(work.await);
                leash.hears = false;
            }
            Said::Ended(outcome) => {
                leash.hears = mailbox.thread.lock().is_none();
                return outcome;
            }
        }
    }
}

/// A generator that is closed when it is dropped.
struct Steps(Py<PyAny>);

impl Drop for Steps {
    fn drop(&mut self) {
        let _ = Python::try_attach(|py| {
            let _within = Within::enter();
            if let Err(error) = self.0.call_method0(py, "close") {
                error.write_unraisable(py, Some(self.0.bind(py)));
            }
        });
    }
}

enum Step {
    Asks(Work),
    Returns(Py<PyAny>),
}

/// Walks through a generator that yields each call that it needs, and says what it returns. Dropping closes it.
pub(crate) async fn walk(engine: &Arc<Engine>, generator: Py<PyAny>) -> PyResult<Py<PyAny>> {
    let steps = Steps(generator);
    let mut answer: PyResult<Py<PyAny>> = Ok(Python::attach(|py| py.None()));
    loop {
        let next = Python::attach(|py| {
            let _within = Within::enter();
            let step = match answer {
                Ok(answer) => steps.0.call_method1(py, "send", (answer,)),
                Err(error) => steps.0.call_method1(py, "throw", (error.into_value(py),)),
            };
            match step {
                Ok(asked) => match asked.bind(py).cast::<Op>() {
                    Ok(op) => op.get().take().map(Step::Asks),
                    Err(_) => Err(PyTypeError::new_err("a step yields a call")),
                },
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                    error.value(py).getattr("value").map(|value| Step::Returns(value.unbind()))
                }
                Err(error) => Err(error),
            }
        })?;
        let work = match next {
            Step::Returns(value) => return Ok(value),
            Step::Asks(work) => work,
        };
        let reply = work.await;
        answer = Python::attach(|py| match reply {
            Ok(reply) => reply.into_python(py, engine),
            Err(error) => Err(raise(py, &error)),
        });
    }
}

/// Calls a function whichever of the two it is. `plain` says.
pub(crate) async fn invoke(
    engine: &Arc<Engine>,
    plain: bool,
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
) -> PyResult<Py<PyAny>> {
    if plain {
        return call(engine, function, arguments).await;
    }
    let generator = Python::attach(|py| {
        let _within = Within::enter();
        function.call1(py, arguments)
    })?;
    walk(engine, generator).await
}
