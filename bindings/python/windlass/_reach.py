"""How clients of others reach a cluster of this process, whichever interface it has."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import kubernetes

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

    def kubernetes_client(self) -> kubernetes.client.ApiClient:
        """The official ``kubernetes`` package's ``ApiClient`` for this cluster, without a socket::

            core = kubernetes.client.CoreV1Api(c.kubernetes_client())

        It does what it does anywhere, except exec, attach and port-forward, and in virtual time too. Its calls block: an
        event loop makes them on other threads.
        """
        from ._clients import kubernetes_client

        return kubernetes_client(self._native_cluster)

    def httpx_transport(self, httpx: ModuleType | None = None) -> Any:
        """A transport for clients of httpx, blocking and async: ``httpx.Client(transport=..., base_url=c.url)``.

        What has the interface of httpx under another name is handed over as ``httpx``.
        """
        from ._clients import transport

        return transport(self._native_cluster, httpx)
