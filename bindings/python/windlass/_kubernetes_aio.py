"""The official client's asyncio variant on a cluster of this process: its own ``ApiClient``, over connections without a
socket."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio import client
from kubernetes.aio.stream import WsApiClient

from ._aiohttp import Connector
from ._wire import URL, Wire

_SESSIONS = ("/exec", "/attach", "/portforward")


class ApiClient(WsApiClient):
    """Whatever the official client has works with it, sessions too."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(client.Configuration(host=URL))  # type: ignore[no-untyped-call]
        # It is made by the first request, on the event loop that asks.
        rest: Any = self.rest_client
        rest._create_connector = lambda: Connector(wire)

    async def call_api(self, method: str, url: str, *rest: Any, **options: Any) -> Any:
        """Sends a request, or opens a session where one is asked for."""
        if urlsplit(url).path.endswith(_SESSIONS):
            return await super().call_api(method, url, *rest, **options)  # type: ignore[no-untyped-call]
        return await client.ApiClient.call_api(self, method, url, *rest, **options)
