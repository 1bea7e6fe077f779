"""Clients of others on a cluster of this process: their requests are handed over as values, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from . import _native
from ._drive import run
from ._names import Steps
from .errors import NotSupportedError, TimedOutError

URL = "https://in-process.invalid"
"""Where clients believe the cluster to be: a name that leads nowhere, whatever asks for it."""


class Answer(NamedTuple):
    """An answer whose body may still be coming."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | _native.Chunks


class Wire:
    """Hands requests to a cluster."""

    def __init__(self, native: _native.Cluster) -> None:
        self._native = native
        self._http: _native.Http | None = None

    def send(
        self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, timeout: float | None
    ) -> Steps[Answer]:
        """Sends a request; ``TimedOutError`` where it is not answered after so many seconds of the cluster's time."""
        http = yield from self._open()
        parts = urlsplit(url)
        if parts.hostname != urlsplit(URL).hostname:
            raise NotSupportedError(f"{url} is elsewhere: this client reaches its cluster only, as {URL}")
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        kept = [(name, value) for name, value in headers]
        if any(name.lower() == "upgrade" for name, _ in kept):
            raise NotSupportedError(NO_SESSIONS)
        op = http.send(method, target, kept, body)
        return Answer(*(yield op if timeout is None else op.within(timeout)))

    def connect(self) -> Steps[_native.Pipe]:
        """A connection, for clients that speak HTTP themselves and for sessions."""
        http = yield from self._open()
        return http.connect()

    @property
    def is_virtual(self) -> bool:
        """Whether time passes only while somebody waits."""
        return self._native.is_virtual()

    def _open(self) -> Steps[_native.Http]:
        if self._http is not None:
            return self._http
        made: _native.Http = yield self._native.http(urlsplit(URL).netloc + ":443")
        self._http = made
        return made

    def __deepcopy__(self, _: dict[int, Any]) -> Wire:
        # Clients copy their configuration; all copies mean the same cluster.
        return self


NO_SESSIONS = (
    "this client opens exec, attach and port-forward over a connection of its own, and there is none to a cluster in "
    "this process: use c.exec() and c.request(), or a client that c.kubeconfig() leads to the cluster"
)


def chunks(body: bytes | _native.Chunks, timeout: float | None) -> Iterator[Steps[bytes]]:
    """The pieces of a body, each as the steps that wait for it; an empty one is the end."""
    if isinstance(body, bytes):
        yield _whole(body)
        yield _whole(b"")
        return
    while True:
        yield _next(body, timeout)


def _whole(body: bytes) -> Steps[bytes]:
    return body
    yield  # It is a generator nonetheless.


def _next(body: _native.Chunks, timeout: float | None) -> Steps[bytes]:
    op = body.next()
    piece: bytes | None = yield op if timeout is None else op.within(timeout)
    return piece or b""


def httpx_transport(wire: Wire, httpx: ModuleType) -> Any:
    """A transport for clients of httpx, or of what has its interface, blocking and asynchronous at once."""

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, request: Any, body: bytes | _native.Chunks, timeout: float | None) -> None:
            self._request, self._body, self._timeout = request, body, timeout

        def __iter__(self) -> Iterator[bytes]:
            for steps in chunks(self._body, self._timeout):
                try:
                    piece = run(steps)
                except TimedOutError as error:
                    raise httpx.ReadTimeout(str(error), request=self._request) from error
                if not piece:
                    return
                yield piece

        async def __aiter__(self) -> AsyncIterator[bytes]:
            from ._loop import arun

            for steps in chunks(self._body, self._timeout):
                try:
                    piece = await arun(steps)
                except TimedOutError as error:
                    raise httpx.ReadTimeout(str(error), request=self._request) from error
                if not piece:
                    return
                yield piece

        def close(self) -> None:
            if not isinstance(self._body, bytes):
                self._body.close()

        async def aclose(self) -> None:
            self.close()

    class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            body, timeout = request.read(), _read_timeout(request)
            try:
                answer = run(wire.send(request.method, str(request.url), _headers(request), body, timeout))
            except TimedOutError as error:
                raise httpx.ReadTimeout(str(error), request=request) from error
            return self._response(request, answer, timeout)

        async def handle_async_request(self, request: Any) -> Any:
            from ._loop import arun

            body, timeout = await request.aread(), _read_timeout(request)
            try:
                answer = await arun(wire.send(request.method, str(request.url), _headers(request), body, timeout))
            except TimedOutError as error:
                raise httpx.ReadTimeout(str(error), request=request) from error
            return self._response(request, answer, timeout)

        def _response(self, request: Any, answer: Answer, timeout: float | None) -> Any:
            stream = Body(request, answer.body, timeout)
            return httpx.Response(answer.status, headers=answer.headers, stream=stream, request=request)

    return Transport()


def _headers(request: Any) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]


def _read_timeout(request: Any) -> float | None:
    stated: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return stated.get("read")
