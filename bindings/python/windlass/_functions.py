"""Functions as pods: what they are given, and how they are run."""

from __future__ import annotations

import contextvars
import ctypes
import errno
import inspect
import io
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from . import _native
from ._drive import Asked, stepping
from ._spans import Span, seconds
from .objects import Node, Object, decode, parse

if TYPE_CHECKING:
    from . import _client, aio

__all__ = ["AsyncContext", "Context", "Killed"]

MANAGER = "windlass-function"


class Killed(BaseException):
    """Raised in a function that is not to run any more: its pod was killed, or its cluster closed."""


def kill(thread: int) -> None:
    """Raises :class:`Killed` in a thread, at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Killed))


class Request(NamedTuple):
    """What is asked of a port that a function serves."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: bytes


def _response(said: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    status, body = said if isinstance(said, tuple) else (200, said)
    if isinstance(body, bytes):
        return status, [("content-type", "application/octet-stream")], body
    if body is None or isinstance(body, str):
        return status, [("content-type", "text/plain; charset=utf-8")], (body or "").encode()
    return status, [("content-type", "application/json")], json.dumps(body).encode()


def _ended(said: Any) -> tuple[int, bytes] | None:
    if said is None:
        return None
    code, text = said if isinstance(said, tuple) else (said, b"") if isinstance(said, int) else (0, said)
    return int(code), text.encode() if isinstance(text, str) else bytes(text)


class _Base:
    """What every function can ask of its container."""

    def __init__(self, native: _native.Process) -> None:
        self._native = native
        self.pod: Object = Object({"apiVersion": "v1", "kind": "Pod", **decode(native.pod())})
        """The pod, as it was when its container began."""
        self.container: Node = parse(native.container())
        """The container of the pod's spec."""
        self.env: Mapping[str, str] = dict(native.env())
        """The environment. The process's own (``os.environ``) is another."""
        self.command: list[str] = list(self.container.get("command", ()))
        """``command`` of the container."""
        self.args: list[str] = list(self.container.get("args", ()))
        """``args`` of the container."""
        self.restarts = native.restarts()
        """How often the container ran before in this pod."""
        self.volumes: Mapping[str, Path] = native.volumes()
        """The pod's volumes by name: folders of this machine that hold what the volumes hold."""
        self.mounts: Mapping[str, Path] = dict(native.mounts())
        """Where the container finds them: by the path of each mount, the folder or file that is there."""

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.pod.name

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.pod.namespace

    @property
    def node(self) -> str:
        """The name of the pod's node."""
        return str(self.pod.at("spec.nodeName", ""))

    @property
    def stopping(self) -> bool:
        """Whether the pod is to end (SIGTERM). Who has not ended when the grace period is over is killed."""
        return self._native.stopping()

    def path(self, path: str) -> Path:
        """What is at a path of the container, where something is mounted: ``ctx.path("/etc/config/colour").read_text()``.

        ``FileNotFoundError`` where nothing is: a function has no file system of its own.
        """
        asked = PurePosixPath("/", path)
        for mount in sorted(self.mounts, key=len, reverse=True):
            if asked.is_relative_to(mount):
                return self.mounts[mount] / asked.relative_to(mount)
        known = ", ".join(sorted(self.mounts)) or "nothing"
        raise FileNotFoundError(errno.ENOENT, f"nothing is mounted there in container {self.container.name!r} ({known} is)", path)

    def log(self, *values: object) -> None:
        """Writes a line to the container's log, as ``print`` does."""
        self._native.write(" ".join(map(str, values)) + "\n")

    def ready(self, ready: bool = True) -> None:
        """Says whether the container is ready.

        One of an image with ``ready=False`` is not before this is called; others are at once. Where the container has a
        readiness probe, that has to succeed too.
        """
        self._native.ready(ready)

    def serve(self, port: int, handler: Callable[[Request], Any]) -> None:
        """Answers HTTP requests to a port of the pod, as long as the function runs.

        The handler is given a :class:`Request` and returns a body (text, bytes, or a dict for JSON), or a status and a
        body. It has to answer at once and cannot ask the cluster; what it raises is a 500.
        """
        native = self._native

        def answer(
            method: str, path: str, headers: list[tuple[str, str]], body: bytes
        ) -> tuple[int, list[tuple[str, str]], bytes]:
            token = _process.set(native)
            try:
                return _response(handler(Request(method, path, dict(headers), body)))
            except Exception as error:
                native.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
                raise
            finally:
                _process.reset(token)

        native.serve(port, answer)

    def carry_out(self, handler: Callable[[list[str]], Any]) -> None:
        """Carries out the commands of ``c.exec()`` and of probes, as long as the function runs.

        The handler is given the command and its arguments, and returns an exit code, what is written, or both as a
        tuple. ``None`` leaves the command to what every simulated container knows: ``echo``, ``true``, ``false``,
        ``exit``, and ``cat``, ``ls`` and ``test`` on what is mounted. It has to answer at once and cannot ask the cluster.
        """
        native = self._native

        def answer(command: list[str]) -> tuple[int, bytes] | None:
            token = _process.set(native)
            try:
                return _ended(handler(command))
            except Exception as error:
                native.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
                return 1, f"{type(error).__name__}: {error}\n".encode()
            finally:
                _process.reset(token)

        native.carry_out(answer)

    def _api(self) -> _native.Api:
        return self._native.api(f"{MANAGER}/{_native.version()}")


class Context(_Base):
    """What a plain function is given."""

    def sleep(self, span: Span) -> None:
        """Sleeps for so much of the cluster's time."""
        self._api().sleep(seconds(span)).wait()

    def wait_stopping(self, timeout: Span | None = None) -> bool:
        """Waits until the pod is to end; whether it is."""
        op = self._native.stopped()
        try:
            (op if timeout is None else op.within(seconds(timeout))).wait()
        except TimeoutError:
            pass
        return self.stopping

    @property
    def cluster(self) -> _client.Client:
        """The pod's cluster, in the pod's namespace, as an administrator."""
        from ._client import Client

        return Client(self._api(), self.namespace, None)


class AsyncContext(_Base):
    """What coroutines and generators are given: what takes time is awaited, or yielded."""

    def sleep(self, span: Span) -> Awaitable[None]:
        """Sleeps for so much of the cluster's time."""
        return Asked(self._api().sleep(seconds(span)))

    async def wait_stopping(self, timeout: Span | None = None) -> bool:
        """Waits until the pod is to end; whether it is."""
        op = self._native.stopped()
        try:
            await Asked(op if timeout is None else op.within(seconds(timeout)))
        except TimeoutError:
            pass
        return self.stopping

    @property
    def cluster(self) -> aio.Client:
        """The pod's cluster, in the pod's namespace, as an administrator."""
        from .aio import Client

        return Client(self._api(), self.namespace, None)


def is_plain(function: Callable[..., Any]) -> bool:
    """Whether a function is neither a coroutine's nor a generator's."""
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"{name_of(function)} is an async generator: await what takes time, and return")
    call = getattr(function, "__call__", None)
    return not any(
        inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) for one in (function, call) if one
    )


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called."""
    return str(getattr(function, "__name__", function))


def walk(body: Any, sleep: Callable[[float], _native.Op]) -> Generator[_native.Op, Any, Any]:
    """Walks through a coroutine or generator, which asks with calls or with seconds to sleep."""
    context = contextvars.copy_context()
    answer: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                with stepping():
                    if error is not None:
                        asked = context.run(body.throw, error)
                    else:
                        asked = context.run(body.send, answer)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            try:
                answer = yield _op(asked, sleep)
            except GeneratorExit:
                raise
            except BaseException as raised:
                error = raised
    finally:
        with stepping():
            context.run(body.close)


def _op(asked: Any, sleep: Callable[[float], _native.Op]) -> _native.Op:
    if isinstance(asked, _native.Op):
        return asked
    if isinstance(asked, Asked):
        return asked.op
    if asked is None:
        return sleep(0.0)
    if isinstance(asked, (int, float, str)) and not isinstance(asked, bool):
        return sleep(seconds(asked))
    raise TypeError(
        f"a function waits for what its ctx and its cluster have, or for seconds, not for {type(asked).__name__}: "
        "make it a plain function where it needs an event loop of its own"
    )


_process: contextvars.ContextVar[_native.Process | None] = contextvars.ContextVar("windlass_process", default=None)


class Image:
    """A function that runs in containers."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.plain = is_plain(function)
        self._bare = not _takes_arguments(function)
        self.run: Callable[[_native.Process], Any] = self._call if self.plain else self._walk

    def _call(self, native: _native.Process) -> int:
        _redirect()
        _process.set(native)
        try:
            return _code(self.function() if self._bare else self.function(Context(native)), native)
        except BaseException as error:
            return _failed(error, native)

    def _walk(self, native: _native.Process) -> Generator[_native.Op, Any, int]:
        _redirect()
        # The steps copy the context, and the value with it.
        token = _process.set(native)
        try:
            context = AsyncContext(native)
            body = self.function() if self._bare else self.function(context)
            steps = walk(body, context._api().sleep)
            first = next(steps)
        except StopIteration as end:
            return _code(end.value, native)
        except BaseException as error:
            return _failed(error, native)
        finally:
            _process.reset(token)
        try:
            return _code((yield from _after(steps, first)), native)
        except GeneratorExit:
            raise
        except BaseException as error:
            return _failed(error, native)


def _after(steps: Generator[_native.Op, Any, Any], first: _native.Op) -> Generator[_native.Op, Any, Any]:
    """The rest of a generator whose first step was taken."""
    op = first
    try:
        while True:
            try:
                answer = yield op
            except GeneratorExit:
                raise
            except BaseException as error:
                op = steps.throw(error)
            else:
                op = steps.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _takes_arguments(function: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return True


def _code(value: Any, native: _native.Process) -> int:
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value & 0xFF
    native.write(f"a pod's function returns an exit code or nothing, not {value!r}\n")
    return 1


def _failed(error: BaseException, native: _native.Process) -> int:
    """The exit code of an exception, as of an interpreter that ends with it."""
    if isinstance(error, Killed):
        return 137
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return _code(error.code, native)
        native.write(f"{error.code}\n")
        return 1
    native.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    return 1


class _Redirect(io.TextIOBase):
    """Standard output that goes to the log of the container whose function writes, if one does."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def write(self, text: str) -> int:
        native = _process.get()
        if native is None:
            return int(self._usual.write(text))
        native.write(text)
        return len(text)

    def flush(self) -> None:
        if _process.get() is None:
            self._usual.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)


def _redirect() -> None:
    if not isinstance(sys.stdout, _Redirect):
        sys.stdout = _Redirect(sys.stdout)
    if not isinstance(sys.stderr, _Redirect):
        sys.stderr = _Redirect(sys.stderr)


Function = Callable[..., Union[int, None, Awaitable[Any], Generator[Any, Any, Any]]]
