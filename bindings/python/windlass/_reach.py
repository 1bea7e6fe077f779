"""How clients of others reach a cluster of this process, whichever interface it has."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

    from . import _native


class Reachable:
    """A cluster that clients of others reach without a socket."""

    if TYPE_CHECKING:

        @property
        def _native_cluster(self) -> _native.Cluster: ...

    @property
    def url(self) -> str:
        """What clients without a socket call the cluster: a name that leads nowhere else."""
        from ._wire import URL

        return URL

    def httpx_transport(self, httpx: ModuleType | None = None) -> Any:
        """A transport for clients of httpx, blocking and async: ``httpx.Client(transport=..., base_url=c.url)``.

        What has the interface of httpx under another name is handed over as ``httpx``.
        """
        from ._clients import transport

        return transport(self._native_cluster, httpx)

    def aiohttp_connector(self) -> aiohttp.BaseConnector:
        """A connector for ``aiohttp.ClientSession(connector=..., base_url=c.url)``, made on a running event loop."""
        from ._clients import connector

        return connector(self._native_cluster)
