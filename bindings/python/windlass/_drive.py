"""Walks through the steps of a call by waiting for each. Event loops are in ``_loop``, so that this imports fast."""

from __future__ import annotations

from typing import TypeVar

from ._names import Steps

T = TypeVar("T")


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
