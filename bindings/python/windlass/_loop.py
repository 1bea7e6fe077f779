"""Walks through the steps of a call on an event loop, which goes on while each is under way."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from . import _native
from ._drive import Asked, is_stepping
from ._names import Steps

T = TypeVar("T")


async def arun(steps: Steps[T]) -> T:
    """Walks through the steps; the event loop goes on while a call is under way."""
    try:
        op = next(steps)
        while True:
            try:
                answer = await wait(op)
            except BaseException as error:
                op = steps.throw(error)
            else:
                op = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def wait(op: _native.Op) -> Any:
    """The answer to one call. Cancelling the task gives the call up."""
    if is_stepping():
        return await Asked(op)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    # Where the turn of another call answers this one, the loop hears of it only after the callbacks that are due now.
    answered: list[bool] = []

    def done(answer: Any, error: BaseException | None) -> None:
        answered.append(True)
        try:
            loop.call_soon_threadsafe(_settle, future, answer, error)
        except RuntimeError:
            pass  # The loop was closed: nobody waits any more.

    op.start(done)
    if op.rests():
        loop.call_soon(_turn, loop, future, answered, op, _HOPS)
    try:
        return await future
    except asyncio.CancelledError:
        op.cancel()
        raise


# So many rounds of the event loop go by before virtual time does, so that whoever was answered can ask again.
_HOPS = 4


def _turn(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], answered: list[bool], op: _native.Op, hops: int
) -> None:
    """Lets virtual time go on as long as the answer is waited for: nothing else makes it."""
    if answered or future.done():
        return
    if hops:
        loop.call_soon(_turn, loop, future, answered, op, hops - 1)
        return
    try:
        op.turn()
    except Exception as error:
        _settle(future, None, error)
        return
    loop.call_soon(_turn, loop, future, answered, op, _HOPS)


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
