//! Events through a queue that a task fills, for whoever listens.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, channel::mpsc};
use windlass_kernel::{Task, runtime::RuntimeEvent};

/// A queue and the task that fills it, which ends with it.
pub(crate) struct Held {
    pub(crate) take: mpsc::UnboundedReceiver<RuntimeEvent>,
    pub(crate) _task: Task,
}

impl Stream for Held {
    type Item = RuntimeEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RuntimeEvent>> {
        self.take.poll_next_unpin(cx)
    }
}
