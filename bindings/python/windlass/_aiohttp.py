"""aiohttp on a cluster of this process: a connector whose connections have no socket."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from . import _native
from ._loop import arun, wait
from ._wire import Wire
from .errors import WindlassError


class Connector(aiohttp.BaseConnector):
    """Leads every request to the cluster, whatever its host. It encrypts nothing: nothing leaves the process."""

    def __init__(self, wire: Wire) -> None:
        # A connection that nobody asks on would still be read from, which lets virtual time pass.
        super().__init__(force_close=True)
        self._wire = wire

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        protocol, pipe = self._factory(), await arun(self._wire.connect())
        protocol.connection_made(_Transport(asyncio.get_running_loop(), protocol, pipe))
        return protocol


class _Transport(asyncio.Transport):
    """What a protocol of asyncio writes to and is fed by."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, pipe: _native.Pipe) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: Any = protocol
        self._pipe = pipe
        self._waiting = bytearray()
        self._closing = False
        self._going = asyncio.Event()
        self._going.set()
        self._writer: asyncio.Task[None] | None = None
        self._reader = loop.create_task(self._read())

    async def _read(self) -> None:
        error: BaseException | None = None
        try:
            while True:
                await self._going.wait()
                piece: bytes | None = await wait(self._pipe.read())
                protocol = self._protocol
                if not piece or protocol is None:
                    break
                protocol.data_received(piece)
            if not self._closing and protocol is not None:
                protocol.eof_received()
        except asyncio.CancelledError:
            pass
        except WindlassError as raised:
            error = ConnectionError(str(raised))
        self._lose(error)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._waiting += data
        if self._writer is None:
            self._writer = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                piece, self._waiting = bytes(self._waiting), bytearray()
                await wait(self._pipe.write(piece))
        except WindlassError as raised:
            self._lose(ConnectionError(str(raised)))
        finally:
            self._writer = None
        if self._closing:
            self.abort()

    def close(self) -> None:
        self._closing = True
        if self._writer is None:
            self.abort()

    def abort(self) -> None:
        self._closing = True
        self._pipe.close()
        self._reader.cancel()

    def _lose(self, error: BaseException | None) -> None:
        protocol, self._protocol = self._protocol, None
        self._closing = True
        self._pipe.close()
        if protocol is not None:
            protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_reading(self) -> bool:
        return self._going.is_set() and not self._closing

    def pause_reading(self) -> None:
        self._going.clear()

    def resume_reading(self) -> None:
        self._going.set()
