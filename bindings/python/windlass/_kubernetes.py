"""The official client on a cluster of this process: its own ``ApiClient``, with a pool of connections that has none."""

from __future__ import annotations

import io
import threading
from collections.abc import Generator, Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

import kubernetes.client
import urllib3

from . import _native
from ._drive import run
from ._wire import NO_SESSIONS, URL, Wire, chunks
from .errors import NotSupportedError, TimedOutError

# Errors name the pool that they come from.
_POOL: Any = "in process"


class ApiClient(kubernetes.client.ApiClient):
    """Whatever the official client has works with it, except sessions: exec, attach and port-forward."""

    def __init__(self, wire: Wire) -> None:
        configuration = kubernetes.client.Configuration(host=URL)
        super().__init__(configuration)
        self.rest_client.pool_manager = cast("urllib3.PoolManager", _Pool(wire))

    def __setattr__(self, name: str, value: Any) -> None:
        # This is how kubernetes.stream takes over a call that is to become a session.
        if name in ("call_api", "request") and getattr(value, "__module__", "").startswith("kubernetes.stream"):
            raise NotSupportedError(NO_SESSIONS)
        super().__setattr__(name, value)


class _Pool:
    """What the official client asks of a pool of connections."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def request(
        self,
        method: str,
        url: str,
        *,
        body: str | bytes | None = None,
        fields: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: urllib3.Timeout | None = None,
        preload_content: bool = True,
        encode_multipart: bool = True,
        **_: Any,
    ) -> urllib3.BaseHTTPResponse:
        sent = dict(headers or {})
        if fields and not encode_multipart:
            body = urlencode(fields)
        elif fields:
            body, sent["Content-Type"] = urllib3.encode_multipart_formdata(fields)
        data = body.encode() if isinstance(body, str) else body or b""
        limit = _seconds(timeout)
        try:
            answer = run(self._wire.send(method, url, sent.items(), data, limit))
        except TimedOutError as error:
            raise urllib3.exceptions.ReadTimeoutError(_POOL, url, str(error)) from error
        stream = _Body(url, answer.body, limit)
        response = _Response(
            stream,
            headers=urllib3.HTTPHeaderDict(answer.headers),
            status=answer.status,
            reason=_reason(answer.status),
            preload_content=False,
            request_method=method,
            request_url=url,
        )
        if preload_content:
            response.read(cache_content=True)
        return response

    def clear(self) -> None:
        """There is nothing to close: the cluster is not the client's."""


class _Body(io.RawIOBase):
    """A body as a file."""

    def __init__(self, url: str, body: bytes | _native.Chunks, timeout: float | None) -> None:
        self._url, self._body, self._timeout = url, body, timeout
        self._pieces = chunks(body, timeout)
        self._rest = b""
        self._turn = threading.Lock()

    def piece(self) -> bytes:
        """The next piece as it came; empty at the end."""
        with self._turn:
            if self._rest:
                rest, self._rest = self._rest, b""
                return rest
            if self.closed:
                return b""
            try:
                return run(next(self._pieces))
            except TimedOutError as error:
                raise urllib3.exceptions.ReadTimeoutError(_POOL, self._url, str(error)) from error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.piece()
        taken = min(len(buffer), len(piece))
        buffer[:taken] = piece[:taken]
        self._rest = piece[taken:] + self._rest
        return taken

    def shutdown(self, _how: int) -> None:
        """Ends the body for whoever waits for more of it, from any thread."""
        if not isinstance(self._body, bytes):
            self._body.close()

    def close(self) -> None:
        self.shutdown(0)
        super().close()


class _Response(urllib3.HTTPResponse):
    """An answer whose pieces are handed on as they come."""

    def __init__(self, body: _Body, **rest: Any) -> None:
        super().__init__(body, **rest)
        self._pieces = body

    @property
    def connection(self) -> Any:
        """What ``Watch.stop()`` shuts down to end a watch that is waited for."""
        return _Connection(self._pieces)

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Generator[bytes, None, None]:
        while piece := self._pieces.piece():
            yield piece
        self.close()


class _Connection:
    def __init__(self, sock: _Body) -> None:
        self.sock = sock


def _seconds(timeout: urllib3.Timeout | None) -> float | None:
    if timeout is None:
        return None
    read = timeout.clone().read_timeout if timeout.total is None else timeout.total
    return float(read) if isinstance(read, (int, float)) else None


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
