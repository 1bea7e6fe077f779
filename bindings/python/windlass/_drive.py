"""Walks through the steps of a call by waiting for each. Event loops are in ``_loop``, so that this imports fast."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from . import _native
from ._names import Steps

T = TypeVar("T")

_step = threading.local()


@contextmanager
def stepping() -> Iterator[None]:
    """Marks that a cluster walks through a function of the user's on this thread, whatever event loop it has."""
    before, _step.active = is_stepping(), True
    try:
        yield
    finally:
        _step.active = before


def is_stepping() -> bool:
    """Whether a cluster walks through a function of the user's on this thread."""
    return getattr(_step, "active", False)


class Asked(Awaitable[Any]):
    """A call that whoever walks through the steps makes."""

    __slots__ = ("op",)

    def __init__(self, op: _native.Op) -> None:
        self.op = op

    def __await__(self) -> Generator[_native.Op, Any, Any]:
        return (yield self.op)


def run(steps: Steps[T]) -> T:
    """Walks through the steps, waiting for each call without the interpreter lock."""
    try:
        op = next(steps)
        while True:
            try:
                answer = op.wait()
            except BaseException as error:
                # The steps may know what to do about it.
                op = steps.throw(error)
            else:
                op = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
