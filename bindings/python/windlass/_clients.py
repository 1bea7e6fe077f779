"""Other clients, made so that they reach a cluster of this process."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import _native
from ._wire import URL, Wire, httpx_transport
from .errors import NotSupportedError

if TYPE_CHECKING:
    import aiohttp
    import kr8s
    import kr8s.asyncio
    import kubernetes
    import kubernetes.aio
    import lightkube


def needed(name: str) -> Any:
    """A package that whoever asks for its client has to have."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        package = name.partition(".")[0]
        raise NotSupportedError(f"{package} is not installed: pip install {package}") from error


def kubernetes_client(native: _native.Cluster) -> kubernetes.client.ApiClient:
    """The official client."""
    needed("kubernetes.client")
    from ._kubernetes import ApiClient

    return ApiClient(Wire(native))


def kubernetes_aio_client(native: _native.Cluster) -> kubernetes.aio.client.ApiClient:
    """The official client's asyncio variant."""
    needed("kubernetes.client")
    needed("aiohttp")
    try:
        importlib.import_module("kubernetes.aio")
    except ModuleNotFoundError as error:
        raise NotSupportedError("this version of kubernetes has no kubernetes.aio: pip install -U kubernetes") from error
    from ._kubernetes_aio import ApiClient

    return ApiClient(Wire(native))


def connector(native: _native.Cluster) -> aiohttp.BaseConnector:
    """A connector for aiohttp."""
    needed("aiohttp")
    from ._aiohttp import Connector

    return Connector(Wire(native))


def transport(native: _native.Cluster, httpx: ModuleType | None) -> Any:
    """A transport for httpx, or for what has its interface."""
    return httpx_transport(Wire(native), httpx or needed("httpx"))


def lightkube_client(native: _native.Cluster, kind: str, options: dict[str, Any]) -> Any:
    """A client of lightkube: its ``Client`` or its ``AsyncClient``."""
    found: lightkube = needed("lightkube")  # type: ignore[valid-type]
    models, files = needed("lightkube.config.models"), needed("lightkube.config.kubeconfig")
    config = files.KubeConfig.from_one(cluster=models.Cluster(server=URL), user=models.User())
    options.setdefault("config", config)
    # Which httpx it is built on changed once.
    stack = needed("lightkube.core.generic_client").httpx
    return getattr(found, kind)(transport=transport(native, stack), trust_env=False, **options)


def kr8s_class(native: _native.Cluster, base: type[kr8s.asyncio.Api]) -> Any:
    """An ``Api`` of kr8s whose sessions need no connection."""
    stack = needed("kr8s._api").httpx

    class Api(base):  # type: ignore[misc, valid-type]
        _session: Any

        async def _create_session(self) -> None:
            if self._session is not None:
                await self._session.aclose()
            headers = {"User-Agent": self.__version__, "content-type": "application/json"}
            self._session = stack.AsyncClient(
                base_url=self.auth.server, headers=headers, timeout=self._timeout, transport=transport(native, stack)
            )

    return Api


def kr8s_options(namespace: str) -> dict[str, Any]:
    """What such an ``Api`` is made with."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "windlass", "cluster": {"server": URL}}],
        "users": [{"name": "windlass", "user": {}}],
        "contexts": [
            {"name": "windlass", "context": {"cluster": "windlass", "user": "windlass", "namespace": namespace}}
        ],
        "current-context": "windlass",
    }
    return {"kubeconfig": config, "namespace": namespace, "bypass_factory": True}


def kr8s_api(native: _native.Cluster, namespace: str) -> kr8s.Api:
    """A blocking ``Api`` of kr8s."""
    kr8s = needed("kr8s")
    made = kr8s_class(native, kr8s.Api)(**kr8s_options(namespace))

    async def ready() -> Any:
        return await made

    needed("kr8s._async_utils").as_sync_func(ready)()
    return made  # type: ignore[no-any-return]


async def kr8s_async_api(native: _native.Cluster, namespace: str) -> kr8s.asyncio.Api:
    """An ``Api`` of kr8s for asyncio."""
    needed("kr8s.asyncio")
    return await kr8s_class(native, needed("kr8s._api").Api)(**kr8s_options(namespace))  # type: ignore[no-any-return]
