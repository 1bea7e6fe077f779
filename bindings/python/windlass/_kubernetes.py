"""The official client on a cluster of this process: its own ``ApiClient``, with a pool of connections that has none."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import socket
import threading
from collections.abc import Generator, Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

import kubernetes.client
import urllib3

from . import _native
from ._drive import run
from ._wire import URL, Wire, chunks
from .errors import NotSupportedError, TimedOutError, WindlassError

# Errors name the pool that they come from.
_POOL: Any = "in process"


_NO_TIME = (
    "exec, attach and port-forward of the official client wait on sockets, which does not let virtual time pass: use "
    "c.exec() and c.request(), kubernetes.aio with a cluster of windlass.aio, or a cluster with the real clock"
)


class _Configuration(kubernetes.client.Configuration):
    wire: Wire


class ApiClient(kubernetes.client.ApiClient):
    """Whatever the official client has works with it: calls, watches, and sessions where the clock is real."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        configuration = _Configuration(host=URL)
        configuration.wire = wire
        super().__init__(configuration)
        self.rest_client.pool_manager = cast("urllib3.PoolManager", _Pool(wire))

    def __setattr__(self, name: str, value: Any) -> None:
        # This is how kubernetes.stream takes over a call that is to become a session.
        if name in ("call_api", "request") and getattr(value, "__module__", "").startswith("kubernetes.stream"):
            if self._wire.is_virtual:
                raise NotSupportedError(_NO_TIME)
            _let_sessions_in()
        super().__setattr__(name, value)


def _let_sessions_in() -> None:
    """Lets ``kubernetes.stream`` reach clusters of this process; whoever asks for others, it serves as ever."""
    ws_client: Any = importlib.import_module("kubernetes.stream.ws_client")
    usual = ws_client.create_websocket
    if getattr(usual, "in_process", False):
        return

    @functools.wraps(usual)
    def create(configuration: Any, url: str, headers: Mapping[str, str] | None = None) -> Any:
        if not isinstance(configuration, _Configuration):
            return usual(configuration, url, headers)
        usually = {"sec-websocket-protocol": "v5.channel.k8s.io,v4.channel.k8s.io"}
        sent = {**usually, **{name.lower(): value for name, value in (headers or {}).items()}}
        header = [f"{name}: {sent[name]}" for name in ("authorization", "sec-websocket-protocol") if name in sent]
        websocket = ws_client.WebSocket(skip_utf8_validation=False)
        websocket.connect(url, header=header, socket=_connected(configuration.wire))
        return websocket

    create.in_process = True  # type: ignore[attr-defined]
    ws_client.create_websocket = create


def _connected(wire: Wire) -> socket.socket:
    """A socket that leads to the cluster: a pair of this process's, because sessions are waited for by ``poll``."""
    pipe = run(wire.connect())
    near, far = socket.socketpair()
    sending = threading.Thread(target=_send, args=(far, pipe), name="windlass-session", daemon=True)
    receiving = threading.Thread(target=_receive, args=(far, pipe, sending), name="windlass-session", daemon=True)
    sending.start()
    receiving.start()
    return _Socket(near.family, near.type, near.proto, near.detach())


class _Socket(socket.socket):
    """A socket that closes itself: the official client leaves that to whoever collects garbage."""

    def __del__(self) -> None:
        self.close()


def _send(far: socket.socket, pipe: _native.Pipe) -> None:
    try:
        while piece := far.recv(2**16):
            pipe.write(piece).wait()
    except (OSError, WindlassError):
        pass  # Whoever has the other end sees that it ends.
    finally:
        pipe.close()


def _receive(far: socket.socket, pipe: _native.Pipe, sending: threading.Thread) -> None:
    try:
        while piece := pipe.read().wait():
            far.sendall(piece)
    except (OSError, WindlassError):
        pass
    finally:
        # Whoever has the other end reads what is left, and then the end.
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        sending.join()
        far.close()


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
